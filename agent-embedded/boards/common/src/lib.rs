//! What all boards with a Cortex-M share: everything around the agent and the boot stage that touches the
//! processor and no register of a board.
#![no_std]

pub mod agent;
pub mod board;
pub mod boot;
pub mod executor;
pub mod stack_paint;

use core::fmt::Write;
use core::panic::PanicInfo;

/// Writes one line to a console, which is anything that is [`core::fmt::Write`] and cannot fail.
#[macro_export]
macro_rules! line {
    ($console:expr, $($argument:tt)*) => {{
        let line = core::format_args!($($argument)*);
        // The console cannot fail.
        let _ = core::fmt::Write::write_fmt(&mut $console, core::format_args!("{line}\n"));
    }};
}

/// Nothing can go on: what was said on the console is all that there is.
pub fn halt() -> ! {
    loop {
        cortex_m::asm::wfi();
    }
}

/// Says where, and starts anew: the boot stage knows what is good.
pub fn on_panic(info: &PanicInfo<'_>, mut console: impl Write) -> ! {
    if let Some(place) = info.location() {
        line!(console, "panic at {}:{}", place.file(), place.line());
    }
    cortex_m::peripheral::SCB::sys_reset()
}
