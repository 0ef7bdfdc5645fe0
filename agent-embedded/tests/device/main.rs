//! A whole device in memory: flash, records, boot stage and driver loop.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod banks;
mod common;
mod confirmation;
mod previous;
mod roll_back;
mod starts;
