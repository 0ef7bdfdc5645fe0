//! Which agents are in which wave.
//!
//! Waves with a selector or a list take their agents first, in order of the waves. Then each wave with a size
//! takes the next agents in order of their names. A percentage refers to all agents of the rollout.
//! Percentages are rounded together so that they add up: 50 % and 50 % of five agents are three and two.

use std::collections::BTreeMap;

use provisioning::Name;

use super::check::UnplacedDiagnostic;
use super::rollout::{Wave, Who};
use super::text::WaveSize;
use rollout_engine::plan::{AgentKey, Percent};

/// An agent that must be in one of the waves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub key: AgentKey,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl Member {
    /// Its value of a label; empty without it.
    pub fn place(&self, label: &str) -> &str {
        self.labels.get(label).map_or("", String::as_str)
    }
}

/// The members of each wave, as indices into `members`, which are in the order in which waves take them.
///
/// # Errors
/// Each empty wave, and whatever keeps the waves from covering all members exactly.
pub fn divide(
    waves: &[Wave],
    members: &[Member],
    spread: Option<&str>,
) -> Result<Vec<Vec<usize>>, Vec<UnplacedDiagnostic>> {
    let mut divider = Divider { members, spread, free: vec![true; members.len()], diagnostics: Vec::new() };
    let mut taken = vec![Vec::new(); waves.len()];
    for (index, wave) in waves.iter().enumerate() {
        match &wave.who {
            Who::Selector(selector) => {
                taken[index] = divider.take_where(|member| selector.matches(&member.labels));
                if taken[index].is_empty() {
                    let why = format!(
                        "the selector of wave '{}' matches no remaining agent: correct it",
                        wave.name
                    );
                    divider.diagnostic(index, "selector", why);
                }
            }
            Who::Agents(names) => taken[index] = divider.take_named(index, &wave.name, names),
            Who::Size(_) => {}
        }
    }
    let mut percent = Percentages { whole: members.len(), hundredths: 0 };
    for (index, wave) in waves.iter().enumerate() {
        let Who::Size(size) = &wave.who else { continue };
        let is_last = !waves[index + 1..].iter().any(|later| matches!(later.who, Who::Size(_)));
        taken[index] = divider.take_size(index, wave, *size, is_last, &mut percent);
    }
    let left = divider.free.iter().filter(|free| **free).count();
    if left > 0 && divider.diagnostics.is_empty() {
        let (whole, took) = (members.len(), members.len() - left);
        let why = format!(
            "the waves add up to {took} of {whole} agents: add a wave with `size: rest` for the other {left}"
        );
        divider.diagnostics.push(UnplacedDiagnostic::new(["waves".into()], why));
    }
    if divider.diagnostics.is_empty() { Ok(taken) } else { Err(divider.diagnostics) }
}

struct Divider<'a> {
    members: &'a [Member],
    /// The label over whose values sizes are spread.
    spread: Option<&'a str>,
    /// The members that no wave has yet.
    free: Vec<bool>,
    diagnostics: Vec<UnplacedDiagnostic>,
}

/// The percentages of the waves so far.
struct Percentages {
    whole: usize,
    hundredths: usize,
}

impl Divider<'_> {
    fn diagnostic(&mut self, wave: usize, key: &str, why: String) {
        self.diagnostics.push(UnplacedDiagnostic::new(["waves".into(), wave.into(), key.into()], why));
    }

    fn take_where(&mut self, wanted: impl Fn(&Member) -> bool) -> Vec<usize> {
        let members = self.members;
        let taken: Vec<usize> =
            (0..members.len()).filter(|&index| self.free[index] && wanted(&members[index])).collect();
        taken.iter().for_each(|&index| self.free[index] = false);
        taken
    }

    fn take_named(&mut self, wave: usize, wave_name: &Name, names: &[Name]) -> Vec<usize> {
        let mut taken = Vec::new();
        for (number, name) in names.iter().enumerate() {
            let found = self.take_where(|member| &member.key.name == name);
            if found.is_empty() {
                let known = self.members.iter().any(|member| &member.key.name == name);
                let why = if known {
                    format!("agent '{name}' is in wave '{wave_name}' and in one before: take it out of one")
                } else {
                    format!(
                        "agent '{name}' is in no group of this rollout, or cannot take the image: take it out"
                    )
                };
                let path = ["waves".into(), wave.into(), "agents".into(), number.into()];
                self.diagnostics.push(UnplacedDiagnostic::new(path, why));
            }
            taken.extend(found);
        }
        taken.sort_unstable();
        taken
    }

    fn take_size(
        &mut self,
        wave: usize,
        spec: &Wave,
        size: WaveSize,
        is_last: bool,
        percentages: &mut Percentages,
    ) -> Vec<usize> {
        let left: Vec<usize> = (0..self.members.len()).filter(|&index| self.free[index]).collect();
        let count = match size {
            WaveSize::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
            WaveSize::Percent(Percent::ALL) if is_last => left.len(),
            WaveSize::Percent(percent) => percentages.next(percent.hundredths().into()).min(left.len()),
            WaveSize::Rest => left.len(),
        };
        // An empty rest is not an error: the waves before it happen to cover all agents.
        let nobody = count == 0 && size != WaveSize::Rest;
        if count > left.len() || nobody {
            let (name, left, whole) = (&spec.name, left.len(), self.members.len());
            let why = format!(
                "wave '{name}' wants {size} of {whole} agents, but {left} are left for it: make it or \
                 another wave smaller, or write `size: rest`"
            );
            self.diagnostic(wave, "size", why);
        }
        let mut taken: Vec<usize> = self.in_turn(left).into_iter().take(count).collect();
        taken.iter().for_each(|&index| self.free[index] = false);
        taken.sort_unstable();
        taken
    }

    /// In the order in which sizes take them: one of each place in turn, or by name.
    fn in_turn(&self, left: Vec<usize>) -> Vec<usize> {
        let Some(label) = self.spread else { return left };
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        let turn = |index: usize| {
            let turn = seen.entry(self.members[index].place(label)).or_default();
            *turn += 1;
            (*turn, index)
        };
        let mut turns: Vec<(usize, usize)> = left.into_iter().map(turn).collect();
        turns.sort_unstable();
        turns.into_iter().map(|(_, index)| index).collect()
    }
}

