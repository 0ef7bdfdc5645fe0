//! Ethernet frames by WIZnet's W5500 on SPI. No clock, no pins and no queue: those are the board's.
//!
//! A length that the chip tells is checked before anything is read by it. Where it cannot be true, place and
//! contents of the chip's buffer are not to be trusted any more: the socket is opened anew, and what waits in
//! it is lost. Nothing waits for the chip without a limit.
//!
//! The chip's own filter of MAC addresses stays off. The datasheet (Sn_MR, bit 7) says that with it the chip
//! takes frames to its own address and broadcasts, and says nothing of multicast, which neighbour discovery
//! and the CoAP group need. [`W5500::take`] leaves out what is for others: it reads only 8 bytes of it.
#![no_std]

mod registers;

use embedded_hal_async::spi::{Operation, SpiDevice};

use crate::registers::{
    BUFFER_KIB, COMMAND, Command, INTERRUPT, INTERRUPT_MASK, LINK, MAC_ADDRESS, MODE, OPEN_FOR_WHOLE_FRAMES,
    RECEIVE_POINTER, RECEIVED, RECEIVED_BYTES, RESET, Register, SEND_FREE, SEND_POINTER, SOCKET_INTERRUPTS,
    SOCKET_MODE, SOCKETS, STATUS, VERSION, VERSION_OF_W5500, WHOLE_FRAMES, buffer_sizes, receive_buffer,
    send_buffer,
};

/// Largest frame that is handed over, without its check sequence.
pub const FRAME_BYTES_MAX: usize = 1514;
/// Largest frame on the wire that is passed over: two VLAN tags longer.
const PASSED_OVER_BYTES_MAX: usize = FRAME_BYTES_MAX + 8;
/// A frame's two addresses and its type.
const FRAME_BYTES_MIN: usize = 14;
/// The length in front of each frame counts itself too.
const LENGTH_BYTES: usize = 2;
const MAC_BYTES: usize = 6;

/// So often the chip is asked for something that takes it microseconds.
const LOOKS_MAX: usize = 64;
/// So often it is asked for room for a frame: each takes 1.3 µs, and 16 KiB are sent in 13 ms at 10 Mbit/s.
const LOOKS_FOR_ROOM_MAX: usize = 16_384;

/// What goes wrong with the chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error<E> {
    /// The bus.
    Bus(E),
    /// The chip is none, or does not answer yet: its version reads as this.
    Version(u8),
    /// It does not do what it was told.
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
    /// A frame of this length. More may wait.
    Frame(usize),
    /// A frame for others, or too long a one. More may wait.
    PassedOver,
    /// What the chip told cannot be true: it was opened anew, and what waited is lost.
    Reopened,
}

/// The chip.
#[derive(Debug)]
pub struct W5500<S> {
    spi: S,
    address: [u8; MAC_BYTES],
}

impl<S: SpiDevice> W5500<S> {
    /// The chip on this bus, for frames to this MAC address and to groups. [`Self::start`] comes next.
    pub const fn new(spi: S, address: [u8; MAC_BYTES]) -> Self {
        Self { spi, address }
    }

    /// Resets the chip by command, sets it up, and opens it for frames.
    ///
    /// # Errors
    /// [`Error`]. After a reset by its pin the chip needs some milliseconds before it answers.
    pub async fn start(&mut self) -> Result<(), Error<S::Error>> {
        self.write(MODE, &[RESET]).await?;
        let version = self.read_byte(VERSION).await?;
        if version != VERSION_OF_W5500 {
            return Err(Error::Version(version));
        }
        let address = self.address;
        self.write(MAC_ADDRESS, &address).await?;
        // The sum over all sockets must not exceed what they share.
        for socket in (0..SOCKETS).rev() {
            let kib = if socket == 0 { BUFFER_KIB } else { 0 };
            self.write(buffer_sizes(socket), &[kib, kib]).await?;
        }
        self.write(SOCKET_INTERRUPTS, &[1]).await?;
        self.write(INTERRUPT_MASK, &[RECEIVED]).await?;
        self.open().await
    }

    /// Whether the chip is still open for frames. One that has lost its supply has to be started anew.
    ///
    /// # Errors
    /// [`Error::Bus`].
    pub async fn is_open(&mut self) -> Result<bool, Error<S::Error>> {
        Ok(self.read_byte(STATUS).await? == OPEN_FOR_WHOLE_FRAMES)
    }

    /// Whether there is a link.
    ///
    /// # Errors
    /// [`Error::Bus`].
    pub async fn has_link(&mut self) -> Result<bool, Error<S::Error>> {
        Ok(self.read_byte(LINK).await? & 1 == 1)
    }

