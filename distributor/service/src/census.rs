//! Asking every agent of a group what it is doing.

use provisioning::Name;
use update_core::distribution::{Distribution, Event, Job};

use super::{Fleet, SendError};
use crate::control::Stop;
use crate::drive::{self, DistributionEnd, DistributionObserver};
use crate::link::Link;
use crate::session::Session;
use fwcast_state::GroupState;
use fwcast_state::random::seed;
use fwcast_store::{Store, StoreError};

/// The answers of a group.
pub struct Census {
    /// The group.
    pub group: GroupState,
    /// What each agent has reported.
    pub distribution: Distribution,
    /// How it ended.
    pub ended: DistributionEnd,
    /// Why the reports could not be stored, if so.
    pub not_noted: Option<StoreError>,
}

impl Census {
    /// How many agents did not answer, or not so that it counts.
    pub fn silent(&self) -> usize {
        let agents = self.distribution.agents().iter();
        agents.filter(|agent| agent.lost || agent.is_quarantined() || agent.status.is_none()).count()
    }
}

/// A census has no observer.
struct Unobserved;

impl DistributionObserver for Unobserved {
    fn event(&mut self, _: Event, _: &Distribution) {}
    fn tick(&mut self, _: &Distribution) {}
    fn outage(&mut self, _: Option<&str>) {}
}

impl<S: Store> Fleet<S> {
    /// Asks all agents of a group, `rounds` times.
    ///
    /// # Errors
    /// The group cannot be opened, or this machine cannot send.
    pub async fn census(&self, group: &Name, rounds: u32, mut stop: Stop) -> Result<Census, SendError> {
        // Opened first, so that a missing group is reported as missing.
        GroupState::open(&self.dir, group)?;
        let mut session = Session::open(self.claimed().await?, group)?;
        let config = session.config();
        let mut link = Link::open(session.group.profile.clone())?;
        let context = session.context()?;
        let job = Job::Census { rounds };
        let distribution = Distribution::new(config, context, job, seed()?, drive::clock()());
        let mut distribution = session.continued(distribution);
        let ended =
            drive::run(&mut distribution, &mut session, None, &mut link, &mut Unobserved, &mut stop).await?;
        let group = session.group.clone();
        let not_noted = self.finish(session, &distribution, ended).await?;
        Ok(Census { group, distribution, ended, not_noted })
    }
}
