//! A microcontroller reads what `fwcast agent enroll --format cbor` writes, and distinguishes everything that
//! can be wrong with its area.
#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

use agent_embedded::provisioning::{
    HEADER_BYTES, MAGIC, PROVISIONING_BYTES_MAX, Provisioning, ProvisioningError,
};
use coap_wire::{Code, Message, Token, Type, Writer};
use group_manager::Counted;
use group_oscore::{
    CommonContext, Credential, GroupContext, MemberId, Mode, Received, RecipientContext, SenderContext,
    SequenceNumbers,
};
use provisioning::Provisioning as Document;
use provisioning::cbor::{HEALTH_SECONDS_MAX, Health, McuSettings, Recovery};
use provisioning::testing::{DISTRIBUTOR_SEED, enrolled};
use sha2::{Digest as _, Sha256};
use update_core::record::CounterBounds;

/// COSE numbers of the algorithms that a group can have.
const ALGORITHMS: [i32; 3] = [1, 10, 24];

fn document(aead: i32, group_encryption: i32) -> Document {
    let mut document = enrolled("[ff15::f00d]:5683".parse().unwrap(), "[fd77::1]:5690".parse().unwrap());
    document.block_size = 512;
    (document.key.alg, document.key.gp_enc_alg) = (aead, group_encryption);
    document.num = 3;
    document
}

fn settings() -> McuSettings {
    McuSettings {
        address: "fd77::7".parse().unwrap(),
        prefix_bits: 64,
        router: Some("fe80::1".parse().unwrap()),
        health: Health::DEFAULT,
        recovery: Recovery::Previous,
    }
}

fn area(document: &Document) -> Vec<u8> {
    let mut area = document.to_flash(&settings(), &[0xc1; 32]).unwrap().to_vec();
    assert!(area.len() <= PROVISIONING_BYTES_MAX);
    area.resize(4096, 0xff);
    area
}

/// The area of an agent with this CBOR and a matching header.
fn sealed(cbor: &[u8]) -> Vec<u8> {
    let mut area = MAGIC.to_vec();
    area.extend_from_slice(&(cbor.len() as u32).to_le_bytes());
    area.extend_from_slice(&Sha256::digest(cbor)[..16]);
    area.extend_from_slice(cbor);
    area.resize(4096, 0xff);
    area
}

fn cbor(document: &Document) -> Vec<u8> {
    document.to_flash(&settings(), &[0xc1; 32]).unwrap()[HEADER_BYTES..].to_vec()
}

fn error(area: &[u8]) -> ProvisioningError {
    Provisioning::read(area).err().unwrap()
}

#[test]
fn what_is_written_is_read() {
    for aead in ALGORITHMS {
        for group_encryption in ALGORITHMS {
            let document = document(aead, group_encryption);
            document.check().unwrap();
            let area = area(&document);
            let read = Provisioning::read(&area).unwrap();
            assert_eq!(read.name, "lamp-1");
            assert_eq!(read.vendor, *document.vendor.as_bytes());
            assert_eq!(read.class, *document.class.as_bytes());
            assert_eq!((read.coap_group, read.block_size.bytes()), (document.coap_group, 512));
            let own = settings();
            assert_eq!((read.own.address, read.own.prefix_bits), (own.address, own.prefix_bits));
            assert_eq!(read.own.router, own.router);
            assert_eq!(read.distributor.as_bytes(), [0]);
            assert_eq!(read.distributor_address, document.distributor.address);
            assert_eq!(read.root_key, *document.root_key.as_bytes());
            assert_eq!(read.signed_key_set, document.key_set.as_bytes());
            assert_eq!(read.gid().as_bytes(), [1, 2, 3, 4]);
            assert_eq!(hears(&document, &read), b"a block");
        }
    }
}

