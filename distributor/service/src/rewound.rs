//! Agents that use their numbers again (docs/protocol.md, \[rewind\]).

use update_core::distribution::Agent;

/// Where such an agent was heard; `None` if it is not one.
pub fn heard_at(agent: &Agent) -> Option<String> {
    let again = agent.rewind()?.from;
    Some(match agent.address.filter(|address| *address != again) {
        Some(address) => format!("heard at {address} and {again}"),
        None => format!("heard at {again}"),
    })
}
