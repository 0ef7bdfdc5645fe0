//! No single bit that flash loses costs a record; if two bits do, no older record replaces it.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use boot_stage::layout::Partition;
use boot_stage::record_log::{BANK_BYTES_MIN, Kind, LogError, RecordLog};
use tests::nor_flash::{Cut, SimulatedFlash, Way};

type Flash = SimulatedFlash<16, 4096>;

const RECORDS: Partition = Partition { offset: 0, bytes: 2 * BANK_BYTES_MIN };
const CELL_BYTES: u32 = 16;
/// Set in the tag of a second copy.
const COPY: u8 = 0x40;

fn read(log: &RecordLog, flash: &mut Flash, kind: Kind) -> Result<Option<Vec<u8>>, ()> {
    let mut buffer = [0; 64];
    match log.read(flash, kind, &mut buffer) {
        Ok(len) => Ok(len.map(|len| buffer[..len].to_vec())),
        Err(LogError::Lost) => Err(()),
        Err(error) => panic!("{error:?}"),
    }
}

/// Writes each record twice, with the newer one of each last.
fn written() -> Flash {
    let mut flash = Flash::new(RECORDS.bytes as usize, false);
    let mut log = RecordLog::open(&mut flash, RECORDS).unwrap();
    for content in [[1; 29], [2; 29]] {
        log.append(&mut flash, Kind::Counters, &content).unwrap();
        log.append(&mut flash, Kind::Installed, &content).unwrap();
    }
    flash
}

fn cell(flash: &Flash, number: u32) -> [u8; CELL_BYTES as usize] {
    flash.steady(number * CELL_BYTES, CELL_BYTES as usize).unwrap().try_into().unwrap()
}

/// Cells of both banks that are not blank.
fn used(flash: &Flash) -> Vec<u32> {
    (0..RECORDS.bytes / CELL_BYTES).filter(|number| cell(flash, *number) != [0xff; 16]).collect()
}

/// The last cell of the first bank that begins an entry with this tag.
fn newest(flash: &Flash, tag: u8) -> u32 {
    (0..BANK_BYTES_MIN / CELL_BYTES).rfind(|number| cell(flash, *number)[..2] == [0x5b, tag]).unwrap()
}

/// After any single bit flip everything still reads as before, also in the next start.
fn one_bit_loses_nothing(whole: &Flash) {
    for number in used(whole) {
        for bit in 0..8 * CELL_BYTES {
            let mut flash = whole.clone();
            flash.flip(number * CELL_BYTES + bit / 8, (bit % 8) as u8);
            for start in 1..=2 {
                let log = RecordLog::open(&mut flash, RECORDS).unwrap();
                for kind in [Kind::Counters, Kind::Installed] {
                    let found = read(&log, &mut flash, kind);
                    assert_eq!(
                        found,
                        Ok(Some(vec![2; 29])),
                        "cell {number}, bit {bit}, {kind:?}, start {start}"
                    );
                }
            }
            assert_eq!(flash.violations(), 0);
        }
    }
}

#[test]
fn a_flipped_bit_loses_no_record() {
    one_bit_loses_nothing(&written());
}

#[test]
fn a_flipped_bit_loses_no_record_after_a_change_of_banks() {
    let mut flash = written();
    let mut log = RecordLog::open(&mut flash, RECORDS).unwrap();
    let bank = BANK_BYTES_MIN / CELL_BYTES;
    while used(&flash).iter().all(|number| *number < bank) {
        log.append(&mut flash, Kind::Update, &[7; 400]).unwrap();
    }
    one_bit_loses_nothing(&flash);
}

#[test]
fn a_damaged_copy_is_mended_from_the_other_one() {
    let mut flash = written();
    for mended in 0..100 {
        let second = newest(&flash, Kind::Counters as u8 | COPY);
        flash.flip(second * CELL_BYTES + 20, 3);
        let log = RecordLog::open(&mut flash, RECORDS).unwrap();
        assert_eq!(read(&log, &mut flash, Kind::Counters), Ok(Some(vec![2; 29])));
        if used(&flash).iter().any(|number| *number >= BANK_BYTES_MIN / CELL_BYTES) {
            assert!(mended > 10, "the bank in use had room, and was left after {mended}");
            return;
        }
        let first = newest(&flash, Kind::Counters as u8);
        assert!(first > second, "it was rewritten");
        flash.flip(first * CELL_BYTES, 0);
        let log = RecordLog::open(&mut flash, RECORDS).unwrap();
        assert_eq!(read(&log, &mut flash, Kind::Counters), Ok(Some(vec![2; 29])));
    }
    panic!("the bank was never full");
}

