//! `cargo xtask test`: everything that must pass, step by step.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use super::demo::Demo;
use super::mcu::Mcu;
use super::net::NetScenarios;
use super::powercut::PowerCut;
use super::sim::Sim;
use super::vectors::Vectors;
use crate::mcu::boards::Board;
use crate::mcu::setup::{self, CoreLibrary};
use crate::netns;
use crate::outcome::{Outcome, rounded};
use crate::powercut::decay::Decay;
use crate::programs::{Programs, cargo, root};
use crate::rollouts;
use crate::size::Size;
use crate::tidy;

/// The packages of the core.
const CORE: [&str; 5] = ["coap-wire", "group-oscore", "update-core", "group-manager", "provisioning"];

/// How many times the process that runs a rollout is killed.
const KILLS: u32 = 20;
/// How many simulated worlds are run.
const SEEDS: u64 = 200;

/// Arguments of `test`.
#[derive(Debug, Args)]
pub(super) struct Test {
    /// Only steps with one of these words in their names
    words: Vec<String>,
}

/// How a step ended.
enum End {
    Passed,
    /// It was left out, for this reason.
    LeftOut(String),
}

type Step = (&'static str, fn() -> Result<End>);

const STEPS: [Step; 11] = [
    ("tidy", tidy),
    ("cargo test", cargo_test),
    ("core without std", core_without_std),
    ("packages", packages),
    ("vectors", vectors),
    ("sim", sim),
    ("demo", demo),
    ("rollouts", rollouts),
    ("net", net),
    ("mcu", mcu),
    ("powercut", powercut),
];

impl Test {
    /// Runs every step, even after one has failed.
    ///
    /// # Errors
    /// No step has such a name.
    pub(super) fn run(&self) -> Result<Outcome> {
        let (mut passed, mut left_out, mut failed) = (0, Vec::new(), Vec::new());
        let start = Instant::now();
        for (name, step) in STEPS.iter().filter(|(name, _)| self.wants(name)) {
            println!("== {name}");
            let began = Instant::now();
            let end = step();
            let seconds = began.elapsed().as_secs_f64();
            match end {
                Ok(End::Passed) => {
                    println!("== {name}: passed ({seconds:.1} s)");
                    passed += 1;
                }
                Ok(End::LeftOut(why)) => {
                    println!("== {name}: left out: {why}");
                    left_out.push(*name);
                }
                Err(error) => {
                    let line = format!("== {name}: FAILED ({seconds:.1} s): {error:#}");
                    println!("{line}");
                    failed.push((*name, line));
                }
            }
        }
        ensure!(passed + left_out.len() + failed.len() > 0, "no step has such a name");
        // Printed again at the end, where it is easy to find.
        for (_, line) in &failed {
            println!("{line}");
        }
        println!("{passed} passed, {} failed, {} left out", failed.len(), left_out.len());
        Ok(Outcome::new(failed.is_empty())
            .figure("passed", passed)
            .figure("failed", failed.iter().map(|(name, _)| *name).collect::<Vec<_>>())
            .figure("left_out", left_out)
            .figure("seconds", rounded(start.elapsed().as_secs_f64())))
    }

    fn wants(&self, name: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| name.contains(word.as_str()))
    }
}

fn tidy() -> Result<End> {
    let found = tidy::violations(&root())?;
    for violation in &found {
        println!("{violation}");
    }
    ensure!(found.is_empty(), "{} rules of the house are broken", found.len());
    Ok(End::Passed)
}

/// Runs the tests with overflow checks, which a release build does not have. Tests that need namespaces
/// report that they were left out if those cannot be created, and so does this step.
fn cargo_test() -> Result<End> {
    let passed = succeed(cargo().args(["test", "--workspace", "--no-fail-fast", "--quiet"]))?;
    let left_out = |why| End::LeftOut(format!("all passed except the tests in namespaces: {why}"));
    Ok(netns::unavailable().map_or(passed, left_out))
}

/// Builds the core for a target without `std`: the proof that it needs none.
fn core_without_std() -> Result<End> {
    let core = setup::target(Board::EMULATED.target)?;
    let packages = CORE.iter().flat_map(|package| ["--package", package]);
    let mut cargo = cargo();
    cargo.args(["check", "--quiet", "--target", Board::EMULATED.target]).args(packages);
    if core == CoreLibrary::FromSource {
        cargo.arg("-Zbuild-std=core,alloc").env("RUSTC_BOOTSTRAP", "1");
    }
    succeed(&mut cargo)
}

/// Checks that the packages of the core can be packed for a registry: nothing in them refers to files
/// outside.
fn packages() -> Result<End> {
    let packages = CORE.iter().flat_map(|package| ["--package", package]);
    succeed(cargo().args(["package", "--offline", "--no-verify", "--allow-dirty", "--quiet"]).args(packages))
}

fn vectors() -> Result<End> {
    hold(&Vectors::shipped()?.run()?)
}

fn sim() -> Result<End> {
    hold(&Sim::of_seeds(SEEDS).run())
}

fn demo() -> Result<End> {
    hold(&Demo { agents: 3, size: Size(256 * 1024), ..Demo::default() }.run()?)
}

/// The samples of `manifests/`; waves with failures; a rollout whose process is killed repeatedly.
fn rollouts() -> Result<End> {
    hold(&rollouts::samples(tempfile::tempdir()?.path(), &Programs::build()?)?)?;
    hold(&Demo { rollout: true, ..Demo::default() }.run()?)?;
    hold(&Demo { rollout: true, kills: Some(KILLS), ..Demo::default() }.run()?)
}

fn net() -> Result<End> {
    match netns::unavailable() {
        Some(why) => Ok(End::LeftOut(why)),
        None => hold(&NetScenarios::all().run()?),
    }
}

/// The programs of all boards within their budgets; with root, also in QEMU.
fn mcu() -> Result<End> {
    hold(&Mcu::build_only().run()?)?;
    let Some(why) = netns::unavailable() else { return hold(&Mcu::short().run()?) };
    Ok(End::LeftOut(format!("built within the budgets, but not run: {why}")))
}

fn powercut() -> Result<End> {
    hold(&PowerCut::of_decay(Decay::Rot).run()?)?;
    hold(&PowerCut::of_decay(Decay::Wear).run()?)?;
    hold(&PowerCut::of_one().run()?)
}

fn hold(outcome: &Outcome) -> Result<End> {
    let line = serde_json::to_string(outcome)?;
    println!("{line}");
    if !outcome.is_ok() {
        bail!("{line}");
    }
    Ok(End::Passed)
}

fn succeed(command: &mut Command) -> Result<End> {
    let status = command.status().context("cannot run cargo")?;
    ensure!(status.success(), "cargo ended with {status}");
    Ok(End::Passed)
}
