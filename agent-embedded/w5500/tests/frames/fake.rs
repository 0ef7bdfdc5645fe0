//! A simulated W5500, written from its datasheet, as far as whole frames and possible failures go.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use embedded_hal::spi::{ErrorType, Operation, SpiDevice};

const BUFFER_BYTES: usize = 16 * 1024;
const BLOCKS: usize = 32;
/// Blocks of registers: the common ones and those of the first socket.
const COMMON: usize = 0;
const SOCKET: usize = 1;
const SEND_BUFFER: usize = 2;
const RECEIVE_BUFFER: usize = 3;

pub(crate) struct Chip {
    registers: [[u8; 256]; BLOCKS],
    send_buffer: Vec<u8>,
    receive_buffer: Vec<u8>,
    sent_to: u16,
    received_to: u16,
    pub(crate) sent: Vec<Vec<u8>>,
    /// Bytes that went over the bus, without the headers.
    pub(crate) bytes_read: usize,
    pub(crate) opened: usize,
    /// It does not remove frames from its buffer.
    pub(crate) sends_nothing: bool,
    /// It never accepts a command.
    pub(crate) takes_no_command: bool,
}

impl Chip {
    pub(crate) fn new() -> Self {
        let mut chip = Self {
            registers: [[0; 256]; BLOCKS],
            send_buffer: vec![0; BUFFER_BYTES],
            receive_buffer: vec![0; BUFFER_BYTES],
            sent_to: 0,
            received_to: 0,
            sent: Vec::new(),
            bytes_read: 0,
            opened: 0,
            sends_nothing: false,
            takes_no_command: false,
        };
        chip.reset();
        chip
    }

    /// The state after its supply returns.
    pub(crate) fn reset(&mut self) {
        self.registers = [[0; 256]; BLOCKS];
        self.registers[COMMON][0x39] = 4;
        self.registers[COMMON][0x2e] = 1;
        for socket in 0..8 {
            self.registers[SOCKET + 4 * socket][0x1e] = 2;
            self.registers[SOCKET + 4 * socket][0x1f] = 2;
        }
        self.empty();
    }

    pub(crate) fn set_version(&mut self, version: u8) {
        self.registers[COMMON][0x39] = version;
    }

    pub(crate) fn is_interrupting(&self) -> bool {
        let of_socket = self.registers[SOCKET][0x02] & self.registers[SOCKET][0x2c] != 0;
        of_socket && self.registers[COMMON][0x18] & 1 != 0
    }

    /// The mode of its socket.
    pub(crate) fn mode(&self) -> u8 {
        self.registers[SOCKET][0x00]
    }

    /// KiB of each socket's two buffers.
    pub(crate) fn buffers(&self) -> Vec<[u8; 2]> {
        (0..8).map(|at| &self.registers[SOCKET + 4 * at]).map(|it| [it[0x1e], it[0x1f]]).collect()
    }

    /// A frame arrives.
    pub(crate) fn receive(&mut self, frame: &[u8]) {
        self.receive_as(frame.len() as u16 + 2, frame);
    }

    /// A frame arrives, and its length reads as this.
    pub(crate) fn receive_as(&mut self, length: u16, frame: &[u8]) {
        if self.waiting() + 2 + frame.len() > BUFFER_BYTES {
            return;
        }
        for byte in length.to_be_bytes().into_iter().chain(frame.iter().copied()) {
            self.receive_buffer[usize::from(self.received_to) % BUFFER_BYTES] = byte;
            self.received_to = self.received_to.wrapping_add(1);
        }
        self.registers[SOCKET][0x02] |= 4;
        self.count();
    }

    fn waiting(&self) -> usize {
        usize::from(self.received_to.wrapping_sub(self.number(0x28)))
    }

    fn number(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.registers[SOCKET][at], self.registers[SOCKET][at + 1]])
    }

    fn set_number(&mut self, at: usize, number: u16) {
        self.registers[SOCKET][at..at + 2].copy_from_slice(&number.to_be_bytes());
    }

    fn empty(&mut self) {
        (self.sent_to, self.received_to) = (0, 0);
        self.set_number(0x24, 0);
        self.set_number(0x28, 0);
        self.count();
    }

    fn count(&mut self) {
        self.set_number(0x26, self.waiting() as u16);
        let unsent = self.number(0x24).wrapping_sub(self.sent_to);
        self.set_number(0x20, BUFFER_BYTES as u16 - unsent);
    }

    fn command(&mut self, command: u8) {
        if self.takes_no_command {
            return;
        }
        self.registers[SOCKET][0x01] = 0;
        match command {
            0x01 => {
                self.opened += 1;
                self.empty();
                self.registers[SOCKET][0x03] = if self.mode() & 0x0f == 4 { 0x42 } else { 0 };
            }
            0x10 => self.registers[SOCKET][0x03] = 0,
            0x20 => {
                if !self.sends_nothing {
                    let places = usize::from(self.sent_to)..usize::from(self.number(0x24));
                    self.sent.push(places.map(|at| self.send_buffer[at % BUFFER_BYTES]).collect());
                    self.sent_to = self.number(0x24);
                }
                self.count();
            }
            0x40 => self.count(),
            _ => {}
        }
    }

    fn read(&mut self, block: usize, address: usize, bytes: &mut [u8]) {
        self.bytes_read += bytes.len();
        for (at, byte) in (address..).zip(bytes) {
            *byte = match block {
                RECEIVE_BUFFER => self.receive_buffer[at % BUFFER_BYTES],
                _ => self.registers[block][at],
            };
        }
    }

    fn write(&mut self, block: usize, address: usize, bytes: &[u8]) {
        for (at, byte) in (address..).zip(bytes) {
            match (block, at) {
                (SEND_BUFFER, _) => self.send_buffer[at % BUFFER_BYTES] = *byte,
                (COMMON, 0) if byte & 0x80 != 0 => {
                    let version = self.registers[COMMON][0x39];
                    self.reset();
                    self.set_version(version);
                }
                // A bit is cleared by writing it.
                (SOCKET, 0x02) => self.registers[SOCKET][0x02] &= !byte,
                (SOCKET, 0x01) => {
                    self.registers[SOCKET][0x01] = *byte;
                    self.command(*byte);
                }
                _ => self.registers[block][at] = *byte,
            }
        }
    }
}

/// The bus to a chip.
#[derive(Clone)]
pub(crate) struct Bus(pub(crate) Rc<RefCell<Chip>>);

impl ErrorType for Bus {
    type Error = Infallible;
}

impl SpiDevice for Bus {
    fn transaction(&mut self, operations: &mut [Operation<'_, u8>]) -> Result<(), Infallible> {
        let [Operation::Write([high, low, control]), data] = operations else {
            panic!("a header of three bytes, then the bytes");
        };
        let (block, address) = (usize::from(*control >> 3), usize::from(u16::from_be_bytes([*high, *low])));
        let writes = *control & 4 != 0;
        assert_eq!(*control & 3, 0, "as many bytes as the chip is selected for");
        match data {
            Operation::Read(bytes) if !writes => self.0.borrow_mut().read(block, address, bytes),
            Operation::Write(bytes) if writes => self.0.borrow_mut().write(block, address, bytes),
            _ => panic!("the direction in the header is that of the bytes"),
        }
        Ok(())
    }
}
