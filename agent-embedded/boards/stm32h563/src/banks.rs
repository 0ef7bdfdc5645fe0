//! The exchange of the two banks in hardware: the option bit SWAP_BANK (RM0481 section 7).

use boot_stage::banks::Banks;
use embassy_stm32::pac::FLASH;
use embassy_stm32::pac::flash::vals::{OptcrSwapBank, OptsrSwapBank};

const OPTION_KEYS: [u32; 2] = [0x0819_2a3b, 0x4c5d_6e7f];

/// Whether the processor sees bank 2 first. The chip takes that over from the option bit with a reset.
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
        while FLASH.nssr().read().bsy() {}
        if FLASH.optcr().read().optlock() {
            for key in OPTION_KEYS {
                FLASH.optkeyr().write_value(key);
            }
        }
        FLASH.nsccr().write(|clear| clear.set_clr_optchangeerr(true));
        let wanted = if exchanged { OptsrSwapBank::B_0X1 } else { OptsrSwapBank::B_0X0 };
        FLASH.optsr_prg().modify(|option| option.set_swap_bank(wanted));
        FLASH.optcr().modify(|control| control.set_optstrt(true));
        while FLASH.nssr().read().bsy() {}
        let refused = FLASH.nssr().read().optchangeerr() || FLASH.optcr().read().optlock();
        FLASH.optcr().modify(|control| control.set_optlock(true));
        !refused
    }
}
