//! Where everything lies in the flash of each board. Their linker scripts have the begin of the active slot
//! too.

use boot_stage::layout::{FlashLayout, Partition};

/// `mps2-an386`, emulated: 16 MiB in pages of 4 KiB and words of 4 bytes.
///
/// Slots of 176 KiB for the image, and whole pages with the envelope behind it.
pub const MPS2_AN386: FlashLayout = FlashLayout {
    provisioning: Partition { offset: 0, bytes: 0x1000 },
    spare: Partition { offset: 0x1000, bytes: 0x1000 },
    records: Partition { offset: 0x4000, bytes: 0x4000 },
    pages: Partition { offset: 0x8000, bytes: 0x8000 },
    active: Partition { offset: 0x1_0000, bytes: 0x2_d000 },
    update: Partition { offset: 0x10_0000, bytes: 0x2_d000 },
    rewritable: true,
};