#[test]
fn a_log_that_cannot_be_written_any_more_is_still_read() {
    let mut flash = written();
    let sure_of = |flash: &mut Flash| {
        let before: Vec<_> = used(flash).into_iter().map(|number| cell(flash, number)).collect();
        let log = RecordLog::read_only(flash, RECORDS).unwrap();
        for kind in [Kind::Counters, Kind::Installed] {
            assert_eq!(read(&log, flash, kind), Ok(Some(vec![2; 29])));
        }
        let after: Vec<_> = used(flash).into_iter().map(|number| cell(flash, number)).collect();
        assert!(before == after, "nothing is written");
    };
    sure_of(&mut flash);
    let mut log = RecordLog::open(&mut flash, RECORDS).unwrap();
    while used(&flash).iter().all(|number| *number < BANK_BYTES_MIN / CELL_BYTES) {
        log.append(&mut flash, Kind::Update, &[7; 400]).unwrap();
    }
    sure_of(&mut flash);
    let mut blank = Flash::new(RECORDS.bytes as usize, false);
    assert!(RecordLog::read_only(&mut blank, RECORDS).is_none());
}

#[test]
fn an_older_record_takes_the_place_of_none_that_has_lost_both_copies() {
    let whole = written();
    let cells = [Kind::Counters as u8, Kind::Counters as u8 | COPY].map(|tag| newest(&whole, tag));
    for bits in 0..45 * 8 {
        let mut flash = whole.clone();
        for cell in cells {
            flash.flip(cell * CELL_BYTES + bits / 8, (bits % 8) as u8);
        }
        for _ in 0..2 {
            let log = RecordLog::open(&mut flash, RECORDS).unwrap();
            assert_eq!(read(&log, &mut flash, Kind::Counters), Err(()), "bit {bits}");
            assert_eq!(read(&log, &mut flash, Kind::Installed), Ok(Some(vec![2; 29])));
        }
    }
}

#[test]
fn what_was_lost_stays_lost_over_a_change_of_banks_and_can_be_written_anew() {
    let mut flash = written();
    for tag in [Kind::Counters as u8, Kind::Counters as u8 | COPY] {
        let cell = newest(&flash, tag);
        flash.flip(cell * CELL_BYTES, 3);
    }
    for _ in 0..300 {
        let mut log = RecordLog::open(&mut flash, RECORDS).unwrap();
        log.append(&mut flash, Kind::Update, &[7; 40]).unwrap();
        assert_eq!(read(&log, &mut flash, Kind::Counters), Err(()));
        assert_eq!(read(&log, &mut flash, Kind::Installed), Ok(Some(vec![2; 29])));
    }
    let mut log = RecordLog::open(&mut flash, RECORDS).unwrap();
    log.append(&mut flash, Kind::Counters, &[3; 29]).unwrap();
    let log = RecordLog::open(&mut flash, RECORDS).unwrap();
    assert_eq!(read(&log, &mut flash, Kind::Counters), Ok(Some(vec![3; 29])));
}

#[test]
fn wherever_a_change_of_banks_is_cut_the_next_start_ends_it_and_later_ones_cost_a_cell_each() {
    let mut flash = written();
    let mut log = RecordLog::open(&mut flash, RECORDS).unwrap();
    let bank = BANK_BYTES_MIN / CELL_BYTES;
    let append = |flash: &mut Flash, log: &mut RecordLog| log.append(flash, Kind::Update, &[7; 40]);
    // The next one no longer fits.
    loop {
        let (mut next, mut opened) = (flash.clone(), log.clone());
        append(&mut next, &mut opened).unwrap();
        if used(&next).iter().any(|number| *number >= bank) {
            break;
        }
        (flash, log) = (next, opened);
    }
    for after in 0.. {
        let (mut flash, mut log) = (flash.clone(), log.clone());
        flash.cut(Cut { after, way: Way::Before }, 1);
        let appended = append(&mut flash, &mut log);
        if appended.is_ok() {
            assert!(after > 20, "a change takes more operations");
            return;
        }
        assert!(flash.power_on());
        RecordLog::open(&mut flash, RECORDS).unwrap();
        for start in 2..6 {
            let before = flash.operations();
            let log = RecordLog::open(&mut flash, RECORDS).unwrap();
            assert_eq!(flash.operations() - before, 1, "cut after {after}, start {start}");
            assert_eq!(read(&log, &mut flash, Kind::Counters), Ok(Some(vec![2; 29])));
        }
    }
}
