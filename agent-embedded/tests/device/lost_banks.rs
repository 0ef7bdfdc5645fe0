//! Unreadable banks of records are never taken for a new device, whose counters begin at 0.

use super::common::group::Image;
use super::common::{Flash, LAYOUT, erased, keys, public_key, put, signed_key_set, start_by_spare};
use agent_embedded::store::FlashStore;
use boot_stage::record_log::{Kind, LogError, RecordLog};
use update_core::platform::Record;

const BANK: usize = LAYOUT.records.bytes as usize / 2;
/// Length of a cell for words of 4 bytes.
const CELL: usize = 16;

/// The range of a bank in the flash.
fn bank(index: usize) -> core::ops::Range<usize> {
    let begin = LAYOUT.records.offset as usize + index * BANK;
    begin..begin + BANK
}

/// A device with counters in this many records; the second bank is in use if there are many.
fn used(records: usize) -> Flash {
    let mut flash = erased();
    let mut log = RecordLog::open(&mut flash, LAYOUT.records).unwrap();
    for _ in 0..records {
        log.append(&mut flash, Kind::Counters, &[5; 29]).unwrap();
    }
    flash
}

fn opened(flash: &Flash) -> Result<RecordLog, LogError<embedded_storage::nor_flash::NorFlashErrorKind>> {
    RecordLog::open(&mut flash.clone(), LAYOUT.records)
}

/// Makes everything in a bank that is not blank unreadable.
fn spoil(flash: &mut Flash, index: usize) {
    flash.bytes[bank(index)].iter_mut().filter(|byte| **byte != 0xff).for_each(|byte| *byte = 0);
}

fn is_blank(flash: &Flash, index: usize) -> bool {
    flash.bytes[bank(index)].iter().all(|byte| *byte == 0xff)
}

#[test]
fn one_bank_blank_and_the_other_unreadable_is_lost_and_not_new() {
    let mut first = used(1);
    while is_blank(&first, 1) && !first.bytes[bank(0)].iter().rev().take(1000).any(|byte| *byte != 0xff) {
        let mut log = RecordLog::open(&mut first, LAYOUT.records).unwrap();
        log.append(&mut first, Kind::Counters, &[5; 29]).unwrap();
    }
    assert!(is_blank(&first, 1), "only the first bank has been used");
    spoil(&mut first, 0);
    assert_eq!(opened(&first).err(), Some(LogError::Lost));

    let mut second = used(200);
    assert!(!is_blank(&second, 1));
    spoil(&mut second, 1);
    // A completed erase of the other one.
    second.bytes[bank(0)].fill(0xff);
    assert_eq!(opened(&second).err(), Some(LogError::Lost));
    // As little as one cell of the second bank is enough: a new device has never touched it.
    let mut cell = erased();
    cell.bytes[bank(1)][..CELL].fill(0);
    assert_eq!(opened(&cell).err(), Some(LogError::Lost));
    cell.bytes[bank(1)].fill(0xff);
    assert!(opened(&cell).is_ok());
}

#[test]
fn both_banks_unreadable_is_lost_and_not_new() {
    let mut flash = used(200);
    spoil(&mut flash, 0);
    spoil(&mut flash, 1);
    assert_eq!(opened(&flash).err(), Some(LogError::Lost));
}

/// Interrupted first starts may have left this many cells; more than that have held records.
#[test]
fn a_new_device_may_have_a_few_touched_cells_and_no_more() {
    for (cells, ends) in [(0, true), (1, true), (32, true), (33, false), (40, false)] {
        let mut flash = erased();
        flash.bytes[bank(0)][..cells * CELL].fill(0);
        assert_eq!(opened(&flash).is_ok(), ends, "{cells} cells");
    }
}

#[test]
fn where_the_records_are_lost_the_image_runs_and_the_agent_has_no_counters() {
    let mut flash = used(200);
    put(&mut flash, LAYOUT.active, &Image::new(7, 4, 256));
    flash.bytes[bank(0)].fill(0xff);
    spoil(&mut flash, 1);
    let provisioned = signed_key_set(keys().version(), &[public_key(1)]);
    let before = flash.bytes.clone();
    assert_eq!(start_by_spare(&mut flash, &provisioned).unwrap().sequence_number, 7);
    assert!(flash.bytes == before, "nothing is changed");
    match FlashStore::open(flash, LAYOUT) {
        Err(_) => {}
        Ok(mut store) => {
            let mut buffer = [0; 64];
            assert!(store.load(Record::Counters, &mut buffer).is_err(), "lost is not new");
        }
    }
}

/// Whether a cell that begins like this is damaged.
type Damages = dyn Fn(&[u8]) -> bool;

/// Each start costs a cell, so there are more of them than a bank has cells.
#[test]
fn a_log_full_of_damaged_entries_stops_no_device() {
    let provisioned = signed_key_set(keys().version(), &[public_key(1)]);
    let copies_only = |head: &[u8]| head[0] == 0x5b && head[1] & 0x40 != 0;
    let entries = |head: &[u8]| head[0] == 0x5b && head[1] & 0x80 == 0;
    let cells: [(&str, &Damages); 4] = [
        ("second copies", &copies_only),
        ("entries", &entries),
        ("headers", &|head| head[0] == 0x5b),
        ("cells", &|head| head.iter().any(|byte| *byte != 0xff)),
    ];
    for (what, damaged) in cells {
        let mut flash = used(200);
        put(&mut flash, LAYOUT.active, &Image::new(7, 4, 256));
        let records = bank(0).start..bank(1).end;
        for cell in flash.bytes[records].chunks_mut(CELL).filter(|cell| damaged(cell)) {
            cell[2] ^= 1;
        }
        for start in 0..600 {
            let runs = start_by_spare(&mut flash, &provisioned).map(|runs| runs.sequence_number);
            assert_eq!(runs, Ok(7), "{what} damaged, start {start}");
        }
        let counters = FlashStore::open(flash, LAYOUT).ok().map(|mut store| {
            let mut buffer = [0; 64];
            store.load(Record::Counters, &mut buffer).map(|bytes| bytes.map(<[u8]>::to_vec))
        });
        match counters {
            Some(Ok(Some(bytes))) => assert!(what == "second copies" && bytes == [5; 29], "{what}"),
            Some(Ok(None)) => panic!("{what} damaged: lost is not new"),
            Some(Err(_)) | None => assert!(what != "second copies", "{what}"),
        }
    }
}
