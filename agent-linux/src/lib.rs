//! The agent of fwcast for Linux devices and gateways: what the binary `fwcast-agent` and the tests share.

pub mod boot_record;
pub mod command;
pub mod disk;
pub mod file_store;
pub mod interface;
pub mod linux_platform;
pub mod loss;
pub mod slots;
pub mod sockets;
pub mod trial;
