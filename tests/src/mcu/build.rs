//! Builds the programs of the boards, and checks their budgets.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use super::boards::{BOARDS, Board, Budget};
use super::elf::Linked;
use super::setup::{self, CoreLibrary};
use super::tree::Tree;
use crate::outcome::Outcome;
use crate::programs::{cargo, executable};

/// The board that is emulated.
pub const BOARD: &str = Board::EMULATED.name;

/// The features of updates that get stuck.
const STUCK: &[&str] = &["hangs", "faults", "cannot-start"];

/// All programs that the trial of the board needs.
#[derive(Debug)]
pub struct Images {
    /// The boot stage.
    pub boot: Program,
    /// The agent that the nodes start with.
    pub first: Program,
    /// The update.
    pub second: Program,
    /// An update that never proves healthy.
    pub sick: Program,
    /// Updates that fail in their first turn, and what each does; only for a full trial.
    pub stuck: Vec<(&'static str, Program)>,
    /// An agent whose network controller answers only in its third start; for a full trial.
    pub late: Option<Program>,
    /// Their limits.
    pub budget: Budget,
    /// Whether the programs are the example application, which has a lamp.
    pub has_lamp: bool,
}

impl Images {
    /// Builds the example application in two versions.
    ///
    /// # Errors
    /// It does not build, or exceeds the agent's budget.
    pub fn application(core: CoreLibrary, boot: &Program) -> Result<Self> {
        let board = &Board::EMULATED;
        eprintln!("building the application with an agent for {BOARD}");
        let first = in_slot(core, board, "application", Build { version: "1", feature: None })?;
        let second = in_slot(core, board, "application", Build { version: "2", feature: None })?;
        let (boot, sick, budget) = (boot.clone(), second.clone(), board.budget()?);
        Ok(Self { boot, first, second, sick, stuck: Vec::new(), late: None, budget, has_lamp: true })
    }

    /// Builds them; for a full trial also those that get stuck.
    ///
    /// # Errors
    /// One does not build, or exceeds its budget.
    pub fn build(core: CoreLibrary, full: bool) -> Result<Self> {
        let board = &Board::EMULATED;
        eprintln!("building boot stage and agent for {BOARD}");
        let build = |version, feature| agent(core, board, Build { version, feature });
        let stuck = if full { STUCK } else { &[] };
        let stuck = stuck.iter().map(|feature| Ok((*feature, build("4", Some(feature))?)));
        Ok(Self {
            boot: boot(core, board)?,
            first: build("1", None)?,
            second: build("2", None)?,
            sick: build("3", Some("never-healthy"))?,
            stuck: stuck.collect::<Result<_>>()?,
            late: full.then(|| build("1", Some("late"))).transpose()?,
            budget: board.budget()?,
            has_lamp: false,
        })
    }