#[test]
fn both_kinds_of_agents_read_the_same_enrolment() {
    for address in [None, Some("[fd00::1]:5689".parse().unwrap())] {
        let mut document = document(10, 1);
        document.manager.address = address;
        document.num = 7;
        let (checked, area) = (document.check().unwrap(), area(&document));
        let (linux, mcu) = (checked.enrollment(), Provisioning::read(&area).unwrap());
        let mcu = mcu.enrollment();
        assert_eq!(linux.keys, mcu.keys);
        assert_eq!((linux.manager, linux.group, linux.node), (address, "hall", "lamp-1"));
        assert_eq!((mcu.manager, mcu.group, mcu.node), (address, "hall", "lamp-1"));
        let (one, other) = (linux.individual, mcu.individual);
        assert_eq!((one.master_secret, one.master_salt), (other.master_secret, other.master_salt));
        assert_eq!((one.sender_id, one.recipient_id), (other.sender_id, other.recipient_id));
        assert_eq!((one.aead, one.id_context.is_none()), (other.aead, other.id_context.is_none()));
    }
}

/// What the agent reads in a group message that the distributor has protected with the keys of the document.
/// It fails if a key, a salt, an identifier or an algorithm differs.
fn hears(document: &Document, read: &Provisioning<'_>) -> Vec<u8> {
    let common = CommonContext::derive(&document.check().unwrap().group_parameters()).unwrap();
    let credential = Credential::from_ccs(document.distributor.cred.as_bytes()).unwrap();
    let id = MemberId::new(&[0]).unwrap();
    let numbers = SequenceNumbers::new(0, 9);
    let sender = SenderContext::derive(&common, id, credential, &DISTRIBUTOR_SEED, numbers).unwrap();
    let mut distributor = GroupContext::<[RecipientContext; 0]>::new(common, sender, []).unwrap();
    let mut plain = [0; 64];
    let token = Token::new(&[7]).unwrap();
    let mut writer = Writer::message(&mut plain, Type::NonConfirmable, Code::PUT, 1, token).unwrap();
    writer.payload(b"a block").unwrap();
    let length = writer.finish();
    let mut datagram = [0; 256];
    let message = Message::parse(&plain[..length]).unwrap();
    let (length, _) = distributor.protect_request(&message, Mode::Group, &mut datagram).unwrap();
    let mut agent = read.identity().unwrap().context_of(&read.enrollment().keys, Counted::Unused).unwrap();
    match agent.unprotect_request(&mut datagram[..length]) {
        Ok(Received::Fresh(verified)) => verified.body().payload().to_vec(),
        _ => panic!("the agent does not understand the distributor"),
    }
}

#[test]
fn the_rule_of_health_is_read_and_may_be_left_out() {
    let document = document(1, 1);
    let written = |health| document.to_flash(&McuSettings { health, ..settings() }, &[0xc1; 32]);
    let read = |area: &[u8]| Provisioning::read(area).map(|read| read.health);
    // As an earlier program writes and reads it.
    assert_eq!(read(&area(&document)), Ok(Health::DEFAULT));
    assert_eq!(cbor(&document)[0], 0xb6, "a map of 22");
    for hears_distributor in [true, false] {
        for within_seconds in [1, 61, 3600, HEALTH_SECONDS_MAX] {
            let health = Health { within_seconds, hears_distributor };
            let area = written(health).unwrap();
            assert_eq!(read(&area), Ok(health));
            assert!(Provisioning::read_boot(&area).is_ok());
        }
    }
    for within_seconds in [0, HEALTH_SECONDS_MAX + 1] {
        let health = Health { within_seconds, hears_distributor: true };
        assert!(written(health).is_none());
        let mut cbor = cbor(&document);
        cbor[0] += 1;
        cbor.extend([22, 0x82, 0x1a]);
        cbor.extend(within_seconds.to_be_bytes());
        cbor.push(0xf5);
        assert_eq!(read(&sealed(&cbor)), Err(ProvisioningError::Malformed));
    }
    let mut surplus = written(Health { within_seconds: 61, hears_distributor: true }).unwrap().to_vec();
    // A map of 24, with one key that no version defines.
    surplus.splice(..=HEADER_BYTES, [0xb8, 24]);
    surplus.extend([0x18, 25, 0]);
    assert_eq!(read(&sealed(&surplus)), Err(ProvisioningError::Malformed));
}

