//! One module for each noun of the command line.

pub mod agent;
mod arguments;
pub mod group;
pub mod image;
pub mod key;

pub use arguments::Rate;
pub mod doctor;
pub mod push;
pub mod schema;
pub mod status;
pub mod validate;
