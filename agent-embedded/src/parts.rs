//! The agent, assembled from the parts of a firmware.

use core::net::SocketAddr;

use embassy_net::{Config, Stack};
use embedded_storage::nor_flash::NorFlash;
use static_cell::ConstStaticCell;

use crate::board;
use crate::drive::{Agent, Buffer};
use crate::network::{self, Buffers, NetworkError, Sockets};
use crate::provisioning::{Health, OwnAddress, Provisioning};
use crate::start::{Entropy, Machine, Place, StartError, start};
use crate::store::FlashStore;

/// The agent's memory, for a `static`. It can be taken once, and takes no flash.
pub struct Memory {
    place: Place,
    buffers: ConstStaticCell<Buffers>,
    buffer: ConstStaticCell<Buffer>,
}

impl Memory {
    /// Empty memory.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            place: Place::new(),
            buffers: ConstStaticCell::new(Buffers::new()),
            buffer: ConstStaticCell::new([0; size_of::<Buffer>()]),
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// The parts that a firmware provides for its agent.
pub struct Parts<F> {
    /// The flash, opened with its layout.
    pub store: FlashStore<F>,
    /// The provisioning area.
    pub provisioning: &'static [u8],
    /// Random bytes from the chip.
    pub entropy: Entropy,
}

/// The agent without its network.
pub struct Prepared<F> {
    machine: &'static mut Machine<'static>,
    store: FlashStore<F>,
    name: &'static str,
    own: OwnAddress,
    coap_group: SocketAddr,
    health: Health,
    seed: u64,
    memory: &'static Memory,
}

impl<F: NorFlash> Parts<F> {
    /// Reads the provisioning and the stored records.
    ///
    /// # Errors
    /// [`StartError`]: the agent must neither send nor accept.
    // Not inlined, so that its stack is free again afterwards.
    #[inline(never)]
    pub fn prepare(self, memory: &'static Memory) -> Result<Prepared<F>, StartError<F::Error>> {
        let Self { mut store, provisioning, entropy } = self;
        let given = Provisioning::read(provisioning)?;
        let (machine, seed) = start(&mut store, &given, &memory.place, board::now(), entropy)?;
        let Provisioning { name, own, health, .. } = given;
        let coap_group = machine.place().coap_group;
        Ok(Prepared { machine, store, name, own, coap_group, health, seed, memory })
    }
}

/// An agent on embassy's network.
pub type NetworkAgent<F, B, A> = Agent<'static, F, Sockets, B, A>;

impl<F: NorFlash> Prepared<F> {
    /// The device's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The CoAP group that it will join.
    #[must_use]
    pub const fn coap_group(&self) -> SocketAddr {
        self.coap_group
    }

    /// A seed for the network stack, which differs at every start.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// A configuration for the network stack, with the address that the device was provisioned with.
    ///
    /// # Errors
    /// [`NetworkError::NotIpv6`].
    pub fn config(&self) -> Result<Config, NetworkError> {
        network::config(&self.own)
    }

    /// Opens the agent's sockets on the application's stack.
    ///
    /// # Errors
    /// [`NetworkError`].
    #[inline(never)]
    pub fn connect<B, A>(
        self,
        stack: Stack<'static>,
        board: B,
        application: A,
    ) -> Result<NetworkAgent<F, B, A>, NetworkError> {
        let Self { machine, store, own, coap_group, health, seed, memory, .. } = self;
        let network = Sockets::open(stack, memory.buffers.take(), own.address, coap_group, seed)?;
        let buffer = memory.buffer.take();
        Ok(Agent { machine, store, network, board, application, buffer, health, coap_group })
    }
}
