//! Reads agents, documents and rollouts, in lists and one at a time.

use std::collections::BTreeMap;

use jiff::Timestamp;
use provisioning::Name;

use super::Fleet;
use super::members::{self, MemberError};
use crate::runner::{RunError, Standing, doing_of, load};
use fwcast_documents::selector::Selector;
use fwcast_state::StateError;
use fwcast_store::kind::Kind;
use fwcast_store::{Agent, Document, Event, EventQuery, Rollout, RolloutLine, Store, StoreError};
use rollout_engine::plan::AgentKey;
use rollout_engine::record::AgentRecord;

/// How many of the newest events are shown with one thing.
const EVENTS_SHOWN: u32 = 10;

/// There is no document or rollout with this name.
#[derive(Debug, thiserror::Error)]
#[error("there is no {} '{name}': `fwcast get {}` lists them all", .kind.noun(), .kind.nouns())]
pub struct Missing {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: Name,
}

/// Why something cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The store's own.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The name is not valid, or no agent has it.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// There is nothing with this name.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// The state of a rollout.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A lock file.
    #[error(transparent)]
    State(#[from] StateError),
    /// Another command removed the agent a moment ago.
    #[error("agent '{0}' is no longer enrolled")]
    NoLongerEnrolled(AgentKey),
}

/// A filter for a list. The default is everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    /// Only these, unless empty. Each of them must exist.
    pub names: &'a [String],
    /// Only those with these labels.
    pub selector: Option<&'a Selector>,
}

/// A rollout in a list. At least one of the two parts is present.
#[derive(Debug)]
pub struct RolloutEntry {
    /// Its name.
    pub name: Name,
    /// The last applied document.
    pub document: Option<Document>,
    /// Its progress, once it has begun.
    pub line: Option<RolloutLine>,
    /// How it stands, and what it does or waits for, once it has begun.
    pub standing: Option<(Standing, String)>,
}

/// Everything known about one rollout.
#[derive(Debug)]
pub struct RolloutDetails {
    /// Its name.
    pub name: Name,
    /// The last applied document.
    pub document: Option<Document>,
    /// Its activity and progress, once it has begun.
    pub begun: Option<Rollout>,
    /// How it stands, and what it does or waits for, once it has begun.
    pub standing: Option<(Standing, String)>,
    /// Its agents, each with its progress.
    pub agents: Vec<(AgentKey, AgentRecord)>,
    /// The latest events.
    pub events: Vec<Event>,
}

impl Filter<'_> {
    fn names(&self) -> Result<Vec<Name>, MemberError> {
        self.names.iter().map(|name| members::name(name)).collect()
    }

    fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.selector.is_none_or(|selector| selector.matches(labels))
    }

    /// Filters a list of documents or rollouts.
    fn narrow<T>(
        &self,
        kind: Kind,
        mut list: Vec<T>,
        seen: impl Fn(&T) -> (&Name, Option<&BTreeMap<String, String>>),
    ) -> Result<Vec<T>, LookError> {
        let wanted = self.names()?;
        if let Some(name) = wanted.iter().find(|name| !list.iter().any(|item| seen(item).0 == *name)) {
            return Err(Missing { kind, name: name.clone() }.into());
        }
        let no_labels = BTreeMap::new();
        list.retain(|item| {
            let (name, labels) = seen(item);
            (wanted.is_empty() || wanted.contains(name)) && self.selects(labels.unwrap_or(&no_labels))
        });
        Ok(list)
    }
}

impl<S: Store> Fleet<S> {
    /// Agents of all groups.
    ///
    /// # Errors
    /// No agent has a name, several agents have it, or the store's errors.
    pub async fn agents(&self, filter: &Filter<'_>) -> Result<Vec<Agent>, LookError> {
        let keys = filter.names.iter().map(|name| members::find(&self.dir, name, None));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let mut agents = self.store.agents(None).await?;
        agents.retain(|agent| keys.is_empty() || keys.contains(&agent.key));
        agents.retain(|agent| filter.selects(&agent.labels));
        agents.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(agents)
    }

