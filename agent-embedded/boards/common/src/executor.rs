//! Runs one future for ever, or four of them alongside each other.
//!
//! It has its own loop because it sleeps with WFI. embassy's executor sleeps with WFE, and QEMU does not
//! sleep on that, so each idle node would use a whole processor of its host.

use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

/// Something was woken.
static WOKEN: AtomicBool = AtomicBool::new(true);
/// For each of the futures that run alongside each other: it was woken, or has never run.
static WOKEN_BESIDE: [AtomicBool; 4] = [const { AtomicBool::new(true) }; 4];

static WAKER: RawWakerVTable = RawWakerVTable::new(|flag| RawWaker::new(flag, &WAKER), wake, wake, |_| {});

fn wake(flag: *const ()) {
    // SAFETY: `waker` creates it from a flag that lives for ever.
    unsafe { &*flag.cast::<AtomicBool>() }.store(true, Ordering::SeqCst);
    WOKEN.store(true, Ordering::SeqCst);
}

fn waker(flag: &'static AtomicBool) -> Waker {
    let flag = core::ptr::from_ref(flag).cast();
    // SAFETY: the functions of the table need a flag that lives for ever, and this one does.
    unsafe { Waker::from_raw(RawWaker::new(flag, &WAKER)) }
}

/// Polls `future`, which never ends, whenever it was woken, and sleeps in between.
pub fn run(future: impl Future) -> ! {
    let mut future = pin!(future);
    let waker = waker(&WOKEN);
    let mut context = Context::from_waker(&waker);
    loop {
        WOKEN.store(false, Ordering::SeqCst);
        // A future that has ended is not polled again.
        if future.as_mut().poll(&mut context).is_ready() {
            crate::halt();
        }
        cortex_m::interrupt::disable();
        if !WOKEN.load(Ordering::SeqCst) {
            // An interrupt that came since the last check ends the sleep at once, even though it is masked.
            cortex_m::asm::dsb();
            cortex_m::asm::wfi();
        }
        // SAFETY: they were enabled before.
        unsafe { cortex_m::interrupt::enable() };
    }
}

/// Runs the agent, the network stack, the network controller and an application alongside each other. None of
/// them ends. A program calls this once.
///
/// Each is polled only when it was woken itself. Polling a socket wakes the network stack: with one waker for
/// all, each poll would wake everything, and the board would never sleep.
pub async fn beside(
    agent: impl Future,
    network: impl Future,
    controller: impl Future,
    application: impl Future,
) {
    let (mut agent, mut network, mut controller) = (pin!(agent), pin!(network), pin!(controller));
    let mut application = pin!(application);
    let [of_agent, of_network, of_controller, of_application] = &WOKEN_BESIDE;
    poll_fn(|_| {
        poll(controller.as_mut(), of_controller);
        poll(network.as_mut(), of_network);
        poll(application.as_mut(), of_application);
        poll(agent.as_mut(), of_agent);
        Poll::<()>::Pending
    })
    .await;
}

fn poll(future: Pin<&mut impl Future>, woken: &'static AtomicBool) {
    let is_over = woken.swap(false, Ordering::SeqCst)
        && future.poll(&mut Context::from_waker(&waker(woken))).is_ready();
    if is_over {
        crate::halt();
    }
}
