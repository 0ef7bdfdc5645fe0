//! The serial console: UART0 on GPIO 0, sent by waiting. One line for each event.

use core::fmt::{self, Write};

use embassy_rp::Peri;
use embassy_rp::pac::UART0;
use embassy_rp::peripherals::{self, PIN_0};
use embassy_rp::uart::{Config, UartTx};

/// Switches it on, at 115,200 baud.
pub fn start(uart: Peri<'static, peripherals::UART0>, pin: Peri<'static, PIN_0>) {
    // It stays on: the panic handler writes too, and so each line goes to the registers.
    core::mem::forget(UartTx::new_blocking(uart, pin, Config::default()));
}

/// Where lines are written.
#[derive(Debug, Clone, Copy, Default)]
pub struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            while UART0.uartfr().read().txff() {}
            UART0.uartdr().write(|data| data.set_data(byte));
        }
        Ok(())
    }
}
