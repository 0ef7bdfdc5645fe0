//! Groups that are in each other's way on the network.

use fwcast_state::{GroupState, StateDir, StateError};

/// Other groups that cannot be sent for at the same time as this one, or whose agents hear its datagrams in
/// vain: for each, a sentence.
///
/// # Errors
/// The groups cannot be listed.
pub fn of(dir: &StateDir, group: &GroupState) -> Result<Vec<String>, StateError> {
    let mut found = Vec::new();
    for name in dir.groups()?.into_iter().filter(|name| *name != group.name) {
        // A group that cannot be read is no reason to refuse another.
        let Ok(other) = GroupState::open(dir, &name) else { continue };
        let (this, that) = (&group.profile, &other.profile);
        if this.distributor == that.distributor {
            found.push(format!(
                "group '{name}' has the same distributor address {}: only one of the two can be sent for at \
                 a time",
                that.distributor
            ));
        }
        if this.coap_group == that.coap_group {
            found.push(format!(
                "group '{name}' has the same CoAP group {}: the agents of each receive the datagrams of \
                 both, and drop those of the other",
                that.coap_group
            ));
        }
    }
    Ok(found)
}
