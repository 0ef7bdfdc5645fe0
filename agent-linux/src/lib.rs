//! The agent of fwcast for Linux devices and gateways: what the binary `fwcast-agent` and the tests share.
//!
//! [`run`] drives the update protocol's state machine. It uses [`sockets`] (the network,
//! with [`watch`] over its interface), [`linux_platform`]
//! (storage and boot switch: [`file_store`], [`slots`], [`trial`]) and [`notify`] (systemd). [`startup`]
//! builds these from the [`config`]; [`agent`] builds the state machine. All changes to the disk go through
//! [`disk`].

pub mod agent;
pub mod arguments;
pub mod boot_record;
pub mod command;
pub mod config;
pub mod disk;
pub mod event_log;
pub mod failure;
pub mod file_store;
pub mod install;
pub mod interface;
pub mod linux_platform;
pub mod loss;
pub mod machine;
pub mod membership;
pub mod notify;
pub mod program;
pub mod run;
pub mod slots;
pub mod sockets;
pub mod startup;
pub mod trial;
pub mod watch;
