//! The watchdog: the independent one (IWDG), by a clock of its own (LSI) that nothing else stops (RM0481
//! section 45). Not fed in time, it resets the chip.

use agent_embedded::drive::WATCHDOG_WITHIN;
use embassy_stm32::pac::IWDG;
use embassy_stm32::pac::iwdg::vals::{Key, Pr};

/// Of the clock, in Hz; it is off by some percent.
const CLOCK: u32 = 32_000;
const DIVISOR: u32 = 128;
/// How [`DIVISOR`] is written.
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
    // Both are taken over by its own slow clock.
    while IWDG.sr().read().0 != 0 {}
    feed();
}

/// Restarts its countdown.
pub fn feed() {
    IWDG.kr().write(|key| key.set_key(Key::RESET));
}
