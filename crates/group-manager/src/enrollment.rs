//! What an agent is given when it is enrolled, and which keys are in force afterwards.

use crate::material::Material;
use crate::member::{Member, MemberConfig};
use crate::record::MembershipRecord;
use core::net::SocketAddr;
use group_oscore::oscore::{Association, Parameters};
use group_oscore::{DeriveError, Gid};
use update_core::codec::Malformed;
use update_core::record::CounterBounds;
use update_core::time::Instant;

/// What an agent is given when it is enrolled. It borrows from its provisioning.
#[derive(Clone)]
pub struct Enrollment<'a> {
    /// The group's keys at that time.
    pub keys: Material<'a>,
    /// The individual context with the Group Manager.
    pub individual: Parameters<'a>,
    /// The Group Manager's address; `None` if there is none to reach.
    pub manager: Option<SocketAddr>,
    /// The group's name.
    pub group: &'a str,
    /// The agent's name.
    pub node: &'a str,
}

/// The keys that an agent starts with.
#[derive(Debug, Clone)]
pub struct InForce<'a> {
    /// The keys.
    pub keys: Material<'a>,
    /// The Gid whose counters were in use before, if the Group Manager gave these keys.
    pub before: Option<Gid>,
}

/// What an agent knows of the numbers that it has used under the keys in force (protocol.md \[lost\]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// None above these.
    Known(CounterBounds),
    /// None.
    Unused,
    /// Nothing: it needs another Sender ID.
    Lost,
}

impl<'a> Enrollment<'a> {
    /// The keys in force: those of the membership record, if it was made under this enrolment and they are
    /// not older than those of the enrolment.
    ///
    /// # Errors
    /// [`Malformed`]: the record is damaged, so the keys in force are not known.
    pub fn in_force(&self, record: Option<&'a [u8]>) -> Result<InForce<'a>, Malformed> {
        let given = || InForce { keys: self.keys.clone(), before: None };
        let Some(record) = record else { return Ok(given()) };
        let record = MembershipRecord::decode(record)?;
        let keys = record.material()?;
        if record.individual != self.individual.sender_id || keys.num < self.keys.num {
            return Ok(given());
        }
        Ok(InForce { keys, before: Some(record.before) })
    }

    /// The agent's side of the Group Manager; `None` if there is none to reach. `seed` differs at each start.
    ///
    /// # Errors
    /// The individual context cannot be derived.
    pub fn member(
        &self,
        in_force: &InForce<'_>,
        seed: u64,
        now: Instant,
    ) -> Result<Option<Member>, DeriveError> {
        let Some(manager) = self.manager else { return Ok(None) };
        // The limit for names is the same where they are given.
        let (Ok(group), Ok(node)) = (self.group.try_into(), self.node.try_into()) else { return Ok(None) };
        let association = Association::new(&self.individual)?;
        let individual = self.individual.sender_id;
        let in_force = (in_force.keys.gid, in_force.keys.num);
        let config = MemberConfig { manager, group, node, individual, in_force };
        Ok(Some(Member::new(config, association, seed, now)))
    }
}

impl InForce<'_> {
    /// What these stored counters say about the keys in force. `has_counted`: whether this device has ever
    /// used keys, as far as it knows.
    #[must_use]
    pub fn counted(&self, stored: Option<CounterBounds>, has_counted: bool) -> Counted {
        match stored {
            Some(bounds) if bounds.gid == self.keys.gid => Counted::Known(bounds),
            // The change to these keys was interrupted before any number of them was used.
            Some(bounds) if Some(bounds.gid) == self.before => Counted::Unused,
            None if self.before.is_none() && !has_counted => Counted::Unused,
            _ => Counted::Lost,
        }
    }
}

impl Counted {
    /// Partial IVs of the distributor below this are not accepted under these keys.
    #[must_use]
    pub fn floor(&self, keys: &Material<'_>) -> u64 {
        match self {
            Self::Known(bounds) => bounds.floor.max(keys.place.next),
            Self::Unused | Self::Lost => keys.place.next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::material::Place;
    use group_oscore::{AeadAlgorithm, MemberId};

    fn gid(byte: u8) -> Gid {
        Gid::new(&[byte; 4]).unwrap()
    }

    fn keys(num: u32, gid: Gid) -> Material<'static> {
        Material {
            num,
            gid,
            master_secret: &[1; 16],
            master_salt: &[],
            aead: AeadAlgorithm::A128Gcm,
            group_encryption: AeadAlgorithm::A128Gcm,
            sender_id: MemberId::new(&[5]).unwrap(),
            distributor: MemberId::new(&[0]).unwrap(),
            credential: &[7; 40],
            place: Place {
                coap_group: "239.0.0.1:5683".parse().unwrap(),
                distributor: "10.0.0.1:5683".parse().unwrap(),
                next: 0,
            },
            stale: Default::default(),
        }
    }

    fn enrollment(individual: u8) -> Enrollment<'static> {
        Enrollment {
            keys: keys(3, gid(3)),
            individual: Parameters {
                master_secret: &[2; 16],
                master_salt: &[],
                id_context: None,
                sender_id: MemberId::new(&[individual; 6]).unwrap(),
                recipient_id: MemberId::EMPTY,
                aead: AeadAlgorithm::A128Gcm,
            },
            manager: None,
            group: "hall",
            node: "lamp",
        }
    }

    fn record(individual: u8, num: u32, before: Gid, buffer: &mut [u8]) -> usize {
        let mut payload = [0; 448];
        let len = keys(num, gid(num as u8)).encode(&mut payload).unwrap();
        let individual = MemberId::new(&[individual; 6]).unwrap();
        MembershipRecord { individual, before, payload: &payload[..len] }.encode(buffer).unwrap()
    }

    #[test]
    fn keys_of_another_enrolment_and_older_ones_are_passed_over() {
        for (individual, num, expected) in [(9, 5, 5), (9, 3, 3), (9, 2, 3), (8, 5, 3)] {
            let mut buffer = [0; 512];
            let len = record(individual, num, gid(1), &mut buffer);
            let given = enrollment(9);
            assert_eq!(given.in_force(Some(&buffer[..len])).unwrap().keys.num, expected);
            assert!(given.in_force(Some(&buffer[..len - 1])).is_err(), "damaged");
        }
    }

    #[test]
    fn only_counters_of_these_keys_or_of_those_right_before_them_are_believed() {
        let bounds = |gid| Some(CounterBounds { gid, reserved_end: 7, floor: 1 });
        let given = enrollment(9);
        let first = given.in_force(None).unwrap();
        assert_eq!(first.counted(None, false), Counted::Unused);
        assert_eq!(first.counted(None, true), Counted::Lost);
        assert_eq!(first.counted(bounds(gid(3)), true), Counted::Known(bounds(gid(3)).unwrap()));
        assert_eq!(first.counted(bounds(gid(4)), true), Counted::Lost);
        let mut buffer = [0; 512];
        let len = record(9, 5, gid(3), &mut buffer);
        let later = given.in_force(Some(&buffer[..len])).unwrap();
        assert_eq!(later.counted(bounds(gid(3)), true), Counted::Unused);
        assert_eq!(later.counted(bounds(gid(5)), true), Counted::Known(bounds(gid(5)).unwrap()));
        assert_eq!(later.counted(bounds(gid(4)), true), Counted::Lost);
        assert_eq!(later.counted(None, false), Counted::Lost, "it has been a member before");
    }
}
