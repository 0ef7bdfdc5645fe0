//! Writing the format for a microcontroller's flash.

use alloc::vec::Vec;
use core::convert::Infallible;
use core::net::{IpAddr, SocketAddr};

use minicbor::Encoder;
use minicbor::encode::Error;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{DIGEST_BYTES, FIELDS, HEALTH, Health, MAGIC, NEXT, RECOVERY, Recovery, VERSION};
use crate::document::Provisioning;

/// Settings only for microcontrollers: no operating system tells them about their network.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct McuSettings {
    /// Its own address.
    pub address: IpAddr,
    /// The prefix length of its network in bits.
    pub prefix_bits: u8,
    /// The router, if there is one.
    pub router: Option<IpAddr>,
    /// When an image on trial is healthy.
    pub health: Health,
    /// What may run if the confirmed image is damaged.
    pub recovery: Recovery,
}

impl Provisioning {
    /// The bytes for the device's provisioning area, with its secrets. `seed` is random and unique to the
    /// device.
    ///
    /// `None` if the document has an algorithm without a COSE number, which [`Provisioning::check`] detects,
    /// or if the time in `settings.health` is out of range.
    #[must_use]
    pub fn to_flash(&self, settings: &McuSettings, seed: &[u8; 32]) -> Option<Zeroizing<Vec<u8>>> {
        if !settings.health.is_valid() {
            return None;
        }
        let mut cbor = Zeroizing::new(Vec::new());
        self.encode(&mut Encoder::new(&mut *cbor), settings, seed).ok()?;
        let mut area = Zeroizing::new(MAGIC.to_vec());
        area.extend_from_slice(&u32::try_from(cbor.len()).ok()?.to_le_bytes());
        area.extend_from_slice(Sha256::digest(&*cbor).get(..DIGEST_BYTES)?);
        area.extend_from_slice(&cbor);
        Some(area)
    }

    fn encode(
        &self,
        out: &mut Encoder<&mut Vec<u8>>,
        settings: &McuSettings,
        seed: &[u8; 32],
    ) -> Result<(), Error<Infallible>> {
        let key = &self.key;
        // Left out if it is the default, so that older programs can read the rest.
        let health = Some(settings.health).filter(|health| *health != Health::DEFAULT);
        let recovery = Some(settings.recovery).filter(|recovery| *recovery != Recovery::default());
        let next = Some(self.distributor.next).filter(|next| *next > 0);
        let optional = [health.is_some(), recovery.is_some(), next.is_some()].map(u64::from);
        out.map(FIELDS + optional.iter().sum::<u64>())?
            .u64(0)?
            .u32(VERSION)?
            .u64(1)?
            .str(self.name.as_str())?;
        out.u64(2)?.bytes(self.vendor.as_bytes())?.u64(3)?.bytes(self.class.as_bytes())?;
        socket_address(out.u64(4)?, self.coap_group)?;
        out.u64(5)?.u16(self.block_size)?.u64(6)?.bytes(key.context_id.as_bytes())?;
        out.u64(7)?.bytes(key.ms.expose())?.u64(8)?.bytes(key.salt.expose())?;
        out.u64(9)?.i32(key.alg)?.u64(10)?.i32(key.gp_enc_alg)?;
        out.u64(11)?.bytes(key.group_sender_id.as_bytes())?.u64(12)?.bytes(self.private_key.expose())?;
        out.u64(13)?.bytes(self.cred.as_bytes())?.u64(14)?.bytes(self.kdc_cred.as_bytes())?;
        let distributor = &self.distributor;
        out.u64(15)?.array(3)?.bytes(distributor.sender_id.as_bytes())?.bytes(distributor.cred.as_bytes())?;
        socket_address(out, distributor.address)?;
        out.u64(16)?.bytes(self.root_key.as_bytes())?.u64(17)?.bytes(self.key_set.as_bytes())?;
        out.u64(18)?.bytes(seed)?;
        ip(out.u64(19)?.array(3)?, settings.address)?;
        out.u8(settings.prefix_bits)?;
        match settings.router {
            Some(router) => ip(out, router)?,
            None => drop(out.bytes(&[])?),
        }
        out.u64(20)?.u32(self.num)?.u64(21)?.array(7)?;
        let manager = &self.manager;
        match manager.address {
            Some(address) => socket_address(out, address)?,
            None => drop(out.null()?),
        }
        out.bytes(manager.ms.expose())?.bytes(manager.salt.expose())?.i32(manager.alg)?;
        out.bytes(manager.sender_id.as_bytes())?.bytes(manager.recipient_id.as_bytes())?;
        out.str(self.group.as_str())?;
        if let Some(Health { within_seconds, hears_distributor }) = health {
            out.u64(HEALTH)?.array(2)?.u32(within_seconds)?.bool(hears_distributor)?;
        }
        if let Some(recovery) = recovery {
            out.u64(RECOVERY)?.u8(recovery.code())?;
        }
        if let Some(next) = next {
            out.u64(NEXT)?.u64(next)?;
        }
        Ok(())
    }
}

fn socket_address(out: &mut Encoder<&mut Vec<u8>>, address: SocketAddr) -> Result<(), Error<Infallible>> {
    ip(out.array(2)?, address.ip())?;
    out.u16(address.port())?;
    Ok(())
}

fn ip(out: &mut Encoder<&mut Vec<u8>>, address: IpAddr) -> Result<(), Error<Infallible>> {
    match address {
        IpAddr::V4(v4) => out.bytes(&v4.octets())?,
        IpAddr::V6(v6) => out.bytes(&v6.octets())?,
    };
    Ok(())
}
