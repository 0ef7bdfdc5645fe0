//! Reading the format for a microcontroller's flash, without a heap.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use group_manager::{Enrollment, Identity, Material, Place};
use group_oscore::limits::SEQUENCE_NUMBER_MAX;
use group_oscore::oscore::Parameters;
use group_oscore::{AeadAlgorithm, Credential, Gid, MemberId};
use minicbor::Decoder;
use minicbor::data::Type;
use sha2::{Digest as _, Sha256};
use update_core::block::BlockSize;
use update_core::key_set::KeySet;
use zeroize::Zeroizing;

use super::{BootSettings, FIELDS, HEADER_BYTES, HEALTH, Health, MAGIC, NEXT, RECOVERY, Recovery, VERSION};

/// The provisioning of a device. It borrows from the buffer that the area was read into.
#[derive(Clone)]
pub struct Provisioning<'a> {
    /// The agent's name.
    pub name: &'a str,
    /// SUIT vendor identifier.
    pub vendor: [u8; 16],
    /// SUIT class identifier.
    pub class: [u8; 16],
    /// Address and port of the CoAP group.
    pub coap_group: SocketAddr,
    /// Size of image blocks.
    pub block_size: BlockSize,
    /// The device's own address, the prefix length in bits, and the router if there is one.
    pub own: OwnAddress,
    /// The distributor's Sender ID.
    pub distributor: MemberId,
    /// The distributor's unicast address.
    pub distributor_address: SocketAddr,
    /// Its next Sender Sequence Number when the device was enrolled: nothing from before that is accepted.
    pub distributor_next: u64,
    /// The Ed25519 public key that signs key sets.
    pub root_key: [u8; 32],
    /// The key set as signed by the root key.
    pub signed_key_set: &'a [u8],
    /// When an image on trial is healthy.
    pub health: Health,
    keys: Keys<'a>,
    manager: Manager<'a>,
    seed: [u8; 32],
}

/// The device's own network address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnAddress {
    /// Its address.
    pub address: IpAddr,
    /// The prefix length of its network in bits.
    pub prefix_bits: u8,
    /// The router.
    pub router: Option<IpAddr>,
}

/// What belongs to the group's keys.
#[derive(Clone)]
struct Keys<'a> {
    num: u32,
    gid: Gid,
    master_secret: &'a [u8],
    master_salt: &'a [u8],
    aead: AeadAlgorithm,
    group_encryption: AeadAlgorithm,
    sender_id: MemberId,
    private_key: &'a [u8; 32],
    credential: Ccs<'a>,
    gm_credential: Ccs<'a>,
    distributor_credential: Ccs<'a>,
}

/// The Group Manager, the individual context with it, and the group's name.
#[derive(Clone)]
struct Manager<'a> {
    address: Option<SocketAddr>,
    individual: Parameters<'a>,
    group: &'a str,
}

/// A credential that can be read. Read, it is 300 bytes, which are not moved about on a small stack.
#[derive(Clone, Copy)]
struct Ccs<'a>(&'a [u8]);

impl Ccs<'_> {
    fn credential(self) -> Result<Credential, ProvisioningError> {
        Credential::from_ccs(self.0).map_err(|_| ProvisioningError::Group)
    }
}

/// Why a device cannot use its provisioning area.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProvisioningError {
    /// Nothing was ever written to it.
    Empty,
    /// It is torn, or contains something else.
    Damaged,
    /// The version is not one that this program reads.
    Version,
    /// It is intact, but its CBOR is not valid provisioning.
    Malformed,
    /// The CoAP group's address is not a multicast address.
    NotMulticast,
    /// The device's address, the distributor and the CoAP group are not of the same address family.
    AddressFamilies,
    /// The root key did not sign the key set.
    KeySet,
    /// A key, identifier or algorithm of the group cannot be used.
    Group,
}

impl ProvisioningError {
    /// The error in plain words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Empty => "the provisioning area is empty: write the file of fwcast agent enroll into it",
            Self::Damaged => "the provisioning area is damaged: write it again",
            Self::Version => "the provisioning area is of another version: enroll the device again",
            Self::Malformed => "the provisioning area does not hold provisioning",
            Self::NotMulticast => "the CoAP group's address is not a multicast address",
            Self::AddressFamilies => "own address, distributor and CoAP group must all be IPv4 or all IPv6",
            Self::KeySet => "the root key did not sign the key set",
            Self::Group => "the group's keys cannot be used",
        }
    }
}

impl From<minicbor::decode::Error> for ProvisioningError {
    fn from(_: minicbor::decode::Error) -> Self {
        Self::Malformed
    }
}

