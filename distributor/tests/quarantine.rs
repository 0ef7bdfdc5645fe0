//! An agent that said what could not be true is released by hand.
#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

mod common;

use common::Desk;
use fwcast_state::{FloorStore, GroupState, StateDir};
use provisioning::Name;
use update_core::distribution::Conduct;

#[test]
fn a_quarantine_lasts_until_it_is_ended() {
    let desk = Desk::with_group();
    desk.ok("agent enroll lamp-1 --group hall --vendor example.com --class lamp --out lamp-1.yaml");
    desk.fails("agent release lamp-1", 1, &["hall/lamp-1", "not quarantined"]);
    desk.fails("agent release lamp-2", 1, &["no agent 'lamp-2'"]);

    let dir = StateDir::open(&desk.path("state"), &desk.path("witness")).unwrap();
    let group = GroupState::open(&dir, &Name::new("hall").unwrap()).unwrap();
    let store = FloorStore::new(&dir, &group);
    let id = group.agents[0].member_id();
    let mut remembered = store.load(&group, false).unwrap();
    remembered.conduct.insert(id, Conduct::Quarantined);
    store.save(&remembered).unwrap();

    let said = desk.ok("agent release hall/lamp-1").err;
    assert!(said.contains("hall/lamp-1") && said.contains("released"), "{said}");
    let released = store.load(&group, false).unwrap();
    assert!(released.conduct.is_empty());
    assert_eq!(released.floors, remembered.floors, "its replay floor stays");
    desk.fails("agent release lamp-1", 1, &["not quarantined"]);
}
