//! Key material as it travels: the payload of the Group Manager's answers and of a rekey (RFC 9594 sections
//! 4.3.1 and 4.8.1, section 6.3 of the profile), with our own statement of where the group is.

use crate::labels::{
    COAP_GROUP_OSCORE_APP, CRED_FMT_CCS, ECDH_PARAMS, ECDH_SS_HKDF_256, EXI_FOR_EVER,
    GROUP_OSCORE_INPUT_MATERIAL, HKDF_SHA_256, REQUESTER, SIGN_EDDSA, SIGN_PARAMS, key, parameter, place,
};
use crate::limits::{SECRET_BYTES_MAX, STALE_IDS_MAX};
use crate::message::read_map;
use core::net::{IpAddr, SocketAddr};
use group_oscore::{AeadAlgorithm, Credential, Gid, GroupParameters, MemberId};
use minicbor::Decoder;
use update_core::codec::{EncodeError, Malformed, Writer, write_into};

/// What a member needs of a group, in one generation of its keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Material<'a> {
    /// The generation: one more with every rekey.
    pub num: u32,
    /// The Gid.
    pub gid: Gid,
    /// The OSCORE Master Secret, 16 to 64 bytes.
    pub master_secret: &'a [u8],
    /// The OSCORE Master Salt, at most 64 bytes.
    pub master_salt: &'a [u8],
    /// The AEAD Algorithm, for pairwise mode.
    pub aead: AeadAlgorithm,
    /// The Group Encryption Algorithm, for group mode.
    pub group_encryption: AeadAlgorithm,
    /// The member's Sender ID.
    pub sender_id: MemberId,
    /// The distributor's Sender ID.
    pub distributor: MemberId,
    /// The distributor's authentication credential, a CCS.
    pub credential: &'a [u8],
    /// Where the group is.
    pub place: Place,
    /// Sender IDs that are no longer in use since the generation before.
    pub stale: heapless::Vec<MemberId, STALE_IDS_MAX>,
}

/// Where a group is. It changes with its keys only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Address and port of the CoAP group.
    pub coap_group: SocketAddr,
    /// The distributor's unicast address.
    pub distributor: SocketAddr,
    /// The distributor's next Sender Sequence Number: nothing below it is accepted under these keys.
    pub next: u64,
}

/// Shortest Master Secret (RFC 10021 section 2.1.5).
const SECRET_BYTES_MIN: usize = 16;

impl<'a> Material<'a> {
    /// Writes the payload; `None` when the buffer is too small.
    #[must_use]
    pub fn encode(&self, buffer: &mut [u8]) -> Option<usize> {
        write_into(buffer, |out| {
            out.map(9 + u64::from(!self.stale.is_empty()))?;
            out.i64(parameter::GKTY)?.i64(GROUP_OSCORE_INPUT_MATERIAL)?;
            out.i64(parameter::KEY)?;
            self.write_key(out)?;
            out.i64(parameter::NUM)?.u32(self.num)?;
            out.i64(parameter::PROFILE)?.i64(COAP_GROUP_OSCORE_APP)?;
            out.i64(parameter::EXI)?.u32(EXI_FOR_EVER)?;
            out.i64(parameter::CREDS)?.array(1)?.bytes(self.credential)?;
            out.i64(parameter::PEER_ROLES)?.array(1)?.i64(REQUESTER)?;
            out.i64(parameter::PEER_IDENTIFIERS)?.array(1)?.bytes(self.distributor.as_bytes())?;
            if !self.stale.is_empty() {
                out.i64(parameter::STALE_NODE_IDS)?.array(self.stale.len() as u64)?;
                self.stale.iter().try_for_each(|id| out.bytes(id.as_bytes()).map(drop))?;
            }
            out.i64(parameter::PLACE)?;
            self.place.write(out)
        })
    }

