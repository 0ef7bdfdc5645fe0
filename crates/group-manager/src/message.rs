//! Building and reading messages: CBOR maps whose labels may be negative, and plain CoAP messages.

use coap_wire::{Code, Message, Token, Type, WriteError, Writer};
use minicbor::Decoder;

use update_core::codec::Malformed;

/// Labels of one map that are known here, at most.
const LABELS_MAX: usize = 16;

/// Reads a payload that is one map, to its end. `field` reads the value of a label that it knows and returns
/// `true`; all others are skipped (RFC 9594 section 4.1.2).
pub(crate) fn read_map<'b>(
    bytes: &'b [u8],
    field: impl FnMut(i64, &mut Decoder<'b>) -> Result<bool, Malformed>,
) -> Result<(), Malformed> {
    let mut decoder = Decoder::new(bytes);
    read_entries(&mut decoder, field)?;
    if decoder.position() == bytes.len() { Ok(()) } else { Err(Malformed) }
}

/// Reads one map. A known label that comes twice and an indefinite length are malformed.
pub(crate) fn read_entries<'b>(
    decoder: &mut Decoder<'b>,
    mut field: impl FnMut(i64, &mut Decoder<'b>) -> Result<bool, Malformed>,
) -> Result<(), Malformed> {
    let mut seen = heapless::Vec::<i64, LABELS_MAX>::new();
    for _ in 0..decoder.map()?.ok_or(Malformed)? {
        let label = decoder.i64()?;
        if !field(label, decoder)? {
            update_core::codec::pass_over(decoder)?;
            continue;
        }
        if seen.contains(&label) || seen.push(label).is_err() {
            return Err(Malformed);
        }
    }
    Ok(())
}

/// The header of a plain message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) ty: Type,
    pub(crate) code: Code,
    pub(crate) message_id: u16,
    pub(crate) token: Token,
}

/// A plain message of this header; `None` when it does not fit.
pub(crate) fn plain<'b>(
    header: Header,
    buffer: &'b mut [u8],
    content: impl FnOnce(&mut Writer<'_>) -> Result<(), WriteError>,
) -> Option<Message<'b>> {
    let Header { ty, code, message_id, token } = header;
    let mut writer = Writer::message(buffer, ty, code, message_id, token).ok()?;
    content(&mut writer).ok()?;
    let length = writer.finish();
    Message::parse(buffer.get(..length)?).ok()
}
