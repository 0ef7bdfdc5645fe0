//! Records whose flash forgets a bit are lost and said to be so: an older one never takes their place.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use boot_stage::layout::Partition;
use boot_stage::record_log::{BANK_BYTES_MIN, Kind, LogError, RecordLog};
use tests::nor_flash::SimulatedFlash;

type Flash = SimulatedFlash<16, 4096>;

const RECORDS: Partition = Partition { offset: 0, bytes: 2 * BANK_BYTES_MIN };
const CELL_BYTES: u32 = 16;
/// Tag of a seal.
const SEAL: u8 = 0xb2;

fn read(log: &RecordLog, flash: &mut Flash, kind: Kind) -> Result<Option<Vec<u8>>, ()> {
    let mut buffer = [0; 64];
    match log.read(flash, kind, &mut buffer) {
        Ok(len) => Ok(len.map(|len| buffer[..len].to_vec())),
        Err(LogError::Lost) => Err(()),
        Err(error) => panic!("{error:?}"),
    }
}

/// Each record twice, the newer one of each last.
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

#[test]
fn a_flipped_bit_brings_no_older_record_back() {
    let whole = written();
    let used = (0..BANK_BYTES_MIN / CELL_BYTES).filter(|number| cell(&whole, *number) != [0xff; 16]);
    let (mut lost, mut tried) = (0, 0);
    for number in used {
        // Without its seal an entry counts as never finished.
        if cell(&whole, number)[1] == SEAL {
            continue;
        }
        for bit in 0..8 * CELL_BYTES {
            let mut flash = whole.clone();
            flash.flip(number * CELL_BYTES + bit / 8, (bit % 8) as u8);
            let log = RecordLog::open(&mut flash, RECORDS).unwrap();
            for kind in [Kind::Counters, Kind::Installed] {
                let first = read(&log, &mut flash, kind);
                assert!(
                    matches!(&first, Ok(Some(bytes)) if *bytes == [2; 29]) || first.is_err(),
                    "{first:?}"
                );
                // The next start says the same.
                let again = RecordLog::open(&mut flash, RECORDS).unwrap();
                assert_eq!(read(&again, &mut flash, kind), first, "cell {number}, bit {bit}, {kind:?}");
                lost += usize::from(first.is_err());
                tried += 1;
            }
        }
    }
    // Every bit of header and content of the two newer entries.
    assert_eq!(lost, 2 * (16 + 29) * 8, "of {tried}");
}

#[test]
fn what_was_lost_stays_lost_over_a_change_of_banks_and_can_be_written_anew() {
    let mut flash = written();
    let newest =
        (0..BANK_BYTES_MIN / CELL_BYTES).rfind(|number| cell(&flash, *number)[1] == Kind::Counters as u8);
    flash.flip(newest.unwrap() * CELL_BYTES, 3);
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
