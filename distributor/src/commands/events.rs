//! `fwcast events` and `fwcast history`: the events.

use std::io::{self, Write};

use clap::Args;
use provisioning::Name;

use super::completions::names_of;
use super::kind::{Noun, on_fleet};
use crate::commands::exit_codes::{Exit, Failure};
use crate::commands::global::Global;
use crate::commands::output::{self, Format};
use crate::commands::report::{EventLine, EventList, RolloutList};
use fwcast_service::look::Filter;
use fwcast_service::members::MemberError;
use fwcast_service::{Fleet, members};
use fwcast_store::Events as _;
use fwcast_store::{Event, EventQuery, Store};
use rollout_engine::plan::AgentKey;

/// Show what happened, oldest first
#[derive(Debug, Args)]
pub struct Events {
    /// Follow new events until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Only events of this rollout
    #[arg(long, value_name = "ROLLOUT", add = names_of(Noun::Rollouts))]
    rollout: Option<Name>,
    /// Only events after the one with this number
    #[arg(long, value_name = "ID")]
    after: Option<i64>,
    /// At most this many past events
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
}

/// Show past rollouts, or what happened to one of them or to an agent
#[derive(Debug, Args)]
pub struct History {
    /// Name of a rollout or an agent; an agent's optionally with its group, like hall/lamp-1
    name: Option<String>,
    /// At most this many of the newest events
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: u32,
}

impl Events {
    /// Prints them.
    pub fn run(&self, global: &Global) -> Result<Exit, Failure> {
        let one_a_line = global.output.is_for_people() || global.output == Format::Jsonl;
        if self.follow && !one_a_line {
            return Err(Failure::usage("--follow prints line by line: use -o jsonl, or leave -o out"));
        }
        let query =
            EventQuery { after: self.after, rollout: self.rollout.clone(), agent: None, limit: self.limit };
        on_fleet(global, async |fleet| {
            if let Some(name) = &self.rollout {
                known(fleet, name).await?;
            }
            if !self.follow {
                let events = fleet.store().events(&query).await?;
                output::print(global.output, &EventList::new(events))?;
                return Ok(Exit::Done);
            }
            tokio::select! {
                ended = follow(global.output, fleet.events(query)) => ended,
                _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
            }
        })
    }
}

impl History {
    /// Prints it.
    pub fn run(&self, global: &Global) -> Result<Exit, Failure> {
        on_fleet(global, async |fleet| {
            let mut query = EventQuery { after: None, rollout: None, agent: None, limit: self.limit };
            let Some(text) = &self.name else {
                let mut rollouts = fleet.rollouts(&Filter::default()).await?;
                rollouts.retain(|entry| entry.line.is_some());
                return output::print(global.output, &RolloutList::new(rollouts));
            };
            match Name::new(text) {
                Ok(name) if was_rollout(fleet, &name).await? => query.rollout = Some(name),
                _ => query.agent = Some(agent(fleet, text).await?),
            }
            output::print(global.output, &EventList::new(fleet.store().events(&query).await?))
        })?;
        Ok(Exit::Done)
    }

    /// Whether it prints events, which have no names.
    pub(crate) const fn prints_events(&self) -> bool {
        self.name.is_some()
    }
}

/// Refuses a name that no rollout has or ever had.
async fn known<S: Store>(fleet: &Fleet<S>, name: &Name) -> Result<(), Failure> {
    if !was_rollout(fleet, name).await? {
        fleet.describe_rollout(name.as_str()).await?;
    }
    Ok(())
}

/// Whether a rollout has this name, or one that was deleted had it and has left events.
async fn was_rollout<S: Store>(fleet: &Fleet<S>, name: &Name) -> Result<bool, Failure> {
    if fleet.store().rollout(name).await?.is_some() {
        return Ok(true);
    }
    let query = EventQuery { after: None, rollout: Some(name.clone()), agent: None, limit: 1 };
    Ok(!fleet.store().events(&query).await?.is_empty())
}

/// The agent that is meant, or one that was removed and has left events.
async fn agent<S: Store>(fleet: &Fleet<S>, text: &str) -> Result<AgentKey, Failure> {
    let missing = match members::find(fleet.dir(), text, None) {
        Err(error @ MemberError::Missing { .. }) => error,
        found => return Ok(found?),
    };
    let keys: Vec<AgentKey> = match (text.parse(), Name::new(text)) {
        (Ok(key), _) => vec![key],
        (_, Ok(name)) => {
            let groups = fleet.dir().groups()?.into_iter();
            groups.map(|group| AgentKey { group, name: name.clone() }).collect()
        }
        _ => Vec::new(),
    };
    for key in keys {
        let query = EventQuery { after: None, rollout: None, agent: Some(key.clone()), limit: 1 };
        if !fleet.store().events(&query).await?.is_empty() {
            return Ok(key);
        }
    }
    Err(missing.into())
}

/// Prints events one by one as they happen. Ends when standard output is closed.
async fn follow<S: Store>(
    format: Format,
    mut events: fwcast_service::Events<'_, S>,
) -> Result<Exit, Failure> {
    loop {
        for event in events.next().await? {
            if !tell(format, event)? {
                return Ok(Exit::Done);
            }
        }
    }
}

/// Prints an event; whether standard output is still open.
fn tell(format: Format, event: Event) -> Result<bool, Failure> {
    let line = EventLine::from(event);
    let text = match format {
        Format::Jsonl => serde_json::to_string(&line)
            .map_err(|error| Failure::error(format!("cannot write an event as JSON: {error}")))?,
        _ => line.line(),
    };
    let mut out = io::stdout();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::error(format!("cannot write to standard output: {error}"))),
    }
}
