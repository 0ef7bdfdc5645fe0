//! Runs one future for ever.
//!
//! Its own loop, because it sleeps by WFI: QEMU does not sleep on WFE, by which embassy's executor does, so
//! that each idle node would take a whole processor of its host.

use core::future::Future;
use core::pin::pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, RawWaker, RawWakerVTable, Waker};

static WOKEN: AtomicBool = AtomicBool::new(true);

static WAKER: RawWakerVTable = RawWakerVTable::new(|_| raw(), wake, wake, |_| {});

const fn raw() -> RawWaker {
    RawWaker::new(core::ptr::null(), &WAKER)
}

fn wake(_: *const ()) {
    WOKEN.store(true, Ordering::SeqCst);
}

/// Polls `future`, which does not end, whenever somebody woke it, and sleeps in between.
pub fn run(future: impl Future) -> ! {
    let mut future = pin!(future);
    // SAFETY: its functions do nothing with the pointer.
    let waker = unsafe { Waker::from_raw(raw()) };
    let mut context = Context::from_waker(&waker);
    loop {
        WOKEN.store(false, Ordering::SeqCst);
        // Nothing is polled that has ended.
        if future.as_mut().poll(&mut context).is_ready() {
            crate::halt();
        }
        cortex_m::interrupt::disable();
        if !WOKEN.load(Ordering::SeqCst) {
            // An interrupt that came since the last look ends it at once, though it is masked.
            cortex_m::asm::dsb();
            cortex_m::asm::wfi();
        }
        // SAFETY: they were enabled before.
        unsafe { cortex_m::interrupt::enable() };
    }
}
