//! The boot stage: verifies, exchanges the slots if needed, and jumps.

use agent_embedded::provisioning::{self, BootSettings, Provisioning};
use boot_stage::board::{self, Board};
use boot_stage::exchange::Exchange;
use boot_stage::layout::FlashLayout;
use boot_stage::start::{Halt, News, Recovery, Runs};
use boot_stage::verify::Trust;
use embedded_storage::nor_flash::NorFlash;

use crate::{BOOT_RESETS, Chip, Console, disable_interrupts, line, reset_later, stay};

/// What a board provides for its boot stage.
pub struct BootStage<'p, F, X, C> {
    /// Its flash.
    pub flash: F,
    /// The layout of the flash.
    pub layout: FlashLayout,
    /// How the slots change places.
    pub exchange: X,
    /// The provisioning area.
    pub provisioning: &'p [u8],
    /// The address at which the flash runs the image of the active slot.
    pub active: usize,
    /// The console for its messages.
    pub console: C,
    /// The processor's clock frequency in Hz.
    pub clock: u32,
    /// Starts the watchdog, which the image must then feed. So an image on trial that hangs, even before its
    /// first line, is rolled back.
    pub watchdog: fn(),
}

impl<F: NorFlash, X: Exchange, C: Console> BootStage<'_, F, X, C> {
    /// Carries out one start.
    ///
    /// # Safety
    /// At `active` the processor sees the start of the layout's active slot. The image there initialises all
    /// memory that it shares with the calling program.
    pub unsafe fn run(self) -> ! {
        let given = match Provisioning::read_boot(self.provisioning) {
            Ok(given) => given,
            Err(error) => stay(self.console, chip(self.clock), |console| {
                line!(*console, "boot: nothing can run: {}", error.text());
            }),
        };
        let BootSettings { root_key, signed_key_set: key_set, recovery } = given;
        let recovery = match recovery {
            provisioning::Recovery::Previous => Recovery::Previous,
            provisioning::Recovery::None => Recovery::None,
        };
        board::run(Promised(self), &Trust { root_key: &root_key, key_set }, recovery)
    }
}

/// A boot stage whose caller keeps the promise of [`BootStage::run`].
struct Promised<'p, F, X, C>(BootStage<'p, F, X, C>);

impl<F: NorFlash, X: Exchange, C: Console> Board for Promised<'_, F, X, C> {
    type Flash = F;
    type Exchange = X;

    fn layout(&self) -> FlashLayout {
        self.0.layout
    }

    fn parts(&mut self) -> (&mut F, &mut X) {
        (&mut self.0.flash, &mut self.0.exchange)
    }

    fn jump(mut self, runs: &Runs) -> ! {
        let news = match runs.news {
            News::None => "confirmed",
            News::Trial => "trial",
            News::RolledBack(_) => "rolled back",
            News::Recovered => "on trial, recovered from the other slot",
            News::Previous => "on trial, older than the damaged image",
            News::Unrecorded => "the records are worn out",
        };
        line!(self.0.console, "boot: runs sequence={} ({news})", runs.sequence_number);
        if runs.news != News::Unrecorded {
            BOOT_RESETS.clear();
        }
        (self.0.watchdog)();
        // SAFETY: the boot stage has verified that a signed image is there; the rest is the caller's promise.
        unsafe { jump(self.0.active) }
    }

    fn reset(mut self) -> ! {
        line!(self.0.console, "boot: the slots change places with this reset");
        cortex_m::peripheral::SCB::sys_reset()
    }

    fn retries(&self) -> u32 {
        BOOT_RESETS.count()
    }

    fn retry(self, why: &Halt<F::Error>) -> ! {
        reset_later(self.0.console, chip(self.0.clock), &BOOT_RESETS, |console| {
            line!(*console, "boot: {}: tries again after a reset", why.text());
        })
    }

    fn halt(self, why: &Halt<F::Error>) -> ! {
        stay(self.0.console, chip(self.0.clock), |console| {
            line!(*console, "boot: nothing can run: {}", why.text());
        })
    }
}

/// The watchdog is not running yet.
const fn chip(clock: u32) -> Chip {
    Chip { clock, feed: || {} }
}

/// # Safety
/// There is an image, which begins with its vector table.
unsafe fn jump(image: usize) -> ! {
    // No interrupt of this program occurs in the next one.
    disable_interrupts();
    // SAFETY: the caller's promise.
    unsafe {
        (*cortex_m::peripheral::SCB::PTR).vtor.write(image as u32);
        cortex_m::asm::bootload(image as *const u32)
    }
}
