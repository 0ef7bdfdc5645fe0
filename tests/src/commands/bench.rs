//! `cargo xtask bench`: figures with their limits.

use anyhow::Result;
use clap::Subcommand;

use crate::bench::{memory, peers, protect, store, transfer};
use crate::outcome::Outcome;

/// What is measured.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum Bench {
    /// Protecting and unprotecting a block, compared with bare signing and verifying
    Protect,
    /// 4 MiB to agents with loss, between network namespaces; needs root
    Transfer(transfer::Transfer),
    /// fwcast beside other multicast tools, between network namespaces; needs root, and takes half an hour
    Peers(peers::Peers),
    /// What the programs hold in memory for an image of 64 MiB
    Memory,
    /// Lists of 10,000 agents, compared with a plain SQL query of the same rows
    Store,
}

impl Bench {
    pub(super) fn run(&self) -> Result<Outcome> {
        match self {
            Self::Protect => protect::run(),
            Self::Transfer(transfer) => transfer.run(),
            Self::Peers(peers) => peers.run(),
            Self::Memory => memory::run(),
            Self::Store => store::run(),
        }
    }
}
