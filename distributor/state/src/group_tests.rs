//! Groups are created completely or not at all, and replaced only when nothing uses them.

use std::fs;

use super::testing::{World, block_on, name};
use super::{Agents, Enrolled, GroupLock, GroupState, StateError};
use crate::new_group::CreateError;

fn enroll(world: &World, agent: &str) {
    let lock = block_on(GroupLock::to_edit(&world.dir, &name())).unwrap();
    let mut agents = Agents::load(&world.dir, &name()).unwrap();
    let sender_id = agents.new_sender_id(&name()).unwrap();
    agents.enroll(Enrolled {
        name: agent.parse().unwrap(),
        sender_id,
        credential: world.group().gm_cred,
        vendor: Default::default(),
        class: Default::default(),
        words: Default::default(),
        labels: Default::default(),
        settings: None,
        enrolled_at: None,
    });
    agents.save(&world.dir, &lock).unwrap();
}

#[test]
fn a_group_gives_what_sending_needs() {
    let world = World::new();
    enroll(&world, "lamp-1");
    let group = world.group();
    let parameters = group.parameters().unwrap();
    assert_eq!(parameters.gid, group.gid());
    assert_eq!(parameters.master_secret.len(), 16);
    let (id, _, credential) = group.distributor().unwrap();
    assert_eq!((id.as_bytes(), credential.as_bytes()), (&[0][..], group.distributor.cred.as_bytes()));
    assert_eq!(group.key_set().unwrap().version(), 1);
    assert_eq!(group.block_size().unwrap().bytes(), 1024);
    let agent = group.agent_by_sender_id(group.agents[0].member_id()).unwrap();
    assert_eq!(agent.name.as_str(), "lamp-1");
}

#[test]
fn a_group_in_use_is_not_replaced() {
    let world = World::new();
    let before = world.group();
    let sending = GroupLock::to_send(&world.dir, &name()).unwrap();
    let error = world.create(true).unwrap_err();
    assert!(matches!(error, CreateError::State(StateError::Locked { .. })), "{error}");
    assert!(error.to_string().contains("another fwcast process sends for group 'hall'"), "{error}");
    assert_eq!(world.group(), before);
    drop(sending);
    let error = world.create(false).unwrap_err();
    assert!(matches!(error, CreateError::State(StateError::GroupExists(_))), "{error}");
    assert_eq!(world.group(), before);
}

#[test]
fn a_crash_while_replacing_loses_no_agent() {
    let world = World::new();
    enroll(&world, "lamp-1");
    let folder = world.dir.group(&name());
    // Before the first rename: the old group is intact, and the unfinished one is thrown away.
    let making = world.dir.group_in_making(&name());
    fs::create_dir(&making).unwrap();
    fs::write(making.join("group.json"), "{").unwrap();
    assert_eq!(world.group().agents.len(), 1);
    assert_eq!(world.create(true).unwrap()[0].as_str(), "lamp-1");
    // Between the two renames: the old group is archived, and the new one has no name yet.
    fs::rename(&folder, &making).unwrap();
    let missing = GroupState::open(&world.dir, &name());
    assert!(matches!(missing, Err(StateError::NoGroup { .. })));
    assert_eq!(world.create(false).unwrap()[0].as_str(), "lamp-1");
    assert!(!making.exists());
}

#[test]
fn a_group_file_with_a_wrong_value_is_damaged() {
    let world = World::new();
    let path = world.dir.group(&name()).join("group.json");
    let good = fs::read_to_string(&path).unwrap();
    for (from, to) in [
        ("239.192.0.1:5683", "239.192.0.1:5684"),
        ("127.0.0.1:5690", "[::1]:5690"),
        ("\"hops\": 1", "\"hops\": 0"),
        ("\"block_size\": 1024", "\"block_size\": 1000"),
        ("\"aead\": 1", "\"aead\": 2"),
        ("\"name\": \"hall\"", "\"name\": \"yard\""),
        ("\"num\": 0", "\"nun\": 0"),
        ("\"root_key\": \"", "\"root_key\": \"00"),
    ] {
        assert!(good.contains(from), "{from}");
        fs::write(&path, good.replacen(from, to, 1)).unwrap();
        let error = GroupState::open(&world.dir, &name()).unwrap_err();
        assert!(matches!(error, StateError::Damaged { .. }), "{to}: {error}");
    }
}

#[test]
fn debug_shows_no_secret() {
    let world = World::new();
    let group = world.group();
    let shown = format!("{group:?} {:?}", super::ManagerState::load(&world.dir, &name()).unwrap());
    for secret in [&group.security.master_secret, &group.security.master_salt, &group.distributor.private_key]
    {
        assert!(!shown.contains(&hex::encode(secret.expose())));
        assert!(!shown.contains(&format!("{:?}", secret.expose())));
    }
}
