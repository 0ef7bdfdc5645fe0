//! What a device is and runs, and whether an offer is for it.

use crate::digest::Digest;
use crate::refusal::Refusal;
use crate::suit::Offer;

/// The identity of a device: fixed in production, except for what is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Vendor identifier (UUID): SUIT section 8.4.8.2.
    pub vendor: [u8; 16],
    /// Class identifier (UUID): SUIT section 8.4.8.2.
    pub class: [u8; 16],
    /// How many bytes of image fit the slot for the new image.
    pub slot_bytes: u32,
    /// What it runs; `None` on a device that has never had an update.
    pub installed: Option<Installed>,
}

/// The update that a device runs and has confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Installed {
    /// Its manifest sequence number.
    pub sequence_number: u64,
    /// The digest of its SUIT manifest.
    pub digest: Digest,
}

impl Device {
    /// An update has been confirmed: the device runs it from now on.
    pub const fn now_runs(&mut self, installed: Installed) {
        self.installed = Some(installed);
    }

    /// Checks that this device accepts a verified offer: manifest sequence number, then vendor, class and
    /// size.
    ///
    /// # Errors
    /// The first reason against it, in that order.
    pub fn admit(&self, offer: &Offer) -> Result<(), Refusal> {
        if let Some(installed) = self.installed {
            if offer.sequence_number < installed.sequence_number {
                return Err(Refusal::Downgrade);
            }
            if offer.sequence_number == installed.sequence_number {
                let same = offer.digest == installed.digest;
                return Err(if same { Refusal::AlreadyInstalled } else { Refusal::SequenceNumberReused });
            }
        }
        if offer.vendor != self.vendor {
            return Err(Refusal::WrongVendor);
        }
        if offer.class != self.class {
            return Err(Refusal::WrongClass);
        }
        if offer.layout.image_size.bytes() > self.slot_bytes {
            return Err(Refusal::ImageTooLarge);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{BlockSize, ImageSize, Layout};
    use crate::digest::UpdateId;

    const INSTALLED: Installed = Installed { sequence_number: 7, digest: Digest([7; 32]) };
    const DEVICE: Device =
        Device { vendor: [1; 16], class: [2; 16], slot_bytes: 1000, installed: Some(INSTALLED) };

    /// An offer that fails every check. The tests correct it step by step.
    fn worst_offer() -> Offer {
        let digest = Digest([9; 32]);
        Offer {
            digest,
            id: UpdateId::of(&digest),
            sequence_number: 6,
            vendor: [8; 16],
            class: [8; 16],
            layout: Layout {
                image_size: ImageSize::new(1001).unwrap(),
                block_size: BlockSize::new(64).unwrap(),
            },
            image_digest: Digest([3; 32]),
            tree_root: Digest([4; 32]),
        }
    }

    #[test]
    fn reasons_come_in_their_order() {
        let mut offer = worst_offer();
        assert_eq!(DEVICE.admit(&offer), Err(Refusal::Downgrade));
        offer.sequence_number = 7;
        assert_eq!(DEVICE.admit(&offer), Err(Refusal::SequenceNumberReused));
        offer.digest = INSTALLED.digest;
        assert_eq!(DEVICE.admit(&offer), Err(Refusal::AlreadyInstalled));
        offer.sequence_number = 8;
        assert_eq!(DEVICE.admit(&offer), Err(Refusal::WrongVendor));
        offer.vendor = DEVICE.vendor;
        assert_eq!(DEVICE.admit(&offer), Err(Refusal::WrongClass));
        offer.class = DEVICE.class;
        assert_eq!(DEVICE.admit(&offer), Err(Refusal::ImageTooLarge));
        offer.layout.image_size = ImageSize::new(1000).unwrap();
        assert_eq!(DEVICE.admit(&offer), Ok(()));
    }

    #[test]
    fn a_fresh_device_takes_any_sequence_number() {
        let device = Device { installed: None, ..DEVICE };
        let mut offer = worst_offer();
        offer.sequence_number = 0;
        assert_eq!(device.admit(&offer), Err(Refusal::WrongVendor));
    }

    #[test]
    fn only_one_class_in_a_matrix_takes_an_image() {
        for device_class in 0..100 {
            for image_class in 0..100 {
                let device = Device { class: [device_class; 16], installed: None, ..DEVICE };
                let mut offer = worst_offer();
                offer.vendor = DEVICE.vendor;
                offer.class = [image_class; 16];
                offer.layout.image_size = ImageSize::new(1).unwrap();
                assert_eq!(device.admit(&offer).is_ok(), device_class == image_class);
            }
        }
    }
}
