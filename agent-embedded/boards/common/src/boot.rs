//! The boot stage: verifies, exchanges the slots where that is due, and jumps.

use agent_embedded::provisioning::Provisioning;
use boot_stage::exchange::Exchange;
use boot_stage::image::ImageError;
use boot_stage::layout::FlashLayout;
use boot_stage::record_log::LogError;
use boot_stage::start::{Halt, News, Runs, Start, start};
use boot_stage::verify::{Ed25519, Trust};
use embedded_storage::nor_flash::NorFlash;

use crate::{Chip, Console, disable_interrupts, line, stay};

/// What a board's boot stage has.
pub struct BootStage<'p, F, X, C> {
    /// Its flash.
    pub flash: F,
    /// Where everything lies there.
    pub layout: FlashLayout,
    /// How the slots change places.
    pub exchange: X,
    /// The provisioning area.
    pub provisioning: &'p [u8],
    /// The address at which the flash runs the image of the active slot.
    pub active: usize,
    /// Where it says what it does.
    pub console: C,
    /// What the processor runs at, in Hz.
    pub clock: u32,
    /// Starts the watchdog, which from then on the image has to feed: one that hangs before its first line,
    /// too, goes back if it is on trial.
    pub watchdog: fn(),
}

impl<F: NorFlash, X: Exchange, C: Console> BootStage<'_, F, X, C> {
    /// One start.
    ///
    /// # Safety
    /// At `active` the processor sees the begin of the layout's active slot, and the program that calls this
    /// shares no memory with the image there but what that sets up anew.
    pub unsafe fn run(mut self) -> ! {
        // The watchdog does not run yet.
        let chip = Chip { clock: self.clock, feed: || {} };
        let (root_key, key_set) = match Provisioning::read_keys(self.provisioning) {
            Ok(keys) => keys,
            Err(error) => stay(self.console, chip, |console| {
                line!(*console, "boot: nothing can run: {}", error.text());
            }),
        };
        let trust = Trust { root_key: &root_key, key_set };
        match start(&mut self.flash, &self.layout, &mut self.exchange, &trust, &mut Ed25519) {
            Ok(Start::Run(runs)) => {
                self.tell(&runs);
                (self.watchdog)();
                // SAFETY: the boot stage has verified that a signed image lies there; the rest is the
                // caller's promise.
                unsafe { jump(self.active) }
            }
            Ok(Start::Reset) => {
                line!(self.console, "boot: the slots change places with this reset");
                cortex_m::peripheral::SCB::sys_reset()
            }
            Err(why) => stay(self.console, chip, |console| {
                line!(*console, "boot: nothing can run: {}", text(&why));
            }),
        }
    }

    fn tell(&mut self, runs: &Runs) {
        let news = match runs.news {
            News::None => "confirmed",
            News::Trial => "trial",
            News::RolledBack(_) => "rolled back",
            News::Recovered => "on trial, recovered from the other slot",
        };
        line!(self.console, "boot: runs sequence={} ({news})", runs.sequence_number);
    }
}

const fn text<E>(why: &Halt<E>) -> &'static str {
    match why {
        Halt::Layout(_) => "the layout does not fit the flash",
        Halt::Records(LogError::Flash(_)) => "the flash refuses",
        Halt::Records(_) => "the records are lost: write the device anew",
        Halt::KeySet => "the root key did not sign the key set: enroll the device again",
        Halt::Image(ImageError::NotSigned) => "no image key signed what is in the active slot",
        Halt::Image(ImageError::Damaged) => "the image in the active slot is damaged",
        Halt::Downgrade => "the image in the active slot is older than the one confirmed last",
        Halt::Banks => "the chip does not exchange its banks of flash",
    }
}

/// # Safety
/// There is an image, which begins with its vector table.
unsafe fn jump(image: usize) -> ! {
    // No interrupt of this program comes in the next one.
    disable_interrupts();
    // SAFETY: the caller's promise.
    unsafe {
        (*cortex_m::peripheral::SCB::PTR).vtor.write(image as u32);
        cortex_m::asm::bootload(image as *const u32)
    }
}
