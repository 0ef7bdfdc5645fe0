//! How the two slots change places.

/// A chip that exchanges the two slots in hardware, with the next reset.
pub trait Banks {
    /// What the option bytes refuse.
    type Error: core::fmt::Debug;

    /// Whether they are exchanged, against the state from the factory.
    fn exchanged(&mut self) -> bool;

    /// From the next reset on they are exchanged, or not. May reset by itself and not return.
    ///
    /// # Errors
    /// The option bytes could not be written.
    fn set_exchanged(&mut self, exchanged: bool) -> Result<(), Self::Error>;
}

/// Page by page through the spare page.
#[derive(Debug, Clone, Copy, Default)]
pub struct BySpare;

/// In hardware.
#[derive(Debug, Clone, Copy)]
pub struct ByBanks<B>(pub B);
