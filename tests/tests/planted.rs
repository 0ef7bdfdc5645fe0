//! The power-cut harness detects faults: it finds each bug that is planted in the flash store or the boot
//! stage.
//!
//! A bug is planted in the whole process, so this is one test, alone in its program.

use boot_stage::planted::{Bug, plant};
use tests::powercut::decay::{Decay, run};
use tests::powercut::{Depth, Geometry, Story, again, finds, trust};

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
    assert_eq!(trust::violations(), [""; 0], "without a bug");
    for bug in Bug::OF_TRUST {
        plant(Some(bug));
        let violations = trust::violations();
        plant(None);
        println!("{bug:?}: {violations:?}");
        if violations.is_empty() {
            missed.push(bug);
        }
    }
    assert_eq!(missed, [], "not found");
}
