//! The boot stage: verifies, exchanges the slots where that is due, and jumps.
#![no_std]
#![no_main]

use agent_embedded::provisioning::Provisioning;
use board_common::halt;
use boot_stage::exchange::BySpare;
use boot_stage::image::ImageError;
use boot_stage::record_log::LogError;
use boot_stage::start::{Halt, News, Runs, Start, start};
use boot_stage::verify::{Ed25519, Trust};
use cortex_m_rt::entry;
use mps2_an386::board::{ACTIVE, LAYOUT, provisioning};
use mps2_an386::flash::{Flash, FlashError};
use mps2_an386::{console, line};

#[entry]
fn main() -> ! {
    console::start();
    let (root_key, key_set) = match Provisioning::read_keys(provisioning()) {
        Ok(keys) => keys,
        Err(error) => {
            line!("boot: {}", error.text());
            halt()
        }
    };
    // SAFETY: the only one of this program, which holds no reference but to the provisioning area.
    let mut flash = unsafe { Flash::take() };
    let trust = Trust { root_key: &root_key, key_set };
    match start(&mut flash, &LAYOUT, &mut BySpare, &trust, &mut Ed25519) {
        Ok(Start::Run(runs)) => {
            tell(&runs);
            jump()
        }
        Ok(Start::Reset) => cortex_m::peripheral::SCB::sys_reset(),
        Err(why) => {
            line!("boot: nothing can run: {}", text(why));
            halt()
        }
    }
}

fn tell(runs: &Runs) {
    let news = match runs.news {
        News::None => "confirmed",
        News::Trial => "trial",
        News::RolledBack(_) => "rolled back",
        News::Recovered => "recovered from the other slot",
    };
    line!("boot: runs sequence={} ({news})", runs.sequence_number);
}

const fn text(why: Halt<FlashError>) -> &'static str {
    match why {
        Halt::Layout(_) => "the layout does not fit the flash",
        Halt::Records(LogError::Flash(_)) => "the flash refuses",
        Halt::Records(_) => "the records are lost: write the device anew",
        Halt::KeySet => "the root key did not sign the key set: enroll the device again",
        Halt::Image(ImageError::NotSigned) => "no image key signed what is in the active slot",
        Halt::Image(ImageError::Damaged) => "the image in the active slot is damaged",
        Halt::Downgrade => "the image in the active slot is older than the one confirmed last",
    }
}

fn jump() -> ! {
    let table = ACTIVE as *const u32;
    // SAFETY: the boot stage has verified that a signed image lies there; it begins with its vector table. No
    // interrupt has been enabled yet.
    unsafe {
        (*cortex_m::peripheral::SCB::PTR).vtor.write(ACTIVE as u32);
        cortex_m::asm::bootload(table)
    }
}
