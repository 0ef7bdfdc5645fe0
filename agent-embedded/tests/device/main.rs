//! A whole simulated device: flash, records, boot stage and driver loop.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod banks;
mod common;
mod confirmation;
mod counters;
mod lost_banks;
mod membership;
mod previous;
mod roll_back;
mod short_images;
mod starts;
mod trust;
