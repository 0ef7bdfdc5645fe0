//! The instruction cache, without which the processor waits for the flash at every step (RM0481 section 9).
//!
//! Everything that the processor sees of the flash goes through it. Switching it off clears it.

use cortex_m::asm::{dsb, isb};
use embassy_stm32::pac::{ICACHE, UID};

/// Switches it on. It is bypassed until it has been cleared.
pub fn on() {
    dsb();
    ICACHE.cr().modify(|control| control.set_en(true));
    dsb();
    isb();
}

/// Switches it off.
pub fn off() {
    dsb();
    ICACHE.cr().modify(|control| control.set_en(false));
    while ICACHE.cr().read().en() {}
    dsb();
    isb();
}

/// Does this with the cache off, and restores its state.
pub fn without<T>(work: impl FnOnce() -> T) -> T {
    let was_on = ICACHE.cr().read().en();
    off();
    let done = work();
    if was_on {
        on();
    }
    done
}

/// The chip's unique number. It must not go through the cache, and is read by whole words (RM0481 section
/// 7.3.2): reading a cache line, or a byte, would be a fault.
#[must_use]
pub fn unique() -> [u8; 12] {
    let words = without(|| [0, 1, 2].map(|at| UID.uid(at).read().to_le_bytes()));
    let [[a, b, c, d], [e, f, g, h], [i, j, k, l]] = words;
    [a, b, c, d, e, f, g, h, i, j, k, l]
}