#[test]
fn nothing_is_accepted_from_before_the_enrolment() {
    let mut document = document(1, 1);
    document.distributor.next = 1 << 33;
    let area = area(&document);
    let read = Provisioning::read(&area).unwrap();
    assert_eq!(read.distributor_next, 1 << 33);
    assert!(Provisioning::read_boot(&area).is_ok());
    let floor = |floor: Option<u64>| {
        let known = floor.map(|floor| CounterBounds { gid: read.gid(), reserved_end: 7, floor });
        let counted = known.map_or(Counted::Unused, Counted::Known);
        let context = read.identity().unwrap().context_of(&read.enrollment().keys, counted).unwrap();
        context.recipients().first().unwrap().window().floor()
    };
    assert_eq!(floor(None), Some(1 << 33));
    assert_eq!(floor(Some(100)), Some(1 << 33), "the same device, enrolled again");
    assert_eq!(floor(Some(1 << 34)), Some(1 << 34));
    let mut cbor = cbor(&document);
    let last = cbor.len() - 8;
    cbor[last..].copy_from_slice(&(1u64 << 40).to_be_bytes());
    assert_eq!(error(&sealed(&cbor)), ProvisioningError::Malformed);
}

#[test]
fn what_may_run_instead_of_a_damaged_image_is_read_and_may_be_left_out() {
    let document = document(1, 1);
    let written = |health, recovery| {
        let area = document.to_flash(&McuSettings { health, recovery, ..settings() }, &[0xc1; 32]).unwrap();
        assert!(Provisioning::read(&area).is_ok());
        area
    };
    let other_health = Health { within_seconds: 61, hears_distributor: true };
    for recovery in [Recovery::Previous, Recovery::None] {
        for health in [Health::DEFAULT, other_health] {
            let area = written(health, recovery);
            assert_eq!(Provisioning::read(&area).unwrap().health, health);
            let given = Provisioning::read_boot(&area).unwrap();
            assert_eq!(given.recovery, recovery);
            assert_eq!(given.root_key, *document.root_key.as_bytes());
            assert_eq!(given.signed_key_set, document.key_set.as_bytes());
        }
    }
    // Without the key, as an earlier program writes it; and with anything but the two values.
    assert_eq!(
        *written(Health::DEFAULT, Recovery::Previous),
        area(&document)[..cbor(&document).len() + HEADER_BYTES]
    );
    for code in [2, 3, 0x20] {
        let mut cbor = cbor(&document);
        cbor[0] += 1;
        cbor.extend([23, code]);
        assert_eq!(Provisioning::read_boot(&sealed(&cbor)).err(), Some(ProvisioningError::Malformed));
        assert_eq!(error(&sealed(&cbor)), ProvisioningError::Malformed);
    }
}

#[test]
fn what_is_wrong_with_an_area_is_told_apart() {
    let good = document(1, 1);
    assert_eq!(error(&[0xff; 4096]), ProvisioningError::Empty);
    let whole = area(&good);
    let length = HEADER_BYTES + cbor(&good).len();
    for written in 1..length {
        let mut torn = whole.clone();
        torn[written..].fill(0xff);
        assert_eq!(error(&torn), ProvisioningError::Damaged, "torn at {written}");
    }
    for at in 0..length {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        assert_eq!(error(&damaged), ProvisioningError::Damaged, "damaged at {at}");
    }
    for version in [0, 1, 3] {
        let mut other = cbor(&good);
        assert_eq!(other[..3], [0xb6, 0, 2], "a map of 22, and its version");
        other[2] = version;
        assert_eq!(error(&sealed(&other)), ProvisioningError::Version);
    }
}

#[test]
fn addresses_that_cannot_be_used_are_told_apart() {
    let good = document(1, 1);
    let elsewhere = Document { coap_group: "[fd77::f00d]:5683".parse().unwrap(), ..document(1, 1) };
    assert_eq!(error(&area(&elsewhere)), ProvisioningError::NotMulticast);
    let mixed = Document { coap_group: "239.192.0.1:5683".parse().unwrap(), ..good };
    assert_eq!(error(&area(&mixed)), ProvisioningError::AddressFamilies);
}

#[test]
fn every_reason_is_one_line() {
    use ProvisioningError as Error;
    let all = [Error::Empty, Error::Damaged, Error::Version, Error::Malformed, Error::NotMulticast];
    for error in all.into_iter().chain([Error::AddressFamilies, Error::KeySet, Error::Group]) {
        let text = error.text();
        assert!(!text.is_empty() && text.len() <= 110 && !text.contains('\n'), "{text}");
    }
}
