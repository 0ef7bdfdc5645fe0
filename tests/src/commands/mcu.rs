//! `cargo xtask mcu`: the microcontroller's programs, their budgets, and nodes in QEMU together with Linux
//! agents.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::mcu::boards::Board;
use crate::mcu::cost::{Cost, measure};
use crate::mcu::panics::Panics;
use crate::mcu::trial::{Trial, Wish};
use crate::mcu::{build, setup, twice};
use crate::netns;
use crate::outcome::{Outcome, rounded};
use crate::programs::Programs;

/// Arguments of `mcu`.
#[derive(Debug, Args)]
pub(super) struct Mcu {
    /// Emulated nodes
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u8).range(1..=50))]
    nodes: u8,
    /// Linux agents in the same group
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=50))]
    linux: u8,
    /// Percent of datagrams lost on every tap, each way
    #[arg(long, default_value_t = 10.0, value_name = "PERCENT")]
    loss: f64,
    /// Power cuts aimed at each node; at least 3 must hit
    #[arg(long, default_value_t = 4)]
    cuts: u32,
    /// Decides when the power is cut
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only build the programs of all boards and check their budgets
    #[arg(long)]
    build_only: bool,
    /// Only build the programs of all boards in this folder and in another one, and compare them; this
    /// rebuilds everything and takes minutes
    #[arg(long, conflicts_with_all = ["build_only", "cost", "example"])]
    twice: bool,
    /// Only count what a block costs in QEMU
    #[arg(long, conflicts_with = "build_only")]
    cost: bool,
    /// Only run the example of firmware that uses the agent as a library
    #[arg(long, conflicts_with_all = ["build_only", "cost"])]
    example: bool,
    /// Leave out what follows the update: the images that are rolled back or refused
    #[arg(long)]
    quick: bool,
    /// Keep flash files, consoles and logs in this folder, which is created; with --build-only, the programs
    /// of the real boards
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

impl Mcu {
    /// Only the build.
    pub(super) fn build_only() -> Self {
        Self { build_only: true, ..Self::short() }
    }

    /// Two nodes and a Linux agent, each node losing its power three times.
    pub(super) const fn short() -> Self {
        Self {
            nodes: 2,
            linux: 1,
            loss: 10.0,
            cuts: 3,
            seed: 1,
            build_only: false,
            twice: false,
            cost: false,
            example: false,
            quick: true,
            keep: None,
        }
    }

    /// Runs it.
    ///
    /// # Errors
    /// Something is missing and cannot be installed, or a program does not build or exceeds its budget.
    pub(super) fn run(&self) -> Result<Outcome> {
        ensure!((0.0..50.0).contains(&self.loss), "--loss {}: give 0 to 49 percent", self.loss);
        if self.twice {
            let (programs, differs) = twice::compare()?;
            let outcome = Outcome::new(differs.is_empty()).figure("programs", programs);
            return Ok(if differs.is_empty() { outcome } else { outcome.figure("differs", differs) });
        }
        let core = setup::target(Board::EMULATED.target)?;
        if self.cost {
            return cost(core);
        }
        if self.example {
            let (programs, boot) = (Self::programs()?, build::boot(core, &Board::EMULATED)?);
            let temporary = tempfile::tempdir()?;
            let folder = self.kept()?.unwrap_or(temporary.path());
            let wrong = Self::application(folder, &programs, core, &boot)?;
            return Ok(Outcome::new(wrong.is_empty()).figure("wrong", wrong));
        }
        let images = build::Images::build(core, !self.quick && !self.build_only)?;
        images.say();
        Panics::read()?.hold(build::BOARD, &images.first.linked, &images.boot.linked)?;
        if self.build_only {
            build::Images::application(core, &images.boot)?;
            return self.build_all(&images);
        }
        let programs = Self::programs()?;
        let temporary = tempfile::tempdir()?;
        let folder = self.kept()?.unwrap_or(temporary.path());
        self.run_in(folder, &programs, core, &images)
    }

    /// The host's programs, if nodes can be run at all.
    fn programs() -> Result<Programs> {
        if let Some(why) = netns::unavailable() {
            bail!("{why}: run `cargo xtask mcu` as root, or with --build-only");
        }
        setup::qemu()?;
        Programs::build()
    }

