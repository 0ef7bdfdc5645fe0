//! The secrets of an enrolled microcontroller, and whether one of them was printed.

use anyhow::{Context, Result};
use base64ct::{Base64UrlUnpadded, Encoding as _};
use minicbor::Decoder;

/// Keys of the provisioning map whose values are secret: Master Secret, private key, random seed.
const SECRET_KEYS: [u64; 3] = [7, 12, 18];
/// The key whose array contains the Master Secret shared with the Group Manager, after an address.
const MANAGER_KEY: u64 = 21;
/// This many bytes of a secret reveal it.
const PART_BYTES: usize = 6;

/// The secrets in the file that `fwcast agent enroll --format cbor` wrote; `header` bytes come before its
/// CBOR.
///
/// # Errors
/// It is not such a file.
pub fn of(file: &[u8], header: usize) -> Result<Vec<Vec<u8>>> {
    let cbor = file.get(header..).context("the file is too short")?;
    let mut decoder = Decoder::new(cbor);
    let mut secrets = Vec::new();
    for _ in 0..decoder.map()?.context("a map without a length")? {
        match decoder.u64()? {
            key if SECRET_KEYS.contains(&key) => secrets.push(decoder.bytes()?.to_vec()),
            MANAGER_KEY => {
                decoder.array()?;
                decoder.skip()?;
                secrets.push(decoder.bytes()?.to_vec());
                for _ in 0..4 {
                    decoder.skip()?;
                }
            }
            _ => decoder.skip()?,
        }
    }
    Ok(secrets)
}

/// Whether a text contains a part of this secret: as it is, in hexadecimal, in base64, or as numbers.
#[must_use]
pub fn is_said(secret: &[u8], text: &str) -> bool {
    let lower = text.to_lowercase();
    let without_spaces = lower.replace(' ', "");
    secret.windows(PART_BYTES).any(|part| {
        let numbers = part.iter().map(u8::to_string).collect::<Vec<_>>().join(",");
        without_spaces.contains(&hex::encode(part)) || without_spaces.contains(&numbers)
    }) || parts_of_base64(secret).iter().any(|part| text.replace('+', "-").replace('/', "_").contains(part))
}

/// Base64 of a part, for each position in a group of three bytes.
fn parts_of_base64(secret: &[u8]) -> Vec<String> {
    let whole_groups = secret.windows(PART_BYTES);
    whole_groups.map(Base64UrlUnpadded::encode_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_every_form() {
        let secret: Vec<u8> = (0..16).map(|byte: u8| byte.wrapping_mul(77).wrapping_add(201)).collect();
        assert!(!is_said(&secret, "agent: node-1 listens to [ff15::f00d]:5683"));
        for text in [
            format!("key {}", hex::encode(&secret)),
            format!("key {}", hex::encode_upper(&secret[3..12])),
            format!("key {:?}", &secret[2..11]),
            format!("key {secret:02x?}").replace(", ", ""),
            format!("key {}", base64ct::Base64::encode_string(&secret)),
            format!("key x{}", Base64UrlUnpadded::encode_string(&secret[1..])),
        ] {
            assert!(is_said(&secret, &text), "{text}");
        }
    }
}
