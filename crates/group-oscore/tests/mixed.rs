//! Parts of different groups cannot be combined, and a reservation works only for its own context.
#![allow(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

use coap_wire::{Code, Message, Token, Type, Writer};
use ed25519_dalek::SigningKey;
use group_oscore::{
    AeadAlgorithm, CommonContext, Credential, ForeignReservation, Gid, GroupContext, GroupParameters,
    MemberId, MixedGroups, Mode, ProtectError, RecipientContext, ReplayWindow, SenderContext,
    SequenceNumbers, encode_ccs, oscore,
};

fn credential(seed: u8) -> Credential {
    let key = SigningKey::from_bytes(&[seed; 32]).verifying_key().to_bytes();
    let mut ccs = [0; 46];
    encode_ccs(&key, &mut ccs).unwrap();
    Credential::from_ccs(&ccs).unwrap()
}

fn parameters() -> GroupParameters<'static> {
    GroupParameters {
        gid: Gid::new(&[0xdd, 0x11]).unwrap(),
        master_secret: &[7; 16],
        master_salt: &[8; 8],
        aead: AeadAlgorithm::A128Gcm,
        group_encryption: AeadAlgorithm::A128Gcm,
        gm_credential: credential(9),
    }
}

/// Groups that each differ from the first one in one parameter.
fn others() -> [GroupParameters<'static>; 6] {
    let same = parameters();
    [
        GroupParameters { gid: Gid::new(&[0xdd, 0x12]).unwrap(), ..same.clone() },
        GroupParameters { master_secret: &[6; 16], ..same.clone() },
        GroupParameters { master_salt: &[], ..same.clone() },
        GroupParameters { aead: AeadAlgorithm::AesCcm16_64_128, ..same.clone() },
        GroupParameters { group_encryption: AeadAlgorithm::ChaCha20Poly1305, ..same.clone() },
        GroupParameters { gm_credential: credential(10), ..same },
    ]
}

fn id(number: u8) -> MemberId {
    MemberId::new(&[number]).unwrap()
}

fn sender(common: &CommonContext, number: u8) -> SenderContext {
    let numbers = SequenceNumbers::new(0, 10);
    SenderContext::derive(common, id(number), credential(number), &[number; 32], numbers).unwrap()
}

fn recipient(common: &CommonContext, number: u8) -> RecipientContext {
    RecipientContext::derive(common, id(number), credential(number), ReplayWindow::fresh()).unwrap()
}

#[test]
fn parts_of_different_groups_are_refused() {
    let common = CommonContext::derive(&parameters()).unwrap();
    for (index, parameters) in others().iter().enumerate() {
        let other = CommonContext::derive(parameters).unwrap();
        let mixed = GroupContext::new(common.clone(), sender(&other, 1), [recipient(&common, 2)]);
        assert_eq!(mixed.err(), Some(MixedGroups::Sender), "group {index}");
        let recipients = [recipient(&common, 2), recipient(&other, 3), recipient(&common, 4)];
        let mixed = GroupContext::new(common.clone(), sender(&common, 1), recipients);
        assert_eq!(mixed.err(), Some(MixedGroups::Recipient(id(3))), "group {index}");
    }
    // The same parameters make the same group, wherever it is derived.
    let again = CommonContext::derive(&parameters()).unwrap();
    assert!(GroupContext::new(again, sender(&common, 1), [recipient(&common, 2)]).is_ok());
}

#[test]
fn a_recipient_of_another_group_that_is_added_later_is_unknown() {
    let common = CommonContext::derive(&parameters()).unwrap();
    let other = CommonContext::derive(&others()[1]).unwrap();
    let mut context = GroupContext::new(common.clone(), sender(&common, 1), [recipient(&common, 2)]).unwrap();
    context.recipients_mut()[0] = recipient(&other, 2);
    let mut plain = [0; 32];
    let token = Token::new(&[1]).unwrap();
    let writer = Writer::message(&mut plain, Type::NonConfirmable, Code::GET, 1, token).unwrap();
    let length = writer.finish();
    let request = Message::parse(&plain[..length]).unwrap();
    let protected = context.protect_request(&request, Mode::Pairwise(id(2)), &mut [0; 128]);
    assert_eq!(protected.err(), Some(ProtectError::UnknownRecipient));
}

#[test]
fn a_reservation_serves_the_context_that_made_it_alone() {
    let common = CommonContext::derive(&parameters()).unwrap();
    let other = CommonContext::derive(&others()[0]).unwrap();
    let group = |common: &CommonContext, number| {
        GroupContext::new(common.clone(), sender(common, number), [recipient(common, 7)]).unwrap()
    };
    let (mut one, mut two, mut three) = (group(&common, 1), group(&common, 2), group(&other, 1));
    let reservation = one.reservation_due(10, 100).unwrap();
    assert_eq!(two.reserve(reservation), Err(ForeignReservation));
    let reservation = one.reservation_due(10, 100).unwrap();
    assert_eq!(three.reserve(reservation), Err(ForeignReservation));
    assert_eq!((two.remaining(), three.remaining()), (10, 10));
    let reservation = one.reservation_due(10, 100).unwrap();
    assert_eq!(one.reserve(reservation), Ok(()));
    assert_eq!(one.remaining(), 110);

    let mut between_two = oscore::Context::derive(
        &oscore::Parameters {
            master_secret: &[7; 16],
            master_salt: &[8; 8],
            id_context: None,
            sender_id: id(1),
            recipient_id: id(2),
            aead: AeadAlgorithm::A128Gcm,
        },
        SequenceNumbers::new(0, 10),
        ReplayWindow::fresh(),
    )
    .unwrap();
    let reservation = two.reservation_due(10, 100).unwrap();
    assert_eq!(between_two.reserve(reservation), Err(ForeignReservation));
    let reservation = between_two.reservation_due(10, 100).unwrap();
    assert_eq!(between_two.reserve(reservation), Ok(()));
}
