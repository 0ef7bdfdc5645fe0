//! Ethernet frames over WIZnet's W5500 on SPI. Clock, pins and queues are up to the board.
//!
//! A length reported by the chip is checked before it is used for reading. If it cannot be true, the position
//! and contents of the chip's buffer can no longer be trusted: the socket is reopened, and what waits in it
//! is lost. Nothing waits for the chip without a limit.
//!
//! Each call keeps the processor until its bytes are over the bus: a millisecond at most for the longest
//! frame at 30 MHz, a twentieth of what checking a signature takes. As futures, driver and bus took 7 KiB
//! more of flash.
//!
//! The chip's own filter of MAC addresses stays off. The datasheet (Sn_MR, bit 7) says that with it the chip
//! accepts frames to its own address and broadcasts. It does not mention multicast, which neighbour discovery
//! and the CoAP group need. [`W5500::take`] skips frames for others: it reads only 8 bytes of them.
#![no_std]

mod registers;

use embedded_hal::spi::{Operation, SpiDevice};

use crate::registers::{
    BUFFER_KIB, COMMAND, Command, INTERRUPT, INTERRUPT_MASK, LINK, MAC_ADDRESS, MODE, OPEN_FOR_WHOLE_FRAMES,
    RECEIVE_POINTER, RECEIVED, RECEIVED_BYTES, RESET, Register, SEND_FREE, SEND_POINTER, SOCKET_INTERRUPTS,
    SOCKET_MODE, SOCKETS, STATUS, VERSION, VERSION_OF_W5500, WHOLE_FRAMES, buffer_sizes, receive_buffer,
    send_buffer,
};

/// The largest frame that is passed on, without its check sequence.
pub const FRAME_BYTES_MAX: usize = 1514;
/// The largest frame on the wire that is skipped: two VLAN tags longer.
const PASSED_OVER_BYTES_MAX: usize = FRAME_BYTES_MAX + 8;
/// The two addresses and the type of a frame.
const FRAME_BYTES_MIN: usize = 14;
/// The length field before each frame counts itself too.
const LENGTH_BYTES: usize = 2;
const MAC_BYTES: usize = 6;

/// How often to ask the chip for something that takes microseconds.
const LOOKS_MAX: usize = 64;
/// How often to ask for room for a frame: each query takes 1.3 µs, and 16 KiB take 13 ms at 10 Mbit/s.
const LOOKS_FOR_ROOM_MAX: usize = 16_384;

/// Errors of the chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error<E> {
    /// The bus.
    Bus(E),
    /// There is no W5500, or it does not answer yet: the version register has this value.
    Version(u8),
    /// It did not carry out a command.
    Stuck,
}

impl<E> From<E> for Error<E> {
    fn from(error: E) -> Self {
        Self::Bus(error)
    }
}

/// What [`W5500::take`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Nothing: the interrupt pin goes low at the next frame.
    Nothing,
    /// A frame of this length. More may be waiting.
    Frame(usize),
    /// A frame for others, or one that is too long. More may be waiting.
    PassedOver,
    /// The chip reported something that cannot be true. It was reopened, and what was waiting is lost.
    Reopened,
}

/// The chip.
#[derive(Debug)]
pub struct W5500<S> {
    spi: S,
    address: [u8; MAC_BYTES],
}

impl<S: SpiDevice> W5500<S> {
    /// The chip on this bus, for frames to this MAC address and to groups. Call [`Self::start`] next.
    pub const fn new(spi: S, address: [u8; MAC_BYTES]) -> Self {
        Self { spi, address }
    }

    /// Resets the chip by command, sets it up, and opens it for frames.
    ///
    /// # Errors
    /// [`Error`]. After a reset by its pin the chip needs some milliseconds before it answers.
    pub fn start(&mut self) -> Result<(), Error<S::Error>> {
        self.write(MODE, &[RESET])?;
        let version = self.read_byte(VERSION)?;
        if version != VERSION_OF_W5500 {
            return Err(Error::Version(version));
        }
        let address = self.address;
        self.write(MAC_ADDRESS, &address)?;
        // The sum over all sockets must not exceed their shared memory.
        for socket in (0..SOCKETS).rev() {
            let kib = if socket == 0 { BUFFER_KIB } else { 0 };
            self.write(buffer_sizes(socket), &[kib, kib])?;
        }
        self.write(SOCKET_INTERRUPTS, &[1])?;
        self.write(INTERRUPT_MASK, &[RECEIVED])?;
        self.open()
    }

    /// Whether the chip is still open for frames. If it has lost its supply, it must be started again.
    ///
    /// # Errors
    /// [`Error::Bus`].
    pub fn is_open(&mut self) -> Result<bool, Error<S::Error>> {
        Ok(self.read_byte(STATUS)? == OPEN_FOR_WHOLE_FRAMES)
    }

    /// Whether there is a link.
    ///
    /// # Errors
    /// [`Error::Bus`].
    pub fn has_link(&mut self) -> Result<bool, Error<S::Error>> {
        Ok(self.read_byte(LINK)? & 1 == 1)
    }

