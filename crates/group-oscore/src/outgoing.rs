//! The outer part of a protected datagram, and its plaintext (RFC 8613 sections 4.1 and 4.2).

use crate::{ProtectError, limits::DATAGRAM_BYTES_MAX, option::OptionValue};
use coap_wire::{Body, Code, Message, Opt, Writer, option};

/// Refuses messages that cannot be protected.
pub(crate) fn check(message: &Message<'_>, is_request: bool) -> Result<(), ProtectError> {
    match (is_request, message.code()) {
        (true, code) if !code.is_request() => return Err(ProtectError::NotARequest),
        (false, code) if !code.is_response() => return Err(ProtectError::NotAResponse),
        _ => {}
    }
    for opt in message.options() {
        match opt.number {
            option::OSCORE => return Err(ProtectError::AlreadyProtected),
            // RFC 8613 section 4.1.3.3 requires Proxy-Uri to be split: in one piece it reveals the path.
            // Observe needs different inner and outer options, and Notification Numbers (section 4.1.3.5).
            option::OBSERVE | option::PROXY_URI | option::PROXY_CRI => {
                return Err(ProtectError::UnsupportedOption);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Writes the header and the outer options, then calls `seal` with the remaining room, which begins with the
/// plaintext, and the plaintext's length. `seal` returns the length of the payload.
pub(crate) fn write(
    message: &Message<'_>,
    option_value: &OptionValue,
    out: &mut [u8],
    seal: impl FnOnce(&mut [u8], usize) -> Result<usize, ProtectError>,
) -> Result<usize, ProtectError> {
    let room = out.len().min(DATAGRAM_BYTES_MAX);
    let out = out.get_mut(..room).unwrap_or_default();
    // RFC 8613 section 4.2: without Observe, requests are POST outside and responses 2.04.
    let code = if message.code().is_request() { Code::POST } else { Code::CHANGED };
    let begun = Writer::message(out, message.ty(), code, message.message_id(), message.token());
    let mut writer = begun.map_err(|_| ProtectError::BufferTooSmall)?;
    let oscore = Opt { number: option::OSCORE, value: option_value.as_bytes() };
    let outer = |numbers: fn(u16) -> bool| {
        message.options().filter(move |opt| is_outer(opt.number) && numbers(opt.number))
    };
    writer
        .options(outer(|number| number < option::OSCORE))
        .and_then(|writer| writer.options([oscore]))
        .and_then(|writer| writer.options(outer(|number| number > option::OSCORE)))
        .map_err(|_| ProtectError::BufferTooSmall)?;
    let space = writer.payload_space().map_err(|_| ProtectError::BufferTooSmall)?;
    let length = write_plaintext(&message.body(), space).ok_or(ProtectError::BufferTooSmall)?;
    let length = seal(space, length)?;
    writer.payload_written(length);
    Ok(writer.finish())
}

/// Whether an option is an outer one: those of Class U (RFC 8613 section 4.1, figure 5; RFC 8768 section 5
/// for Hop-Limit). All others, known or not, are Class E.
const fn is_outer(number: u16) -> bool {
    matches!(
        number,
        option::URI_HOST
            | option::URI_PORT
            | option::HOP_LIMIT
            | option::PROXY_SCHEME
            | option::PROXY_SCHEME_NUMBER
    )
}

/// Code, inner options and payload (RFC 8613 section 5.3).
fn write_plaintext(body: &Body<'_>, space: &mut [u8]) -> Option<usize> {
    let mut writer = Writer::body(space, body.code()).ok()?;
    writer.options(body.options().filter(|opt| !is_outer(opt.number))).ok()?;
    writer.payload(body.payload()).ok()?;
    Some(writer.finish())
}
