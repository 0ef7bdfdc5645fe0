//! The CBOR helpers that the modules here share: writing into a borrowed buffer, reading the map of a
//! payload, and one error for malformed bytes.

use minicbor::data::Type;
use minicbor::encode::write::{Cursor, EndOfSlice};
use minicbor::{Decoder, Encoder};

/// CBOR written into a borrowed buffer.
pub type Writer<'b> = Encoder<Cursor<&'b mut [u8]>>;
/// The buffer was too small.
pub type EncodeError = minicbor::encode::Error<EndOfSlice>;

/// The bytes are not the CBOR expected in this place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl From<minicbor::decode::Error> for Malformed {
    fn from(_: minicbor::decode::Error) -> Self {
        Self
    }
}

/// Runs `write` on `buffer` and returns how many bytes it wrote; `None` when the buffer was too small.
pub fn write_into(
    buffer: &mut [u8],
    write: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
) -> Option<usize> {
    let mut encoder = Encoder::new(Cursor::new(buffer));
    write(&mut encoder).ok()?;
    Some(encoder.writer().position())
}

/// Reads the payload of a request or an answer: one map from unsigned integers to values (docs/protocol.md
/// section 3).
///
/// `field` reads the value of a key that it knows and returns `true`; all other values are skipped. A known
/// key that comes twice, an indefinite length anywhere and bytes after the map are malformed.
pub(crate) fn read_map<'b>(
    bytes: &'b [u8],
    mut field: impl FnMut(u8, &mut Decoder<'b>) -> Result<bool, Malformed>,
) -> Result<(), Malformed> {
    let mut decoder = Decoder::new(bytes);
    let mut read = 0_u64;
    for _ in 0..decoder.map()?.ok_or(Malformed)? {
        let key = decoder.u64()?;
        let low = u8::try_from(key).ok().filter(|key| u32::from(*key) < u64::BITS);
        let known = match low {
            Some(key) => field(key, &mut decoder)?,
            None => false,
        };
        match low {
            Some(key) if known => {
                if read & 1 << key != 0 {
                    return Err(Malformed);
                }
                read |= 1 << key;
            }
            _ => pass_over(&mut decoder)?,
        }
    }
    if decoder.position() == bytes.len() { Ok(()) } else { Err(Malformed) }
}

/// Skips one value of any depth, without recursion. minicbor's own `skip` accepts indefinite lengths or not,
/// depending on its features, so agents and distributor would differ.
///
/// # Errors
/// [`Malformed`]: an indefinite length, or the end of the bytes.
pub fn pass_over(decoder: &mut Decoder<'_>) -> Result<(), Malformed> {
    let mut left = 1_u64;
    while left > 0 {
        left -= 1;
        let inside = match decoder.datatype()? {
            Type::Array => decoder.array()?.ok_or(Malformed)?,
            Type::Map => decoder.map()?.ok_or(Malformed)?.checked_mul(2).ok_or(Malformed)?,
            Type::Tag => {
                decoder.tag()?;
                1
            }
            Type::ArrayIndef | Type::MapIndef | Type::BytesIndef | Type::StringIndef => {
                return Err(Malformed);
            }
            _ => {
                decoder.skip()?;
                0
            }
        };
        left = left.checked_add(inside).ok_or(Malformed)?;
    }
    Ok(())
}
