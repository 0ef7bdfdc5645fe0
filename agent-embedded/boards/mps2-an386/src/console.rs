//! The serial console: UART0, sent by waiting. One line for each event.

use core::fmt::{self, Write};

use crate::registers::Register;

// SAFETY: UART0 of the AN386, application note DAI0386 section 4.
const DATA: Register = unsafe { Register::at(0x4000_4000) };
// SAFETY: as above.
const STATE: Register = unsafe { Register::at(0x4000_4004) };
// SAFETY: as above.
const CONTROL: Register = unsafe { Register::at(0x4000_4008) };
// SAFETY: as above.
const BAUD_DIVISOR: Register = unsafe { Register::at(0x4000_4010) };

const STATE_SEND_FULL: u32 = 1;
const CONTROL_SEND: u32 = 1;
/// 25 MHz / 115,200 baud.
const DIVISOR: u32 = 217;

/// Switches it on.
pub fn start() {
    BAUD_DIVISOR.write(DIVISOR);
    CONTROL.write(CONTROL_SEND);
}

/// Where lines are written.
#[derive(Debug, Clone, Copy, Default)]
pub struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            while STATE.read() & STATE_SEND_FULL != 0 {}
            DATA.write(u32::from(byte));
        }
        Ok(())
    }
}
