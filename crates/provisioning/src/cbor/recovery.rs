//! The part of the provisioning that is for the boot stage.

/// What may run if the confirmed image is damaged and there is no update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "alloc", derive(serde::Serialize, serde::Deserialize))]
pub enum Recovery {
    /// The image that was confirmed before it, although it is older.
    #[default]
    Previous,
    /// Nothing.
    None,
}

impl Recovery {
    /// The code that is written.
    #[cfg(feature = "alloc")]
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Previous => 1,
        }
    }

    pub(super) const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::None),
            1 => Some(Self::Previous),
            _ => None,
        }
    }
}

/// The part of the provisioning that the boot stage needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootSettings<'a> {
    /// The Ed25519 public key that signs key sets.
    pub root_key: [u8; 32],
    /// The key set as it was signed. Its signature has not been checked yet.
    pub signed_key_set: &'a [u8],
    /// What may run instead of a damaged image.
    pub recovery: Recovery,
}
