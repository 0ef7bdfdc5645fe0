//! Building a plain message before it is protected.

use coap_wire::{Code, Token, Type, WriteError, Writer};

/// The header of an outgoing message.
pub(crate) struct Outgoing {
    pub(crate) ty: Type,
    pub(crate) code: Code,
    pub(crate) message_id: u16,
    pub(crate) token: Token,
}

impl Outgoing {
    /// Writes the message into `buffer`; `None` when it does not fit.
    pub(crate) fn build<'b>(
        &self,
        buffer: &'b mut [u8],
        content: impl FnOnce(&mut Writer<'_>) -> Result<(), WriteError>,
    ) -> Option<&'b [u8]> {
        let mut writer = Writer::message(buffer, self.ty, self.code, self.message_id, self.token).ok()?;
        content(&mut writer).ok()?;
        let len = writer.finish();
        buffer.get(..len)
    }
}
