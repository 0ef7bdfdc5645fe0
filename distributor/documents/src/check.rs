//! Checks across values and documents that need no agents.

use std::collections::{BTreeMap, BTreeSet};

use provisioning::Name;
use provisioning::yaml::{PROBLEMS_MAX, Step};

use super::group::{GroupSpec, Members, ParityCode, RolloutGroup};
use super::image::ImageSpec;
use super::rollout::{ActivateWhen, RolloutSpec, Wave, Who, WindowSpec};
use super::text::{ImageRef, WaveSize};
use super::{Diagnostic, Manifest, Manifests};
use fwcast_store::kind::Kind;
use rollout_engine::plan::Percent;

/// A problem in a document: its place, and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnplacedDiagnostic {
    /// The path to the value, from the top of `spec`.
    pub path: Vec<Step>,
    /// One sentence, without the final full stop.
    pub problem: String,
}

impl UnplacedDiagnostic {
    /// A diagnostic for the value at `path`, which begins in `spec`.
    pub fn new(path: impl IntoIterator<Item = Step>, problem: impl Into<String>) -> Self {
        Self { path: path.into_iter().collect(), problem: problem.into() }
    }
}

/// Checks all documents. References to other documents are not resolved.
///
/// # Errors
/// Everything that is wrong, at most [`PROBLEMS_MAX`] problems per document.
pub fn check(manifests: &Manifests) -> Result<(), Vec<Diagnostic>> {
    let mut problems = doubled(manifests);
    let groups: BTreeMap<&Name, &RolloutGroup> = manifests
        .found
        .iter()
        .filter_map(|found| match &found.manifest {
            Manifest::RolloutGroup(group) => Some((&group.metadata.name, group)),
            _ => None,
        })
        .collect();
    for found in &manifests.found {
        let diagnostics = match &found.manifest {
            Manifest::RolloutGroup(group) => of_group(&group.spec),
            Manifest::Image(image) => of_image(&image.spec),
            Manifest::Rollout(rollout) => of_rollout(&rollout.spec, &groups),
        };
        for diagnostic in diagnostics.into_iter().take(PROBLEMS_MAX) {
            let mut path = vec![Step::from("spec")];
            path.extend(diagnostic.path);
            problems.push(manifests.problem(found, &path, diagnostic.problem));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// The kinds and names of groups and images that rollouts refer to but that are not among the documents.
pub fn open_references(manifests: &Manifests) -> BTreeSet<(Kind, Name)> {
    let there: BTreeSet<(Kind, &Name)> =
        manifests.found.iter().map(|it| (it.manifest.kind(), &it.manifest.metadata().name)).collect();
    let mut open = BTreeSet::new();
    for found in &manifests.found {
        let Manifest::Rollout(rollout) = &found.manifest else { continue };
        let groups = rollout.spec.groups.iter().map(|name| (Kind::RolloutGroup, name));
        let image = match &rollout.spec.image {
            ImageRef::Name(name) => Some((Kind::Image, name)),
            _ => None,
        };
        let missing = groups.chain(image).filter(|reference| !there.contains(reference));
        open.extend(missing.map(|(kind, name)| (kind, name.clone())));
    }
    open
}

/// Documents with the same kind and name.
fn doubled(manifests: &Manifests) -> Vec<Diagnostic> {
    let mut first = BTreeMap::new();
    let mut problems = Vec::new();
    for found in &manifests.found {
        let (kind, name) = (found.manifest.kind(), &found.manifest.metadata().name);
        if let Some(before) = first.insert((kind, name), found) {
            let place = manifests.place(before);
            let why =
                format!("there is already a {kind} '{name}' at {place}: rename or remove one of the two");
            problems.push(manifests.problem(found, &["metadata".into(), "name".into()], why));
        }
    }
    problems
}

/// What is wrong within a RolloutGroup.
pub fn of_group(spec: &GroupSpec) -> Vec<UnplacedDiagnostic> {
    let mut diagnostics = Vec::new();
    if let Members::Agents(agents) = &spec.members {
        diagnostics.extend(twice(agents, "agent", &["members".into(), "agents".into()]));
    }
    let parity = spec.parity.filter(|parity| parity.checked().is_none());
    if let Some(parity) = parity {
        let why = match parity.code {
            ParityCode::None => {
                "a generation needs a parity code, and there is none: leave it out".to_owned()
            }
            ParityCode::Auto => {
                "with `code: auto` the generation is chosen as well: leave it out, or write which code"
                    .to_owned()
            }
            ParityCode::Cauchy | ParityCode::Rs16 => rollout_engine::Parity::form(),
        };
        diagnostics.push(UnplacedDiagnostic::new(["parity".into(), "generation".into()], why));
    }
    diagnostics
}

/// What is wrong within an Image.
pub fn of_image(spec: &ImageSpec) -> Vec<UnplacedDiagnostic> {
    let mut diagnostics = Vec::new();
    if spec.file.is_none() && spec.envelope.is_some() {
        let why = "an envelope alone is not an image: also give the file that it was signed for";
        diagnostics.push(UnplacedDiagnostic::new(["envelope".into()], why));
    } else if spec.file.is_none() && spec.digest.is_none() {
        diagnostics.push(UnplacedDiagnostic::new(
            [],
            "this does not say which image it is: give its file, its digest, or both",
        ));
    }
    diagnostics
}

/// What is wrong within a Rollout, and between it and the known groups.
pub fn of_rollout(spec: &RolloutSpec, groups: &BTreeMap<&Name, &RolloutGroup>) -> Vec<UnplacedDiagnostic> {
    let mut diagnostics = twice(&spec.groups, "group", &["groups".into()]);
    if spec.groups.is_empty() {
        diagnostics.push(UnplacedDiagnostic::new(
            ["groups".into()],
            "the list of groups is empty: name at least one RolloutGroup",
        ));
    }
    diagnostics.extend(in_two_groups(&spec.groups, groups));
    diagnostics.extend(of_waves(&spec.waves));
    diagnostics.extend(of_windows("transfer", &spec.windows.transfer));
    diagnostics.extend(of_windows("activate", &spec.windows.activate));
    diagnostics.extend(of_activation(spec));
    if spec.retry.max > 0 && spec.retry.on.is_empty() {
        let why =
            "this says how often to retry, but not after what: add `on:`, for example `on: [lost, busy]`";
        diagnostics.push(UnplacedDiagnostic::new(["retry".into(), "max".into()], why));
    }
    diagnostics
}

/// Agents that two groups list by name. Selectors are checked once the agents are known.
fn in_two_groups(names: &[Name], groups: &BTreeMap<&Name, &RolloutGroup>) -> Vec<UnplacedDiagnostic> {
    let mut first: BTreeMap<(&Name, &Name), &Name> = BTreeMap::new();
    let mut diagnostics = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let Some(group) = groups.get(name) else { continue };
        let Members::Agents(agents) = &group.spec.members else { continue };
        for agent in agents {
            let before = *first.entry((&group.spec.security.group, agent)).or_insert(name);
            if before != name {
                diagnostics.push(UnplacedDiagnostic::new(
                    ["groups".into(), index.into()],
                    two_groups(agent, before, name),
                ));
            }
        }
    }
    diagnostics
}

/// The message for an agent in two groups.
pub(super) fn two_groups(agent: &Name, one: &Name, other: &Name) -> String {
    format!(
        "agent '{agent}' is in the groups '{one}' and '{other}' of this rollout: take it out of one of them"
    )
}

fn of_waves(waves: &[Wave]) -> Vec<UnplacedDiagnostic> {
    let at = |index: usize, key: &str| ["waves".into(), index.into(), key.into()];
    let mut diagnostics = Vec::new();
    let mut names = BTreeSet::new();
    let mut hundredths = 0_u32;
    for (index, wave) in waves.iter().enumerate() {
        if !names.insert(&wave.name) {
            let why = format!("there is a wave '{}' before this one: give each its own name", wave.name);
            diagnostics.push(UnplacedDiagnostic::new(at(index, "name"), why));
        }
        let is_last_size = !waves[index + 1..].iter().any(|later| matches!(later.who, Who::Size(_)));
        match &wave.who {
            Who::Size(WaveSize::Rest) if !is_last_size => {
                let why = format!("wave '{}' takes all that are left: move it behind the others", wave.name);
                diagnostics.push(UnplacedDiagnostic::new(at(index, "size"), why));
            }
            Who::Size(WaveSize::Percent(percent)) if !(is_last_size && *percent == Percent::ALL) => {
                hundredths += u32::from(percent.hundredths());
                if hundredths > 10_000 {
                    let why = "the waves up to this one add up to more than 100%, because each size counts \
                               only its own wave: write `size: rest` for the last wave";
                    diagnostics.push(UnplacedDiagnostic::new(at(index, "size"), why));
                    break;
                }
            }
            Who::Agents(agents) => diagnostics.extend(twice(agents, "agent", &at(index, "agents"))),
            _ => {}
        }
    }
    let only_percent = |wave: &Wave| matches!(wave.who, Who::Size(WaveSize::Percent(_)));
    if diagnostics.is_empty() && !waves.is_empty() && waves.iter().all(only_percent) && hundredths < 10_000 {
        let last = waves.last().map(|wave| &wave.who);
        if last != Some(&Who::Size(WaveSize::Percent(Percent::ALL))) {
            let sum = f64::from(hundredths) / 100.0;
            let why = format!("the waves add up to {sum}% of all agents: add a wave with `size: rest`");
            diagnostics.push(UnplacedDiagnostic::new(["waves".into()], why));
        }
    }
    diagnostics
}

fn of_windows(which: &str, windows: &[WindowSpec]) -> Vec<UnplacedDiagnostic> {
    let diagnostic = |(index, window): (usize, &WindowSpec)| {
        let (key, why) = match window.window() {
            Ok(_) => return None,
            // Show which of the two is wrong.
            Err(_) if jiff::tz::TimeZone::get(&window.tz).is_err() => {
                let tz = window.tz.escape_debug();
                ("tz", format!("there is no time zone '{tz}': write an IANA name like Europe/Amsterdam"))
            }
            Err(why) => ("cron", why),
        };
        Some(UnplacedDiagnostic::new(["windows".into(), which.into(), index.into(), key.into()], why))
    };
    windows.iter().enumerate().filter_map(diagnostic).collect()
}

fn of_activation(spec: &RolloutSpec) -> Vec<UnplacedDiagnostic> {
    let (when, at) = (spec.activation.when, spec.activation.at);
    let mut diagnostics = Vec::new();
    if when == ActivateWhen::At && at.is_none() {
        let why = "`when: at` needs the moment: add `at:`, like `at: 2026-12-01T03:00:00+01:00`";
        diagnostics.push(UnplacedDiagnostic::new(["activation".into(), "when".into()], why));
    }
    if when != ActivateWhen::At && at.is_some() {
        let why = "a moment counts only with `when: at`: write that, or leave `at` out";
        diagnostics.push(UnplacedDiagnostic::new(["activation".into(), "at".into()], why));
    }
    let windows = !spec.windows.activate.is_empty();
    if when == ActivateWhen::Window && !windows {
        let why = "`when: window` needs windows to activate in: add `windows.activate`";
        diagnostics.push(UnplacedDiagnostic::new(["activation".into(), "when".into()], why));
    }
    if when != ActivateWhen::Window && windows {
        let why =
            "these windows count only with `activation: { when: window }`: write that, or leave them out";
        diagnostics.push(UnplacedDiagnostic::new(["windows".into(), "activate".into()], why));
    }
    diagnostics
}

/// Names that occur in a list more than once.
fn twice(names: &[Name], what: &str, path: &[Step]) -> Vec<UnplacedDiagnostic> {
    let mut seen = BTreeSet::new();
    let again = names.iter().enumerate().filter(|(_, name)| !seen.insert(*name));
    again
        .map(|(index, name)| {
            let path = path.iter().cloned().chain([index.into()]);
            UnplacedDiagnostic::new(path, format!("{what} '{name}' is in this list twice: take it out once"))
        })
        .collect()
}
