//! The registers of the chip that this driver uses (W5500 datasheet, sections 3 and 4).

/// A place in the chip: the block, as encoded in the control byte, and the address in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Register {
    pub(crate) block: u8,
    pub(crate) address: u16,
}

const COMMON: u8 = 0;
const SOCKET: u8 = 1;
const SEND_BUFFER: u8 = 2;
const RECEIVE_BUFFER: u8 = 3;
/// How many blocks the registers of two consecutive sockets are apart.
const BLOCKS_OF_A_SOCKET: u8 = 4;

/// MR: bit 7 resets the chip.
pub(crate) const MODE: Register = common(0x00);
/// SHAR: the MAC address.
pub(crate) const MAC_ADDRESS: Register = common(0x09);
/// SIMR: the sockets that may pull the interrupt pin.
pub(crate) const SOCKET_INTERRUPTS: Register = common(0x18);
/// PHYCFGR: bit 0 is set while there is a link.
pub(crate) const LINK: Register = common(0x2e);
/// VERSIONR.
pub(crate) const VERSION: Register = common(0x39);

/// Sn_MR.
pub(crate) const SOCKET_MODE: Register = socket(0x00);
/// Sn_CR: reads as zero once the chip has taken the command.
pub(crate) const COMMAND: Register = socket(0x01);
/// Sn_IR: a bit is cleared by writing it.
pub(crate) const INTERRUPT: Register = socket(0x02);
/// Sn_SR.
pub(crate) const STATUS: Register = socket(0x03);
/// Sn_TX_FSR.
pub(crate) const SEND_FREE: Register = socket(0x20);
/// Sn_TX_WR.
pub(crate) const SEND_POINTER: Register = socket(0x24);
/// Sn_RX_RSR.
pub(crate) const RECEIVED_BYTES: Register = socket(0x26);
/// Sn_RX_RD.
pub(crate) const RECEIVE_POINTER: Register = socket(0x28);
/// Sn_IMR: which bits of [`INTERRUPT`] pull the pin.
pub(crate) const INTERRUPT_MASK: Register = socket(0x2c);

/// Sockets of the chip; only the first one can receive whole frames.
pub(crate) const SOCKETS: u8 = 8;
/// KiB that the sockets share, for each direction.
pub(crate) const BUFFER_KIB: u8 = 16;

/// What [`VERSION`] reads as.
pub(crate) const VERSION_OF_W5500: u8 = 4;
/// In [`MODE`].
pub(crate) const RESET: u8 = 0x80;
/// In [`SOCKET_MODE`]: whole frames (MACRAW). Neither the filter of MAC addresses (bit 7) nor the blocking of
/// multicast (bit 5) and of IPv6 (bit 4) is on.
pub(crate) const WHOLE_FRAMES: u8 = 0x04;
/// In [`STATUS`]: the socket is open for whole frames.
pub(crate) const OPEN_FOR_WHOLE_FRAMES: u8 = 0x42;
/// In [`INTERRUPT`] and its mask: something was received.
pub(crate) const RECEIVED: u8 = 0x04;

/// A command of the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Command {
    Open = 0x01,
    Close = 0x10,
    Send = 0x20,
    /// The bytes before [`RECEIVE_POINTER`] have been read.
    Receive = 0x40,
}

const fn common(address: u16) -> Register {
    Register { block: COMMON, address }
}

const fn socket(address: u16) -> Register {
    Register { block: SOCKET, address }
}

/// The registers with the sizes of a socket's two buffers, in KiB: Sn_RXBUF_SIZE and Sn_TXBUF_SIZE.
pub(crate) const fn buffer_sizes(socket: u8) -> Register {
    Register { block: SOCKET + socket * BLOCKS_OF_A_SOCKET, address: 0x1e }
}

/// A place in the buffer of frames to be sent; it wraps automatically.
pub(crate) const fn send_buffer(pointer: u16) -> Register {
    Register { block: SEND_BUFFER, address: pointer }
}

/// A place in the buffer of received frames; it wraps automatically.
pub(crate) const fn receive_buffer(pointer: u16) -> Register {
    Register { block: RECEIVE_BUFFER, address: pointer }
}
