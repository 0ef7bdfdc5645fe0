//! The test tools of fwcast: the rules of the house, the simulated world, harnesses for real networks and
//! real programs, the scenarios, the benchmarks, and the commands of `cargo xtask`.

pub mod bench;
pub mod commands;
pub mod fleet;
pub mod hear;
pub mod mcu;
pub mod mutants;
pub mod netns;
pub mod nor_flash;
pub mod outcome;
pub mod powercut;
pub mod process;
pub mod programs;
pub mod push_report;
pub mod rollouts;
pub mod scenarios;
pub mod size;
pub mod tidy;
pub mod vectors;
pub mod world;
