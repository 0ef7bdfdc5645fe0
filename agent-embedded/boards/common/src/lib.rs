//! What all boards with a Cortex-M share: everything around the agent and the boot stage that touches the
//! processor and no register of a board.
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

/// Writes one line to a console, which is anything that is [`core::fmt::Write`] and cannot fail.
#[macro_export]
macro_rules! line {
    ($console:expr, $($argument:tt)*) => {{
        let line = core::format_args!($($argument)*);
        // The console cannot fail.
        let _ = core::fmt::Write::write_fmt(&mut $console, core::format_args!("{line}\n"));
    }};
}

/// The handlers of panics and hard faults, which say where on this console and reset the board.
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

/// What the programs say goes out here.
pub trait Console: Write {
    /// Ready when a byte has come, which it takes: somebody wants to know how things stand. Otherwise the
    /// next one wakes the context. A console that only sends is never ready.
    fn poll_byte(&self, _context: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// What is to be known of the chip.
#[derive(Debug, Clone, Copy)]
pub struct Chip {
    /// What the processor runs at, in Hz.
    pub clock: u32,
    /// Feeds the watchdog.
    pub feed: fn(),
}

/// Ticks in a second: at 250 MHz the counts of one still fit the 24 bits of the processor's timer.
const TICKS_PER_SECOND: u32 = 20;
/// Ticks until it is said again.
const TICKS: u32 = 10 * TICKS_PER_SECOND;

/// Nothing can go on: says why, again and again, and whenever a byte comes on the console. In between the
/// processor sleeps.
pub fn stay<C: Console>(mut console: C, chip: Chip, say: impl Fn(&mut C)) -> ! {
    let mut timer = timer_alone(chip);
    loop {
        say_and_wait(&mut console, chip, &mut timer, TICKS, &say);
    }
}

/// Resets in a row of the boot stage. As the next one it outlives a reset, at a place of its own that no
/// program initialises (`retained.x`); `used`, so that the compiler does not believe the value here.
#[used]
#[unsafe(link_section = ".fwcast_retained.boot")]
pub(crate) static BOOT_RESETS: Resets = Resets::new();
/// Resets in a row of the agent.
#[used]
#[unsafe(link_section = ".fwcast_retained.agent")]
pub(crate) static AGENT_RESETS: Resets = Resets::new();

/// Nothing can go on, and a reset may help: says why, waits, longer each time in a row, and resets. Until
/// then it does what [`stay`] does.
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

/// From now on nothing runs but the caller; the processor's own timer ticks and wakes it.
fn timer_alone(chip: Chip) -> SYST {
    cortex_m::interrupt::disable();
    disable_interrupts();
    // SAFETY: the program that used it does not run any more.
    let mut timer = unsafe { cortex_m::Peripherals::steal() }.SYST;
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(chip.clock / TICKS_PER_SECOND);
    timer.clear_current();
    timer.enable_interrupt();
    timer.enable_counter();
    timer
}

/// Says it, then feeds the watchdog and sleeps for so many ticks, or until a byte comes on the console;
/// gives the ticks that have gone by.
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
        // A tick or a byte is pending and is not taken, being masked; it wakes the processor all the
        // same. Whatever stayed pending would wake it again at once, and for ever.
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

/// No interrupt of this program comes any more.
pub(crate) fn disable_interrupts() {
    // SAFETY: the only user of the interrupt controller, which needs it no more.
    let nvic = unsafe { &*cortex_m::peripheral::NVIC::PTR };
    for enabled in &nvic.icer {
        // SAFETY: all bits may be written.
        unsafe { enabled.write(u32::MAX) }
    }
    clear_pending();
}

/// Forgets the interrupts that have come and were not taken.
fn clear_pending() {
    // SAFETY: the callers take no interrupts any more.
    let nvic = unsafe { &*cortex_m::peripheral::NVIC::PTR };
    for pending in &nvic.icpr {
        // SAFETY: all bits may be written.
        unsafe { pending.write(u32::MAX) }
    }
}

/// Nothing can go on, and there is nothing to say.
pub fn halt() -> ! {
    loop {
        cortex_m::asm::wfi();
    }
}

/// Says where, and resets the board, so that an image on trial that does this goes back.
pub fn on_hard_fault(address: u32, mut console: impl Write) -> ! {
    line!(console, "hard fault at {address:#x}");
    SCB::sys_reset()
}

/// Says where, and resets the board: the boot stage decides what runs.
pub fn on_panic(info: &PanicInfo<'_>, mut console: impl Write) -> ! {
    if let Some(place) = info.location() {
        line!(console, "panic at {}:{}", place.file(), place.line());
    }
    SCB::sys_reset()
}
