//! The serial console: UART0, sent by busy-waiting. One line for each event. A received byte is answered with
//! the agent's status.

use core::fmt::{self, Write};
use core::task::{Context, Poll};

use embassy_sync::waitqueue::AtomicWaker;

use crate::registers::Register;

// SAFETY: UART0 of the AN386, application note DAI0386 section 4.
const DATA: Register = unsafe { Register::at(0x4000_4000) };
// SAFETY: as above.
const STATE: Register = unsafe { Register::at(0x4000_4004) };
// SAFETY: as above.
const CONTROL: Register = unsafe { Register::at(0x4000_4008) };
// SAFETY: as above.
const INTERRUPT_CLEAR: Register = unsafe { Register::at(0x4000_400c) };
// SAFETY: as above.
const BAUD_DIVISOR: Register = unsafe { Register::at(0x4000_4010) };

const STATE_SEND_FULL: u32 = 1;
const STATE_RECEIVED: u32 = 1 << 1;
/// Send and receive, with an interrupt for each received byte.
const CONTROL_ON: u32 = 1 << 3 | 1 << 1 | 1;
const RECEIVED: u32 = 1 << 1;
const INTERRUPT: u16 = 0;

static WAKER: AtomicWaker = AtomicWaker::new();
/// 25 MHz / 115,200 baud.
const DIVISOR: u32 = 217;

/// Switches it on.
pub fn start() {
    BAUD_DIVISOR.write(DIVISOR);
    CONTROL.write(CONTROL_ON);
    crate::vectors::enable(INTERRUPT);
}

pub(crate) fn on_interrupt() {
    INTERRUPT_CLEAR.write(RECEIVED);
    WAKER.wake();
}

/// The console to write lines to.
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

impl board_common::Console for Console {
    fn poll_byte(&self, context: &mut Context<'_>) -> Poll<()> {
        WAKER.register(context.waker());
        if STATE.read() & STATE_RECEIVED == 0 {
            return Poll::Pending;
        }
        let _ = DATA.read();
        Poll::Ready(())
    }
}
