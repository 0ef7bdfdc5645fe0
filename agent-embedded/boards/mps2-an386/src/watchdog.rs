//! The CMSDK watchdog, at the processor's clock. If it is not fed in time, it first raises the non-maskable
//! interrupt, and after the same time again it resets the board.

use agent_embedded::drive::WATCHDOG_WITHIN;

use crate::registers::Register;

// SAFETY: the watchdog of the AN386, application note DAI0386 section 4.
const LOAD: Register = unsafe { Register::at(0x4000_8000) };
// SAFETY: as above.
const CONTROL: Register = unsafe { Register::at(0x4000_8008) };
// SAFETY: as above.
const CLEAR: Register = unsafe { Register::at(0x4000_800c) };

const COUNTS: u32 = crate::CHIP.clock * WATCHDOG_WITHIN.as_secs() as u32;
/// Interrupt and reset.
const CONTROL_ON: u32 = 1 << 1 | 1;

/// Starts it. Only a reset of the board stops it.
pub fn start() {
    LOAD.write(COUNTS);
    CONTROL.write(CONTROL_ON);
}

/// Restarts its countdown.
pub fn feed() {
    CLEAR.write(1);
}
