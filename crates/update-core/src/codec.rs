//! What the modules here share of CBOR: writing into a borrowed buffer, reading the map of a payload, and one
//! word for "these bytes are not what they should be".

use minicbor::data::Type;
use minicbor::encode::write::{Cursor, EndOfSlice};
use minicbor::{Decoder, Encoder};

/// CBOR written into a borrowed buffer.
pub(crate) type Writer<'b> = Encoder<Cursor<&'b mut [u8]>>;
/// The buffer was too small.
pub(crate) type EncodeError = minicbor::encode::Error<EndOfSlice>;

/// Bytes that are not the CBOR that their place calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl From<minicbor::decode::Error> for Malformed {
    fn from(_: minicbor::decode::Error) -> Self {
        Self
    }
}

/// Runs `write` over `buffer` and says how many bytes it wrote; `None` when the buffer was too small.
pub(crate) fn write_into(
    buffer: &mut [u8],
    write: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
) -> Option<usize> {
    let mut encoder = Encoder::new(Cursor::new(buffer));
    write(&mut encoder).ok()?;
    Some(encoder.writer().position())
}

/// Reads the payload of a request or of an answer: one map from unsigned integers to values (docs/protocol.md
/// section 3).
///
/// `field` reads the value of a key that it knows and says `true`; any other value is passed over. A known
/// key that comes twice, an indefinite length anywhere and bytes behind the map are malformed.
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

/// Passes over one value, however deep it is, with no stack. minicbor's own `skip` takes indefinite lengths
/// or does not, as its features are chosen: agents and distributor would differ.
fn pass_over(decoder: &mut Decoder<'_>) -> Result<(), Malformed> {
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