impl<'a> Provisioning<'a> {
    /// Reads the area from its start.
    ///
    /// # Errors
    /// [`ProvisioningError`]: all that the device can do is report it.
    pub fn read(area: &'a [u8]) -> Result<Self, ProvisioningError> {
        let provisioning = Self::decode(cbor(area)?)?;
        if !provisioning.coap_group.ip().is_multicast() {
            return Err(ProvisioningError::NotMulticast);
        }
        let is_ipv4 = provisioning.coap_group.is_ipv4();
        if provisioning.distributor_address.is_ipv4() != is_ipv4
            || provisioning.own.address.is_ipv4() != is_ipv4
        {
            return Err(ProvisioningError::AddressFamilies);
        }
        KeySet::verify(provisioning.signed_key_set, &provisioning.root_key)
            .map_err(|_| ProvisioningError::KeySet)?;
        Ok(provisioning)
    }

    /// Reads what the boot stage needs, without verifying anything else.
    ///
    /// # Errors
    /// The same as for [`read`](Self::read).
    pub fn read_boot(area: &'a [u8]) -> Result<BootSettings<'a>, ProvisioningError> {
        let (mut decoder, fields) = open(cbor(area)?)?;
        let (mut root_key, mut signed_key_set) = (None, None);
        for key in 1..FIELDS {
            if decoder.u64()? != key {
                return Err(ProvisioningError::Malformed);
            }
            match key {
                16 => root_key = Some(fixed(&mut decoder)?),
                17 => signed_key_set = Some(decoder.bytes()?),
                _ => decoder.skip()?,
            }
        }
        let (_, recovery, _) = optional(&mut decoder, fields)?;
        let (Some(root_key), Some(signed_key_set)) = (root_key, signed_key_set) else {
            return Err(ProvisioningError::Malformed);
        };
        Ok(BootSettings { root_key, signed_key_set, recovery })
    }

    /// What a member of the group needs to know of it.
    #[must_use]
    pub fn enrollment(&self) -> Enrollment<'a> {
        let (keys, manager) = (&self.keys, &self.manager);
        Enrollment {
            keys: Material {
                num: keys.num,
                gid: keys.gid,
                master_secret: keys.master_secret,
                master_salt: keys.master_salt,
                aead: keys.aead,
                group_encryption: keys.group_encryption,
                sender_id: keys.sender_id,
                distributor: self.distributor,
                credential: keys.distributor_credential.0,
                place: Place {
                    coap_group: self.coap_group,
                    distributor: self.distributor_address,
                    next: self.distributor_next,
                },
                stale: Default::default(),
            },
            individual: manager.individual,
            manager: manager.address,
            group: manager.group,
            node: self.name,
        }
    }

    /// Who the device is in any group.
    ///
    /// # Errors
    /// [`ProvisioningError::Group`].
    pub fn identity(&self) -> Result<Identity, ProvisioningError> {
        Ok(Identity {
            private_key: Zeroizing::new(*self.keys.private_key),
            credential: self.keys.credential.credential()?,
            manager: self.keys.gm_credential.credential()?,
        })
    }

    /// The Gid of the keys that it was enrolled with.
    #[must_use]
    pub const fn gid(&self) -> Gid {
        self.keys.gid
    }

    /// A seed for jitter, ports, tokens and nonces. It differs at every start, as `start_number` does, also
    /// on a chip without randomness of its own.
    #[must_use]
    pub fn seed(&self, start_number: u64, entropy: &[u8; 16]) -> u64 {
        let mut hash = Sha256::new();
        hash.update(self.seed);
        hash.update(entropy);
        hash.update(start_number.to_le_bytes());
        let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(hash.finalize());
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    // Not inlined, so that its stack is free again afterwards.
    #[inline(never)]
    fn decode(cbor: &'a [u8]) -> Result<Self, ProvisioningError> {
        let (decoder, fields) = open(cbor)?;
        let mut map = Fields { decoder, key: 0 };
        let name = map.next()?.str()?;
        let (vendor, class) = (fixed(map.next()?)?, fixed(map.next()?)?);
        let coap_group = address(map.next()?)?;
        let block_size = BlockSize::new(map.next()?.u32()?).ok_or(ProvisioningError::Malformed)?;
        let gid = Gid::new(map.next()?.bytes()?).ok_or(ProvisioningError::Group)?;
        let (master_secret, master_salt) = (map.next()?.bytes()?, map.next()?.bytes()?);
        let (aead, group_encryption) = (algorithm(map.next()?)?, algorithm(map.next()?)?);
        let sender_id = member(map.next()?)?;
        let private_key = map.next()?.bytes()?.try_into().map_err(|_| ProvisioningError::Group)?;
        let (own_credential, gm_credential) = (credential(map.next()?)?, credential(map.next()?)?);
        array(map.next()?, 3)?;
        let distributor = member(&mut map.decoder)?;
        let distributor_credential = credential(&mut map.decoder)?;
        let distributor_address = address(&mut map.decoder)?;
        let root_key = fixed(map.next()?)?;
        let signed_key_set = map.next()?.bytes()?;
        let seed = fixed(map.next()?)?;
        array(map.next()?, 3)?;
        let own = own_address(&mut map.decoder)?;
        let num = map.next()?.u32()?;
        let manager = manager(map.next()?)?;
        let (health, _, distributor_next) = optional(&mut map.decoder, fields)?;
        if map.decoder.position() != cbor.len() {
            return Err(ProvisioningError::Malformed);
        }
        Ok(Self {
            name,
            vendor,
            class,
            coap_group,
            block_size,
            own,
            distributor,
            distributor_address,
            distributor_next,
            root_key,
            signed_key_set,
            health,
            keys: Keys {
                num,
                gid,
                master_secret,
                master_salt,
                aead,
                group_encryption,
                sender_id,
                private_key,
                credential: own_credential,
                gm_credential,
                distributor_credential,
            },
            manager,
            seed,
        })
    }
}

struct Fields<'a> {
    decoder: Decoder<'a>,
    key: u64,
}

