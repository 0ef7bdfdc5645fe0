//! Which agents take part in a running rollout.
//!
//! A rollout keeps its agents as long as they are enrolled, even if labels or the groups' documents change,
//! so a label never removes an agent in the middle of a trial. An agent enrolled later joins if the current
//! document of a rollout group selects it, unless another rollout has it.

use std::collections::BTreeSet;

use provisioning::Name;

use rollout_engine::plan::Lane;

/// Puts each agent of a security group into one of its lanes. `had` are the rollout's agents. `selected` are
/// those that each lane's rollout group selects now, among the free ones and `had`.
pub(super) fn assign(
    lanes: &mut [Lane],
    enrolled: &BTreeSet<Name>,
    had: &BTreeSet<Name>,
    selected: Vec<Vec<Name>>,
) {
    let mut taken = BTreeSet::new();
    for lane in &mut *lanes {
        lane.agents
            .retain(|name| enrolled.contains(name) && had.contains(name) && taken.insert(name.clone()));
    }
    for (lane, selected) in lanes.iter_mut().zip(selected) {
        let enrolled = selected.into_iter().filter(|name| enrolled.contains(name));
        lane.agents.extend(enrolled.filter(|name| taken.insert(name.clone())));
    }
    // Joined before a restart, and no longer selected.
    let left_over = had.intersection(enrolled).filter(|name| !taken.contains(*name)).cloned();
    if let Some(lane) = lanes.first_mut() {
        lane.agents.extend(left_over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> BTreeSet<Name> {
        text.split_whitespace().map(|name| Name::new(name).unwrap()).collect()
    }

    fn lane(name: &str, agents: &str) -> Lane {
        Lane {
            name: Name::new(name).unwrap(),
            security_group: Name::new("hall").unwrap(),
            interface: None,
            hops: None,
            rate_bits_per_second: None,
            parity: None,
            agents: names(agents).into_iter().collect(),
        }
    }

    /// Each lane's agents afterwards; `selects` is what each lane's document selects now.
    fn assigned(lanes: [&str; 2], enrolled: &str, had: &str, selects: [&str; 2]) -> [String; 2] {
        let mut lanes = [lane("a", lanes[0]), lane("b", lanes[1])];
        let selected = selects.map(|selects| names(selects).into_iter().collect()).into();
        assign(&mut lanes, &names(enrolled), &names(had), selected);
        lanes.map(|lane| lane.agents.iter().map(Name::as_str).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn who_is_in_stays_whatever_its_labels_say() {
        assert_eq!(assigned(["x y", "z"], "x y z", "x y z", ["x", "y"]), ["x y", "z"]);
        assert_eq!(assigned(["x y", "z"], "x y z", "x y z", ["", ""]), ["x y", "z"]);
    }

    #[test]
    fn who_is_not_enrolled_any_more_leaves() {
        assert_eq!(assigned(["x y", "z"], "y", "x y z", ["x y", "z"]), ["y", ""]);
    }

    #[test]
    fn who_comes_later_is_in_one_lane_only() {
        assert_eq!(assigned(["x", ""], "x y", "x", ["x y", "x y"]), ["x y", ""]);
        // It stays in the rollout after a restart, although the plan does not have it.
        assert_eq!(assigned(["x", ""], "x y", "x y", ["", ""]), ["x y", ""]);
        assert_eq!(assigned(["x", ""], "x y", "x y", ["", "y"]), ["x", "y"]);
        // Removed, and enrolled again.
        assert_eq!(assigned(["x y", ""], "x y", "x", ["y", ""]), ["x y", ""]);
    }
}
