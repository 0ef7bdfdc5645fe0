//! The rollout engine: a state machine without I/O, like those of the core.
//!
//! Everyone receives, few activate (DESIGN \[waves\]): an update goes to all agents of a rollout once; then one wave
//! after the other activates it, soaks, and is judged by what its agents report. [`plan`] is what is to be done,
//! without selectors and files; [`record`] what is known of each agent.

pub mod plan;
pub mod record;
pub mod window;
