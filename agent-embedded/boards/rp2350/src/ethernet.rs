//! The network: frames between the W5500 and the network stack.

use core::convert::Infallible;

use embassy_futures::select::select3;
use embassy_net_driver_channel::driver::{HardwareAddress, LinkState};
use embassy_net_driver_channel::{self as channel, RxRunner, TxRunner};
use embassy_rp::gpio::{Input, Output};
use embassy_rp::peripherals::SPI0;
use embassy_rp::spi::{Blocking, Spi};
use embassy_time::{Delay, Duration, Instant, Timer};
use embedded_hal_bus::spi::{DeviceError, ExclusiveDevice};
use static_cell::ConstStaticCell;
use w5500::{Error, FRAME_BYTES_MAX, Taken, W5500};

/// The bus to the W5500.
pub type Bus = ExclusiveDevice<Spi<'static, SPI0, Blocking>, Output<'static>, Delay>;
/// What the network stack uses.
pub type Device = channel::Device<'static, FRAME_BYTES_MAX>;

type BusError = DeviceError<embassy_rp::spi::Error, Infallible>;
/// Frames that wait for the network stack, and frames to be sent. The W5500 itself buffers 16 KiB of frames
/// while flash is busy.
type Frames = channel::State<FRAME_BYTES_MAX, 4, 2>;

static FRAMES: ConstStaticCell<Frames> = ConstStaticCell::new(Frames::new());

/// How often to check the link, and whether the chip is still open. Frames are checked for then too, in case
/// an interrupt was lost.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The chip needs about 50 ms after its reset. One that answers late gets a second.
const STARTS_MAX: usize = 10;
const START_EVERY: Duration = Duration::from_millis(100);

/// Resets the W5500 and starts it with this MAC address.
///
/// # Errors
/// It does not answer.
pub async fn start(
    address: [u8; 6],
    bus: Bus,
    interrupt: Input<'static>,
    mut reset: Output<'static>,
) -> Result<(Device, Runner), Error<BusError>> {
    reset.set_low();
    Timer::after_millis(1).await;
    reset.set_high();
    let mut chip = W5500::new(bus, address);
    let mut starts = 0;
    loop {
        Timer::after(START_EVERY).await;
        starts += 1;
        match chip.start() {
            Ok(()) => break,
            Err(error) if starts == STARTS_MAX => return Err(error),
            Err(_) => {}
        }
    }
    let (frames, device) = channel::new(FRAMES.take(), HardwareAddress::Ethernet(address));
    Ok((device, Runner { chip, frames, interrupt, _reset: reset }))
}

/// Passes frames on between the two.
pub struct Runner {
    chip: W5500<Bus>,
    frames: channel::Runner<'static, FRAME_BYTES_MAX>,
    interrupt: Input<'static>,
    /// The reset pin, which stays high.
    _reset: Output<'static>,
}

impl Runner {
    /// Passes frames on for ever. Each turn takes at most one frame in each direction, so that neither
    /// direction waits for the other to finish.
    pub async fn run(self) {
        let Self { mut chip, frames, mut interrupt, _reset } = self;
        let (link, mut received, mut to_send) = frames.split();
        let mut look_at = Instant::now();
        let mut may_wait = true;
        loop {
            let comes = async {
                if !may_wait {
                    interrupt.wait_for_low().await;
                }
                received.rx_buf().await;
            };
            let leaves = async {
                to_send.tx_buf().await;
            };
            select3(comes, leaves, Timer::at(look_at)).await;
            if Instant::now() >= look_at {
                look_at = Instant::now() + LOOK_EVERY;
                let is_up = look(&mut chip);
                link.set_link_state(if is_up { LinkState::Up } else { LinkState::Down });
                may_wait = true;
            }
            if may_wait || interrupt.is_low() {
                may_wait = take(&mut chip, &mut received);
            }
            send(&mut chip, &mut to_send);
        }
    }
}

/// Restarts the chip if it has lost its settings; returns whether there is a link.
fn look(chip: &mut W5500<Bus>) -> bool {
    let is_open = chip.is_open().unwrap_or(false) || chip.start().is_ok();
    is_open && chip.has_link().unwrap_or(false)
}

/// Takes a frame if there is room for it; returns whether more may be waiting.
fn take(chip: &mut W5500<Bus>, received: &mut RxRunner<'static, FRAME_BYTES_MAX>) -> bool {
    let Some(Ok(frame)) = received.try_rx_buf().map(TryInto::try_into) else {
        return true;
    };
    match chip.take(frame) {
        Ok(Taken::Frame(length)) => {
            received.rx_done(length);
            true
        }
        Ok(Taken::PassedOver | Taken::Reopened) => true,
        // After an error, the next check finds out the state.
        Ok(Taken::Nothing) | Err(_) => false,
    }
}

/// Sends the waiting frame, if there is one. A frame that cannot be sent is lost, as on any Ethernet.
fn send(chip: &mut W5500<Bus>, to_send: &mut TxRunner<'static, FRAME_BYTES_MAX>) {
    if let Some(frame) = to_send.try_tx_buf() {
        let _ = chip.send(frame);
        to_send.tx_done();
    }
}
