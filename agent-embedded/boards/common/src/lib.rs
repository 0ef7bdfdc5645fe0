//! The shared code of all boards with a Cortex-M: everything around the agent and the boot stage that uses
//! the processor but no register of a board.
#![no_std]

pub mod agent;
pub mod application;
pub mod boot;
pub mod executor;
pub mod flash;
pub mod stack_paint;

use core::fmt::Write;
use core::panic::PanicInfo;
use core::task::{Context, Poll, Waker};

use boot_stage::resets::Resets;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m::peripheral::{SCB, SYST};

/// Writes one line to a console. A console is anything that implements [`core::fmt::Write`] and cannot fail.
#[macro_export]
macro_rules! line {
    ($console:expr, $($argument:tt)*) => {{
        let line = core::format_args!($($argument)*);
        // The console cannot fail.
        let _ = core::fmt::Write::write_fmt(&mut $console, core::format_args!("{line}\n"));
    }};
}

/// The handlers of panics and hard faults, which print where it happened on this console and reset the board.
#[macro_export]
macro_rules! handlers {
    ($console:expr) => {
        #[panic_handler]
        fn on_panic(info: &core::panic::PanicInfo<'_>) -> ! {
            $crate::on_panic(info, $console)
        }

        #[cortex_m_rt::exception]
        unsafe fn HardFault(frame: &cortex_m_rt::ExceptionFrame) -> ! {
            $crate::on_hard_fault(frame.pc(), $console)
        }
    };
}

/// Where the programs print.
pub trait Console: Write {
    /// Ready when a byte has arrived, which it consumes: somebody asks for the status. Otherwise the next
    /// byte wakes the context. A console that only sends is never ready.
    fn poll_byte(&self, _context: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// What the shared code needs to know about the chip.
#[derive(Debug, Clone, Copy)]
pub struct Chip {
    /// The processor's clock frequency in Hz.
    pub clock: u32,
    /// Feeds the watchdog.
    pub feed: fn(),
}

/// Ticks per second: at 250 MHz the counts of one tick still fit the 24 bits of the processor's timer.
const TICKS_PER_SECOND: u32 = 20;
/// Ticks until the message is repeated.
const TICKS: u32 = 10 * TICKS_PER_SECOND;

/// Nothing can continue: prints why, repeatedly, and whenever a byte arrives on the console. In between the
/// processor sleeps.
pub fn stay<C: Console>(mut console: C, chip: Chip, say: impl Fn(&mut C)) -> ! {
    let mut timer = timer_alone(chip);
    loop {
        say_and_wait(&mut console, chip, &mut timer, TICKS, &say);
    }
}

/// Consecutive resets of the boot stage. Like the next one it survives a reset, in a place of its own that no
/// program initialises (`retained.x`); `used`, so that the compiler does not rely on the value here.
#[used]
#[unsafe(link_section = ".fwcast_retained.boot")]
pub(crate) static BOOT_RESETS: Resets = Resets::new();
/// Consecutive resets of the agent.
#[used]
#[unsafe(link_section = ".fwcast_retained.agent")]
pub(crate) static AGENT_RESETS: Resets = Resets::new();

/// Nothing can continue, and a reset may help: prints why, waits (longer each time in a row), and resets.
/// Until then it behaves like [`stay`].
pub(crate) fn reset_later<C: Console>(
    mut console: C,
    chip: Chip,
    resets: &Resets,
    say: impl Fn(&mut C),
) -> ! {
    let mut left = resets.one_more() * TICKS_PER_SECOND;
    let mut timer = timer_alone(chip);
    while left > 0 {
        left = left.saturating_sub(say_and_wait(&mut console, chip, &mut timer, left.min(TICKS), &say));
    }
    SCB::sys_reset()
}

/// From now on only the caller runs; the processor's own timer ticks and wakes it.
fn timer_alone(chip: Chip) -> SYST {
    cortex_m::interrupt::disable();
    disable_interrupts();
    // SAFETY: the program that used it no longer runs.
    let mut timer = unsafe { cortex_m::Peripherals::steal() }.SYST;
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(chip.clock / TICKS_PER_SECOND);
    timer.clear_current();
    timer.enable_interrupt();
    timer.enable_counter();
    timer
}

/// Prints it, then feeds the watchdog and sleeps for this many ticks, or until a byte arrives on the console;
/// returns the ticks that have passed.
fn say_and_wait<C: Console>(
    console: &mut C,
    chip: Chip,
    timer: &mut SYST,
    ticks: u32,
    say: impl Fn(&mut C),
) -> u32 {
    let mut context = Context::from_waker(Waker::noop());
    let mut gone = 0;
    say(console);
    while gone < ticks {
        (chip.feed)();
        // A tick or a byte is pending but masked, so it is not taken. It wakes the processor all the same.
        // Anything left pending would wake it again at once, and for ever.
        SCB::clear_pendst();
        clear_pending();
        cortex_m::asm::dsb();
        cortex_m::asm::wfi();
        gone += u32::from(timer.has_wrapped());
        if console.poll_byte(&mut context).is_ready() {
            break;
        }
    }
    gone
}

/// From now on no interrupt of this program occurs.
pub(crate) fn disable_interrupts() {
    // SAFETY: this is the only user of the interrupt controller, which is no longer needed.
    let nvic = unsafe { &*cortex_m::peripheral::NVIC::PTR };
    for enabled in &nvic.icer {
        // SAFETY: all bits may be written.
        unsafe { enabled.write(u32::MAX) }
    }
    clear_pending();
}

/// Clears interrupts that are pending and were not taken.
fn clear_pending() {
    // SAFETY: the callers no longer take interrupts.
    let nvic = unsafe { &*cortex_m::peripheral::NVIC::PTR };
    for pending in &nvic.icpr {
        // SAFETY: all bits may be written.
        unsafe { pending.write(u32::MAX) }
    }
}

/// Nothing can continue, and there is nothing to print.
pub fn halt() -> ! {
    loop {
        cortex_m::asm::wfi();
    }
}

/// Prints where, and resets the board, so that an image on trial is rolled back.
pub fn on_hard_fault(address: u32, mut console: impl Write) -> ! {
    line!(console, "hard fault at {address:#x}");
    SCB::sys_reset()
}

/// Prints where, and resets the board: the boot stage decides what runs.
pub fn on_panic(info: &PanicInfo<'_>, mut console: impl Write) -> ! {
    if let Some(place) = info.location() {
        line!(console, "panic at {}:{}", place.file(), place.line());
    }
    SCB::sys_reset()
}
