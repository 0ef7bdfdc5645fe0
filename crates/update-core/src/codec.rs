//! The two ends of CBOR that the modules here share: writing into a borrowed buffer, and one word for
//! "these bytes are not what they should be".

use minicbor::Encoder;
use minicbor::encode::write::{Cursor, EndOfSlice};

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