    /// One node with firmware that uses the agent as a library takes an update; returns what is wrong.
    fn application(
        folder: &Path,
        programs: &Programs,
        core: setup::CoreLibrary,
        boot: &build::Program,
    ) -> Result<Vec<String>> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let images = build::Images::application(core, boot)?;
        let wish = Wish { nodes: 1, linux: 0, loss_percent: 0.0, cuts: 0, seed: 1, quick: true };
        let found = Trial::run(folder, programs, &images, wish)?;
        let ram_bytes = images.first.linked.static_bytes + found.stack_bytes;
        build::within("the application's RAM", ram_bytes, images.budget.agent_ram)?;
        Ok(found.wrong)
    }

    /// Builds the programs of the other boards too; for the real ones, what is to be flashed.
    fn build_all(&self, images: &build::Images) -> Result<Outcome> {
        let folder = self.kept()?;
        let mut outcome = images.figures(Outcome::new(true));
        for real in build::Real::build_all()? {
            Panics::read()?.hold(real.board.name, &real.agent.linked, &real.boot.linked)?;
            outcome = real.figures(outcome);
            if let Some(folder) = folder {
                real.save(folder)?;
            }
        }
        Ok(outcome)
    }

    /// The folder in which everything is kept, created.
    fn kept(&self) -> Result<Option<&Path>> {
        let Some(folder) = &self.keep else { return Ok(None) };
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let empty = fs::read_dir(folder)?.next().is_none();
        ensure!(empty, "{} is not empty: give --keep another folder", folder.display());
        Ok(Some(folder))
    }

    fn run_in(
        &self,
        folder: &Path,
        programs: &Programs,
        core: setup::CoreLibrary,
        images: &build::Images,
    ) -> Result<Outcome> {
        let wish = Wish {
            nodes: self.nodes.into(),
            linux: self.linux.into(),
            loss_percent: self.loss,
            cuts: self.cuts,
            seed: self.seed,
            quick: self.quick,
        };
        let mut found = Trial::run(folder, programs, images, wish)?;
        let application = folder.join("application");
        found.wrong.extend(Self::application(&application, programs, core, &images.boot)?);
        let nodes = wish.nodes + wish.linux;
        let ram_bytes = images.first.linked.static_bytes + found.stack_bytes;
        build::within("the agent's RAM", ram_bytes, images.budget.agent_ram)?;
        let outcome = Outcome::new(found.wrong.is_empty())
            .figure("nodes", nodes)
            .figure("confirmed", found.confirmed)
            .figure("cuts", found.cuts)
            .figure("cuts_at_transfer", found.cuts_at[0])
            .figure("cuts_in_boot_stage", found.cuts_at[1])
            .figure("cuts_in_exchange", found.cuts_at[2])
            .figure("cuts_at_first_boot", found.cuts_at[3])
            .figure("blocks_refetched", found.blocks_refetched)
            .figure("rollbacks", found.rollbacks)
            .figure("junk", found.junk)
            .figure("awake_percent", rounded(found.awake_percent))
            .figure("flash_bytes", images.first.linked.image.len())
            .figure("ram_bytes", ram_bytes)
            .figure("stack_bytes", found.stack_bytes)
            .figure("boot_flash_bytes", images.boot.linked.image.len());
        Ok(if found.wrong.is_empty() { outcome } else { outcome.figure("wrong", found.wrong) })
    }
}

/// Instructions for a block of 1,024 bytes under each AEAD.
fn cost(core: setup::CoreLibrary) -> Result<Outcome> {
    setup::qemu()?;
    let costs = measure(&build::bench(core)?)?;
    let mut outcome = Outcome::new(!costs.is_empty());
    println!("instructions for a block of 1024 bytes in group mode, counted in QEMU");
    for Cost { algorithm, unprotect, hash } in costs {
        println!("{algorithm:<20} unprotect {unprotect:>9}   leaf hash {hash:>7}");
        outcome = outcome.figure(&algorithm, unprotect);
    }
    Ok(outcome)
}
