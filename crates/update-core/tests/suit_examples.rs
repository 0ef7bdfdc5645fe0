//! The examples of draft-ietf-suit-manifest-37 appendix B, signed with ES256.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use update_core::digest::Digest;
use update_core::es256::Es256Key;
use update_core::key_set::KeySet;
use update_core::suit::{Part, SuitError, verify};
use update_core::suit_inspect::inspect_unverified;

/// Appendix B: "can be used to verify these examples".
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEhJaBGq4LqqvSYVcYnuzaJr6qi/Eb
bz/m4rVlnIXbwK07HypLbAmBMcCjbazR14vTgdzfsJwFLbM5kdtzOLSolg==
-----END PUBLIC KEY-----
";

/// Example 0: secure boot.
const EXAMPLE_0: &str = "
d86ba2025873825824822f58206658ea560262696dd1f13b782239a064da7c6c5cbaf52fded428a6fc83c7e5af584ad28443
a10126a0f65840408d0816f9b510749bf6a51b066951e08a4438f849eb092a1ac768eed9de696c1b1dd35d82ef149e6a73a6
1976ad2cfe78444b8064293350a122f332cb49f0da035871a50101020003585fa202818141000458568614a40150fa6b4a53
d5ad5fdfbe9de663e4d41ffe02501492af1425695e48bf429b2d51f2ab45035824822f582000112233445566778899aabbcc
ddeeff0123456789abcdeffedcba98765432100e1987d0010f020f074382030f0943821702
";

/// Example 1: download, installation, secure boot.
const EXAMPLE_1: &str = "
d86ba2025873825824822f58201f2e7acca0dc2786f2fe4eb947f50873a6a3cfaa98866c5b02e621f42074daf2584ad28443
a10126a0f6584027a3d7986eddcc1bee04e1436746408c308ed3c15ac590a1ca0cf96f85671ccac216cb9a1497fc59e21c15
f33c95cf75203e25c287b31a57d6cd2ef950b27a7a035894a50101020103585fa202818141000458568614a40150fa6b4a53
d5ad5fdfbe9de663e4d41ffe02501492af1425695e48bf429b2d51f2ab45035824822f582000112233445566778899aabbcc
ddeeff0123456789abcdeffedcba98765432100e1987d0010f020f074382030f1458258614a115781b687474703a2f2f6578
616d706c652e636f6d2f66696c652e62696e1502030f
";

/// Example 2: the same with severable elements, here without them.
const EXAMPLE_2: &str = "
d86ba2025873825824822f58206a5197ed8f9dccf733d1c89a359441708e070b4c6dcb9a1c2c82c6165f609b90584ad28443
a10126a0f65840073d8d80ca67d61cdf04d813c748b2de98fe786fc67b764431307c8dbcbe91dc6f762c2c4d7bb998ff9ead
4798e03c8ee26b89ef7a9ad4569f6e187ce89e16c50358d1a80101020203585fa202818141000458568614a40150fa6b4a53
d5ad5fdfbe9de663e4d41ffe02501492af1425695e48bf429b2d51f2ab45035824822f582000112233445566778899aabbcc
ddeeff0123456789abcdeffedcba98765432100e1987d0010f020f047468747470733a2f2f6769742e696f2f4a4a596f6a07
4382030f094382170214822f5820cfa90c5c58595e7f5119a72f803fd0370b3e6abbec6315cd38f63135281bc49817822f58
20302196d452bce5e8bfeaf71e395645ede6d365e63507a081379721eeecf00007
";

/// Example 3: A/B images.
const EXAMPLE_3: &str = "
d86ba2025873825824822f5820f6d44a62ec906b392500c242e78e908e9cc5057f3f04104a06a8566200da2ee0584ad28443
a10126a0f658400bbf7058c1a79dff23c7755d36aae5c6cc1aacb818f456e2e03f2664c369b9c6700931a52f1f8d808aa4a8
e5220d479c9661d2bce0a44974004325001e3b1abb0359010fa5010102030358a4a2028181410004589b8814a20150fa6b4a
53d5ad5fdfbe9de663e4d41ffe02501492af1425695e48bf429b2d51f2ab450f8258348614a10500050514a2035824822f58
2000112233445566778899aabbccddeeff0123456789abcdeffedcba98765432100e1987d058368614a10501050514a20358
24822f58200123456789abcdeffedcba987654321000112233445566778899aabbccddeeff0e1a00012c22010f020f074382
030f14585b860f8258288614a10500050514a115781c687474703a2f2f6578616d706c652e636f6d2f66696c65312e62696e
58288614a10501050514a115781c687474703a2f2f6578616d706c652e636f6d2f66696c65322e62696e1502030f
";

/// Example 5: two images.
const EXAMPLE_5: &str = "
d86ba2025873825824822f582015ce60f77657e4531dc329155f8b0ed78f94bdc6d165b2665473693dcc34f470584ad28443
a10126a0f6584053505bf2b1aba7f3c3e142d6c02350daf95331a8942e77d7378c6670285638e0fe460fe7cebcbe242b14e7
ac1a4482cf500136a2568a92a803f614d5f87ef7a703590101a601010205035895a202828141008141010458898c0c0014a4
0150fa6b4a53d5ad5fdfbe9de663e4d41ffe02501492af1425695e48bf429b2d51f2ab45035824822f582000112233445566
778899aabbccddeeff0123456789abcdeffedcba98765432100e1987d0010f020f0c0114a2035824822f58200123456789ab
cdeffedcba987654321000112233445566778899aabbccddeeff0e1a00012c220749880c00030f0c01030f0945840c001702
14584f900c0014a115781c687474703a2f2f6578616d706c652e636f6d2f66696c65312e62696e1502030f0c0114a115781c
687474703a2f2f6578616d706c652e636f6d2f66696c65322e62696e1502030f
";

