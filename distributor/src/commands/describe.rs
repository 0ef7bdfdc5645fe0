//! `fwcast describe`: one thing, with everything known about it.

use clap::Args;

use super::kind::{Noun, on_fleet};
use crate::commands::exit_codes::{Exit, Failure};
use crate::commands::global::Global;
use crate::commands::output;
use crate::commands::report::{DescribedAgent, DescribedDocument, DescribedRollout};
use fwcast_service::look::{LookError, Missing};
use fwcast_state::StateDir;
use fwcast_store::kind::Kind;

/// Show one agent, rollout group, image or rollout
#[derive(Debug, Args)]
pub struct Describe {
    /// What
    #[arg(value_enum)]
    noun: Noun,
    /// Its name; an agent's optionally with its group, like hall/lamp-1
    name: String,
}

impl Describe {
    /// Prints it.
    pub fn run(&self, global: &Global) -> Result<Exit, Failure> {
        on_fleet(global, async |fleet| match self.noun.document() {
            None => {
                let (agent, events) = fleet.describe_agent(&self.name).await?;
                let versions = fleet.versions().await?;
                output::print(global.output, &DescribedAgent::new(agent, events, &versions))
            }
            Some(Kind::Rollout) => {
                let details = fleet.describe_rollout(&self.name).await?;
                output::print(global.output, &DescribedRollout::new(details))
            }
            Some(kind) => {
                let document = match fleet.describe_document(kind, &self.name).await {
                    Err(LookError::Missing(missing)) if is_security_group(fleet.dir(), &missing)? => {
                        return Err(Failure::error(format!(
                            "there is no rollout group '{0}': '{0}' is a security group, which `fwcast group \
                             show {0}` shows",
                            missing.name
                        )));
                    }
                    found => found?,
                };
                output::print(global.output, &DescribedDocument(document))
            }
        })?;
        Ok(Exit::Done)
    }
}

/// Whether the operator may have meant a security group.
fn is_security_group(dir: &StateDir, missing: &Missing) -> Result<bool, Failure> {
    Ok(missing.kind == Kind::RolloutGroup && dir.groups()?.contains(&missing.name))
}
