//! Keys that the Group Manager gave: they are in force after a start, and no number is used twice under the
//! ones before or after them. What is lost is asked for.

use super::common::{Flash, LAYOUT, erased, provisioned_with};
use agent_embedded::provisioning::Provisioning;
use agent_embedded::start::{GROUPS_MAX, Machine, Place, start};
use agent_embedded::store::FlashStore;
use embassy_futures::block_on;
use group_manager::MembershipRecord;
use group_oscore::{Gid, MemberId};
use update_core::platform::{Platform, Record};
use update_core::reception::{Event, Output};
use update_core::record::CounterBounds;
use update_core::time::Instant;

/// The provisioning of a device in the group with this Gid, which has a Group Manager.
fn provisioned(group: u8) -> Vec<u8> {
    provisioned_with([group; 4], |document| {
        document.manager.address = Some("[fd77::1]:5699".parse().unwrap());
        document.manager.sender_id = provisioning::Hex::from([group; 6]);
    })
}

/// A start of a device that was given to this group.
fn run(flash: &mut Flash, group: u8) -> &'static mut Machine<'static> {
    let area = provisioned(group);
    let given = Provisioning::read(&area).unwrap();
    let mut store = FlashStore::open(&mut *flash, LAYOUT).unwrap();
    let place: &'static Place = Box::leak(Box::new(Place::new()));
    start(&mut store, &given, place, Instant::from_micros(0), [0; 16]).unwrap().0
}

/// Whether it does not know which numbers it has used.
fn is_lost(machine: &mut Machine<'_>) -> bool {
    let mut buffer = [0; 1500];
    let first = machine.poll(Instant::from_micros(0), &mut buffer);
    let lost = matches!(first, Output::Event(Event::CountersLost));
    if lost {
        // It waits for the time to ask, and has nothing else to do.
        assert!(matches!(machine.poll(Instant::from_micros(0), &mut buffer), Output::Wait(Some(_))));
    }
    lost
}

fn save(flash: &mut Flash, record: Record, bytes: &[u8]) {
    block_on(FlashStore::open(flash, LAYOUT).unwrap().save(record, bytes)).unwrap();
}

/// It sends and hears under the keys with this Gid, up to these numbers.
fn count(flash: &mut Flash, gid: [u8; 4], reserved_end: u64) {
    let bounds = CounterBounds { gid: Gid::new(&gid).unwrap(), reserved_end, floor: 0 };
    let mut buffer = [0; 64];
    let len = bounds.encode(&mut buffer).unwrap();
    save(flash, Record::Counters, &buffer[..len]);
}

/// It gets these keys from the Group Manager, and saves them.
fn rekey(flash: &mut Flash, group: u8, num: u32, gid: [u8; 4], before: [u8; 4]) {
    let area = provisioned(group);
    let mut keys = Provisioning::read(&area).unwrap().enrollment().keys;
    (keys.num, keys.gid) = (num, Gid::new(&gid).unwrap());
    keys.place.coap_group = "[ff15::beef]:5999".parse().unwrap();
    let (mut payload, mut buffer) = ([0; 448], [0; 512]);
    let len = keys.encode(&mut payload).unwrap();
    let (individual, before) = (MemberId::new(&[group; 6]).unwrap(), Gid::new(&before).unwrap());
    let record = MembershipRecord { individual, before, payload: &payload[..len] };
    let len = record.encode(&mut buffer).unwrap();
    save(flash, Record::Membership, &buffer[..len]);
}

/// What a start leaves on record.
fn counters(flash: &mut Flash) -> Option<CounterBounds> {
    let mut buffer = [0; 64];
    let mut store = FlashStore::open(flash, LAYOUT).unwrap();
    let bytes = store.load(Record::Counters, &mut buffer).unwrap()?;
    Some(CounterBounds::decode(bytes).unwrap())
}

