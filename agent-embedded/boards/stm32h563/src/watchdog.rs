//! The independent watchdog (IWDG), with its own clock (LSI), which nothing else stops (RM0481 section 45).
//! If it is not fed in time, it resets the chip.

use agent_embedded::drive::WATCHDOG_WITHIN;
use embassy_stm32::pac::IWDG;
use embassy_stm32::pac::iwdg::vals::{Key, Pr};

/// The frequency of its clock in Hz; it is inaccurate by some percent.
const CLOCK: u32 = 32_000;
const DIVISOR: u32 = 128;
/// The register value for [`DIVISOR`].
const PRESCALER: u8 = 5;
#[expect(clippy::cast_possible_truncation, reason = "the counter has 12 bits, as is asserted below")]
const RELOAD: u16 = (WATCHDOG_WITHIN.as_secs() as u32 * CLOCK / DIVISOR - 1) as u16;
const _: () = assert!(WATCHDOG_WITHIN.as_secs() as u32 * CLOCK / DIVISOR <= 1 << 12);

/// Starts it. Only a reset of the chip stops it.
pub fn start() {
    IWDG.kr().write(|key| key.set_key(Key::START));
    IWDG.kr().write(|key| key.set_key(Key::ENABLE));
    IWDG.pr().write(|prescaler| prescaler.set_pr(Pr::from_bits(PRESCALER)));
    IWDG.rlr().write(|reload| reload.set_rl(RELOAD));
    // Its own slow clock must take over both.
    while IWDG.sr().read().0 != 0 {}
    feed();
}

/// Restarts its countdown.
pub fn feed() {
    IWDG.kr().write(|key| key.set_key(Key::RESET));
}
