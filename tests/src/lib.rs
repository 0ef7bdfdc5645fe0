//! What fwcast is tested with.

pub mod world;
