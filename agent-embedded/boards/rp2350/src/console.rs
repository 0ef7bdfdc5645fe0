//! The serial console: UART0 on GPIO 0 and 1, sent by busy-waiting. One line for each event. A received byte
//! is answered with the agent's status.

use core::fmt::{self, Write};
use core::task::{Context, Poll};

use embassy_rp::Peri;
use embassy_rp::interrupt;
use embassy_rp::interrupt::InterruptExt;
use embassy_rp::pac::UART0;
use embassy_rp::peripherals::{self, PIN_0, PIN_1};
use embassy_rp::uart::{Config, Uart};
use embassy_sync::waitqueue::AtomicWaker;

static WAKER: AtomicWaker = AtomicWaker::new();

/// Switches it on, at 115,200 baud.
pub fn start(
    uart: Peri<'static, peripherals::UART0>,
    send: Peri<'static, PIN_0>,
    receive: Peri<'static, PIN_1>,
) {
    // It stays on: the panic handler writes too, so each line goes directly to the registers.
    core::mem::forget(Uart::new_blocking(uart, send, receive, Config::default()));
}

/// The console to write lines to.
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

impl board_common::Console for Console {
    fn poll_byte(&self, context: &mut Context<'_>) -> Poll<()> {
        WAKER.register(context.waker());
        let mut came = false;
        while !UART0.uartfr().read().rxfe() {
            let _ = UART0.uartdr().read();
            came = true;
        }
        if came {
            return Poll::Ready(());
        }
        // Even if fewer bytes came than fill the queue: the receiver's timeout.
        UART0.uartimsc().modify(|mask| {
            mask.set_rxim(true);
            mask.set_rtim(true);
        });
        // SAFETY: the handler shares nothing but the waker.
        unsafe { interrupt::UART0_IRQ.enable() };
        Poll::Pending
    }
}

#[interrupt]
fn UART0_IRQ() {
    // The woken task reads the bytes and enables the interrupt again.
    UART0.uartimsc().write(|_| {});
    WAKER.wake();
}