    fn write_key(&self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        out.map(12)?;
        out.i64(key::MASTER_SECRET)?.bytes(self.master_secret)?;
        out.i64(key::HKDF)?.i64(HKDF_SHA_256)?;
        out.i64(key::ALG)?.i64(self.aead.cose())?;
        out.i64(key::SALT)?.bytes(self.master_salt)?;
        out.i64(key::CONTEXT_ID)?.bytes(self.gid.as_bytes())?;
        out.i64(key::GROUP_SENDER_ID)?.bytes(self.sender_id.as_bytes())?;
        out.i64(key::CRED_FMT)?.i64(CRED_FMT_CCS)?;
        out.i64(key::GP_ENC_ALG)?.i64(self.group_encryption.cose())?;
        out.i64(key::SIGN_ALG)?.i64(SIGN_EDDSA)?;
        out.i64(key::SIGN_PARAMS)?;
        write_capabilities(SIGN_PARAMS, out)?;
        out.i64(key::ECDH_ALG)?.i64(ECDH_SS_HKDF_256)?;
        out.i64(key::ECDH_PARAMS)?;
        write_capabilities(ECDH_PARAMS, out)
    }

    /// Reads the payload.
    ///
    /// # Errors
    /// [`Malformed`]: not such a payload, or one with values that this crate does not support.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (mut kind, mut num, mut keys, mut place) = (None, None, None, None);
        let (mut credential, mut distributor) = (None, None);
        let mut stale = heapless::Vec::new();
        read_map(bytes, |label, decoder| {
            match label {
                parameter::GKTY => kind = Some(decoder.i64()?),
                parameter::KEY => keys = Some(Keys::read(decoder)?),
                parameter::NUM => num = Some(decoder.u32()?),
                parameter::CREDS => credential = Some(only(decoder)?),
                parameter::PEER_IDENTIFIERS => distributor = MemberId::new(only(decoder)?),
                parameter::STALE_NODE_IDS => read_stale(decoder, &mut stale)?,
                parameter::PLACE => place = Some(Place::read(decoder)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        if kind != Some(GROUP_OSCORE_INPUT_MATERIAL) {
            return Err(Malformed);
        }
        let keys = keys.ok_or(Malformed)?;
        let material = Self {
            num: num.ok_or(Malformed)?,
            gid: keys.gid.filter(|gid| gid.as_bytes().len() >= 2).ok_or(Malformed)?,
            master_secret: keys.master_secret.ok_or(Malformed)?,
            master_salt: keys.master_salt.unwrap_or_default(),
            aead: keys.aead.ok_or(Malformed)?,
            group_encryption: keys.group_encryption.ok_or(Malformed)?,
            sender_id: keys.sender_id.filter(|id| !id.as_bytes().is_empty()).ok_or(Malformed)?,
            distributor: distributor.ok_or(Malformed)?,
            credential: credential.ok_or(Malformed)?,
            place: place.ok_or(Malformed)?,
            stale,
        };
        let lengths = SECRET_BYTES_MIN..=SECRET_BYTES_MAX;
        let fits = lengths.contains(&material.master_secret.len())
            && material.master_salt.len() <= SECRET_BYTES_MAX
            && material.sender_id != material.distributor;
        fits.then_some(material).ok_or(Malformed)
    }

    /// What the group's Common Context is derived from. `manager` is the Group Manager's credential.
    #[must_use]
    pub const fn parameters(&self, manager: Credential) -> GroupParameters<'a> {
        GroupParameters {
            gid: self.gid,
            master_secret: self.master_secret,
            master_salt: self.master_salt,
            aead: self.aead,
            group_encryption: self.group_encryption,
            gm_credential: manager,
        }
    }
}

impl core::fmt::Debug for Material<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut out = f.debug_struct("Material");
        out.field("num", &self.num).field("gid", &self.gid).field("sender_id", &self.sender_id);
        out.field("place", &self.place).finish_non_exhaustive()
    }
}

/// The content of `key`.
#[derive(Default)]
struct Keys<'a> {
    gid: Option<Gid>,
    master_secret: Option<&'a [u8]>,
    master_salt: Option<&'a [u8]>,
    aead: Option<AeadAlgorithm>,
    group_encryption: Option<AeadAlgorithm>,
    sender_id: Option<MemberId>,
}

