//! `kind: Rollout`: how an image is delivered to groups.

use std::collections::BTreeSet;

use provisioning::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::document::Framed;
use super::schema::{AgentNameForm, NameForm};
use super::selector::Selector;
use super::text::{self, ImageRef, MaxUnavailable, Moment, Span, WaveSize};
use rollout_engine::plan::{Percent, RetryOn};
use rollout_engine::window::{Window, WindowForm};

/// A Rollout.
pub type Rollout = Framed<RolloutKind, RolloutSpec>;

/// The word in `kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum RolloutKind {
    /// A rollout.
    Rollout,
}

/// A rollout: all agents of all groups receive the image, then activate it wave by wave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    rename_all = "camelCase",
    deny_unknown_fields,
    expecting = "image, groups, waves, success, abort, windows, activation, deadlines, retry, \
                 disruptionBudget and paused"
)]
pub struct RolloutSpec {
    /// The image to deliver.
    pub image: ImageRef,
    /// The groups to deliver it to. No agent may be in two of them.
    #[schemars(with = "Vec<NameForm>", length(min = 1))]
    pub groups: Vec<Name>,
    /// Which agents activate when. If left out, all agents activate together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waves: Vec<Wave>,
    /// When a wave counts as healthy.
    #[serde(default)]
    pub success: Success,
    /// When the rollout stops.
    #[serde(default)]
    pub abort: Abort,
    /// When anything may happen at all.
    #[serde(default)]
    pub windows: WindowsSpec,
    /// When waves activate.
    #[serde(default)]
    pub activation: Activation,
    /// How long things may take.
    #[serde(default)]
    pub deadlines: Deadlines,
    /// What is retried automatically.
    #[serde(default)]
    pub retry: Retry,
    /// How many agents of one site, room or row may be on trial at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disruption_budget: Option<DisruptionBudget>,
    /// Wait for `fwcast rollout start` before anything is sent.
    #[serde(default)]
    pub paused: bool,
}

/// How many agents of one place may be on trial at once. Waves take their agents spread over the places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "groupBy and maxUnavailable")]
pub struct DisruptionBudget {
    /// The label that names an agent's place. Agents without it are one place of their own.
    #[schemars(example = &"site")]
    pub group_by: String,
    /// How many agents of one place: a number, or a percentage of the place, rounded up.
    pub max_unavailable: MaxUnavailable,
}

/// Agents that activate together, chosen by exactly one of size, labels or names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "WaveForm", into = "WaveForm")]
pub struct Wave {
    /// Its name.
    pub name: Name,
    /// Its agents.
    pub who: Who,
    /// How long it is watched after the last confirmation.
    pub soak: Option<Span>,
    /// Whether an operator has to approve before the next wave.
    pub approval: Approval,
}

/// Which agents are in a wave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// This many, in order of their names.
    Size(WaveSize),
    /// Those with these labels.
    Selector(Selector),
    /// Those with these names.
    Agents(Vec<Name>),
}

/// A [`Wave`] as it is written.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(
    rename_all = "camelCase",
    deny_unknown_fields,
    expecting = "a wave: name, soak, approval, and one of size, selector and agents"
)]
#[schemars(rename = "Wave", extend("oneOf" = [
    { "required": ["size"] }, { "required": ["selector"] }, { "required": ["agents"] }
]))]
struct WaveForm {
    /// Its name.
    #[schemars(with = "NameForm")]
    name: Name,
    /// How many agents that no other wave has, in order of their names: a number, a percentage of all agents
    /// of the rollout, or `rest`. The waves must add up to all agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<WaveSize>,
    /// Agents with these labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    selector: Option<Selector>,
    /// These agents, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<AgentNameForm>>")]
    agents: Option<Vec<Name>>,
    /// How long it is watched between the last confirmation and the judgement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    soak: Option<Span>,
    /// Whether an operator has to approve, after the judgement, before the next wave activates.
    #[serde(default)]
    approval: Approval,
}

/// Whether an operator has to approve.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Approval {
    /// The next wave follows automatically.
    #[default]
    None,
    /// `fwcast rollout approve` lets the next wave begin.
    Manual,
}

/// When a wave counts as healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "minimum")]
pub struct Success {
    /// At least this many of its agents have confirmed.
    #[serde(deserialize_with = "text::deserialize")]
    pub minimum: Percent,
}

