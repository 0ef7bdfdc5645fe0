//! Builds the programs of the emulated board, and holds them to their budgets.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::elf::Linked;
use super::setup::{CoreLibrary, TARGET};
use crate::outcome::Outcome;
use crate::programs::{cargo, executable, root};

/// The board that is emulated.
pub const BOARD: &str = "mps2-an386";
/// Where the boards are, below the root.
pub const BOARDS: &str = "agent-embedded/boards";

/// What a board's programs may take, in bytes.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Budget {
    /// The agent's image in its slot.
    pub agent_flash: u64,
    /// The agent's static data and stack.
    pub agent_ram: u64,
    /// The boot stage.
    pub boot_flash: u64,
    /// The boot stage's static data.
    pub boot_ram: u64,
}

impl Budget {
    /// A board's, from the one file that has them all.
    ///
    /// # Errors
    /// There is none.
    pub fn of(board: &str) -> Result<Self> {
        let text = fs::read_to_string(root().join(BOARDS).join("budgets.json"))?;
        let mut all: std::collections::BTreeMap<String, Self> = serde_json::from_str(&text)?;
        all.remove(board).with_context(|| format!("budgets.json has no board {board}"))
    }
}

/// All programs that the trial of the board needs.
#[derive(Debug)]
pub struct Images {
    /// The boot stage.
    pub boot: Program,
    /// The agent that the nodes come with.
    pub first: Program,
    /// The update.
    pub second: Program,
    /// An update that never proves healthy.
    pub sick: Program,
    /// What they may take.
    pub budget: Budget,
}

impl Images {
    /// Builds them.
    ///
    /// # Errors
    /// One does not build, or is over its budget.
    pub fn build(core: CoreLibrary) -> Result<Self> {
        eprintln!("building boot stage and agent for {BOARD}");
        let build = |version, never_healthy| agent(core, Build { version, never_healthy });
        Ok(Self {
            boot: boot(core)?,
            first: build("1", false)?,
            second: build("2", false)?,
            sick: build("3", true)?,
            budget: Budget::of(BOARD)?,
        })
    }

    /// Prints what they take of their budgets.
    pub fn say(&self) {
        let Self { boot, first, budget, .. } = self;
        let (agent, boot) = (&first.linked, &boot.linked);
        println!("agent       flash {:>7} of {:>7}", agent.image.len(), budget.agent_flash);
        println!("agent       static RAM {:>7} of {:>7} with stack", agent.static_bytes, budget.agent_ram);
        println!("boot stage  flash {:>7} of {:>7}", boot.image.len(), budget.boot_flash);
        let panics = |linked: &Linked| if linked.formats_panics { "present" } else { "absent" };
        println!("panic_fmt   agent {}, boot stage {}", panics(agent), panics(boot));
    }

    /// Adds their sizes to an outcome.
    #[must_use]
    pub fn figures(&self, outcome: Outcome) -> Outcome {
        outcome
            .figure("flash_bytes", self.first.linked.image.len())
            .figure("static_bytes", self.first.linked.static_bytes)
            .figure("boot_flash_bytes", self.boot.linked.image.len())
    }
}

/// One of an agent's builds.
#[derive(Debug, Clone, Copy)]
pub struct Build<'a> {
    /// What its console calls it.
    pub version: &'a str,
    /// On trial it never proves healthy.
    pub never_healthy: bool,
}

/// A program and the file that QEMU loads.
#[derive(Debug, Clone)]
pub struct Program {
    /// The ELF file, which the next build replaces.
    pub file: PathBuf,
    /// What is in it.
    pub linked: Linked,
}

/// Builds the agent.
///
/// # Errors
/// It does not build, or is over its budget.
pub fn agent(core: CoreLibrary, build: Build<'_>) -> Result<Program> {
    let features: &[&str] = if build.never_healthy { &["--features", "never-healthy"] } else { &[] };
    let program = program(core, "agent", build.version, features)?;
    let budget = Budget::of(BOARD)?;
    within("the agent's flash", program.linked.image.len() as u64, budget.agent_flash)?;
    within("the agent's static data", program.linked.static_bytes, budget.agent_ram)?;
    Ok(program)
}

/// Builds the boot stage.
///
/// # Errors
/// It does not build, or is over its budget.
pub fn boot(core: CoreLibrary) -> Result<Program> {
    let program = program(core, "boot", "boot", &[])?;
    let budget = Budget::of(BOARD)?;
    within("the boot stage's flash", program.linked.image.len() as u64, budget.boot_flash)?;
    within("the boot stage's static data", program.linked.static_bytes, budget.boot_ram)?;
    Ok(program)
}

/// Whether something fits its budget.
///
/// # Errors
/// It does not.
pub fn within(what: &str, bytes: u64, budget: u64) -> Result<()> {
    ensure!(bytes <= budget, "{what} takes {bytes} bytes, {} over its budget of {budget}", bytes - budget);
    Ok(())
}

fn program(core: CoreLibrary, name: &str, version: &str, features: &[&str]) -> Result<Program> {
    let mut cargo = cargo();
    cargo
        .current_dir(root().join(BOARDS).join(BOARD))
        .args(["build", "--release", "--locked", "--target", TARGET, "--bin", name])
        .args(["--message-format", "json-render-diagnostics"])
        .args(features)
        .env("FWCAST_IMAGE_VERSION", version)
        // What the host's build was told is not for this one.
        .env_remove("RUSTFLAGS")
        .stderr(Stdio::inherit());
    if core == CoreLibrary::FromSource {
        cargo.arg("-Zbuild-std=core,alloc").env("RUSTC_BOOTSTRAP", "1");
    }
    let built = cargo.output().context("cannot run cargo")?;
    ensure!(built.status.success(), "{name} does not build for {BOARD}");
    let messages = String::from_utf8(built.stdout).context("cargo does not speak UTF-8")?;
    let file = executable(&messages, name)?;
    let linked = Linked::read(&fs::read(&file)?)?;
    Ok(Program { file, linked })
}
