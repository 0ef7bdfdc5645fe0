//! The agent for microcontrollers, as a library in your own firmware. It has no heap and needs no operating
//! system.
//!
//! # What a firmware provides
//!
//! 1. **A boot stage**: `boot_stage::board::run`, with `boot_stage::board::Board` implemented for the board.
//!    It checks at each start what runs, and exchanges the slots.
//! 2. **A flash**, which is any `embedded_storage::nor_flash::NorFlash`, and its
//!    `boot_stage::layout::FlashLayout`. `FlashLayout::check` is called when the flash is opened. Only the
//!    agent writes to these partitions.
//! 3. **The provisioning area**, as bytes: `fwcast agent enroll --format cbor` writes its content. See
//!    [`provisioning`].
//! 4. **Random bytes** from the chip ([`start::Entropy`]); all zero if it has no source.
//! 5. **An `embassy_net::Stack`** with room for [`network::SOCKETS`] more sockets and for multicast. It needs
//!    the address that the device was provisioned with: [`parts::Prepared::config`] returns a configuration.
//!    IPv6 is always included; the feature `ipv4` adds IPv4.
//! 6. **A board**: clock, watchdog and reset. [`board::EmbassyBoard`] uses embassy's clock; other firmware
//!    implements [`drive::Board`]. Only the agent's loop feeds the watchdog.
//! 7. **An application**: [`drive::Application`] hears each [`event::Event`], and may veto a restart, for at
//!    most [`drive::RESTART_VETO_MAX`].
//! 8. **A self-test**: a future that is polled alongside everything else while the running image is on trial.
//!    The image is confirmed when the test returns `true` and the agent has heard the distributor. It is
//!    rolled back when the test returns `false`, or after [`drive::HEALTHY_WITHIN`]. The provisioning can set
//!    another time, or let the test alone decide ([`provisioning::Health`]).
//!
//! # The order of calls
//!
//! Open the flash, prepare the agent, create the network stack, and connect the agent. Then run it alongside
//! the stack's runner and the firmware's own tasks, on any executor. [`drive::Agent::run`] never returns. It
//! keeps the processor for at most one signature check or one erase of a page.
//!
#![cfg_attr(
    feature = "net",
    doc = r#"
```no_run
use agent_embedded::board::EmbassyBoard;
use agent_embedded::drive::Application;
use agent_embedded::event::Event;
use agent_embedded::network;
use agent_embedded::parts::{Memory, NetworkAgent, Parts};
use agent_embedded::start::StartError;
use agent_embedded::store::FlashStore;
use boot_stage::layout::FlashLayout;
use embassy_net::driver::Driver;
use embassy_net::{Runner, Stack, StackResources};
use embedded_storage::nor_flash::NorFlash;
use static_cell::ConstStaticCell;

static MEMORY: Memory = Memory::new();
/// The agent's sockets and one of the firmware's own.
static SOCKETS: ConstStaticCell<StackResources<{ network::SOCKETS + 1 }>> =
    ConstStaticCell::new(StackResources::new());

struct Lamp {
    is_moving: bool,
}

impl Application for Lamp {
    fn on_event(&mut self, event: Event) {
        // For example: write it to a log.
        let _ = event;
    }

    fn may_restart(&mut self) -> bool {
        !self.is_moving
    }
}

async fn self_test() -> bool {
    // For example: whether the sensors answer.
    true
}

type Started<F, D> = (NetworkAgent<F, EmbassyBoard, Lamp>, Stack<'static>, Runner<'static, D>);

fn start<F: NorFlash, D: Driver>(
    flash: F,
    layout: FlashLayout,
    provisioning: &'static [u8],
    entropy: [u8; 16],
    device: D,
    board: EmbassyBoard,
) -> Result<Started<F, D>, &'static str> {
    let of_start = |error: StartError<F::Error>| error.text();
    let store = FlashStore::open(flash, layout).map_err(StartError::Store).map_err(of_start)?;
    let prepared = Parts { store, provisioning, entropy }.prepare(&MEMORY).map_err(of_start)?;
    let config = prepared.config().map_err(|error| error.text())?;
    let (stack, runner) = embassy_net::new(device, config, SOCKETS.take(), prepared.seed());
    let lamp = Lamp { is_moving: false };
    let agent = prepared.connect(stack, board, lamp).map_err(|error| error.text())?;
    Ok((agent, stack, runner))
}

/// Runs for ever, alongside the firmware's own tasks.
async fn run<F: NorFlash, D: Driver>((agent, _stack, mut runner): Started<F, D>) {
    embassy_futures::join::join(agent.run(self_test()), runner.run()).await;
}
```
"#
)]
//!
//! `boards/mps2-an386/src/bin/application.rs` is a complete program of this kind, with its own task and
//! socket. `cargo xtask mcu --example` runs it in QEMU.
//!
//! # Without embassy's network
//!
//! Without the feature `net` there are [`start::start`], [`store::FlashStore`] and [`drive::Agent`]; the
//! firmware implements [`drive::Network`].
#![no_std]

#[cfg(feature = "net")]
pub mod board;
pub mod drive;
pub mod event;
pub mod hardware_address;
pub mod layouts;
#[cfg(feature = "net")]
pub mod network;
mod page;
#[cfg(feature = "net")]
pub mod parts;
pub mod start;
pub mod store;

pub use ::provisioning::cbor as provisioning;
