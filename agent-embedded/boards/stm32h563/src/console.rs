//! The serial console: USART3, which ST-LINK passes on over USB, sent by busy-waiting. One line for each
//! event. A received byte is answered with the agent's status.

use core::fmt::{self, Write};
use core::task::{Context, Poll};

use embassy_stm32::interrupt;
use embassy_stm32::interrupt::InterruptExt;
use embassy_stm32::pac::gpio::vals::Moder;
use embassy_stm32::pac::{GPIOD, RCC, USART3};
use embassy_sync::waitqueue::AtomicWaker;

/// PD8 sends and PD9 receives, both as alternate function 7.
const PINS: [usize; 2] = [8, 9];
const FUNCTION: u8 = 7;
const BAUD: u32 = 115_200;

static WAKER: AtomicWaker = AtomicWaker::new();

/// Switches it on, with the clock of its bus in Hz.
pub fn start(clock: u32) {
    RCC.ahb2enr().modify(|enable| enable.set_gpioden(true));
    RCC.apb1lenr().modify(|enable| enable.set_usart3en(true));
    for pin in PINS {
        GPIOD.afr(pin / 8).modify(|functions| functions.set_afr(pin % 8, FUNCTION));
        GPIOD.moder().modify(|modes| modes.set_moder(pin, Moder::ALTERNATE));
    }
    USART3.cr1().write(|control| control.set_ue(false));
    USART3.brr().write(|divisor| divisor.0 = clock / BAUD);
    USART3.cr1().write(|control| {
        control.set_te(true);
        control.set_re(true);
        control.set_ue(true);
    });
}

/// The console to write lines to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            while !USART3.isr().read().txe() {}
            USART3.tdr().write(|data| data.set_dr(byte.into()));
        }
        Ok(())
    }
}

impl board_common::Console for Console {
    fn poll_byte(&self, context: &mut Context<'_>) -> Poll<()> {
        WAKER.register(context.waker());
        // An overrun raises this interrupt too; the lost byte asks for nothing more.
        USART3.icr().write(|clear| clear.set_ore(true));
        if USART3.isr().read().rxne() {
            let _ = USART3.rdr().read();
            return Poll::Ready(());
        }
        USART3.cr1().modify(|control| control.set_rxneie(true));
        // SAFETY: the handler shares nothing but the waker.
        unsafe { interrupt::USART3.enable() };
        Poll::Pending
    }
}

#[interrupt]
fn USART3() {
    // The woken task reads the byte and enables the interrupt again.
    USART3.cr1().modify(|control| control.set_rxneie(false));
    WAKER.wake();
}
