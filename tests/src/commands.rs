//! The commands of `cargo xtask`. Each prints one JSON object as its last line on standard output, and exits
//! with 1 if a check fails.

mod bench;
mod demo;
mod mcu;
mod mutants;
mod net;
mod powercut;
mod sim;
mod test;
mod vectors;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::outcome::Outcome;

/// What people and CI run.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything that must pass
    Test(test::Test),
    /// Keys, group, agents and a signed image, distributed to all of them on this machine
    Demo(demo::Demo),
    /// The simulated world: worlds of many seeds, or one of them again
    Sim(sim::Sim),
    /// A power cut at every operation of a microcontroller's flash
    Powercut(powercut::PowerCut),
    /// Whether tests notice changes to the security-relevant modules; takes hours, and needs cargo-mutants
    Mutants(mutants::Mutants),
    /// Reproduce suites of Group OSCORE vectors
    Vectors(vectors::Vectors),
    /// Figures with their limits
    #[command(subcommand)]
    Bench(bench::Bench),
    /// The microcontroller's programs, their budgets, and nodes in QEMU together with Linux agents; needs
    /// root
    Mcu(mcu::Mcu),
    /// The scenarios between network namespaces; needs root
    Net(net::NetScenarios),
}

impl Arguments {
    /// Runs the command.
    ///
    /// # Errors
    /// Something that it needs is missing, or a check fails.
    pub fn run(&self) -> Result<Outcome> {
        match &self.command {
            Command::Test(test) => test.run(),
            Command::Demo(demo) => demo.run(),
            Command::Sim(sim) => Ok(sim.run()),
            Command::Powercut(powercut) => powercut.run(),
            Command::Mutants(mutants) => mutants.run(),
            Command::Vectors(vectors) => vectors.run(),
            Command::Bench(bench) => bench.run(),
            Command::Mcu(mcu) => mcu.run(),
            Command::Net(net) => net.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
