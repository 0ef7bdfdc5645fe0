//! The agent.
#![no_std]
#![no_main]

use core::future::pending;

use agent_embedded::start::Entropy;
use board_common::agent::{self, Tasks, VERSION, Wrong};
use board_common::application::self_test;
use board_common::flash::FlashError;
use board_common::{executor, line, stack_paint};
use cortex_m_rt::entry;
use mps2_an386::CHIP;
use mps2_an386::console::{self, Console};
use mps2_an386::flash::Flash;
use mps2_an386::lan9118::{self, Frames};
use mps2_an386::place::{LAYOUT, provisioning};
use mps2_an386::time;
use static_cell::ConstStaticCell;

static FRAMES: ConstStaticCell<Frames> = ConstStaticCell::new(Frames::new());

#[entry]
fn main() -> ! {
    stack_paint::paint();
    console::start();
    time::start();
    // SAFETY: main is entered once, and interrupts have their own critical sections.
    unsafe { cortex_m::interrupt::enable() };
    line!(Console, "agent: image version={VERSION}");
    match prepare() {
        Ok(((agent, mut network), ethernet)) => {
            let (agent, network) = (agent.run(self_test()), network.run());
            executor::run(executor::beside(agent, network, lan9118::run(ethernet), pending::<()>()))
        }
        Err(wrong) => wrong.halt(Console, CHIP),
    }
}

type WithEthernet = (Tasks<Flash, Console, lan9118::Driver>, lan9118::Runner);

/// Not inlined, so that its stack is free again afterwards.
#[inline(never)]
fn prepare() -> Result<WithEthernet, Wrong<FlashError>> {
    // SAFETY: it is the only one in this program, which only holds references to the provisioning area.
    let flash = unsafe { Flash::take() };
    // QEMU emulates no source of randomness on this board; the provisioning differs for each device.
    let entropy = Some(Entropy::default());
    let prepared = agent::prepare(flash, LAYOUT, provisioning(), entropy)?;
    let (frames, device, _) = lan9118::start(FRAMES.take()).ok_or(Wrong::Controller)?;
    Ok((agent::connect(prepared, device, Console, CHIP)?, frames))
}
