//! The clock: timer 0 runs freely at 25 MHz, timer 1 fires once. There is no periodic tick, so an idle node
//! costs its host nothing.

use core::cell::RefCell;
use core::task::Waker;

use critical_section::{CriticalSection, Mutex};
use embassy_time_driver::{Driver, time_driver_impl};
use embassy_time_queue_utils::Queue;

use crate::registers::Register;

/// Counts of a timer in a microsecond.
const COUNTS_PER_MICROSECOND: u64 = 25;
/// Timer 1 counts 32 bits; a longer sleep is split into steps.
const STEP_MICROSECONDS_MAX: u64 = 100_000_000;

const CONTROL_ENABLE_WITH_INTERRUPT: u32 = 0b1001;
const INTERRUPT_FREE: u16 = 8;
const INTERRUPT_ALARM: u16 = 9;

struct Timer {
    control: Register,
    value: Register,
    reload: Register,
    interrupt: Register,
}

// SAFETY: the two CMSDK timers of the AN386.
const FREE: Timer = unsafe { Timer::at(0x4000_0000) };
// SAFETY: as above.
const ALARM: Timer = unsafe { Timer::at(0x4000_1000) };

impl Timer {
    /// # Safety
    /// The same as for [`Register::at`], for four registers.
    const unsafe fn at(base: usize) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            Self {
                control: Register::at(base),
                value: Register::at(base + 4),
                reload: Register::at(base + 8),
                interrupt: Register::at(base + 12),
            }
        }
    }
}

struct Inner {
    wraps: u32,
    queue: Queue,
}

impl Inner {
    const NEW: Self = Self { wraps: 0, queue: Queue::new() };
}

struct Clock(Mutex<RefCell<Inner>>);

time_driver_impl!(static CLOCK: Clock = Clock(Mutex::new(RefCell::new(Inner::NEW))));

/// Starts the clock at 0.
pub fn start() {
    FREE.control.write(0);
    FREE.reload.write(u32::MAX);
    FREE.value.write(u32::MAX);
    FREE.control.write(CONTROL_ENABLE_WITH_INTERRUPT);
    crate::vectors::enable(INTERRUPT_FREE);
    crate::vectors::enable(INTERRUPT_ALARM);
}

/// Counts of 25 MHz since the start.
fn counts(wraps: &mut u32) -> u64 {
    let mut elapsed = u32::MAX - FREE.value.read();
    if FREE.interrupt.read() != 0 {
        FREE.interrupt.write(1);
        *wraps += 1;
        // The value read before may be from either side of the wrap.
        elapsed = u32::MAX - FREE.value.read();
    }
    (u64::from(*wraps) << 32) | u64::from(elapsed)
}

impl Inner {
    fn now(&mut self) -> u64 {
        counts(&mut self.wraps) / COUNTS_PER_MICROSECOND
    }

    /// Wakes what is due, and sets the alarm for the next one.
    fn ring(&mut self) {
        let now = self.now();
        let next = self.queue.next_expiration(now);
        ALARM.control.write(0);
        ALARM.interrupt.write(1);
        if next == u64::MAX {
            return;
        }
        let wait = next.saturating_sub(now).clamp(1, STEP_MICROSECONDS_MAX);
        ALARM.reload.write(0);
        #[expect(clippy::cast_possible_truncation, reason = "at most 2.5 billion counts")]
        ALARM.value.write((wait * COUNTS_PER_MICROSECOND) as u32);
        ALARM.control.write(CONTROL_ENABLE_WITH_INTERRUPT);
    }
}

impl Clock {
    /// In a critical section nothing else borrows it, so there is always a value and never a panic.
    fn with<T: Default>(&self, section: CriticalSection<'_>, work: impl FnOnce(&mut Inner) -> T) -> T {
        self.0.borrow(section).try_borrow_mut().map(|mut inner| work(&mut inner)).unwrap_or_default()
    }
}

impl Driver for Clock {
    fn now(&self) -> u64 {
        critical_section::with(|section| self.with(section, Inner::now))
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|section| {
            self.with(section, |inner| {
                if inner.queue.schedule_wake(at, waker) {
                    inner.ring();
                }
            });
        });
    }
}

/// Either timer has interrupted.
pub(crate) fn on_interrupt() {
    critical_section::with(|section| CLOCK.with(section, Inner::ring));
}
