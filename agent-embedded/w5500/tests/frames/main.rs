//! The driver with a chip that follows its datasheet, and with one that fails.
#![expect(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests")]

mod fake;

use std::cell::RefCell;
use std::rc::Rc;

use w5500::{Error, FRAME_BYTES_MAX, Taken, W5500};

use crate::fake::{Bus, Chip};

const OWN: [u8; 6] = [2, 0, 0, 0, 0, 7];
const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 8];
/// An address of the CoAP group, as neighbour discovery uses them too.
const GROUP: [u8; 6] = [0x33, 0x33, 0, 0, 0, 0xfd];

fn started() -> (W5500<Bus>, Rc<RefCell<Chip>>) {
    let chip = Rc::new(RefCell::new(Chip::new()));
    let mut driver = W5500::new(Bus(Rc::clone(&chip)), OWN);
    driver.start().unwrap();
    (driver, chip)
}

fn frame(to: [u8; 6], bytes: usize) -> Vec<u8> {
    to.into_iter().chain((6..bytes).map(|at| at as u8)).collect()
}

fn take(driver: &mut W5500<Bus>) -> (Taken, Vec<u8>) {
    let mut buffer = [0; FRAME_BYTES_MAX];
    let taken = driver.take(&mut buffer).unwrap();
    let bytes = if let Taken::Frame(length) = taken { buffer[..length].to_vec() } else { Vec::new() };
    (taken, bytes)
}

#[test]
fn multicast_comes_in_whatever_the_chips_filter_does() {
    let (mut driver, chip) = started();
    // MACRAW, with no filter of addresses, and nothing blocked.
    assert_eq!(chip.borrow().mode(), 0x04);
    for to in [GROUP, OWN, [0xff; 6]] {
        chip.borrow_mut().receive(&frame(to, 90));
        assert_eq!(take(&mut driver), (Taken::Frame(90), frame(to, 90)));
    }
}

#[test]
fn a_frame_for_others_costs_no_more_than_its_head() {
    let (mut driver, chip) = started();
    chip.borrow_mut().receive(&frame(OTHER, 1514));
    chip.borrow_mut().receive(&frame(OWN, 60));
    let before = chip.borrow().bytes_read;
    assert_eq!(take(&mut driver).0, Taken::PassedOver);
    assert!(chip.borrow().bytes_read - before < 20);
    assert_eq!(take(&mut driver), (Taken::Frame(60), frame(OWN, 60)));
}

#[test]
fn all_of_the_buffer_belongs_to_the_one_socket() {
    let (_, chip) = started();
    let buffers = chip.borrow().buffers();
    assert_eq!((buffers[0], &buffers[1..]), ([16, 16], [[0, 0]; 7].as_slice()));
}

#[test]
fn no_length_panics_or_stops_the_receiver() {
    let (mut driver, chip) = started();
    for length in 0..=u16::MAX {
        chip.borrow_mut().receive_as(length, &frame(OWN, 60));
        let expected = match length {
            // With a header, and within what has arrived.
            16..=62 => Taken::Frame(usize::from(length) - 2),
            _ => Taken::Reopened,
        };
        assert_eq!(take(&mut driver).0, expected, "{length}");
        // What is left of the frame is skipped or discarded within a few queries.
        let mut looks = 0;
        while take(&mut driver).0 != Taken::Nothing {
            looks += 1;
            assert!(looks < 8, "{length}");
        }
        chip.borrow_mut().receive(&frame(OWN, 70));
        assert_eq!(take(&mut driver), (Taken::Frame(70), frame(OWN, 70)), "{length}");
    }
}

#[test]
fn a_frame_with_vlan_tags_is_passed_over() {
    let (mut driver, chip) = started();
    chip.borrow_mut().receive(&frame(OWN, 1522));
    chip.borrow_mut().receive(&frame(OWN, 60));
    assert_eq!(take(&mut driver).0, Taken::PassedOver);
    assert_eq!(take(&mut driver), (Taken::Frame(60), frame(OWN, 60)));
    assert_eq!(chip.borrow().opened, 1);
}

#[test]
fn every_frame_is_found_by_one_interrupt_and_the_next_one_by_its_own() {
    let (mut driver, chip) = started();
    // Often enough that pointers and buffer wrap.
    for round in 0..200 {
        let lengths = [60 + round % 7, 1514, 333];
        for length in lengths {
            chip.borrow_mut().receive(&frame(GROUP, length));
        }
        assert!(chip.borrow().is_interrupting());
        for length in lengths {
            assert_eq!(take(&mut driver), (Taken::Frame(length), frame(GROUP, length)));
        }
        assert_eq!(take(&mut driver).0, Taken::Nothing);
        assert!(!chip.borrow().is_interrupting());
    }
}

#[test]
fn a_full_buffer_is_taken_to_its_end() {
    let (mut driver, chip) = started();
    for _ in 0..50 {
        chip.borrow_mut().receive(&frame(GROUP, 1000));
    }
    for _ in 0..16 {
        assert_eq!(take(&mut driver).0, Taken::Frame(1000));
    }
    assert_eq!(take(&mut driver).0, Taken::Nothing);
}

#[test]
fn frames_go_out_whole() {
    let (mut driver, chip) = started();
    for at in 0..40 {
        driver.send(&frame(OTHER, 1475 + at)).unwrap();
        assert_eq!(chip.borrow_mut().sent.pop(), Some(frame(OTHER, 1475 + at)));
    }
}

#[test]
fn a_chip_that_sends_nothing_is_opened_anew() {
    let (mut driver, chip) = started();
    chip.borrow_mut().sends_nothing = true;
    let sent = (0..20).map(|_| driver.send(&frame(OTHER, 1514)));
    assert!(sent.into_iter().any(|sent| sent == Err(Error::Stuck)));
    assert_eq!(chip.borrow().opened, 2);
    chip.borrow_mut().sends_nothing = false;
    driver.send(&frame(OTHER, 60)).unwrap();
}

#[test]
fn what_does_not_answer_is_told() {
    let (mut driver, chip) = started();
    chip.borrow_mut().takes_no_command = true;
    assert_eq!(driver.start(), Err(Error::Stuck));
    chip.borrow_mut().set_version(0xff);
    assert_eq!(driver.start(), Err(Error::Version(0xff)));
}

#[test]
fn a_chip_that_lost_its_supply_is_noticed_and_starts_again() {
    let (mut driver, chip) = started();
    assert!(driver.is_open().unwrap());
    assert!(driver.has_link().unwrap());
    chip.borrow_mut().reset();
    assert!(!driver.is_open().unwrap());
    driver.start().unwrap();
    chip.borrow_mut().receive(&frame(GROUP, 100));
    assert_eq!(take(&mut driver).0, Taken::Frame(100));
}
