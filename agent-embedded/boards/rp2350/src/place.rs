//! The flash layout of this board.

use agent_embedded::layouts::RP2350;
use agent_embedded::provisioning::PROVISIONING_BYTES_MAX;
use board_common::flash::mapped;
use boot_stage::layout::{FlashLayout, Partition};

use crate::flash;

/// The layout of the flash. `memory/agent/memory.x` contains the start of the active slot too.
pub const LAYOUT: FlashLayout = RP2350;

/// The address of the active slot.
pub const ACTIVE: usize = flash::BASE + LAYOUT.active.offset as usize;

/// The provisioning area.
#[must_use]
pub const fn provisioning() -> &'static [u8] {
    let area = Partition { bytes: PROVISIONING_BYTES_MAX as u32, ..LAYOUT.provisioning };
    // SAFETY: inside the flash, and neither agent nor boot stage writes there: the mark of a used device is
    // after it.
    unsafe { mapped(flash::BASE, area) }
}
