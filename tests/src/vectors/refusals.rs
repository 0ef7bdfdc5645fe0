//! The messages of a suite that must be refused, each for its stated reason.

use super::{
    json::Object,
    members::Suite,
    messages::{Vector, find, parse},
};
use group_oscore::{Received, UnprotectError};

/// Delivers each message and returns how many were refused as expected.
pub(super) fn check(suite: &Suite<'_>, messages: &[Vector<'_>]) -> Result<usize, String> {
    let mut count = 0;
    for negative in suite.object.array("negative") {
        let label = negative.required_text("label")?;
        refuse(suite, messages, negative).map_err(|error| format!("negative {label:?}: {error}"))?;
        count += 1;
    }
    Ok(count)
}

fn refuse(suite: &Suite<'_>, messages: &[Vector<'_>], negative: Object<'_>) -> Result<(), String> {
    let expected = negative.required_text("expect")?;
    let datagram = negative.required_bytes("protected_coap")?;
    let mut receiver = suite.context(negative.required_text("receiver")?, 0)?;
    let is_request = parse(&datagram)?.code().is_request();
    let mut deliver = || -> Result<Result<(), UnprotectError>, String> {
        let mut datagram = datagram.clone();
        if is_request {
            return Ok(match receiver.unprotect_request(&mut datagram) {
                Ok(Received::Fresh(_)) => Ok(()),
                Ok(Received::Unproven(_)) => return Err("the window could not tell".to_owned()),
                Err(error) => Err(error),
            });
        }
        let request = find(messages, negative.required_text("in_reply_to")?)?;
        let binding = request.client_binding(suite, messages)?;
        Ok(receiver.unprotect_response(&mut datagram, &binding).map(|_| ()))
    };
    if expected.starts_with("replay") {
        deliver()?.map_err(|error| format!("the first delivery is refused: {error:?}"))?;
    }
    let refusal = deliver()?.err().ok_or("accepted")?;
    let reason_is_right = match refusal {
        UnprotectError::BadCountersignature => expected.starts_with("signature"),
        UnprotectError::BadTag => expected.starts_with("decryption"),
        // There is no room for a signature or a tag, whichever was expected.
        UnprotectError::Truncated => expected.starts_with("signature") || expected.starts_with("decryption"),
        UnprotectError::Replayed => expected.starts_with("replay"),
        _ => false,
    };
    if reason_is_right { Ok(()) } else { Err(format!("refused as {refusal:?}, expected {expected:?}")) }
}