impl<'a> Fields<'a> {
    /// The value of the next key.
    fn next(&mut self) -> Result<&mut Decoder<'a>, ProvisioningError> {
        self.key += 1;
        if self.decoder.u64()? == self.key {
            Ok(&mut self.decoder)
        } else {
            Err(ProvisioningError::Malformed)
        }
    }
}

/// The CBOR of an area, if it is intact.
fn cbor(area: &[u8]) -> Result<&[u8], ProvisioningError> {
    let (header, rest) = area.split_at_checked(HEADER_BYTES).ok_or(ProvisioningError::Damaged)?;
    if header.iter().all(|byte| *byte == 0xff) {
        return Err(ProvisioningError::Empty);
    }
    let (magic, header) = header.split_at_checked(MAGIC.len()).ok_or(ProvisioningError::Damaged)?;
    let (length, digest) = header.split_first_chunk().ok_or(ProvisioningError::Damaged)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| ProvisioningError::Damaged)?;
    let cbor = rest.get(..length).ok_or(ProvisioningError::Damaged)?;
    let right = magic == MAGIC && Sha256::digest(cbor).starts_with(digest);
    if right { Ok(cbor) } else { Err(ProvisioningError::Damaged) }
}

/// Reads up to and including the version. Returns the number of keys as well.
fn open(cbor: &[u8]) -> Result<(Decoder<'_>, u64), ProvisioningError> {
    let mut decoder = Decoder::new(cbor);
    let fields = decoder.map()?;
    if decoder.u64()? != 0 {
        return Err(ProvisioningError::Malformed);
    }
    if decoder.u32()? != VERSION {
        return Err(ProvisioningError::Version);
    }
    let fields = fields.filter(|fields| (FIELDS..=NEXT + 1).contains(fields));
    Ok((decoder, fields.ok_or(ProvisioningError::Malformed)?))
}

/// The optional keys: health, recovery, and the distributor's next number.
type Optional = (Health, Recovery, u64);

/// Reads the optional keys, in their order.
fn optional(decoder: &mut Decoder<'_>, fields: u64) -> Result<Optional, ProvisioningError> {
    let (mut of_health, mut of_recovery, mut next) = (Health::DEFAULT, Recovery::default(), 0);
    let mut last = FIELDS - 1;
    for _ in FIELDS..fields {
        let key = decoder.u64()?;
        match key {
            HEALTH if key > last => of_health = health(decoder)?,
            RECOVERY if key > last => {
                of_recovery = Recovery::from_code(decoder.u8()?).ok_or(ProvisioningError::Malformed)?;
            }
            NEXT if key > last => next = number(decoder)?,
            _ => return Err(ProvisioningError::Malformed),
        }
        last = key;
    }
    Ok((of_health, of_recovery, next))
}

fn number(decoder: &mut Decoder<'_>) -> Result<u64, ProvisioningError> {
    let number = decoder.u64()?;
    if number <= SEQUENCE_NUMBER_MAX { Ok(number) } else { Err(ProvisioningError::Malformed) }
}

fn health(decoder: &mut Decoder<'_>) -> Result<Health, ProvisioningError> {
    array(decoder, 2)?;
    let health = Health { within_seconds: decoder.u32()?, hears_distributor: decoder.bool()? };
    if health.is_valid() { Ok(health) } else { Err(ProvisioningError::Malformed) }
}

