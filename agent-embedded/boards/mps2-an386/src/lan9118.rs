//! The Ethernet controller LAN9118, behind embassy's driver channel.

use core::future::poll_fn;
use core::task::Poll;

use embassy_futures::select::select;
use embassy_net_driver_channel::driver::{HardwareAddress, LinkState};
use embassy_net_driver_channel::{Device, RxRunner, State, TxRunner};
use embassy_sync::waitqueue::AtomicWaker;

use crate::registers::Register;

/// Longest frame, without its checksum.
pub const FRAME_BYTES: usize = 1514;
/// How many frames wait for the network stack: a burst of a few blocks while flash is busy.
const RECEIVE_FRAMES: usize = 4;
/// How many frames wait to be sent.
const SEND_FRAMES: usize = 2;

/// State shared by the driver and the network stack.
pub type Frames = State<FRAME_BYTES, RECEIVE_FRAMES, SEND_FRAMES>;
/// The network stack's end.
pub type Driver = Device<'static, FRAME_BYTES>;

/// The controller's end.
pub type Runner = embassy_net_driver_channel::Runner<'static, FRAME_BYTES>;

const BASE: usize = 0x4020_0000;
const RECEIVE_DATA: Register = register(0x00);
const SEND_DATA: Register = register(0x20);
const RECEIVE_STATUS: Register = register(0x40);
const SEND_STATUS: Register = register(0x48);
const INTERRUPT_CONFIG: Register = register(0x54);
const INTERRUPT_STATUS: Register = register(0x58);
const INTERRUPT_ENABLE: Register = register(0x5c);
const BYTE_TEST: Register = register(0x64);
const FIFO_INTERRUPT: Register = register(0x68);
const SEND_CONFIG: Register = register(0x70);
const HARDWARE_CONFIG: Register = register(0x74);
const RECEIVE_FIFO: Register = register(0x7c);
const SEND_FIFO: Register = register(0x80);
const MAC_COMMAND: Register = register(0xa4);
const MAC_DATA: Register = register(0xa8);

const BYTE_TEST_PATTERN: u32 = 0x8765_4321;
/// Enabled, active high, push-pull: otherwise the line is inverted and always active.
const INTERRUPT_LINE: u32 = 0x111;
/// A frame is waiting.
const RECEIVED: u32 = 1 << 3;
const HARDWARE_RESET: u32 = 1;
/// Store and forward.
const HARDWARE_MUST_BE_ONE: u32 = 1 << 20;
const SEND_FIFO_SIZE: u32 = 5 << 16;
const SEND_ON: u32 = 1 << 1;
const MAC_BUSY: u32 = 1 << 31;
const MAC_READ: u32 = 1 << 30;
const MAC_CONTROL: u32 = 1;
const MAC_ADDRESS_HIGH: u32 = 2;
const MAC_ADDRESS_LOW: u32 = 3;
/// All multicast frames; receive and send; full duplex.
const MAC_CONTROL_ON: u32 = 1 << 20 | 1 << 19 | 1 << 3 | 1 << 2;
/// First and last segment.
const SEND_WHOLE: u32 = 1 << 13 | 1 << 12;
const ERROR_SUMMARY: u32 = 1 << 15;
const CHECKSUM_BYTES: usize = 4;

static WAKER: AtomicWaker = AtomicWaker::new();
const INTERRUPT: u16 = 13;

const fn register(offset: usize) -> Register {
    // SAFETY: only called with the offsets above, registers of the LAN9118.
    unsafe { Register::at(BASE + offset) }
}

/// Resets the controller and returns both ends of its channel; `None` if it does not answer.
pub fn start(frames: &'static mut Frames) -> Option<(Runner, Driver, [u8; 6])> {
    HARDWARE_CONFIG.write(HARDWARE_RESET);
    let mut tries = 100_000;
    while BYTE_TEST.read() != BYTE_TEST_PATTERN || HARDWARE_CONFIG.read() & HARDWARE_RESET != 0 {
        tries -= 1;
        if tries == 0 {
            return None;
        }
    }
    HARDWARE_CONFIG.write(HARDWARE_MUST_BE_ONE | SEND_FIFO_SIZE);
    let [a, b, c, d] = mac_read(MAC_ADDRESS_LOW).to_le_bytes();
    let [e, f, _, _] = mac_read(MAC_ADDRESS_HIGH).to_le_bytes();
    let address = [a, b, c, d, e, f];
    mac_write(MAC_CONTROL, MAC_CONTROL_ON);
    SEND_CONFIG.write(SEND_ON);
    INTERRUPT_CONFIG.write(INTERRUPT_LINE);
    FIFO_INTERRUPT.write(0);
    INTERRUPT_STATUS.write(u32::MAX);
    crate::vectors::enable(INTERRUPT);
    let (runner, device) = embassy_net_driver_channel::new(frames, HardwareAddress::Ethernet(address));
    Some((runner, device, address))
}

