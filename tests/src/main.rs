//! `cargo xtask`: what people and CI run.

fn main() {}
