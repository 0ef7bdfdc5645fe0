//! Why an agent refuses an offer, as it travels in reports.

use crate::suit::SuitError;

/// Why an agent refuses an offer. The discriminants travel in reports and never change.
///
/// 1 to 15 are about the SUIT envelope itself. From 16 on it is genuine, but not for this device now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Refusal {
    /// The SUIT envelope is longer than `ENVELOPE_BYTES_MAX`.
    EnvelopeTooLong = 1,
    /// The SUIT envelope or manifest is not well-formed, or not encoded deterministically.
    Malformed = 2,
    /// The SUIT manifest is not signed.
    NoSignature = 3,
    /// Agents do not accept the signature algorithm.
    UnknownAlgorithm = 4,
    /// The signed digest is not that of the SUIT manifest.
    DigestMismatch = 5,
    /// No image key made this signature.
    BadSignature = 6,
    /// The SUIT manifest uses something outside the subset.
    UnsupportedManifest = 7,
    /// The SUIT manifest does not describe what fwcast can distribute: an image with a hash tree.
    NotAnOffer = 8,
    /// The signed sizes are outside the range that fwcast distributes.
    UnsupportedSize = 9,
    /// The manifest sequence number is lower than the installed one.
    Downgrade = 16,
    /// Another SUIT manifest already has this manifest sequence number.
    SequenceNumberReused = 17,
    /// This update is already installed.
    AlreadyInstalled = 18,
    /// The image is for another vendor's devices.
    WrongVendor = 19,
    /// The image is for another class of devices.
    WrongClass = 20,
    /// The image does not fit the slot.
    ImageTooLarge = 21,
}

impl Refusal {
    /// Every refusal, by ascending code.
    pub const ALL: [Self; 15] = [
        Self::EnvelopeTooLong,
        Self::Malformed,
        Self::NoSignature,
        Self::UnknownAlgorithm,
        Self::DigestMismatch,
        Self::BadSignature,
        Self::UnsupportedManifest,
        Self::NotAnOffer,
        Self::UnsupportedSize,
        Self::Downgrade,
        Self::SequenceNumberReused,
        Self::AlreadyInstalled,
        Self::WrongVendor,
        Self::WrongClass,
        Self::ImageTooLarge,
    ];

    /// The code of the refusal in reports.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The refusal with this code; `None` for a code that this version does not know.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| refusal.code() == code)
    }

    /// The reason in plain words, for operators.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::EnvelopeTooLong => "the signed manifest is longer than devices accept",
            Self::Malformed => "the signed manifest is damaged or not encoded as the standard demands",
            Self::NoSignature => "the manifest is not signed",
            Self::UnknownAlgorithm => "the manifest is signed with an algorithm that devices do not accept",
            Self::DigestMismatch => "the manifest was changed after it was signed",
            Self::BadSignature => "no image key that the device trusts made the signature",
            Self::UnsupportedManifest => "the manifest asks for something that devices cannot do",
            Self::NotAnOffer => "the manifest does not describe one image with its hash tree",
            Self::UnsupportedSize => "the image size or block size is outside what can be distributed",
            Self::Downgrade => "the device has a newer version",
            Self::SequenceNumberReused => "the device knows another image with the same sequence number",
            Self::AlreadyInstalled => "the device already runs this image",
            Self::WrongVendor => "the image is for another vendor's devices",
            Self::WrongClass => "the image is for another class of devices",
            Self::ImageTooLarge => "the image does not fit the device's slot",
        }
    }
}

impl From<SuitError> for Refusal {
    fn from(error: SuitError) -> Self {
        match error {
            SuitError::TooLong => Self::EnvelopeTooLong,
            SuitError::Malformed { .. } | SuitError::NotDeterministic { .. } => Self::Malformed,
            SuitError::NoSignature => Self::NoSignature,
            SuitError::UnknownAlgorithm { .. } => Self::UnknownAlgorithm,
            SuitError::DigestMismatch => Self::DigestMismatch,
            SuitError::BadSignature => Self::BadSignature,
            SuitError::UnsupportedVersion { .. }
            | SuitError::UnsupportedMember { .. }
            | SuitError::UnsupportedCommand { .. }
            | SuitError::UnsupportedParameter { .. }
            | SuitError::UnsupportedUri => Self::UnsupportedManifest,
            SuitError::NotAnOffer
            | SuitError::NoComponentSelected
            | SuitError::ParameterMissing { .. }
            | SuitError::StepMissing { .. } => Self::NotAnOffer,
            SuitError::ImageSize { .. } | SuitError::BlockSize { .. } => Self::UnsupportedSize,
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_and_texts_tell_refusals_apart() {
        let known: [u8; 15] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 18, 19, 20, 21];
        assert_eq!(Refusal::ALL.map(Refusal::code), known);
        for code in 0..=u8::MAX {
            assert_eq!(Refusal::from_code(code).map(Refusal::code), known.contains(&code).then_some(code));
        }
        let texts: BTreeSet<_> = Refusal::ALL.map(Refusal::text).into_iter().collect();
        assert_eq!(texts.len(), Refusal::ALL.len());
    }
}
