//! Many worlds, one after another.

use super::{Options, Outcome, run};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// The result of many worlds: the last line of `cargo xtask sim`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Whether nothing went wrong and all agents were updated.
    pub ok: bool,
    /// How many worlds ran.
    pub seeds: u64,
    /// Agents that were updated.
    pub updates: u64,
    /// SHA-256 over the hexadecimal trace hashes of all of them; for a single world its own.
    pub trace_hash: String,
    /// Agents that ended without an intact image.
    pub bricked: u64,
    /// Activated images that nobody had signed.
    pub wrong_image: u64,
    /// Nonces used twice.
    pub nonce_reuse: u64,
}

/// Runs the worlds of these seeds; `told` is called with the outcome of each.
pub fn run_seeds(seeds: impl IntoIterator<Item = u64>, mut told: impl FnMut(u64, &Outcome)) -> Summary {
    let mut summary = Summary {
        ok: true,
        seeds: 0,
        updates: 0,
        trace_hash: String::new(),
        bricked: 0,
        wrong_image: 0,
        nonce_reuse: 0,
    };
    let mut all = Sha256::new();
    let mut last = [0; 32];
    for seed in seeds {
        let outcome = run(seed, &Options::of(seed));
        told(seed, &outcome);
        summary.ok &= outcome.violations.is_empty();
        summary.seeds += 1;
        summary.updates += u64::from(outcome.updates);
        summary.bricked += u64::from(outcome.bricked);
        summary.wrong_image += u64::from(outcome.wrong_image);
        summary.nonce_reuse += u64::from(outcome.nonce_reuse);
        last = outcome.trace_hash;
        all.update(last);
    }
    let hash: [u8; 32] = if summary.seeds == 1 { last } else { all.finalize().into() };
    summary.trace_hash = hex::encode(hash);
    summary
}
