//! What the boot stage needs of a board.

use embedded_storage::nor_flash::{ErrorType, NorFlash};

use crate::exchange::Exchange;
use crate::layout::FlashLayout;
use crate::start::{Halt, Recovery, Runs, Start, start, start_unrecorded};
use crate::verify::{Ed25519, Trust};

/// After so many failed starts in a row, some four minutes, the records count as worn out, and
/// what is intact runs without them.
pub const RETRIES_MAX: u32 = 8;

/// A board with a boot stage.
pub trait Board {
    /// Its flash.
    type Flash: NorFlash;
    /// How its slots change places.
    type Exchange: Exchange;

    /// The layout of its flash.
    fn layout(&self) -> FlashLayout;

    /// The flash, and how its slots change places.
    fn parts(&mut self) -> (&mut Self::Flash, &mut Self::Exchange);

    /// Starts the watchdog and jumps into the active slot, which holds a verified image.
    fn jump(self, runs: &Runs) -> !;

    /// Resets the chip, which swaps its banks only then.
    fn reset(self) -> !;

    /// How many starts in a row have ended with [`retry`](Self::retry).
    fn retries(&self) -> u32;

    /// The flash has failed in this start: prints why, waits (longer each time in a row), and resets.
    fn retry(self, why: &Halt<<Self::Flash as ErrorType>::Error>) -> !;

    /// Nothing may run, and no reset helps: prints why, and stays.
    fn halt(self, why: &Halt<<Self::Flash as ErrorType>::Error>) -> !;
}

/// One start of the device: the whole boot stage.
pub fn run<B: Board>(mut board: B, trust: &Trust<'_>, recovery: Recovery) -> ! {
    let layout = board.layout();
    let (flash, exchange) = board.parts();
    match start(flash, &layout, exchange, trust, recovery, &mut Ed25519) {
        Ok(Start::Run(runs)) => board.jump(&runs),
        Ok(Start::Reset) => board.reset(),
        Err(why) if why.may_pass() => {
            if board.retries() < RETRIES_MAX {
                board.retry(&why);
            }
            let (flash, _) = board.parts();
            match start_unrecorded(flash, &layout, trust, recovery, &mut Ed25519) {
                Ok(runs) => board.jump(&runs),
                Err(_) => board.retry(&why),
            }
        }
        Err(why) => board.halt(&why),
    }
}