impl Percentages {
    /// How many agents the next percentage gives, rounded so that the sum is rounded up only once.
    fn next(&mut self, hundredths: usize) -> usize {
        let before = self.up_to();
        self.hundredths += hundredths;
        self.up_to().saturating_sub(before)
    }

    fn up_to(&self) -> usize {
        (self.whole * self.hundredths).div_ceil(10_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(count: usize) -> Vec<Member> {
        let member = |number: usize| Member {
            key: format!("hall/lamp-{number:02}").parse().unwrap(),
            labels: BTreeMap::from([("floor".to_owned(), format!("{}", number % 3))]),
        };
        (0..count).map(member).collect()
    }

    fn waves(text: &str) -> Vec<Wave> {
        provisioning::yaml::from_str(text).unwrap()
    }

    fn counts(text: &str, count: usize) -> Vec<usize> {
        let members = members(count);
        let taken = divide(&waves(text), &members, None)
            .unwrap_or_else(|diagnostics| panic!("{text}: {diagnostics:?}"));
        let mut all: Vec<usize> = taken.iter().flatten().copied().collect();
        all.sort_unstable();
        assert_eq!(all, (0..count).collect::<Vec<_>>(), "{text}: each agent once");
        taken.iter().map(Vec::len).collect()
    }

    fn refused(text: &str, count: usize, said: &str) {
        let diagnostics = divide(&waves(text), &members(count), None).unwrap_err();
        assert!(
            diagnostics.iter().any(|diagnostic| diagnostic.problem.contains(said)),
            "{text}: {diagnostics:?}"
        );
    }

    #[test]
    fn sizes_are_each_waves_own() {
        let canary = "[{name: a, size: 2}, {name: b, size: 6}, {name: c, size: rest}]";
        assert_eq!(counts(canary, 20), [2, 6, 12]);
        assert_eq!(counts(canary, 8), [2, 6, 0]);
        assert_eq!(counts("[{name: a, size: 2}, {name: b, size: 6}, {name: c, size: 12}]", 20), [2, 6, 12]);
        assert_eq!(counts("[{name: a, size: 2}, {name: c, size: 100%}]", 20), [2, 18]);
        assert_eq!(counts("[{name: a, size: 50%}, {name: b, size: 50%}]", 5), [3, 2]);
        assert_eq!(
            counts(
                "[{name: a, size: 10%}, {name: b, size: 20%}, {name: c, size: 30%}, {name: d, size: 40%}]",
                7
            ),
            [1, 2, 2, 2]
        );
    }

    #[test]
    fn selectors_and_lists_come_first() {
        let text = "[{name: a, size: 1}, {name: b, agents: [lamp-00, lamp-07]}, \
                    {name: c, selector: {matchLabels: {floor: '1'}}}, {name: d, size: rest}]";
        let taken = divide(&waves(text), &members(9), None).unwrap();
        assert_eq!(taken, [vec![2], vec![0, 7], vec![1, 4], vec![3, 5, 6, 8]]);
    }

    #[test]
    fn sizes_are_spread_over_places() {
        let text = "[{name: a, size: 4}, {name: b, size: rest}]";
        // Floors 0, 1 and 2 in turn: by name, and with the first six on floor 0.
        let mut members = members(9);
        for (index, member) in members.iter_mut().enumerate() {
            let floor = if index < 6 { 0 } else { index % 2 + 1 };
            member.labels.insert("floor".to_owned(), floor.to_string());
        }
        assert_eq!(divide(&waves(text), &members, None).unwrap()[0], [0, 1, 2, 3]);
        assert_eq!(divide(&waves(text), &members, Some("floor")).unwrap()[0], [0, 1, 6, 7]);
        assert_eq!(divide(&waves(text), &members, Some("no-such-label")).unwrap()[0], [0, 1, 2, 3]);
    }

    #[test]
    fn what_does_not_add_up_is_refused() {
        refused(
            "[{name: a, size: 2}, {name: b, size: 6}]",
            20,
            "8 of 20 agents: add a wave with `size: rest`",
        );
        refused("[{name: a, size: 50%}]", 20, "10 of 20 agents");
        refused("[{name: a, size: 21}]", 20, "wants 21 of 20 agents, but 20 are left");
        refused("[{name: a, size: 4}, {name: b, size: 1%}]", 4, "wants 1% of 4 agents, but 0 are left");
        refused("[{name: a, agents: [lamp-99]}, {name: b, size: rest}]", 4, "'lamp-99' is in no group");
        refused("[{name: a, agents: [lamp-01]}, {name: b, agents: [lamp-01]}]", 4, "in one before");
        refused(
            "[{name: a, selector: {matchLabels: {floor: x}}}, {name: b, size: rest}]",
            4,
            "matches no remaining agent",
        );
    }
}
