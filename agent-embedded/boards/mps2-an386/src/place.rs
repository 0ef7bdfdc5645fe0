//! Where everything lies in the flash.

use agent_embedded::layouts::MPS2_AN386;
use boot_stage::layout::{FlashLayout, Partition};

use crate::flash;

/// Where everything lies in the flash. `memory/agent/memory.x` has the begin of the active slot too.
pub const LAYOUT: FlashLayout = MPS2_AN386;

/// The address of the active slot.
pub const ACTIVE: usize = flash::BASE + LAYOUT.active.offset as usize;

/// The provisioning area.
#[must_use]
pub fn provisioning() -> &'static [u8] {
    const AREA: Partition = LAYOUT.provisioning;
    let begin = (flash::BASE + AREA.offset as usize) as *const u8;
    // SAFETY: within the PSRAM, and neither agent nor boot stage ever writes there.
    unsafe { core::slice::from_raw_parts(begin, AREA.bytes as usize) }
}
