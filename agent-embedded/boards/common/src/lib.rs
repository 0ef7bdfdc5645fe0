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
use core::sync::atomic::{AtomicU32, Ordering};
use core::task::{Context, Poll, Waker};

use cortex_m::peripheral::SCB;
use cortex_m::peripheral::syst::SystClkSource;

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
    cortex_m::interrupt::disable();
    disable_interrupts();
    // SAFETY: the program that used it does not run any more.
    let mut timer = unsafe { cortex_m::Peripherals::steal() }.SYST;
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(chip.clock / TICKS_PER_SECOND);
    timer.clear_current();
    timer.enable_interrupt();
    timer.enable_counter();
    let mut context = Context::from_waker(Waker::noop());
    loop {
        say(&mut console);
        for _ in 0..TICKS {
            (chip.feed)();
            // A tick or a byte is pending and is not taken, being masked; it wakes the processor all the
            // same. Whatever stayed pending would wake it again at once, and for ever.
            SCB::clear_pendst();
            clear_pending();
            cortex_m::asm::dsb();
            cortex_m::asm::wfi();
            if console.poll_byte(&mut context).is_ready() {
                break;
            }
        }
    }
}

/// How many resets in a row were for nothing, and its complement. It outlives a reset, and holds anything
/// after power on or once an agent has used the memory: what does not match its complement counts as none.
#[unsafe(link_section = ".uninit.fwcast_resets")]
static RESETS: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];
/// The longest wait before a reset, in powers of two of a second.
const WAIT_MAX: u32 = 8;

/// Resets after one second, and after twice as long each time in a row, up to four minutes.
pub(crate) fn reset_later(clock: u32) -> ! {
    let [resets, complement] = &RESETS;
    let before = resets.load(Ordering::Relaxed);
    let count = if before == !complement.load(Ordering::Relaxed) { before.min(WAIT_MAX) } else { 0 };
    resets.store(count + 1, Ordering::Relaxed);
    complement.store(!(count + 1), Ordering::Relaxed);
    for _ in 0..1_u32 << count {
        cortex_m::asm::delay(clock);
    }
    SCB::sys_reset()
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