    /// Documents of one kind.
    ///
    /// # Errors
    /// No document has a name, or the store's errors.
    pub async fn documents(&self, kind: Kind, filter: &Filter<'_>) -> Result<Vec<Document>, LookError> {
        let mut documents = self.store.documents(kind).await?;
        documents.sort_by(|one, other| one.name.cmp(&other.name));
        filter.narrow(kind, documents, |document| (&document.name, Some(&document.labels)))
    }

    /// Applied and begun rollouts, by name.
    ///
    /// # Errors
    /// No rollout has a name, or the store's errors.
    pub async fn rollouts(&self, filter: &Filter<'_>) -> Result<Vec<RolloutEntry>, LookError> {
        let mut both: BTreeMap<Name, (Option<Document>, Option<RolloutLine>)> = BTreeMap::new();
        for document in self.store.documents(Kind::Rollout).await? {
            let name = document.name.clone();
            both.entry(name).or_default().0 = Some(document);
        }
        for line in self.store.rollouts().await? {
            let name = line.name.clone();
            both.entry(name).or_default().1 = Some(line);
        }
        let mut entries = Vec::new();
        for (name, (document, line)) in both {
            let standing = self.standing(&name, line.as_ref()).await?;
            entries.push(RolloutEntry { name, document, line, standing });
        }
        filter.narrow(Kind::Rollout, entries, |entry| {
            (&entry.name, entry.document.as_ref().map(|document| &document.labels))
        })
    }

    /// How a rollout stands, and what it does or waits for; `None` before it begins.
    async fn standing(
        &self,
        name: &Name,
        line: Option<&RolloutLine>,
    ) -> Result<Option<(Standing, String)>, LookError> {
        let Some(line) = line else { return Ok(None) };
        if let Some(outcome) = line.outcome {
            return Ok(Some((Standing::Ended(outcome), outcome.name().to_owned())));
        }
        let is_run = self.is_run(name)?;
        let engine = match load(&self.store, name).await {
            Ok(engine) => engine,
            // A list shows the others all the same.
            Err(unreadable @ RunError::StateUnreadable { .. }) => {
                let standing = if is_run { Standing::Running } else { Standing::NoProcess };
                return Ok(Some((standing, unreadable.to_string())));
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Some((Standing::of(&engine, is_run, Timestamp::now()), doing_of(&engine, is_run))))
    }

    /// One agent, by its name or by `GROUP/NAME`, with its latest events.
    ///
    /// # Errors
    /// There is none, there are several, or the store's errors.
    pub async fn describe_agent(&self, name: &str) -> Result<(Agent, Vec<Event>), LookError> {
        let key = members::find(&self.dir, name, None)?;
        let agent = self.store.agent(&key).await?;
        let agent = agent.ok_or_else(|| LookError::NoLongerEnrolled(key.clone()))?;
        let query = EventQuery { after: None, rollout: None, agent: Some(key), limit: EVENTS_SHOWN };
        Ok((agent, self.store.events(&query).await?))
    }

    /// One document.
    ///
    /// # Errors
    /// There is nothing with this name, or the store's errors.
    pub async fn describe_document(&self, kind: Kind, name: &str) -> Result<Document, LookError> {
        let name = members::name(name)?;
        let document = self.store.document(kind, &name).await?;
        document.ok_or_else(|| Missing { kind, name }.into())
    }

    /// One rollout, applied or begun.
    ///
    /// # Errors
    /// There is nothing with this name, or the store's errors.
    pub async fn describe_rollout(&self, name: &str) -> Result<RolloutDetails, LookError> {
        let name = members::name(name)?;
        let document = self.store.document(Kind::Rollout, &name).await?;
        let begun = self.store.rollout(&name).await?;
        if document.is_none() && begun.is_none() {
            return Err(Missing { kind: Kind::Rollout, name }.into());
        }
        let agents = self.store.rollout_agents(&name).await?;
        let query = EventQuery { after: None, rollout: Some(name.clone()), agent: None, limit: EVENTS_SHOWN };
        let events = self.store.events(&query).await?;
        let standing = self.standing(&name, begun.as_ref().map(|begun| &begun.line)).await?;
        Ok(RolloutDetails { name, document, begun, standing, agents, events })
    }
}
