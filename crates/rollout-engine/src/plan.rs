//! The plan of a rollout: its rollout manifest, compiled. Only agents and numbers are left, no selectors and
//! no file names. So the engine needs nothing else, and a rollout that continues after a restart keeps to its
//! plan.

use alloc::borrow::Cow;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use jiff::Timestamp;
use provisioning::{Hex, Name};
use serde::{Deserialize, Serialize};

use super::Parity;
use super::window::Windows;

/// An agent of the fleet: its security group, and its name there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AgentKey {
    /// Its security group.
    pub group: Name,
    /// Its name, unique within that group.
    pub name: Name,
}

/// A rollout, compiled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The image.
    pub image: PlannedImage,
    /// The agents, by rollout group. No agent is in two of them.
    pub lanes: Vec<Lane>,
    /// Who activates when. Together the waves contain every agent of the lanes exactly once.
    pub waves: Vec<Wave>,
    /// A wave has proved healthy when at least this share of its agents has confirmed.
    pub success: Percent,
    /// When the rollout stops.
    pub abort: Abort,
    /// What may be retried.
    pub retry: Retry,
    /// An agent without the whole image after this many seconds of transfer counts as lost.
    pub transfer_within_s: u32,
    /// An agent that has not reported the end of its trial this many seconds after its wave's activation
    /// counts as lost.
    pub report_within_s: u32,
    /// An agent whose device has put the activation off has this many seconds more.
    #[serde(default)]
    pub deferred_within_s: u32,
    /// When blocks may be sent; always if there are none.
    pub transfer_windows: Windows,
    /// When waves may activate; used with [`When::Window`].
    pub activation_windows: Windows,
    /// When waves activate.
    pub activation: When,
    /// How many agents of one place may be on trial at once; `None`: as many as a wave has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// Wait for the operator's `start` before anything is sent.
    pub paused: bool,
}

/// The image of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedImage {
    /// SHA-256 of the signed SUIT manifest, 32 bytes.
    pub digest: Hex,
    /// The name that operators use.
    pub name: Name,
    /// Its version, for people.
    pub version: String,
    /// Its manifest sequence number.
    pub sequence_number: u64,
    /// Length of the image in bytes.
    pub bytes: u32,
    /// Length of a block in bytes.
    pub block_bytes: u16,
}

/// One rollout group: agents of one security group that are reached in the same way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lane {
    /// The rollout group's name.
    pub name: Name,
    /// Its security group.
    pub security_group: Name,
    /// An interface other than that of the security group.
    pub interface: Option<String>,
    /// A hop limit other than that of the security group.
    pub hops: Option<u8>,
    /// A rate other than that of the security group, in bits per second on the link.
    pub rate_bits_per_second: Option<u64>,
    /// Another parity than the one of the security group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parity: Option<Parity>,
    /// Its agents, sorted by name.
    pub agents: Vec<Name>,
}

/// Agents that activate together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wave {
    /// Its name.
    pub name: Name,
    /// Its agents.
    pub agents: Vec<AgentKey>,
    /// Seconds between the last confirmation and the judgement.
    pub soak_s: u32,
    /// Whether an operator must approve after the judgement, before the next wave activates.
    pub approval: bool,
}

/// When a rollout stops automatically, judged over all agents that have been told to activate so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Abort {
    /// More than this share has failed, refused or rolled back.
    pub failed: Option<Percent>,
    /// More than this share is lost.
    pub lost: Option<Percent>,
    /// Only once this many have ended, so that one of one is not 100 %.
    pub min_sample: u32,
}

/// What may be retried automatically.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// How many times for each agent.
    pub max: u8,
    /// Seconds until the first retry; they double each time.
    pub backoff_s: u32,
    /// After which failures.
    pub on: BTreeSet<RetryOn>,
}

/// A kind of failure after which a retry makes sense.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum RetryOn {
    /// The agent did not report in time.
    Lost,
    /// The new image did not prove healthy, and the old one runs again.
    Unhealthy,
    /// The device was reset during the trial.
    Reset,
    /// The activation failed, or storage did.
    Storage,
    /// The agent was busy with another update.
    Busy,
}

/// When a wave activates, once its turn has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// At once.
    Now,
    /// Not before this moment.
    At(Timestamp),
    /// In an activation window.
    Window,
}

/// A disruption budget: of one site, room or row only so many agents are on trial at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// The label that names an agent's place.
    pub label: String,
    /// How many of one place.
    pub max: Unavailable,
    /// The agents of each place. Agents without the label are one place of their own, without a name.
    pub places: BTreeMap<String, BTreeSet<AgentKey>>,
}

/// How many agents of a place may be on trial at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unavailable {
    /// This many.
    Count(u32),
    /// This part of the place, rounded up.
    Share(Percent),
}

impl Budget {
    /// The place of an agent. An agent that the plan does not know, as it was enrolled later, has no label.
    pub fn place_of(&self, agent: &AgentKey) -> &str {
        let has = |(_, agents): &(&String, &BTreeSet<AgentKey>)| agents.contains(agent);
        self.places.iter().find(has).map_or("", |(place, _)| place.as_str())
    }

    /// How many agents of a place may be on trial at once: at least one, or no wave would ever end.
    pub fn most(&self, place: &str) -> usize {
        let of = self.places.get(place).map_or(1, BTreeSet::len);
        let most = match self.max {
            Unavailable::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
            Unavailable::Share(share) => share.of(of),
        };
        most.max(1)
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Share(share) => share.fmt(f),
        }
    }
}

/// A percentage with two decimals: 0 to 100 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Percent(u16);

impl schemars::JsonSchema for Percent {
    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A percentage with at most two decimals.",
            "pattern": "^[0-9]{1,3}(\\.[0-9]{1,2})?%$",
            "examples": ["5%", "2.5%"]
        })
    }
}