#[test]
fn new_keys_are_in_force_after_a_start_and_their_numbers_begin_at_0() {
    let mut flash = erased();
    assert!(!is_lost(run(&mut flash, 1)));
    count(&mut flash, [1; 4], 500);
    rekey(&mut flash, 1, 1, [0x11; 4], [1; 4]);
    // The power fails before their counters are saved.
    let machine = run(&mut flash, 1);
    assert_eq!(machine.place().coap_group, "[ff15::beef]:5999".parse().unwrap());
    assert!(!is_lost(machine));
    let bounds = counters(&mut flash).unwrap();
    assert_eq!((bounds.gid.as_bytes(), bounds.reserved_end), (&[0x11; 4][..], 0));
    count(&mut flash, [0x11; 4], 300);
    assert!(!is_lost(run(&mut flash, 1)));
    assert_eq!(counters(&mut flash).unwrap().reserved_end, 300);
}

#[test]
fn counters_of_neither_these_keys_nor_those_before_are_worth_nothing() {
    let mut flash = erased();
    run(&mut flash, 1);
    rekey(&mut flash, 1, 3, [0x13; 4], [0x12; 4]);
    assert!(is_lost(run(&mut flash, 1)), "those of the enrolment are on record");
    count(&mut flash, [0x12; 4], 9);
    assert!(!is_lost(run(&mut flash, 1)));
}

#[test]
fn a_device_that_comes_back_to_keys_which_were_replaced_meanwhile_does_not_begin_at_0() {
    for starts_between in [true, false] {
        let mut flash = erased();
        run(&mut flash, 1);
        count(&mut flash, [1; 4], 500);
        for (num, gid, before) in [(1, 0x11, 1), (2, 0x12, 0x11)] {
            rekey(&mut flash, 1, num, [gid; 4], [before; 4]);
            count(&mut flash, [gid; 4], 100);
            if starts_between {
                assert!(!is_lost(run(&mut flash, 1)));
            }
        }
        // It is given to another group, whose keys are replaced too. So nothing is left of the first ones.
        assert!(!is_lost(run(&mut flash, 2)));
        rekey(&mut flash, 2, 1, [0x21; 4], [2; 4]);
        count(&mut flash, [0x21; 4], 50);
        assert!(!is_lost(run(&mut flash, 2)));
        assert!(is_lost(run(&mut flash, 1)), "{starts_between}");
        assert!(is_lost(run(&mut flash, 1)), "and again");
    }
}

#[test]
fn whatever_is_lost_of_counters_and_membership_is_asked_for() {
    // In more groups than it can keep the counters of.
    let mut flash = erased();
    for group in 1..=GROUPS_MAX as u8 {
        assert!(!is_lost(run(&mut flash, group)));
        count(&mut flash, [group; 4], 100);
    }
    assert!(is_lost(run(&mut flash, 100)));
    // Something else is on record.
    for record in [Record::Counters, Record::Membership] {
        let mut flash = erased();
        run(&mut flash, 1);
        save(&mut flash, record, b"of another version");
        assert!(is_lost(run(&mut flash, 1)));
    }
    // The records were wiped.
    let mut flash = erased();
    run(&mut flash, 1);
    let records = LAYOUT.records.offset as usize..(LAYOUT.records.offset + LAYOUT.records.bytes) as usize;
    flash.bytes[records].fill(0xff);
    for _ in 0..2 {
        assert!(is_lost(run(&mut flash, 1)));
        assert_eq!(counters(&mut flash), None, "nothing was counted");
    }
}

#[test]
fn each_start_has_another_seed_without_any_randomness_of_the_chip() {
    let mut flash = erased();
    let area = provisioned(1);
    let given = Provisioning::read(&area).unwrap();
    let mut seeds = std::collections::BTreeSet::new();
    for _ in 0..500 {
        let store = FlashStore::open(&mut flash, LAYOUT).unwrap();
        assert!(seeds.insert(given.seed(store.start_number(), &[0; 16])));
    }
}
