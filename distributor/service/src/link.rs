//! The way to a group: its socket, which is made anew when the interface or its address has come back.

use std::io;
use std::net::SocketAddr;

use tokio::net::UdpSocket;

use fwcast_state::Profile;
use fwcast_state::socket::{self, SocketError};

/// The way to a group.
#[derive(Debug)]
pub struct Link {
    profile: Profile,
    socket: Option<UdpSocket>,
    /// Sockets at further ports of the same address, for PUTs to the group (protocol.md \[message ids\]).
    further: Vec<Option<UdpSocket>>,
}

/// Why a datagram could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The socket cannot be made anew.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The system refuses to send.
    #[error("{0}")]
    System(#[from] io::Error),
}

impl Link {
    /// Opens the way that a profile describes.
    ///
    /// # Errors
    /// The interface does not exist, the address is not this machine's, or the port is taken.
    pub fn open(profile: Profile) -> Result<Self, SocketError> {
        let socket = socket::open(&profile)?;
        Ok(Self { profile, socket: Some(socket), further: Vec::new() })
    }

    /// The way that was open before, and whose interface or address may be gone at the moment.
    pub fn open_again(profile: Profile) -> Self {
        let socket = socket::open(&profile).ok();
        Self { profile, socket, further: Vec::new() }
    }

    /// Sends a datagram from the distributor's own port (source 0), or from a further one. After a failure
    /// that another socket may mend, the next call makes one.
    ///
    /// # Errors
    /// The interface or the address is gone, or the system refuses for another reason.
    pub async fn send(&mut self, bytes: &[u8], to: SocketAddr, source: u8) -> Result<(), LinkError> {
        let place = match usize::from(source).checked_sub(1) {
            None => &mut self.socket,
            Some(further) => {
                if self.further.len() <= further {
                    self.further.resize_with(further + 1, || None);
                }
                &mut self.further[further]
            }
        };
        let socket = match place.take() {
            Some(socket) => socket,
            None if source == 0 => socket::open(&self.profile)?,
            None => socket::open_further(&self.profile)?,
        };
        let sent = socket.send_to(bytes, to).await;
        // A full queue says nothing against the socket.
        if sent.as_ref().map_or_else(is_queue_full, |_| true) || !to.ip().is_multicast() {
            *place = Some(socket);
        }
        sent.map(drop).map_err(LinkError::System)
    }

    /// The next datagram. Never returns while there is no socket.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match &self.socket {
            Some(socket) => socket.recv_from(buffer).await,
            None => std::future::pending().await,
        }
    }

    /// The next datagram, if one has arrived.
    pub fn receive_ready(&self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        self.socket.as_ref()?.try_recv_from(buffer).ok()
    }
}

/// Whether the system only asks to send more slowly.
fn is_queue_full(error: &io::Error) -> bool {
    use nix::libc::{EAGAIN, ENOBUFS, ENOMEM};
    matches!(error.raw_os_error(), Some(ENOBUFS | ENOMEM | EAGAIN))
}

impl LinkError {
    /// Whether it is only that the system's queue is full.
    pub fn is_queue_full(&self) -> bool {
        matches!(self, Self::System(error) if is_queue_full(error))
    }
}
