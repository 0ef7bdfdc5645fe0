//! Registers: 32-bit words at fixed addresses.

/// A device register.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Register(*mut u32);

// SAFETY: it is the address of a device, the same for everyone; the users of a device order their accesses.
unsafe impl Sync for Register {}
// SAFETY: as above.
unsafe impl Send for Register {}

impl Register {
    /// The register at this address.
    ///
    /// # Safety
    /// At this address is a device register that has no effect on memory.
    pub(crate) const unsafe fn at(address: usize) -> Self {
        Self(address as *mut u32)
    }

    /// Reads it.
    pub(crate) fn read(self) -> u32 {
        // SAFETY: a register, by the contract of `at`.
        unsafe { self.0.read_volatile() }
    }

    /// Writes it.
    pub(crate) fn write(self, value: u32) {
        // SAFETY: a register, by the contract of `at`.
        unsafe { self.0.write_volatile(value) }
    }
}
