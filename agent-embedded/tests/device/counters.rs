//! Counters: no number is used twice with the same keys, through whatever groups a device goes.

use super::common::{Flash, LAYOUT, erased, provisioned};
use agent_embedded::provisioning::Provisioning;
use agent_embedded::start::{GROUPS_MAX, Place, StartError, start};
use agent_embedded::store::FlashStore;
use embassy_futures::block_on;
use embedded_storage::nor_flash::NorFlashErrorKind;
use group_oscore::Gid;
use update_core::platform::{Platform, Record};
use update_core::record::CounterBounds;
use update_core::time::Instant;

/// A start of a device that was given to this group; gives the counters that are on record then.
fn run(flash: &mut Flash, group: u8) -> Result<CounterBounds, StartError<NorFlashErrorKind>> {
    let area = provisioned([group; 4]);
    let given = Provisioning::read(&area).unwrap();
    let mut store = FlashStore::open(&mut *flash, LAYOUT)?;
    let place: &'static Place = Box::leak(Box::new(Place::new()));
    start(&mut store, &given, place, Instant::from_micros(0), [1; 16])?;
    let mut buffer = [0; 64];
    let bounds = CounterBounds::decode(store.load(Record::Counters, &mut buffer)?.unwrap()).unwrap();
    assert_eq!(bounds.gid, given.gid());
    Ok(bounds)
}

/// It sends and hears, up to these numbers.
fn count(flash: &mut Flash, group: u8, reserved_end: u64, floor: u64) {
    let bounds = CounterBounds { gid: Gid::new(&[group; 4]).unwrap(), reserved_end, floor };
    let mut buffer = [0; 64];
    let len = bounds.encode(&mut buffer).unwrap();
    block_on(FlashStore::open(flash, LAYOUT).unwrap().save(Record::Counters, &buffer[..len])).unwrap();
}

fn numbers(bounds: CounterBounds) -> (u64, u64) {
    (bounds.reserved_end, bounds.floor)
}

#[test]
fn a_device_that_comes_back_to_a_group_goes_on_above_what_it_has_used_there() {
    let mut flash = erased();
    assert_eq!(run(&mut flash, 1).map(numbers), Ok((0, 0)));
    count(&mut flash, 1, 500, 70);
    assert_eq!(run(&mut flash, 1).map(numbers), Ok((500, 70)));
    assert_eq!(run(&mut flash, 2).map(numbers), Ok((0, 0)), "new in this group");
    count(&mut flash, 2, 900, 80);
    assert_eq!(run(&mut flash, 1).map(numbers), Ok((500, 70)));
    count(&mut flash, 1, 600, 75);
    assert_eq!(run(&mut flash, 2).map(numbers), Ok((900, 80)));
    assert_eq!(run(&mut flash, 1).map(numbers), Ok((600, 75)));
}

#[test]
fn counters_are_kept_of_so_many_groups_and_then_no_other_one_is_begun() {
    let mut flash = erased();
    let groups = 1..=GROUPS_MAX as u8;
    for group in groups.clone() {
        run(&mut flash, group).unwrap();
        count(&mut flash, group, u64::from(group) * 100, 0);
    }
    assert_eq!(run(&mut flash, 100), Err(StartError::Groups));
    for group in groups.chain([1, 3]) {
        assert_eq!(run(&mut flash, group).map(numbers), Ok((u64::from(group) * 100, 0)));
    }
}

#[test]
fn a_refused_write_in_a_change_of_groups_loses_no_counters() {
    for refused in 0..40 {
        let mut flash = erased();
        run(&mut flash, 1).unwrap();
        count(&mut flash, 1, 500, 70);
        run(&mut flash, 2).unwrap();
        count(&mut flash, 2, 900, 80);
        flash.refuses.set(refused);
        let _ = run(&mut flash, 1);
        flash.refuses.set(0);
        assert_eq!(run(&mut flash, 2).map(numbers), Ok((900, 80)), "{refused}");
        assert_eq!(run(&mut flash, 1).map(numbers), Ok((500, 70)), "{refused}");
    }
}

#[test]
fn a_used_device_whose_records_were_wiped_does_not_begin_at_0() {
    let records = LAYOUT.records.offset as usize..(LAYOUT.records.offset + LAYOUT.records.bytes) as usize;
    for starts in 1..3 {
        let mut flash = erased();
        for _ in 0..starts {
            run(&mut flash, 1).unwrap();
        }
        flash.bytes[records.clone()].fill(0xff);
        for _ in 0..2 {
            assert_eq!(run(&mut flash, 1), Err(StartError::Wiped));
        }
        assert!(!StartError::<()>::Wiped.may_pass());
        // With provisioning that is written anew, in an area that was erased for it.
        let area = LAYOUT.provisioning.offset as usize..;
        flash.bytes[area][..LAYOUT.provisioning.bytes as usize].fill(0xff);
        assert_eq!(run(&mut flash, 2).map(numbers), Ok((0, 0)));
    }
}

#[test]
fn lost_counters_of_former_groups_do_not_begin_at_0() {
    let mut flash = erased();
    run(&mut flash, 1).unwrap();
    count(&mut flash, 1, 500, 70);
    run(&mut flash, 2).unwrap();
    let mut log = boot_stage::record_log::RecordLog::open(&mut flash, LAYOUT.records).unwrap();
    log.append(&mut flash, boot_stage::record_log::Kind::Groups, b"of another version").unwrap();
    assert_eq!(run(&mut flash, 1), Err(StartError::Records));
    // In the group that it is in, nothing is lost.
    run(&mut flash, 2).unwrap();
}