impl Plan {
    /// The deadline of the whole transfer in seconds. The lanes of one security group follow one another, and
    /// each has the whole deadline, so together they have a multiple of it.
    pub fn transfer_s(&self) -> u32 {
        let mut in_a_row: BTreeMap<&Name, u32> = BTreeMap::new();
        for lane in &self.lanes {
            *in_a_row.entry(&lane.security_group).or_default() += 1;
        }
        self.transfer_within_s.saturating_mul(in_a_row.into_values().max().unwrap_or(1))
    }

    /// All agents, wave by wave.
    pub fn agents(&self) -> impl Iterator<Item = (usize, &AgentKey)> {
        self.waves.iter().enumerate().flat_map(|(wave, it)| it.agents.iter().map(move |agent| (wave, agent)))
    }
}

impl Percent {
    /// 100 %.
    pub const ALL: Self = Self(10_000);

    /// From hundredths of a percent; `None` above 100 %.
    pub fn from_hundredths(hundredths: u16) -> Option<Self> {
        (hundredths <= Self::ALL.0).then_some(Self(hundredths))
    }

    /// This many whole percent, 100 at most.
    pub const fn whole(percent: u8) -> Self {
        assert!(percent <= 100);
        Self(percent as u16 * 100)
    }

    /// The share of `part` in `all`, rounded; zero if both are zero.
    pub fn share(part: u64, all: u64) -> Self {
        let hundredths = (u128::from(part) * 20_000 + u128::from(all)) / (u128::from(all) * 2).max(1);
        Self(u16::try_from(hundredths).unwrap_or(Self::ALL.0).min(Self::ALL.0))
    }

    /// The value in hundredths of a percent.
    pub const fn hundredths(self) -> u16 {
        self.0
    }

    /// Whether `part` of `whole` is more than this. Zero of zero is not.
    pub fn is_exceeded_by(self, part: usize, whole: usize) -> bool {
        part as u128 * 10_000 > whole as u128 * u128::from(self.0)
    }

    /// Whether `part` of `whole` is at least this. Zero of zero is.
    pub fn is_reached_by(self, part: usize, whole: usize) -> bool {
        part as u128 * 10_000 >= whole as u128 * u128::from(self.0)
    }

    /// This share of `whole`, rounded up.
    pub fn of(self, whole: usize) -> usize {
        usize::try_from((whole as u128 * u128::from(self.0)).div_ceil(10_000)).unwrap_or(whole)
    }
}

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || format!("a percentage is written like 5% or 2.5%, from 0% to 100%, not '{text}'");
        let number = text.strip_suffix('%').ok_or_else(wanted)?;
        let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || whole.len() > 3 || decimals.len() > 2 || !digits(whole) || !digits(decimals) {
            return Err(wanted());
        }
        let hundredths: u32 = format!("{whole}{decimals:0<2}").parse().map_err(|_| wanted())?;
        u16::try_from(hundredths).ok().and_then(Self::from_hundredths).ok_or_else(wanted)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (whole, 0) => write!(f, "{whole}%"),
            (whole, part) if part % 10 == 0 => write!(f, "{whole}.{}%", part / 10),
            (whole, part) => write!(f, "{whole}.{part:02}%"),
        }
    }
}

impl TryFrom<String> for Percent {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Percent> for String {
    fn from(percent: Percent) -> Self {
        percent.to_string()
    }
}

impl fmt::Display for AgentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.group, self.name)
    }
}

impl FromStr for AgentKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || format!("an agent is written GROUP/NAME, not '{}'", text.escape_default());
        let (group, name) = text.split_once('/').ok_or_else(wanted)?;
        Ok(Self {
            group: Name::new(group).map_err(|_| wanted())?,
            name: Name::new(name).map_err(|_| wanted())?,
        })
    }
}

impl TryFrom<String> for AgentKey {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<AgentKey> for String {
    fn from(key: AgentKey) -> Self {
        key.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_exact() {
        for text in ["0%", "5%", "2.5%", "33.33%", "100%"] {
            assert_eq!(text.parse::<Percent>().unwrap().to_string(), text);
        }
        for text in ["5", "%", "101%", "-1%", "1.234%", "1e1%", "5 %", ".5%"] {
            assert!(text.parse::<Percent>().is_err(), "{text}");
        }
        let five: Percent = "5%".parse().unwrap();
        assert!(!five.is_exceeded_by(1, 20) && five.is_exceeded_by(2, 39) && !five.is_exceeded_by(0, 0));
        assert!(five.is_reached_by(1, 20) && !five.is_reached_by(1, 21) && five.is_reached_by(0, 0));
        assert_eq!((five.of(20), five.of(21), five.of(0)), (1, 2, 0));
        assert_eq!(Percent::ALL.of(usize::MAX), usize::MAX);
    }

    #[test]
    fn a_share_is_rounded_and_never_more_than_all() {
        let share = |part, all| Percent::share(part, all).to_string();
        assert_eq!([share(1, 3), share(2, 3), share(0, 0)], ["33.33%", "66.67%", "0%"]);
        assert_eq!([share(u64::MAX, u64::MAX), share(9, 1), share(1, u64::MAX)], ["100%", "100%", "0%"]);
        assert_eq!(Percent::whole(5), "5%".parse().unwrap());
    }

    #[test]
    fn an_agent_is_named_with_its_group() {
        let key: AgentKey = "hall/lamp-1".parse().unwrap();
        assert_eq!(serde_json::to_string(&key).unwrap(), "\"hall/lamp-1\"");
        for text in ["hall", "hall/", "/lamp", "hall/lamp/1", "hall/\u{1b}[2J"] {
            assert!(text.parse::<AgentKey>().is_err(), "{text}");
        }
    }
}
