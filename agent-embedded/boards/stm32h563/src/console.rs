//! The serial console: USART3, which ST-LINK passes on over USB, sent by waiting. One line for each event.

use core::fmt::{self, Write};

use embassy_stm32::pac::gpio::vals::Moder;
use embassy_stm32::pac::{GPIOD, RCC, USART3};

/// PD8, as alternate function 7.
const PIN: usize = 8;
const FUNCTION: u8 = 7;
const BAUD: u32 = 115_200;

/// Switches it on, with the clock of its bus in Hz.
pub fn start(clock: u32) {
    RCC.ahb2enr().modify(|enable| enable.set_gpioden(true));
    RCC.apb1lenr().modify(|enable| enable.set_usart3en(true));
    GPIOD.afr(PIN / 8).modify(|functions| functions.set_afr(PIN % 8, FUNCTION));
    GPIOD.moder().modify(|modes| modes.set_moder(PIN, Moder::ALTERNATE));
    USART3.cr1().write(|control| control.set_ue(false));
    USART3.brr().write(|divisor| divisor.0 = clock / BAUD);
    USART3.cr1().write(|control| {
        control.set_te(true);
        control.set_ue(true);
    });
}

/// Where lines are written.
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