impl<'a> Keys<'a> {
    fn read(decoder: &mut Decoder<'a>) -> Result<Self, Malformed> {
        let mut keys = Self::default();
        crate::message::read_entries(decoder, |label, decoder| {
            match label {
                key::MASTER_SECRET => keys.master_secret = Some(decoder.bytes()?),
                key::ALG => keys.aead = AeadAlgorithm::from_cose(decoder.i64()?),
                key::SALT => keys.master_salt = Some(decoder.bytes()?),
                key::CONTEXT_ID => keys.gid = Gid::new(decoder.bytes()?),
                key::GROUP_SENDER_ID => keys.sender_id = MemberId::new(decoder.bytes()?),
                key::GP_ENC_ALG => keys.group_encryption = AeadAlgorithm::from_cose(decoder.i64()?),
                key::HKDF => known(decoder.i64()?, HKDF_SHA_256)?,
                key::CRED_FMT => known(decoder.i64()?, CRED_FMT_CCS)?,
                key::SIGN_ALG => known(decoder.i64()?, SIGN_EDDSA)?,
                key::ECDH_ALG => known(decoder.i64()?, ECDH_SS_HKDF_256)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(keys)
    }
}

impl Place {
    fn write(&self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        out.map(3)?.i64(place::COAP_GROUP)?;
        write_address(self.coap_group, out)?;
        out.i64(place::DISTRIBUTOR)?;
        write_address(self.distributor, out)?;
        out.i64(place::NEXT)?.u64(self.next).map(drop)
    }

    fn read(decoder: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let (mut coap_group, mut distributor, mut next) = (None, None, 0);
        crate::message::read_entries(decoder, |label, decoder| {
            match label {
                place::COAP_GROUP => coap_group = Some(read_address(decoder)?),
                place::DISTRIBUTOR => distributor = Some(read_address(decoder)?),
                place::NEXT => next = decoder.u64()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let (coap_group, distributor) = (coap_group.ok_or(Malformed)?, distributor.ok_or(Malformed)?);
        let fits = coap_group.ip().is_multicast()
            && coap_group.is_ipv4() == distributor.is_ipv4()
            && !distributor.ip().is_multicast()
            && next <= group_oscore::limits::SEQUENCE_NUMBER_MAX;
        fits.then_some(Self { coap_group, distributor, next }).ok_or(Malformed)
    }
}

fn write_address(address: SocketAddr, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    let mut bytes = heapless::Vec::<u8, 18>::new();
    // At most 16 and 2 bytes.
    let _ = match address.ip() {
        IpAddr::V4(ip) => bytes.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => bytes.extend_from_slice(&ip.octets()),
    };
    let _ = bytes.extend_from_slice(&address.port().to_be_bytes());
    out.bytes(&bytes).map(drop)
}

fn read_address(decoder: &mut Decoder<'_>) -> Result<SocketAddr, Malformed> {
    let bytes = decoder.bytes()?;
    let (ip, port) = bytes.split_last_chunk::<2>().ok_or(Malformed)?;
    let ip: IpAddr = match <[u8; 4]>::try_from(ip) {
        Ok(ip) => ip.into(),
        Err(_) => <[u8; 16]>::try_from(ip).map_err(|_| Malformed)?.into(),
    };
    match u16::from_be_bytes(*port) {
        0 => Err(Malformed),
        port => Ok(SocketAddr::new(ip, port)),
    }
}

fn write_capabilities(capabilities: [&[i64]; 2], out: &mut Writer<'_>) -> Result<(), EncodeError> {
    out.array(2)?;
    for values in capabilities {
        out.array(values.len() as u64)?;
        values.iter().try_for_each(|value| out.i64(*value).map(drop))?;
    }
    Ok(())
}

fn known(value: i64, supported: i64) -> Result<(), Malformed> {
    if value == supported { Ok(()) } else { Err(Malformed) }
}

/// The only byte string of an array: the distributor is the only other member that an agent knows.
fn only<'a>(decoder: &mut Decoder<'a>) -> Result<&'a [u8], Malformed> {
    if decoder.array()? == Some(1) { Ok(decoder.bytes()?) } else { Err(Malformed) }
}

fn read_stale(
    decoder: &mut Decoder<'_>,
    stale: &mut heapless::Vec<MemberId, STALE_IDS_MAX>,
) -> Result<(), Malformed> {
    for _ in 0..decoder.array()?.ok_or(Malformed)? {
        let id = MemberId::new(decoder.bytes()?).ok_or(Malformed)?;
        stale.push(id).map_err(|_| Malformed)?;
    }
    Ok(())
}
