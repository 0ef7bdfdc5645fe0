//! The image block read last, and the read in progress.

use crate::limits::BLOCK_BYTES_MAX;

/// One image block in memory.
#[derive(Debug)]
pub(super) struct ImageBlock {
    /// The block that is being read.
    reading: Option<u32>,
    /// The block in memory.
    number: Option<u32>,
    len: usize,
    bytes: [u8; BLOCK_BYTES_MAX as usize],
}

impl Default for ImageBlock {
    fn default() -> Self {
        Self { reading: None, number: None, len: 0, bytes: [0; BLOCK_BYTES_MAX as usize] }
    }
}

impl ImageBlock {
    /// Whether a read is in progress.
    pub(super) const fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// Whether this block is in memory.
    pub(super) fn has(&self, number: u32) -> bool {
        self.number == Some(number)
    }

    /// The bytes of the block in memory.
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        self.bytes.get(..self.len)
    }

    /// Begins to read this block.
    pub(super) const fn begin_reading(&mut self, number: u32) {
        self.reading = Some(number);
    }

    /// Ends the read. `None` if no read was in progress, otherwise whether it returned the block that was
    /// signed.
    pub(super) fn was_read(
        &mut self,
        bytes: Option<&[u8]>,
        is_right: impl FnOnce(u32, &[u8]) -> bool,
    ) -> Option<bool> {
        let number = self.reading.take()?;
        let target = bytes.and_then(|bytes| self.bytes.get_mut(..bytes.len()).map(|to| (bytes, to)));
        let right = target.filter(|(bytes, _)| is_right(number, bytes));
        Some(right.is_some_and(|(bytes, to)| {
            to.copy_from_slice(bytes);
            (self.number, self.len) = (Some(number), bytes.len());
            true
        }))
    }
}
