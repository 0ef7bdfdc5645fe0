//! Swapping the two banks in hardware: the option bit SWAP_BANK (RM0481 section 7).

use boot_stage::banks::Banks;
use cortex_m::asm::dsb;
use embassy_stm32::pac::FLASH;
use embassy_stm32::pac::flash::vals::{OptcrSwapBank, OptsrSwapBank};

const OPTION_KEYS: [u32; 2] = [0x0819_2a3b, 0x4c5d_6e7f];
/// How often the chip is asked whether it is done: seconds at 32 MHz, when it needs some milliseconds. No
/// watchdog runs in the boot stage.
const LOOKS_MAX: u32 = 8_000_000;

/// Whether the processor sees bank 2 first. The chip applies the option bit at a reset.
#[must_use]
pub fn stand_exchanged() -> bool {
    FLASH.optcr().read().swap_bank() == OptcrSwapBank::B_0X1
}

/// The chip's option bit.
#[derive(Debug, Clone, Copy)]
pub struct SwapBank;

impl Banks for SwapBank {
    fn exchanged(&mut self) -> bool {
        stand_exchanged()
    }

    fn set_exchanged(&mut self, exchanged: bool) -> bool {
        if !settles() {
            return false;
        }
        if FLASH.optcr().read().optlock() {
            for key in OPTION_KEYS {
                FLASH.optkeyr().write_value(key);
            }
        }
        FLASH.nsccr().write(|clear| clear.set_clr_optchangeerr(true));
        let wanted = if exchanged { OptsrSwapBank::B_0X1 } else { OptsrSwapBank::B_0X0 };
        FLASH.optsr_prg().modify(|option| option.set_swap_bank(wanted));
        FLASH.optcr().modify(|control| control.set_optstrt(true));
        // A reset before the chip has cleared OPTSTRT would cut the programming.
        let is_over = settles();
        let refused = FLASH.nssr().read().optchangeerr() || FLASH.optcr().read().optlock();
        FLASH.optcr().modify(|control| control.set_optlock(true));
        is_over && !refused
    }
}

/// Waits until the flash is idle and no programming of the option bytes is in progress; returns whether that
/// happened.
fn settles() -> bool {
    dsb();
    (0..LOOKS_MAX).any(|_| !FLASH.nssr().read().bsy() && !FLASH.optcr().read().optstrt())
}
