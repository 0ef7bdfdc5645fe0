//! Measures whether tests detect faults: some test of a package must notice each change to its
//! security-relevant modules.
//!
//! `cargo mutants` creates and tries the changes. This module says which modules are covered and which tests
//! run for them, draws the sample, divides it, and keeps the result for each mutant, so that a stopped
//! campaign continues where it was.

mod ledger;
mod sample;
mod trial;

pub use ledger::{Ledger, Verdict};
pub use sample::{Sample, Shard};
pub use trial::{list, run};

/// Modules of one package, and the tests that run for them.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// The package.
    pub package: &'static str,
    /// The files to change.
    pub files: &'static [&'static str],
    /// The packages whose tests are run: its own, and for the boot stage those that test a whole device.
    tests: &'static [&'static str],
    /// Which of these tests, if all of them take too long.
    only: &'static [&'static str],
}

/// All of them.
pub const PARTS: [Part; 6] = [
    Part {
        package: "group-oscore",
        files: &[
            "crates/group-oscore/src/replay.rs",
            "crates/group-oscore/src/sequence.rs",
            "crates/group-oscore/src/binding.rs",
            "crates/group-oscore/src/group/unprotect.rs",
            "crates/group-oscore/src/group/protect.rs",
        ],
        tests: &["group-oscore"],
        only: &["--lib", "--tests"],
    },
    Part {
        package: "update-core",
        files: &[
            "crates/update-core/src/tree.rs",
            "crates/update-core/src/suit.rs",
            "crates/update-core/src/suit/envelope.rs",
            "crates/update-core/src/suit/manifest.rs",
            "crates/update-core/src/suit/offer.rs",
            "crates/update-core/src/suit/sequence.rs",
            "crates/update-core/src/reception/offers.rs",
            "crates/update-core/src/reception/blocks.rs",
            "crates/update-core/src/reception/recovery.rs",
            "crates/update-core/src/target.rs",
        ],
        tests: &["update-core"],
        only: &["--lib", "--tests"],
    },
    Part {
        package: "boot-stage",
        files: &[
            "agent-embedded/boot/src/record_log.rs",
            "agent-embedded/boot/src/record_log/entry.rs",
            "agent-embedded/boot/src/record_log/scan.rs",
            "agent-embedded/boot/src/boot_record.rs",
            "agent-embedded/boot/src/exchange.rs",
            "agent-embedded/boot/src/start.rs",
            "agent-embedded/boot/src/verify.rs",
        ],
        tests: &["boot-stage", "agent-embedded", "tests"],
        // The rules of the house do not apply to what cargo-mutants writes, and its copy is not a repository.
        only: &[
            "--lib",
            "--test",
            "device",
            "--test",
            "record_log",
            "--test",
            "power_cut",
            "--test",
            "exchange",
            "--",
            "--skip",
            "tidy",
            "--skip",
            "mcu",
        ],
    },
    Part {
        package: "agent-linux",
        files: &[
            "agent-linux/src/slots.rs",
            "agent-linux/src/boot_record.rs",
            "agent-linux/src/file_store.rs",
            "agent-linux/src/trial.rs",
        ],
        tests: &["agent-linux"],
        only: &["--lib", "--tests"],
    },
    Part {
        package: "fwcast-state",
        files: &["distributor/state/src/sequence.rs"],
        tests: &["fwcast-state", "distributor"],
        only: &["--lib", "--test", "restored"],
    },
    Part {
        package: "rollout-engine",
        files: &["crates/rollout-engine/src/judge.rs", "crates/rollout-engine/src/window.rs"],
        tests: &["rollout-engine"],
        only: &["--lib"],
    },
];

/// One changed version of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mutant {
    /// The file that is changed.
    pub file: String,
    /// What is changed where, as `cargo mutants --list` names it.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::root;

    #[test]
    fn every_file_is_there_and_named_once() {
        let mut files: Vec<_> = PARTS.iter().flat_map(|part| part.files).collect();
        assert!(files.iter().all(|file| root().join(file).is_file()), "{files:?}");
        let all = files.len();
        files.sort_unstable();
        files.dedup();
        assert_eq!(files.len(), all);
    }
}
