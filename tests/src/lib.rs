//! What fwcast is tested with.

pub mod vectors;
pub mod world;
