//! The flash layout of this board.

use core::ops::Range;

use agent_embedded::layouts::{STM32H563, STM32H563_BANK_BYTES};
use agent_embedded::provisioning::PROVISIONING_BYTES_MAX;
use boot_stage::banks::BankedFlash;
use boot_stage::layout::FlashLayout;
use embedded_storage::nor_flash::ReadNorFlash;
use static_cell::ConstStaticCell;

use crate::banks;
use crate::flash::{self, Flash, WORD_BYTES};

/// The layout of the flash. `memory/agent/memory.x` contains the start of the active slot too.
pub const LAYOUT: FlashLayout = STM32H563;

/// The address of the active slot, in whichever bank it is.
pub const ACTIVE: usize = flash::BASE + LAYOUT.active.offset as usize;

/// The range of the running program in its bank: the boot stage at the start, or the active slot.
#[must_use]
pub fn program() -> Range<u32> {
    // SAFETY: this register is only read.
    let vectors = unsafe { (*cortex_m::peripheral::SCB::PTR).vtor.read() };
    let slot = LAYOUT.active.offset..LAYOUT.active.offset + LAYOUT.active.bytes;
    if vectors as usize == ACTIVE { slot } else { 0..slot.start }
}

/// The flash as the layout sees it.
///
/// # Safety
/// The same as for [`Flash::take`].
#[must_use]
pub unsafe fn flash() -> BankedFlash<Flash> {
    let slot = LAYOUT.active.offset..LAYOUT.active.offset + LAYOUT.active.bytes;
    let exchanged = banks::stand_exchanged();
    // SAFETY: the caller's promise.
    let flash = unsafe { Flash::take(exchanged) };
    BankedFlash::new(flash, STM32H563_BANK_BYTES, slot, exchanged)
}

/// The provisioning area. Unreadable bytes come out as zeros, so that it can be told from an intact area.
/// Call this once.
#[must_use]
pub fn provisioning(flash: &mut BankedFlash<Flash>) -> &'static [u8] {
    static AREA: ConstStaticCell<[u8; PROVISIONING_BYTES_MAX]> =
        ConstStaticCell::new([0; PROVISIONING_BYTES_MAX]);
    let area = AREA.take();
    for (at, word) in (LAYOUT.provisioning.offset..).step_by(WORD_BYTES).zip(area.chunks_mut(WORD_BYTES)) {
        if flash.read(at, word).is_err() {
            word.fill(0);
        }
    }
    area
}
