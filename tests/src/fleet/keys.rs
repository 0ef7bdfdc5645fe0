//! New keys for a fleet's group.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};

use super::{Fleet, GROUP};

/// The port of a fleet's Group Manager, where it has one.
const MANAGER_PORT: u16 = 5699;

/// The arguments of `fwcast group create` for a Group Manager at this address.
#[must_use]
pub fn with_manager(host: IpAddr) -> Vec<String> {
    vec!["--manager".to_owned(), SocketAddr::new(host, MANAGER_PORT).to_string()]
}

impl Fleet<'_> {
    /// Gives the group new keys; returns who has not got them. `exit` is the exit code that is expected.
    ///
    /// # Errors
    /// It ended with another one.
    pub fn rekey(&self, more: &[&str], exit: i32) -> Result<Vec<String>> {
        #[derive(serde::Deserialize)]
        struct Delivered {
            without: Vec<String>,
        }
        let output = self.fwcast_output(&[&["group", "rekey", GROUP, "-o", "json"], more].concat())?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(exit), "group rekey ended with {}: {said}", output.status);
        let [delivered]: [Delivered; 1] = serde_json::from_slice(&output.stdout)?;
        Ok(delivered.without)
    }

    /// A CoAP group other than the one that the fleet was created with.
    #[must_use]
    pub fn another_coap_group(&self) -> String {
        let now = self.coap_group();
        let port = now.port() + 20;
        let ip = match now.ip() {
            IpAddr::V4(ip) => {
                let [a, b, c, d] = ip.octets();
                Ipv4Addr::new(a, b, c, d.wrapping_add(1)).into()
            }
            IpAddr::V6(ip) => {
                let mut segments = ip.segments();
                segments[7] = segments[7].wrapping_add(1);
                IpAddr::V6(segments.into())
            }
        };
        SocketAddr::new(ip, port).to_string()
    }
}
