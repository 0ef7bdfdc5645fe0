//! The flash layout of this board.

use agent_embedded::layouts::RP2350;
use board_common::flash::mapped;
use boot_stage::layout::FlashLayout;

use crate::flash;

/// The layout of the flash. `memory/agent/memory.x` contains the start of the active slot too.
pub const LAYOUT: FlashLayout = RP2350;

/// The address of the active slot.
pub const ACTIVE: usize = flash::BASE + LAYOUT.active.offset as usize;

/// The provisioning area.
#[must_use]
pub const fn provisioning() -> &'static [u8] {
    // SAFETY: inside the flash, and neither agent nor boot stage writes there.
    unsafe { mapped(flash::BASE, LAYOUT.provisioning) }
}
