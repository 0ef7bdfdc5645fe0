//! One module for each noun or verb of the command line, and their output.

pub mod agent;
pub mod apply;
mod arguments;
pub mod backup;
pub mod completions;
pub mod config;
mod confirm;
pub mod delete;
pub mod describe;
pub mod doctor;
pub mod events;
pub mod examples;
pub mod exit_codes;
pub mod get;
pub mod global;
pub mod group;
pub mod image;
pub mod key;
mod kind;
mod manifest_files;
pub mod output;
pub mod plan;
pub mod progress;
pub mod push;
pub mod report;
pub mod rollout;
mod rollout_progress;
pub mod run;
mod runtime;
pub mod schema;
pub mod settings;
pub mod status;
pub mod validate;
pub mod yaml;

pub use arguments::Rate;
