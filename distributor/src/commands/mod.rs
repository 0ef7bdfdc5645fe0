//! One module for each noun of the command line.

pub mod agent;
pub mod apply;
mod arguments;
pub mod backup;
pub mod completions;
pub mod config;
pub mod delete;
pub mod describe;
pub mod events;
mod finish;
pub mod get;
pub mod group;
pub mod image;
pub mod key;
mod kind;

pub use arguments::Rate;
pub mod doctor;
mod manifest_files;
pub mod plan;
pub mod push;
pub mod rollout;
pub mod run;
pub mod schema;
pub mod status;
pub mod validate;