fn fixed<const N: usize>(decoder: &mut Decoder<'_>) -> Result<[u8; N], ProvisioningError> {
    decoder.bytes()?.try_into().map_err(|_| ProvisioningError::Malformed)
}

fn array(decoder: &mut Decoder<'_>, length: u64) -> Result<(), ProvisioningError> {
    if decoder.array()? == Some(length) { Ok(()) } else { Err(ProvisioningError::Malformed) }
}

fn algorithm(decoder: &mut Decoder<'_>) -> Result<AeadAlgorithm, ProvisioningError> {
    AeadAlgorithm::from_cose(decoder.i64()?).ok_or(ProvisioningError::Group)
}

fn member(decoder: &mut Decoder<'_>) -> Result<MemberId, ProvisioningError> {
    MemberId::new(decoder.bytes()?).ok_or(ProvisioningError::Group)
}

fn manager<'a>(decoder: &mut Decoder<'a>) -> Result<Manager<'a>, ProvisioningError> {
    array(decoder, 7)?;
    let address = match decoder.datatype()? {
        Type::Null => {
            decoder.null()?;
            None
        }
        _ => Some(address(decoder)?),
    };
    let (master_secret, master_salt) = (decoder.bytes()?, decoder.bytes()?);
    let aead = algorithm(decoder)?;
    let (sender_id, recipient_id) = (member(decoder)?, member(decoder)?);
    let individual =
        Parameters { master_secret, master_salt, id_context: None, sender_id, recipient_id, aead };
    Ok(Manager { address, individual, group: decoder.str()? })
}

fn credential<'a>(decoder: &mut Decoder<'a>) -> Result<Ccs<'a>, ProvisioningError> {
    let ccs = Ccs(decoder.bytes()?);
    ccs.credential().map(|_| ccs)
}

fn address(decoder: &mut Decoder<'_>) -> Result<SocketAddr, ProvisioningError> {
    array(decoder, 2)?;
    let ip = ip(decoder.bytes()?)?;
    Ok(SocketAddr::new(ip, decoder.u16()?))
}

fn own_address(decoder: &mut Decoder<'_>) -> Result<OwnAddress, ProvisioningError> {
    let address = ip(decoder.bytes()?)?;
    let prefix_bits = decoder.u8()?;
    if prefix_bits > if address.is_ipv4() { 32 } else { 128 } {
        return Err(ProvisioningError::Malformed);
    }
    let router = decoder.bytes()?;
    let router = if router.is_empty() { None } else { Some(ip(router)?) };
    Ok(OwnAddress { address, prefix_bits, router })
}

fn ip(bytes: &[u8]) -> Result<IpAddr, ProvisioningError> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(Ipv4Addr::from(v4).into());
    }
    let v6 = <[u8; 16]>::try_from(bytes).map_err(|_| ProvisioningError::Malformed)?;
    Ok(Ipv6Addr::from(v6).into())
}

#[cfg(test)]
mod tests {
    use super::super::DIGEST_BYTES;
    use super::*;

    /// An area with a valid header for this CBOR.
    fn area(cbor: &[u8]) -> alloc::vec::Vec<u8> {
        let mut area = MAGIC.to_vec();
        area.extend_from_slice(&(cbor.len() as u32).to_le_bytes());
        area.extend_from_slice(&Sha256::digest(cbor)[..DIGEST_BYTES]);
        area.extend_from_slice(cbor);
        area
    }

    fn error(area: &[u8]) -> Option<ProvisioningError> {
        Provisioning::read(area).err()
    }

    #[test]
    fn what_is_wrong_with_an_area_is_told_apart() {
        assert_eq!(error(&[0xff; 64]), Some(ProvisioningError::Empty));
        assert_eq!(error(&[0xff; 3]), Some(ProvisioningError::Damaged));
        let mut torn = area(&[0xb6, 0, 2]);
        assert_eq!(error(&torn), Some(ProvisioningError::Malformed));
        assert_eq!(error(&area(&[0xb6, 0, 1])), Some(ProvisioningError::Version));
        assert_eq!(error(&area(&[0xa2, 0, 2, 1, 0x61, b'a'])), Some(ProvisioningError::Malformed));
        torn[25] ^= 1;
        assert_eq!(error(&torn), Some(ProvisioningError::Damaged));
    }

    #[test]
    fn a_length_beyond_the_area_is_damage() {
        let mut area = area(&[0xb6, 0, 2]);
        area[7] = 0xff;
        assert_eq!(error(&area), Some(ProvisioningError::Damaged));
    }
}
