//! Measures the deepest stack: it is painted at the start, and later the remaining paint is measured.

use core::ptr::addr_of_mut;

const PAINT: u32 = 0x5a5a_5a5a;

unsafe extern "C" {
    /// Where static data ends (cortex-m-rt).
    static mut _stack_end: u32;
    /// Where the stack begins, at the upper end.
    static mut _stack_start: u32;
}

/// Paints the free part of the stack. Call this once, from `main`.
#[inline(never)]
pub fn paint() {
    // The frames of this function and its callers are not painted.
    const MARGIN: usize = 64;
    let end = addr_of_mut!(_stack_end);
    let now = cortex_m::register::msp::read() as usize - MARGIN * 4;
    let mut place = end;
    while (place as usize) < now {
        // SAFETY: between static data and the used stack there is nothing.
        unsafe {
            place.write_volatile(PAINT);
            place = place.add(1);
        }
    }
}

/// The most bytes of stack in use since [`paint`].
#[must_use]
pub fn peak_bytes() -> usize {
    let start = addr_of_mut!(_stack_start);
    let mut place = addr_of_mut!(_stack_end);
    while place < start {
        // SAFETY: within the stack's memory.
        unsafe {
            if place.read_volatile() != PAINT {
                break;
            }
            place = place.add(1);
        }
    }
    start as usize - place as usize
}
