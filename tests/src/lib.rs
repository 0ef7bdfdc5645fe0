//! What fwcast is tested with: the rules of the house, harnesses for real networks and real programs, the
//! scenarios, and the commands of `cargo xtask`.

pub mod netns;
pub mod tidy;
