//! The vector table's external interrupts.

use cortex_m::interrupt::InterruptNumber;

/// An entry of the vector table.
#[derive(Clone, Copy)]
pub union Vector {
    handler: unsafe extern "C" fn(),
    reserved: usize,
}

#[derive(Debug, Clone, Copy)]
struct Interrupt(u16);

// SAFETY: the AN386 has these 32 and no others.
unsafe impl InterruptNumber for Interrupt {
    fn number(self) -> u16 {
        self.0 % 32
    }
}

unsafe extern "C" fn on_console() {
    crate::console::on_interrupt();
}

unsafe extern "C" fn on_timer() {
    crate::time::on_interrupt();
}

unsafe extern "C" fn on_ethernet() {
    crate::lan9118::on_interrupt();
}

/// Where the linker script of cortex-m-rt looks for it.
#[unsafe(link_section = ".vector_table.interrupts")]
#[unsafe(no_mangle)]
pub static __INTERRUPTS: [Vector; 32] = {
    let mut table = [Vector { reserved: 0 }; 32];
    table[0] = Vector { handler: on_console };
    table[8] = Vector { handler: on_timer };
    table[9] = Vector { handler: on_timer };
    table[13] = Vector { handler: on_ethernet };
    table
};

/// Enables an interrupt.
pub(crate) fn enable(number: u16) {
    // SAFETY: handlers use their own critical sections and share nothing else.
    unsafe { cortex_m::peripheral::NVIC::unmask(Interrupt(number)) }
}
