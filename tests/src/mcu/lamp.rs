//! Firmware with the agent as a library: its task misses no tick while an update is received, activated and
//! confirmed, and its socket answers.

use std::net::UdpSocket;
use std::time::Duration;

use anyhow::Result;

use super::node::Node;
use super::trial::{Trial, name};

/// The lamp ticks every 100 ms. From two periods on, a tick was missed.
const GAP_MILLISECONDS_MAX: u64 = 199;
/// The lamp's own UDP port.
const PORT: u16 = 7007;
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);
const TRIES: usize = 10;

impl Trial<'_> {
    /// Checks the lamps after the update.
    pub(super) fn lamp(&mut self) -> Result<()> {
        for node in &self.nodes {
            let console = node.console();
            let starts = [("1", "agent: verified"), ("2", "agent: confirmed")];
            for (version, step) in starts {
                match longest_gap(&console, version, step) {
                    Some(gap) => {
                        println!(
                            "{}: version {version}, longest time between two ticks {gap} ms",
                            name(node)
                        );
                        if gap > GAP_MILLISECONDS_MAX {
                            self.found
                                .wrong
                                .push(format!("the lamp of {} missed ticks: {gap} ms", name(node)));
                        }
                    }
                    None => {
                        let what =
                            format!("version {version} of {} did not say '{step}' and tick", name(node));
                        self.found.wrong.push(what);
                    }
                }
            }
            if self.ask(node)? == 0 {
                self.found.wrong.push(format!("the lamp of {} does not answer", name(node)));
            }
        }
        Ok(())
    }

    /// The ticks that the lamp reports on its own socket; 0 if it does not answer.
    fn ask(&self, node: &Node) -> Result<u32> {
        let lamp = (self.net.address(node.host()), PORT);
        self.net.inside(0, || {
            let socket = UdpSocket::bind("[::]:0")?;
            socket.set_read_timeout(Some(ANSWERS_WITHIN))?;
            for _ in 0..TRIES {
                socket.send_to(b"?", lamp)?;
                let mut ticks = [0; 4];
                if socket.recv(&mut ticks).is_ok() {
                    return Ok(u32::from_be_bytes(ticks));
                }
            }
            Ok(0)
        })?
    }
}

/// The longest time between two ticks in the starts of this version that reached this step.
fn longest_gap(console: &str, version: &str, step: &str) -> Option<u64> {
    let starts = console.split("agent: image version=").filter(|start| start.starts_with(version));
    let ticking = starts.filter(|start| start.contains(step)).flat_map(str::lines);
    let gaps = ticking.filter_map(|line| line.strip_prefix("lamp: ")?.split_once("longest="));
    gaps.filter_map(|(_, gap)| gap.parse().ok()).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_read_from_the_starts_that_came_so_far() {
        let console = "agent: image version=1\nlamp: ticks=10 longest=500\n\
                       agent: image version=1\nlamp: ticks=10 longest=101\nagent: verified 01\n\
                       lamp: ticks=20 longest=105\nagent: image version=2\nagent: confirmed 01\n";
        assert_eq!(longest_gap(console, "1", "agent: verified"), Some(105));
        assert_eq!(longest_gap(console, "2", "agent: confirmed"), None);
    }
}