/// When the rollout stops, judged over all agents that have been told to activate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default, expecting = "failed, lost and minSample")]
pub struct Abort {
    /// More than this many have failed, refused or rolled back.
    #[serde(deserialize_with = "text::option", skip_serializing_if = "Option::is_none")]
    pub failed: Option<Percent>,
    /// More than this many are lost.
    #[serde(deserialize_with = "text::option", skip_serializing_if = "Option::is_none")]
    pub lost: Option<Percent>,
    /// Do not judge before this many agents have finished, so that one failure of one is not 100 %.
    #[schemars(range(min = 1))]
    pub min_sample: std::num::NonZeroU32,
}

/// When anything may happen at all. Without windows, always.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default, expecting = "transfer and activate")]
pub struct WindowsSpec {
    /// When blocks may be sent. Outside of it the rollout waits, and no deadline passes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub transfer: Vec<WindowSpec>,
    /// When waves may activate, with `activation: { when: window }`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub activate: Vec<WindowSpec>,
}

/// A recurring window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a window: cron, for and tz")]
pub struct WindowSpec {
    /// When it opens: minute, hour, day of the month, month, day of the week.
    #[schemars(example = "0 1 * * *")]
    pub cron: String,
    /// How long it stays open.
    #[serde(rename = "for")]
    pub open_for: Span,
    /// The IANA time zone of the cron expression.
    #[schemars(example = "Europe/Amsterdam")]
    pub tz: String,
}

/// When waves activate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default, expecting = "when, at and confirmWithin")]
pub struct Activation {
    /// When a wave activates once it is its turn.
    pub when: ActivateWhen,
    /// Not before this moment, with `when: at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Moment>,
    /// How long an agent may take from its activation to the report of its trial; see `deadlines.report`
    /// [default: 10m].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm_within: Option<Span>,
}

/// When a wave activates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ActivateWhen {
    /// Immediately.
    #[default]
    Now,
    /// Not before the moment in `at`.
    At,
    /// In one of `windows.activate`.
    Window,
}

/// How long things may take. An agent that takes longer is not waited for: it is lost, or has failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default, expecting = "transfer, report and deferred")]
pub struct Deadlines {
    /// How long a group may take to receive the whole image. Time in which windows are closed or the rollout
    /// is paused does not count. An agent that misses something then is lost [default: 6h].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transfer: Option<Span>,
    /// How much longer than `activation.confirmWithin` the report of a trial may take. An agent that has not
    /// reported then is lost [default: none].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<Span>,
    /// How much longer still an agent may take whose ready command says not now. Then it has failed [default:
    /// 1h].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deferred: Option<Span>,
}

/// What is retried automatically.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default, expecting = "max, backoff and on")]
pub struct Retry {
    /// How many retries each agent gets.
    pub max: u8,
    /// The time before the first retry. It doubles each time.
    pub backoff: Span,
    /// Which outcomes are retried.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub on: BTreeSet<RetryOn>,
}

impl WindowSpec {
    /// The window.
    ///
    /// # Errors
    /// A sentence: the expression or the zone cannot be read, or the window never opens.
    pub fn window(&self) -> Result<Window, String> {
        let form =
            WindowForm { cron: self.cron.clone(), for_s: self.open_for.seconds(), tz: self.tz.clone() };
        Window::new(form)
    }
}

impl Default for Success {
    fn default() -> Self {
        Self { minimum: Percent::ALL }
    }
}

impl Default for Abort {
    fn default() -> Self {
        Self { failed: None, lost: None, min_sample: std::num::NonZeroU32::MIN }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { max: 0, backoff: Span::from_seconds(15 * 60), on: BTreeSet::new() }
    }
}

impl TryFrom<WaveForm> for Wave {
    type Error = &'static str;

    fn try_from(form: WaveForm) -> Result<Self, &'static str> {
        let who = match (form.size, form.selector, form.agents) {
            (Some(size), None, None) => Who::Size(size),
            (None, Some(selector), None) => Who::Selector(selector),
            (None, None, Some(agents)) if agents.is_empty() => {
                return Err("the list of agents is empty: name at least one, or give a size");
            }
            (None, None, Some(agents)) => Who::Agents(agents),
            _ => return Err("a wave has exactly one of size, selector and agents: give one of the three"),
        };
        Ok(Self { name: form.name, who, soak: form.soak, approval: form.approval })
    }
}

impl From<Wave> for WaveForm {
    fn from(wave: Wave) -> Self {
        let mut form = Self {
            name: wave.name,
            size: None,
            selector: None,
            agents: None,
            soak: wave.soak,
            approval: wave.approval,
        };
        match wave.who {
            Who::Size(size) => form.size = Some(size),
            Who::Selector(selector) => form.selector = Some(selector),
            Who::Agents(agents) => form.agents = Some(agents),
        }
        form
    }
}
