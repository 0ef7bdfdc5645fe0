//! The life of an OSCORE group: who is in it, under which keys, and how they come to its members.
//!
//! [`Manager`](manager::Manager) is the Group Manager of RFC 10021 section 12, with the resources of RFC 9594
//! and its OSCORE profile (draft-ietf-ace-key-groupcomm-oscore-21). [`Member`] is an agent's side of it, and
//! [`Agent`] an agent that follows the group from one key to the next. Neither has I/O, a clock or randomness
//! of its own: time is an argument, and randomness a seed.
//!
//! Each member has an individual OSCORE context with the Group Manager (RFC 8613). It is derived anew
//! whenever one of them has lost its own ([`Association`](group_oscore::oscore::Association)), so neither
//! stores anything of it. It is also what authorizes a member: there are no access tokens and no
//! authorization server.
#![no_std]

#[cfg(any(feature = "manager", test))]
extern crate alloc;

mod agent;
mod enrollment;
mod labels;
pub mod limits;
#[cfg(feature = "manager")]
pub mod manager;
mod material;
mod member;
mod message;
mod record;
mod resource;

pub use agent::{Agent, Identity};
pub use enrollment::{Counted, Enrollment, InForce};
pub use material::{Material, Place};
pub use member::{Member, MemberConfig};
pub use record::MembershipRecord;
pub use resource::{NameText, Resource};
