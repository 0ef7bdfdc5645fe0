//! The flash layouts of the boards. Their linker scripts contain the start of the active slot too.

use boot_stage::layout::{FlashLayout, Partition};

/// `mps2-an386`, emulated: 16 MiB in pages of 4 KiB and words of 4 bytes.
///
/// Slots of 256 KiB including the envelope, as large as they will ever be; the agent takes at most 216 KiB.
pub const MPS2_AN386: FlashLayout = FlashLayout {
    provisioning: Partition { offset: 0, bytes: 0x1000 },
    spare: Partition { offset: 0x1000, bytes: 0x1000 },
    records: Partition { offset: 0x4000, bytes: 0x4000 },
    pages: Partition { offset: 0x8000, bytes: 0x8000 },
    active: Partition { offset: 0x1_0000, bytes: 0x4_0000 },
    update: Partition { offset: 0x10_0000, bytes: 0x4_0000 },
    rewritable: true,
};

/// The length of each of the two banks of [`STM32H563`].
pub const STM32H563_BANK_BYTES: u32 = 0x10_0000;

/// `stm32h563`, the NUCLEO-H563ZI: 2 MiB in two banks, in pages of 8 KiB and words of 16 bytes with an
/// error-correcting code.
///
/// Both banks begin with the boot stage, which takes 64 KiB, followed by a slot of 512 KiB. The rest is in
/// the first bank. The chip exchanges the slots together with the banks.
pub const STM32H563: FlashLayout = FlashLayout {
    active: Partition { offset: 0x1_0000, bytes: 0x8_0000 },
    provisioning: Partition { offset: 0x9_0000, bytes: 0x2000 },
    spare: Partition { offset: 0x9_2000, bytes: 0x2000 },
    pages: Partition { offset: 0x9_4000, bytes: 0xc000 },
    records: Partition { offset: 0xa_0000, bytes: 0x1_0000 },
    update: Partition { offset: STM32H563_BANK_BYTES + 0x1_0000, bytes: 0x8_0000 },
    rewritable: false,
};

/// `rp2350`, a Raspberry Pi Pico 2 or a W5500-EVB-Pico2: the first 2 MiB of its flash, in pages of 4 KiB and
/// words of 16 bytes.
///
/// The flash can program any byte again, but some of its makers give each 16 bytes an error-correcting code,
/// so no word is programmed twice. The boot stage takes the first 64 KiB.
pub const RP2350: FlashLayout = FlashLayout {
    provisioning: Partition { offset: 0x1_0000, bytes: 0x1000 },
    spare: Partition { offset: 0x1_1000, bytes: 0x1000 },
    records: Partition { offset: 0x1_8000, bytes: 0x8000 },
    pages: Partition { offset: 0x2_0000, bytes: 0x1_0000 },
    active: Partition { offset: 0x4_0000, bytes: 0x8_0000 },
    update: Partition { offset: 0xc_0000, bytes: 0x8_0000 },
    rewritable: false,
};