    /// Takes the next frame out of the chip. To be called until it finds [`Taken::Nothing`]: the interrupt
    /// is taken back first, and the chip raises it for what comes after that, not for what still waits.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn take(&mut self, frame: &mut [u8; FRAME_BYTES_MAX]) -> Result<Taken, Error<S::Error>> {
        self.write(INTERRUPT, &[RECEIVED]).await?;
        let received = usize::from(self.settled(RECEIVED_BYTES).await?);
        if received == 0 {
            return Ok(Taken::Nothing);
        }
        let pointer = self.read_number(RECEIVE_POINTER).await?;
        let mut head = [0; LENGTH_BYTES + MAC_BYTES];
        self.read(receive_buffer(pointer), &mut head).await?;
        let [high, low, to @ ..] = head;
        let with_length = u16::from_be_bytes([high, low]);
        let Some(length) = possible(with_length, received) else {
            self.open().await?;
            return Ok(Taken::Reopened);
        };
        let is_ours = to == self.address || to[0] & 1 == 1;
        let taken = match frame.get_mut(..length) {
            Some(frame) if is_ours => {
                self.read(receive_buffer(pointer.wrapping_add(LENGTH_BYTES as u16)), frame).await?;
                Taken::Frame(length)
            }
            _ => Taken::PassedOver,
        };
        self.write(RECEIVE_POINTER, &pointer.wrapping_add(with_length).to_be_bytes()).await?;
        self.command(Command::Receive).await?;
        Ok(taken)
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// [`Error::Stuck`] where the chip gets no frame out: it is opened anew, and what waited is lost.
    pub async fn send(&mut self, frame: &[u8]) -> Result<(), Error<S::Error>> {
        let mut looks = 0;
        while usize::from(self.settled(SEND_FREE).await?) < frame.len() {
            looks += 1;
            if looks == LOOKS_FOR_ROOM_MAX {
                self.open().await?;
                return Err(Error::Stuck);
            }
        }
        let pointer = self.read_number(SEND_POINTER).await?;
        self.write(send_buffer(pointer), frame).await?;
        let behind = pointer.wrapping_add(frame.len() as u16);
        self.write(SEND_POINTER, &behind.to_be_bytes()).await?;
        self.command(Command::Send).await
    }

    /// Opens the socket anew, with nothing in its buffers.
    async fn open(&mut self) -> Result<(), Error<S::Error>> {
        self.command(Command::Close).await?;
        self.write(SOCKET_MODE, &[WHOLE_FRAMES]).await?;
        self.command(Command::Open).await?;
        for _ in 0..LOOKS_MAX {
            if self.is_open().await? {
                return Ok(());
            }
        }
        Err(Error::Stuck)
    }

    async fn command(&mut self, command: Command) -> Result<(), Error<S::Error>> {
        self.write(COMMAND, &[command as u8]).await?;
        for _ in 0..LOOKS_MAX {
            if self.read_byte(COMMAND).await? == 0 {
                return Ok(());
            }
        }
        Err(Error::Stuck)
    }

    /// A number that the chip may change between its two bytes: it is read until it reads the same twice.
    async fn settled(&mut self, register: Register) -> Result<u16, Error<S::Error>> {
        let mut before = self.read_number(register).await?;
        for _ in 0..LOOKS_MAX {
            let now = self.read_number(register).await?;
            if now == before {
                return Ok(now);
            }
            before = now;
        }
        Err(Error::Stuck)
    }

    async fn read_byte(&mut self, register: Register) -> Result<u8, Error<S::Error>> {
        let mut byte = [0];
        self.read(register, &mut byte).await?;
        Ok(byte[0])
    }

    async fn read_number(&mut self, register: Register) -> Result<u16, Error<S::Error>> {
        let mut bytes = [0; 2];
        self.read(register, &mut bytes).await?;
        Ok(u16::from_be_bytes(bytes))
    }

    async fn read(&mut self, register: Register, bytes: &mut [u8]) -> Result<(), Error<S::Error>> {
        let head = head(register, false);
        Ok(self.spi.transaction(&mut [Operation::Write(&head), Operation::Read(bytes)]).await?)
    }

    async fn write(&mut self, register: Register, bytes: &[u8]) -> Result<(), Error<S::Error>> {
        let head = head(register, true);
        Ok(self.spi.transaction(&mut [Operation::Write(&head), Operation::Write(bytes)]).await?)
    }
}

/// The length of the frame, where what the chip tells of it can be true.
fn possible(with_length: u16, received: usize) -> Option<usize> {
    let with_length = usize::from(with_length);
    let length = with_length.checked_sub(LENGTH_BYTES)?;
    let is_possible = (FRAME_BYTES_MIN..=PASSED_OVER_BYTES_MAX).contains(&length) && with_length <= received;
    is_possible.then_some(length)
}

/// What goes out in front of the bytes: the address, and the block with the direction.
const fn head(register: Register, writes: bool) -> [u8; 3] {
    let [high, low] = register.address.to_be_bytes();
    [high, low, register.block << 3 | (writes as u8) << 2]
}
