//! Arbitrary bytes, and messages broken in one place: nothing panics, and what parses is written again
//! unchanged.

use coap_wire::{Block, Body, Message, NoResponse, Opt, Writer};
use proptest::prelude::*;

fn rewritten(message: &Message<'_>) -> Vec<u8> {
    let mut buffer = vec![0; 4096];
    let mut writer = Writer::copy_of(&mut buffer, message).expect("room enough");
    writer.payload(message.payload()).expect("room enough");
    let length = writer.finish();
    buffer.truncate(length);
    buffer
}

fn look_everywhere(datagram: &[u8]) {
    let _ = Body::parse_plaintext(datagram);
    let _ = (Block::parse(datagram), NoResponse::parse(datagram));
    let Ok(message) = Message::parse(datagram) else {
        return;
    };
    assert_eq!(rewritten(&message), datagram);
    assert_eq!(&datagram[message.payload_range()], message.payload());
    let numbers: Vec<u16> = message.options().map(|opt| opt.number).collect();
    assert!(numbers.is_sorted());
    for number in numbers {
        assert!(message.option(number).is_some());
    }
    let _ = message.uri_path().count();
    let _ = (message.body().unknown_critical(&[]), format!("{message:?}"));
}

/// A message with options of every encoding of delta and length.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    let options = prop::collection::vec((0_u16..700, prop::collection::vec(any::<u8>(), 0..300)), 0..5);
    (0_u8..9, 1_u8.., any::<u16>(), options, prop::collection::vec(any::<u8>(), 0..40)).prop_map(
        |(token_length, code, message_id, mut options, payload)| {
            options.sort_by_key(|(number, _)| *number);
            let mut datagram = vec![0x50 | token_length, code];
            datagram.extend(message_id.to_be_bytes());
            datagram.extend(vec![0xa5; token_length.into()]);
            let mut buffer = vec![0; 4096];
            let (header, _) = datagram.split_at(datagram.len());
            let header = Message::parse(header).expect("a header alone is a message");
            let mut writer = Writer::copy_of(&mut buffer, &header).expect("room enough");
            let options = options.iter().map(|(number, value)| Opt { number: *number, value });
            writer.options(options).expect("in order").payload(&payload).expect("room enough");
            let length = writer.finish();
            buffer.truncate(length);
            buffer
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(datagram in prop::collection::vec(any::<u8>(), 0..64)) {
        look_everywhere(&datagram);
    }

    #[test]
    fn arbitrary_options_never_panic(
        rest in prop::collection::vec(prop_oneof![any::<u8>(), Just(0xff), Just(0xdd), 0_u8..4], 0..40),
    ) {
        let mut datagram = vec![0x50, 0x01, 0, 0];
        datagram.extend(rest);
        look_everywhere(&datagram);
    }

    #[test]
    fn messages_come_back_and_broken_ones_never_panic(
        datagram in messages(),
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        prop_assert!(Message::parse(&datagram).is_ok());
        look_everywhere(&datagram);
        let mut broken = datagram.clone();
        broken[at.index(datagram.len())] ^= 1_u8 << bit;
        look_everywhere(&broken);
        look_everywhere(&datagram[..at.index(datagram.len())]);
    }
}