    /// Takes the next frame out of the chip. Call this until it returns [`Taken::Nothing`]: it first clears
    /// the interrupt, and the chip raises it for what arrives after that, not for what is still waiting.
    ///
    /// # Errors
    /// [`Error`].
    pub fn take(&mut self, frame: &mut [u8; FRAME_BYTES_MAX]) -> Result<Taken, Error<S::Error>> {
        self.write(INTERRUPT, &[RECEIVED])?;
        let received = usize::from(self.settled(RECEIVED_BYTES)?);
        if received == 0 {
            return Ok(Taken::Nothing);
        }
        let pointer = self.read_number(RECEIVE_POINTER)?;
        let mut head = [0; LENGTH_BYTES + MAC_BYTES];
        self.read(receive_buffer(pointer), &mut head)?;
        let [high, low, to @ ..] = head;
        let with_length = u16::from_be_bytes([high, low]);
        let Some(length) = possible(with_length, received) else {
            self.open()?;
            return Ok(Taken::Reopened);
        };
        let is_ours = to == self.address || to[0] & 1 == 1;
        let taken = match frame.get_mut(..length) {
            Some(frame) if is_ours => {
                self.read(receive_buffer(pointer.wrapping_add(LENGTH_BYTES as u16)), frame)?;
                Taken::Frame(length)
            }
            _ => Taken::PassedOver,
        };
        self.write(RECEIVE_POINTER, &pointer.wrapping_add(with_length).to_be_bytes())?;
        self.command(Command::Receive)?;
        Ok(taken)
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// [`Error::Stuck`] if the chip cannot send a frame: it is reopened, and what was waiting is lost.
    pub fn send(&mut self, frame: &[u8]) -> Result<(), Error<S::Error>> {
        let mut looks = 0;
        while usize::from(self.settled(SEND_FREE)?) < frame.len() {
            looks += 1;
            if looks == LOOKS_FOR_ROOM_MAX {
                self.open()?;
                return Err(Error::Stuck);
            }
        }
        let pointer = self.read_number(SEND_POINTER)?;
        self.write(send_buffer(pointer), frame)?;
        let behind = pointer.wrapping_add(frame.len() as u16);
        self.write(SEND_POINTER, &behind.to_be_bytes())?;
        self.command(Command::Send)
    }

    /// Reopens the socket, with empty buffers.
    fn open(&mut self) -> Result<(), Error<S::Error>> {
        self.command(Command::Close)?;
        self.write(SOCKET_MODE, &[WHOLE_FRAMES])?;
        self.command(Command::Open)?;
        for _ in 0..LOOKS_MAX {
            if self.is_open()? {
                return Ok(());
            }
        }
        Err(Error::Stuck)
    }

    fn command(&mut self, command: Command) -> Result<(), Error<S::Error>> {
        self.write(COMMAND, &[command as u8])?;
        for _ in 0..LOOKS_MAX {
            if self.read_byte(COMMAND)? == 0 {
                return Ok(());
            }
        }
        Err(Error::Stuck)
    }

    /// Reads a number that the chip may change between its two bytes, until it reads the same twice.
    fn settled(&mut self, register: Register) -> Result<u16, Error<S::Error>> {
        let mut before = self.read_number(register)?;
        for _ in 0..LOOKS_MAX {
            let now = self.read_number(register)?;
            if now == before {
                return Ok(now);
            }
            before = now;
        }
        Err(Error::Stuck)
    }

    fn read_byte(&mut self, register: Register) -> Result<u8, Error<S::Error>> {
        let mut byte = [0];
        self.read(register, &mut byte)?;
        Ok(byte[0])
    }

    fn read_number(&mut self, register: Register) -> Result<u16, Error<S::Error>> {
        let mut bytes = [0; 2];
        self.read(register, &mut bytes)?;
        Ok(u16::from_be_bytes(bytes))
    }

    fn read(&mut self, register: Register, bytes: &mut [u8]) -> Result<(), Error<S::Error>> {
        let head = head(register, false);
        Ok(self.spi.transaction(&mut [Operation::Write(&head), Operation::Read(bytes)])?)
    }

    fn write(&mut self, register: Register, bytes: &[u8]) -> Result<(), Error<S::Error>> {
        let head = head(register, true);
        Ok(self.spi.transaction(&mut [Operation::Write(&head), Operation::Write(bytes)])?)
    }
}

/// The length of the frame, if the chip's report can be true.
fn possible(with_length: u16, received: usize) -> Option<usize> {
    let with_length = usize::from(with_length);
    let length = with_length.checked_sub(LENGTH_BYTES)?;
    let is_possible = (FRAME_BYTES_MIN..=PASSED_OVER_BYTES_MAX).contains(&length) && with_length <= received;
    is_possible.then_some(length)
}

/// The header before the bytes: the address, and the block with the direction.
const fn head(register: Register, writes: bool) -> [u8; 3] {
    let [high, low] = register.address.to_be_bytes();
    [high, low, register.block << 3 | (writes as u8) << 2]
}