    /// Prints how much of their budgets they use.
    pub fn say(&self) {
        say(BOARD, &self.first.linked, &self.boot.linked, &self.budget);
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

/// The programs of a board that is not run here.
#[derive(Debug)]
pub struct Real {
    /// The board.
    pub board: Board,
    /// Its boot stage.
    pub boot: Program,
    /// Its agent.
    pub agent: Program,
}

impl Real {
    /// Builds them for each such board, and prints how much of their budgets they use.
    ///
    /// # Errors
    /// One does not build, exceeds its budget, or is linked to the wrong address.
    pub fn build_all() -> Result<Vec<Self>> {
        Board::REAL.into_iter().map(Self::build).collect()
    }

    fn build(board: Board) -> Result<Self> {
        let core = setup::target(board.target)?;
        eprintln!("building boot stage and agent for {}", board.name);
        let boot = boot(core, &board)?;
        let agent = agent(core, &board, Build { version: "1", feature: None })?;
        say(board.name, &agent.linked, &boot.linked, &board.budget()?);
        Ok(Self { board, boot, agent })
    }

    /// Writes what is to be flashed to this folder.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        for (name, program) in [("boot", &self.boot), ("agent", &self.agent)] {
            let path = folder.join(format!("{}-{name}.bin", self.board.name));
            fs::write(&path, &program.linked.image)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// Adds their sizes to an outcome.
    #[must_use]
    pub fn figures(&self, outcome: Outcome) -> Outcome {
        let name = |what| format!("{}_{what}", self.board.name);
        outcome
            .figure(&name("flash_bytes"), self.agent.linked.image.len())
            .figure(&name("static_bytes"), self.agent.linked.static_bytes)
            .figure(&name("boot_flash_bytes"), self.boot.linked.image.len())
    }
}

fn say(board: &str, agent: &Linked, boot: &Linked, budget: &Budget) {
    println!("{board}");
    println!("agent       flash {:>7} of {:>7}", agent.image.len(), budget.agent_flash);
    println!("agent       static RAM {:>7} of {:>7} with stack", agent.static_bytes, budget.agent_ram);
    println!("boot stage  flash {:>7} of {:>7}", boot.image.len(), budget.boot_flash);
    let panics = |linked: &Linked| if linked.formats_panics { "present" } else { "absent" };
    println!("panic_fmt   agent {}, boot stage {}", panics(agent), panics(boot));
}

/// One of an agent's builds.
#[derive(Debug, Clone, Copy)]
pub struct Build<'a> {
    /// Its version on the console.
    pub version: &'a str,
    /// The fault built into it.
    pub feature: Option<&'a str>,
}

/// A program and the file that QEMU loads.
#[derive(Debug, Clone)]
pub struct Program {
    /// The ELF file, which the next build replaces.
    pub file: PathBuf,
    /// Its contents.
    pub linked: Linked,
}

/// Builds the agent.
///
/// # Errors
/// It does not build, exceeds its budget, or is linked to the wrong address.
pub fn agent(core: CoreLibrary, board: &Board, build: Build<'_>) -> Result<Program> {
    in_slot(core, board, "agent", build)
}

/// Builds a program that runs from the active slot.
fn in_slot(core: CoreLibrary, board: &Board, name: &str, build: Build<'_>) -> Result<Program> {
    let features: Vec<&str> = build.feature.iter().flat_map(|feature| ["--features", feature]).collect();
    let program = program(core, board, name, build.version, &features)?;
    let budget = board.budget()?;
    at(&program, board.active())?;
    within("the agent's flash", program.linked.image.len() as u64, budget.agent_flash)?;
    within("the agent's static data", program.linked.static_bytes, budget.agent_ram)?;
    Ok(program)
}

/// Builds the boot stage.
///
/// # Errors
/// It does not build, exceeds its budget, or is linked to the wrong address.
pub fn boot(core: CoreLibrary, board: &Board) -> Result<Program> {
    let program = program(core, board, "boot", "boot", &[])?;
    let budget = board.budget()?;
    at(&program, board.boot)?;
    within("the boot stage's flash", program.linked.image.len() as u64, budget.boot_flash)?;
    within("the boot stage's static data", program.linked.static_bytes, budget.boot_ram)?;
    Ok(program)
}

/// Builds the program that measures what a block costs.
///
/// # Errors
/// It does not build.
pub fn bench(core: CoreLibrary) -> Result<Program> {
    program(core, &Board::EMULATED, "bench", "bench", &[])
}

/// Checks that something fits its budget.
///
/// # Errors
/// It does not.
pub fn within(what: &str, bytes: u64, budget: u64) -> Result<()> {
    ensure!(bytes <= budget, "{what} takes {bytes} bytes, {} over its budget of {budget}", bytes - budget);
    Ok(())
}

/// Checks that the linker scripts and the layout agree on the address.
fn at(program: &Program, wanted: u32) -> Result<()> {
    let (file, address) = (program.file.display(), program.linked.address);
    ensure!(address == wanted, "{file} is linked to {address:#x}, but runs from {wanted:#x}");
    Ok(())
}

fn program(
    core: CoreLibrary,
    board: &Board,
    name: &str,
    version: &str,
    features: &[&str],
) -> Result<Program> {
    program_of(&Tree::own(), core, board, name, version, features)
}

/// Builds a program of the repository in this folder.
///
/// # Errors
/// It does not build.
pub fn program_of(
    tree: &Tree,
    core: CoreLibrary,
    board: &Board,
    name: &str,
    version: &str,
    features: &[&str],
) -> Result<Program> {
    let folder = tree.root.join(BOARDS).join(board.name);
    tree.hide_rules(&folder)?;
    let mut cargo = cargo();
    if let Some(target) = &tree.target {
        cargo.env("CARGO_TARGET_DIR", target);
    }
    cargo
        .args(tree.remaps(&folder)?)
        .env("RUSTC_WRAPPER", tree.root.join(BOARDS).join("compiler.sh"))
        .env("FWCAST_ROOT", &tree.root)
        .current_dir(folder)
        .args(["build", "--release", "--locked", "--target", board.target, "--bin", name])
        .args(["--message-format", "json-render-diagnostics"])
        .args(features)
        .env("FWCAST_IMAGE_VERSION", version)
        // Settings for the host's build are not for this one.
        .env_remove("RUSTFLAGS")
        .stderr(Stdio::inherit());
    if core == CoreLibrary::FromSource {
        cargo.arg("-Zbuild-std=core,alloc").env("RUSTC_BOOTSTRAP", "1");
    }
    let built = cargo.output().context("cannot run cargo")?;
    ensure!(built.status.success(), "{name} does not build for {}", board.name);
    let messages = String::from_utf8(built.stdout).context("cargo's output is not UTF-8")?;
    let file = executable(&messages, name)?;
    let linked = Linked::read(&fs::read(&file)?)?;
    Ok(Program { file, linked })
}
