//! What `fwcast push` and `fwcast status` print as JSON.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The result of `fwcast push`.
#[derive(Debug, Clone, Deserialize)]
pub struct PushReport {
    /// Whether every agent ended as the push intended.
    pub ok: bool,
    /// How it ended.
    pub ending: String,
    /// How long it took.
    pub seconds: f64,
    /// One for each agent of the group.
    pub agents: Vec<AgentReport>,
    /// Datagrams to the CoAP group.
    pub datagrams_multicast: u64,
    /// Datagrams to single agents.
    pub datagrams_unicast: u64,
    /// UDP payload bytes to the CoAP group.
    pub bytes_multicast: u64,
    /// UDP payload bytes to single agents.
    pub bytes_unicast: u64,
    /// Image blocks to the CoAP group, including repetitions.
    pub blocks_multicast: u64,
    /// Parity symbols to the CoAP group.
    pub symbols_multicast: u64,
    /// Image blocks and hash pages in answer to requests.
    pub blocks_unicast: u64,
    /// Passes over the image.
    pub rounds: u64,
}

/// What is known about one agent.
#[derive(Debug, Clone, Deserialize)]
pub struct AgentReport {
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub state: String,
    /// The reason, if something was refused or failed.
    #[serde(default)]
    pub reason: Option<String>,
    /// Manifest sequence number of its confirmed image.
    #[serde(default)]
    pub installed: u64,
    /// Blocks and pages that arrived by multicast and were stored.
    #[serde(default)]
    pub heard_multicast: u64,
    /// Blocks and pages that arrived by unicast and were stored.
    #[serde(default)]
    pub heard_unicast: u64,
    /// Everything else in the output.
    #[serde(flatten)]
    pub more: serde_json::Map<String, Value>,
}

impl PushReport {
    /// How many agents are in a state.
    #[must_use]
    pub fn count(&self, state: &str) -> usize {
        self.agents.iter().filter(|agent| agent.state == state).count()
    }

    /// Blocks and parity symbols sent in addition to the first pass over an image, by multicast or unicast.
    #[must_use]
    pub const fn blocks_repaired(&self, image_bytes: u64, block_size: u64) -> u64 {
        let sent = self.blocks_multicast + self.blocks_unicast + self.symbols_multicast;
        sent.saturating_sub(image_bytes.div_ceil(block_size))
    }
}

impl AgentReport {
    /// One of the counters that the agent keeps.
    #[must_use]
    pub fn counter(&self, name: &str) -> Option<u64> {
        self.more.get("counters").and_then(|all| all.get(name)).or_else(|| self.more.get(name))?.as_u64()
    }
}

/// The last JSON value of an output, which may contain earlier ones.
///
/// # Errors
/// It is not JSON, or has another structure.
pub fn last<T: DeserializeOwned>(output: &str) -> Result<T> {
    let values = serde_json::Deserializer::from_str(output).into_iter::<Value>();
    let last = values.last().context("nothing was printed")?.context("what was printed is not JSON")?;
    serde_json::from_value(last).context("what was printed has an unknown structure")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = r#"{"event":"offer"}
{
  "ok": true, "ending": "done", "seconds": 1.5, "group": "g", "agents": [
    {"name": "a1", "sender_id": "01", "state": "confirmed", "reason": null, "installed": 2,
     "heard_multicast": 9, "heard_unicast": 1, "counters": {"replayed": 4}},
    {"name": "a2", "sender_id": "02", "state": "lost", "reason": null}
  ], "datagrams_multicast": 10, "datagrams_unicast": 2, "bytes_multicast": 100, "bytes_unicast": 20,
  "blocks_multicast": 9, "blocks_unicast": 1, "symbols_multicast": 3, "rounds": 2
}
"#;

    #[test]
    fn the_last_value_is_the_report() {
        let report: PushReport = last(PRINTED).unwrap();
        assert_eq!((report.count("confirmed"), report.count("lost"), report.count("ready")), (1, 1, 0));
        assert_eq!(report.blocks_repaired(8 * 1024 - 1, 1024), 5);
        assert_eq!(report.agents[0].installed, 2);
        assert_eq!(report.agents[0].counter("replayed"), Some(4));
        assert_eq!(report.agents[1].counter("replayed"), None);
    }

    #[test]
    fn what_is_no_report_is_an_error() {
        for text in ["", "done", "{\"ok\": true}", "{\"ok\": true} and more"] {
            assert!(last::<PushReport>(text).is_err(), "{text}");
        }
    }
}
