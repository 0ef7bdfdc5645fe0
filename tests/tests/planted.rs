//! The harness of power cuts has eyes: each bug that is planted in the flash store or the boot stage is
//! found.
//!
//! Those that a single start shows are looked for in one. A bug is planted in the whole process, so this is
//! one test, alone in its program.

use boot_stage::boot_record::{BootRecord, Phase};
use boot_stage::exchange::BySpare;
use boot_stage::planted::{Bug, plant};
use boot_stage::record_log::{Kind, RecordLog};
use boot_stage::start::{Runs, Start, start};
use boot_stage::verify::{Ed25519, Trust};
use tests::nor_flash::SimulatedFlash;
use tests::powercut::decay::{Decay, run};
use tests::powercut::device::Device;
use tests::powercut::{Depth, Geometry, Story, again, finds};
use update_core::device::Installed;
use update_core::record::encode_installed;

const ONCE: Geometry = Geometry { page: 256, word: 32, rewritable: false, banks: false };
const SEVERAL_BLOCKS: Geometry = Geometry { page: 4096, word: 32, rewritable: false, banks: false };

#[test]
fn every_planted_bug_is_found() {
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        let (geometry, story, depth) = match bug {
            Bug::ErasedInPlace => (SEVERAL_BLOCKS, Story::Confirmed, Depth::One),
            Bug::MendingNotRecorded => (SEVERAL_BLOCKS, Story::Confirmed, Depth::Two),
            Bug::NotWrittenAgain => (ONCE, Story::Confirmed, Depth::Two),
            Bug::BanksBelieved => (Geometry::BANKS, Story::Silent, Depth::Two),
            Bug::TrialNotRecorded | Bug::ErasedBeforeStep => (ONCE, Story::Silent, Depth::One),
            _ => (ONCE, Story::Confirmed, Depth::One),
        };
        plant(Some(bug));
        match finds(geometry, story, depth) {
            Some(found) => {
                println!("{bug:?}: {found}");
                plant(None);
                assert_eq!(again(&found), Ok(()), "without the bug");
                plant(Some(bug));
                assert!(again(&found).is_err(), "the same cuts find it again");
            }
            None => missed.push(bug),
        }
        plant(None);
    }
    for (bugs, decay, every) in [(&Bug::OF_ROT[..], Decay::Rot, 7), (&Bug::OF_WEAR[..], Decay::Wear, 1)] {
        assert!(run(&[ONCE], decay, every, 1).is_ok(), "{decay:?} without a bug");
        for bug in bugs {
            plant(Some(*bug));
            let report = run(&[ONCE], decay, every, 1);
            plant(None);
            println!("{bug:?}: {:?}", report.told.first());
            if report.faults == 0 || report.is_ok() {
                missed.push(*bug);
            }
        }
    }
    for bug in Bug::OF_START {
        assert_eq!(a_start_goes_wrong(bug), None, "without {bug:?}");
        plant(Some(bug));
        let wrong = a_start_goes_wrong(bug);
        plant(None);
        println!("{bug:?}: {wrong:?}");
        if wrong.is_none() {
            missed.push(bug);
        }
    }
    assert_eq!(missed, [], "not found");
}

type Flash = SimulatedFlash<32, 256>;

/// What is wrong with a start of the device that this bug concerns.
fn a_start_goes_wrong(bug: Bug) -> Option<&'static str> {
    // Between image and trailer lie more pages than the trailer leaves blank.
    let device = Device::with_room(256, 900, 1280);
    let mut flash: Flash = device.flash();
    let mut log = RecordLog::open(&mut flash, device.layout.records).expect("a blank flash");
    let mut save = |flash: &mut Flash, kind, content: &[u8]| {
        log.append(flash, kind, content).expect("there is room");
    };
    match bug {
        Bug::OlderKeySet => {
            save(&mut flash, Kind::KeySet, &device.revoking_key_set());
            started(&mut flash, &device).is_ok().then_some("a revoked key has signed what runs")
        }
        Bug::FloorIgnored => {
            let offer = &device.new.offer;
            let installed = Installed { sequence_number: offer.sequence_number, digest: offer.digest };
            let mut content = [0; 64];
            let len = encode_installed(&installed, &mut content).expect("it is short");
            save(&mut flash, Kind::Installed, &content[..len]);
            started(&mut flash, &device).is_ok().then_some("an image older than the confirmed one runs")
        }
        _ => {
            device.put(&mut flash, device.layout.update, &device.new);
            let name = BootRecord::name_of(&device.new.offer.digest.0);
            let record = BootRecord { phase: Phase::Activated, name, ..BootRecord::SETTLED };
            record.save(&mut flash, &mut log).expect("there is room");
            let is_new = |runs: Runs| runs.sequence_number == device.new.offer.sequence_number;
            (!started(&mut flash, &device).is_ok_and(is_new)).then_some("a whole update does not run")
        }
    }
}

fn started(flash: &mut Flash, device: &Device) -> Result<Runs, String> {
    let trust = Trust { root_key: &device.root_key, key_set: &device.key_set };
    match start(flash, &device.layout, &mut BySpare, &trust, &mut Ed25519) {
        Ok(Start::Run(runs)) => Ok(runs),
        ended => Err(format!("{ended:?}")),
    }
}