fn envelope(hex_lines: &str) -> Vec<u8> {
    let digits: String = hex_lines.split_whitespace().collect();
    hex::decode(digits).unwrap()
}

fn key() -> Es256Key {
    Es256Key::from_pem(PUBLIC_KEY).unwrap()
}

fn digest(hex: &str) -> Digest {
    Digest(hex::decode(hex).unwrap().try_into().unwrap())
}

#[test]
fn digests_and_signatures_of_the_examples_verify() {
    let expected = [
        (EXAMPLE_0, "6658ea560262696dd1f13b782239a064da7c6c5cbaf52fded428a6fc83c7e5af"),
        (EXAMPLE_1, "1f2e7acca0dc2786f2fe4eb947f50873a6a3cfaa98866c5b02e621f42074daf2"),
        (EXAMPLE_3, "f6d44a62ec906b392500c242e78e908e9cc5057f3f04104a06a8566200da2ee0"),
        (EXAMPLE_5, "15ce60f77657e4531dc329155f8b0ed78f94bdc6d165b2665473693dcc34f470"),
    ];
    for (example, hex) in expected {
        assert_eq!(key().authenticate(&envelope(example)), Ok(digest(hex)));
    }
}

#[test]
fn a_compressed_point_is_the_same_key() {
    let point = hex::decode("028496811aae0baaabd26157189eecda26beaa8bf11b6f3fe6e2b5659c85dbc0ad").unwrap();
    assert_eq!(Es256Key::from_sec1(&point), Some(key()));
    assert_eq!(Es256Key::from_sec1(&point[1..]), None);
    assert_eq!(Es256Key::from_pem("no key"), None);
}

#[test]
fn every_flipped_bit_of_an_example_is_refused() {
    let example = envelope(EXAMPLE_1);
    for bit in 0..example.len() * 8 {
        let mut flipped = example.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(key().authenticate(&flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn another_key_did_not_sign_the_examples() {
    // The base point of the curve: a valid public key.
    let base = "036b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296";
    let other = Es256Key::from_sec1(&hex::decode(base).unwrap()).unwrap();
    assert_eq!(other.authenticate(&envelope(EXAMPLE_1)), Err(SuitError::BadSignature));
}

#[test]
fn genuine_examples_are_no_offers() {
    assert_eq!(key().verify(&envelope(EXAMPLE_0)), Err(SuitError::NotAnOffer));
    assert_eq!(key().verify(&envelope(EXAMPLE_1)), Err(SuitError::NotAnOffer));
    assert_eq!(key().verify(&envelope(EXAMPLE_5)), Err(SuitError::NotAnOffer));
    // Try-each, A/B slots.
    assert_eq!(key().verify(&envelope(EXAMPLE_3)), Err(SuitError::NotAnOffer));
    // Text, severed: not for devices.
    let unsupported = SuitError::UnsupportedMember { part: Part::Manifest, key: 4 };
    assert_eq!(key().verify(&envelope(EXAMPLE_2)), Err(unsupported));
}

#[test]
fn devices_accept_no_ecdsa() {
    let keys = KeySet::new(1, &[ed25519_dalek::SigningKey::from_bytes(&[1; 32]).verifying_key().to_bytes()]);
    let refused = Err(SuitError::UnknownAlgorithm { algorithm: -7 });
    assert_eq!(verify(&envelope(EXAMPLE_1), &keys.unwrap()), refused);
}

#[test]
fn examples_can_be_inspected() {
    let inspection = inspect_unverified(&envelope(EXAMPLE_1)).unwrap();
    assert_eq!((inspection.algorithm, inspection.sequence_number), (Some(-7), 1));
    let [image] = &inspection.components[..] else { panic!("one component") };
    assert_eq!(image.identifier, [[0]]);
    assert_eq!(hex::encode(image.vendor.unwrap()), "fa6b4a53d5ad5fdfbe9de663e4d41ffe");
    assert_eq!(hex::encode(image.class.unwrap()), "1492af1425695e48bf429b2d51f2ab45");
    assert_eq!(image.image_size, Some(34_768));
    assert_eq!(image.uri.as_deref(), Some("http://example.com/file.bin"));
    assert_eq!(inspection.offer, Err(SuitError::NotAnOffer));

    let inspection = inspect_unverified(&envelope(EXAMPLE_5)).unwrap();
    assert_eq!(inspection.components[1].image_size, Some(76_834));
    assert_eq!(inspection.components[1].uri.as_deref(), Some("http://example.com/file2.bin"));

    assert!(inspect_unverified(&envelope(EXAMPLE_0)).is_ok(), "with an invoke sequence");
    let try_each = Err(SuitError::UnsupportedCommand { command: 15 });
    assert_eq!(inspect_unverified(&envelope(EXAMPLE_3)).map(|_| ()), try_each);
}
