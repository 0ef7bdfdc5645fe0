//! What all boards with a Cortex-M share: everything around the agent and the boot stage that touches the
//! processor and no register of a board.
#![no_std]

pub mod executor;
pub mod stack_paint;

/// Nothing can go on: what was said on the console is all that there is.
pub fn halt() -> ! {
    loop {
        cortex_m::asm::wfi();
    }
}
