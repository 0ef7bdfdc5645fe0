//! `fwcast events` and `fwcast history`: what happened.

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use provisioning::Name;

use super::kind::{find_agent, on_store};
use crate::cli::Global;
use crate::commands::exit_codes::{Exit, Failure};
use crate::commands::output::{self, Format};
use crate::commands::report::{EventLine, EventList, RolloutList};
use crate::manifest::Kind;
use crate::store::{Event, EventQuery, SqliteStore, Store};

/// So often is looked whether anything has happened.
const POLL: Duration = Duration::from_millis(250);
/// Events that are read at once.
const EVENTS_AT_ONCE: u32 = 1000;

/// Show what happened, oldest first
#[derive(Debug, Args)]
pub struct Events {
    /// Go on with what happens from now on, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Only of this rollout
    #[arg(long, value_name = "ROLLOUT")]
    rollout: Option<Name>,
    /// Only what comes after the event with this number
    #[arg(long, value_name = "ID")]
    after: Option<i64>,
    /// At most so many of what has happened already
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
}

/// Show the rollouts that there were, or what happened to one of them or to an agent
#[derive(Debug, Args)]
pub struct History {
    /// The name of a rollout or of an agent; an agent's may have its group in front, like hall/lamp-1
    name: Option<String>,
    /// At most so many of the newest events
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: u32,
}

impl Events {
    /// Prints them.
    pub fn run(&self, global: &Global) -> Result<Exit, Failure> {
        let one_a_line = global.output.is_for_people() || global.output == Format::Jsonl;
        if self.follow && !one_a_line {
            return Err(Failure::usage("what is followed is printed line by line: use -o jsonl, or no -o"));
        }
        let mut query =
            EventQuery { after: self.after, rollout: self.rollout.clone(), agent: None, limit: self.limit };
        on_store(global, async |_, store| {
            if !self.follow {
                let events = store.events(&query).await?;
                output::print(global.output, &EventList::new(events))?;
                return Ok(Exit::Done);
            }
            tokio::select! {
                ended = follow(global.output, store, &mut query) => ended,
                _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
            }
        })
    }
}

impl History {
    /// Prints it.
    pub fn run(&self, global: &Global) -> Result<Exit, Failure> {
        on_store(global, async |dir, store| {
            let mut query = EventQuery { after: None, rollout: None, agent: None, limit: self.limit };
            let Some(text) = &self.name else {
                let begun = store.rollouts().await?;
                let mut documents = store.documents(Kind::Rollout).await?;
                documents.retain(|document| begun.iter().any(|line| line.name == document.name));
                return output::print(global.output, &RolloutList::new(documents, begun));
            };
            match Name::new(text) {
                Ok(name) if store.rollout(&name).await?.is_some() => query.rollout = Some(name),
                _ => query.agent = Some(find_agent(dir, text, None)?),
            }
            output::print(global.output, &EventList::new(store.events(&query).await?))
        })?;
        Ok(Exit::Done)
    }
}

/// Prints events one by one as they happen. Ends when nobody reads any more.
async fn follow(format: Format, store: &SqliteStore, query: &mut EventQuery) -> Result<Exit, Failure> {
    // Asked before the events, so that nothing falls in between.
    let mut seen = store.revision().await?;
    let wanted = query.limit;
    query.limit = wanted.max(1);
    let mut events = store.events(query).await?;
    query.after = Some(query.after.or(events.last().map(|event| event.id)).unwrap_or(0));
    if wanted == 0 {
        events.clear();
    }
    query.limit = EVENTS_AT_ONCE;
    loop {
        for event in events.drain(..) {
            query.after = Some(event.id);
            if !tell(format, event)? {
                return Ok(Exit::Done);
            }
        }
        loop {
            let now = store.revision().await?;
            if now != seen {
                seen = now;
                break;
            }
            tokio::time::sleep(POLL).await;
        }
        events = store.events(query).await?;
        if events.len() >= EVENTS_AT_ONCE as usize {
            // There are more: they are read at once.
            seen = crate::store::Revision::UNKNOWN;
        }
    }
}

/// Whether anyone reads it.
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
