//! The watchdog, in microseconds of the reference clock (RP2350 datasheet section 12.9). If it is not fed in
//! time, it resets the chip. A reset by the processor leaves it running, so the boot stage stops it first.

use agent_embedded::drive::WATCHDOG_WITHIN;
use embassy_rp::pac::psm::regs::Wdsel;
use embassy_rp::pac::watchdog::regs::Load;
use embassy_rp::pac::{PSM, WATCHDOG};

#[expect(clippy::cast_possible_truncation, reason = "the counter has 24 bits, as is asserted below")]
const COUNTS: u32 = WATCHDOG_WITHIN.as_micros() as u32;
const _: () = assert!(WATCHDOG_WITHIN.as_micros() < 1 << 24);
/// Everything that a watchdog can reset except the two oscillators, bits 2 and 3. (`embassy-rp` has the bits
/// of the RP2040, which would omit the processors.)
const ALL: u32 = 0x01ff_fff3;

/// Stops it: an exchange of the slots takes longer than its timeout.
pub fn stop() {
    WATCHDOG.ctrl().modify(|control| control.set_enable(false));
}

/// Starts it.
pub fn start() {
    PSM.wdsel().write_value(Wdsel(ALL));
    feed();
    WATCHDOG.ctrl().modify(|control| control.set_enable(true));
}

/// Restarts its countdown.
pub fn feed() {
    WATCHDOG.load().write_value(Load(COUNTS));
}