/// Moves frames in both directions for ever.
pub async fn run(runner: Runner) -> ! {
    let (state, mut receiver, mut sender) = runner.split();
    state.set_link_state(LinkState::Up);
    loop {
        send_all(&mut sender);
        receive_all(&mut receiver);
        let received = poll_fn(|context| {
            WAKER.register(context.waker());
            INTERRUPT_STATUS.write(RECEIVED);
            // Read after the latch was cleared, so that a frame between the two is not overlooked.
            if frames_waiting() > 0 {
                return receiver.poll_rx_buf(context).map(|_| ());
            }
            INTERRUPT_ENABLE.write(RECEIVED);
            Poll::Pending
        });
        // The network stack takes no frame while it has no room for an answer, so neither direction may wait
        // for the other.
        let to_send = poll_fn(|context| sender.poll_tx_buf(context).map(|_| ()));
        select(received, to_send).await;
    }
}

/// Receives frames as long as there is room for them.
fn receive_all(receiver: &mut RxRunner<'_, FRAME_BYTES>) {
    while frames_waiting() > 0 {
        let Some(buffer) = receiver.try_rx_buf() else { return };
        if let Some(length) = receive(buffer) {
            receiver.rx_done(length);
        }
    }
}

fn frames_waiting() -> u32 {
    RECEIVE_FIFO.read() >> 16 & 0xff
}

/// Takes one frame out of the FIFO; `None` if it is not to be used.
fn receive(buffer: &mut [u8]) -> Option<usize> {
    let status = RECEIVE_STATUS.read();
    let length = (status >> 16 & 0x3fff) as usize;
    for word in 0..length.div_ceil(4) {
        let bytes = RECEIVE_DATA.read().to_le_bytes();
        let rest = buffer.get_mut(word * 4..).unwrap_or_default();
        for (place, byte) in rest.iter_mut().zip(bytes) {
            *place = byte;
        }
    }
    let length = length.checked_sub(CHECKSUM_BYTES)?;
    (status & ERROR_SUMMARY == 0 && length <= buffer.len()).then_some(length)
}

fn send_all(sender: &mut TxRunner<'_, FRAME_BYTES>) {
    while let Some(frame) = sender.try_tx_buf() {
        send(frame);
        sender.tx_done();
    }
}

fn send(frame: &[u8]) {
    // A frame of 1514 bytes leaves two orders of magnitude faster than the next one is ready.
    while (SEND_FIFO.read() & 0xffff) < frame.len() as u32 + 16 {}
    SEND_DATA.write(SEND_WHOLE | frame.len() as u32);
    SEND_DATA.write(frame.len() as u32);
    for word in frame.chunks(4) {
        let mut bytes = [0; 4];
        for (place, byte) in bytes.iter_mut().zip(word) {
            *place = *byte;
        }
        SEND_DATA.write(u32::from_le_bytes(bytes));
    }
    let _ = SEND_STATUS.read();
}

fn mac_read(register: u32) -> u32 {
    MAC_COMMAND.write(MAC_BUSY | MAC_READ | register);
    while MAC_COMMAND.read() & MAC_BUSY != 0 {}
    MAC_DATA.read()
}

fn mac_write(register: u32, value: u32) {
    MAC_DATA.write(value);
    MAC_COMMAND.write(MAC_BUSY | register);
    while MAC_COMMAND.read() & MAC_BUSY != 0 {}
}

/// The controller has interrupted: the task checks it and enables the interrupt again.
pub(crate) fn on_interrupt() {
    INTERRUPT_ENABLE.write(0);
    WAKER.wake();
}
