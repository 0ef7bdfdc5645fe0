//! What must hold after every step, whatever fails.

use super::agent::{Agent, Work};
use super::ledger::{Ledger, Misuse};
use super::{Keys, Release, Releases};
use core::net::SocketAddr;
use group_oscore::MemberId;
use std::collections::BTreeSet;
use update_core::census::State;
use update_core::distribution::Distribution;
use update_core::platform::{Area, Done, Record, Trial};
use update_core::reception::Event;

/// How many violations are described at most; one is enough to find the next.
const TOLD_MAX: usize = 20;

/// The true state of one agent's storage.
#[derive(Debug, Default, Clone)]
struct Truth {
    /// Image blocks whose bytes are durable and right.
    blocks: BTreeSet<u32>,
    /// The same for pages.
    pages: BTreeSet<u32>,
    /// Blocks and pages written since the areas were prepared or the device was restarted ([words]).
    written: BTreeSet<(bool, u32)>,
}

/// Watches a world.
pub(super) struct Checker {
    /// Everything that was found wrong.
    pub violations: Vec<String>,
    /// Nonces used twice.
    pub nonce_reuse: u32,
    /// Activated images that were not signed.
    pub wrong_image: u32,
    ledger: Ledger,
    truths: Vec<Truth>,
    faultless: bool,
}

impl Checker {
    /// A checker for this many agents. It is stricter in a world without faults.
    #[must_use]
    pub(super) fn new(agents: usize, faultless: bool) -> Self {
        Self {
            violations: Vec::new(),
            nonce_reuse: 0,
            wrong_image: 0,
            ledger: Ledger::default(),
            truths: vec![Truth::default(); agents],
            faultless,
        }
    }

    /// Records a violation.
    pub(super) fn violation(&mut self, what: String) {
        if self.violations.len() < TOLD_MAX {
            self.violations.push(what);
        }
    }

    /// A datagram arrives.
    pub(super) fn arrived(&mut self, from: SocketAddr, bytes: &[u8]) {
        self.ledger.arrived(from, bytes);
    }

    /// A host sends a datagram.
    pub(super) fn sent(&mut self, kid: &[u8], from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        if bytes.len() > update_core::limits::DATAGRAM_BYTES_MAX {
            self.violation(format!("a datagram of {} bytes", bytes.len()));
        }
        match self.ledger.enter(kid, to, bytes) {
            Ok(()) => {}
            Err(Misuse::Reuse(nonce)) => {
                self.nonce_reuse += 1;
                self.violation(format!("a nonce was used twice: {nonce}"));
            }
            Err(Misuse::NotProtected) => self.violation(format!("{from} sent an unprotected message")),
        }
    }

    /// An agent's machine has handed out work.
    pub(super) fn work_begins(&mut self, agent: &Agent, work: &Work, releases: &Releases) {
        let index = agent.index;
        let release = releases.on_record(&agent.disk);
        let on_trial = matches!(agent.disk.trial(), Trial::Running | Trial::Healthy);
        match work {
            Work::Prepare(..) | Work::Write(..) if on_trial => {
                self.violation(format!("agent {index} overwrites an image that it may still need"));
            }
            Work::Prepare(image_bytes, page_bytes) => {
                let right = release.is_some_and(|release| {
                    release.image.len() == *image_bytes as usize
                        && release.pages.len() == *page_bytes as usize
                });
                if !right {
                    self.violation(format!("agent {index} prepares without a verified manifest on record"));
                }
            }
            Work::Write(area, offset, data) => {
                let Some(release) = release else {
                    return self
                        .violation(format!("agent {index} writes without a verified manifest on record"));
                };
                let block_bytes = release.offer.layout.block_size.bytes();
                let number = offset / block_bytes;
                let right = offset.is_multiple_of(block_bytes)
                    && release.block(*area, number).is_some_and(|(_, bytes)| bytes == data);
                if !right {
                    self.violation(format!("agent {index} writes something unsigned: {area:?} {number}"));
                }
                let truth = &mut self.truths[index];
                if !truth.written.insert((*area == Area::Image, number)) && agent.disk.failures == 0.0 {
                    self.violation(format!("agent {index} writes {area:?} {number} twice"));
                }
            }
            Work::Activate(image_bytes, digest) => self.activates(agent, *image_bytes, digest, releases),
            Work::Settle if agent.disk.trial() == Trial::Healthy => {
                let installed = agent.disk.record(Record::Installed);
                if installed.and_then(|bytes| update_core::record::decode_installed(bytes).ok()).is_none() {
                    self.violation(format!("agent {index} settles before it has saved what is installed"));
                }
            }
            _ => {}
        }
    }

    fn activates(&mut self, agent: &Agent, image_bytes: u32, digest: &[u8; 32], releases: &Releases) {
        let durable = agent.disk.region(Area::Image).durable().get(..image_bytes as usize);
        let right =
            releases.by_digest(digest).is_some_and(|release| durable == Some(release.image.as_slice()));
        if !right {
            self.wrong_image += 1;
            self.violation(format!("agent {} activates something unsigned", agent.index));
        }
    }

    /// Work has been done: checks what of it is durable and right.
    pub(super) fn work_done(&mut self, agent: &mut Agent, work: &Work, done: Done, releases: &Releases) {
        if matches!(done, Done::Carried) && matches!(work, Work::Sync | Work::Prepare(..) | Work::Settle) {
            self.look(agent, releases);
        }
        if matches!(work, Work::Prepare(..)) || matches!(done, Done::Failed(_)) {
            self.truths[agent.index].written.clear();
        }
    }

    /// A device was restarted.
    pub(super) fn restarted(&mut self, agent: &mut Agent, releases: &Releases) {
        self.truths[agent.index].written.clear();
        self.look(agent, releases);
    }

    /// Compares what has changed in an agent's storage with the image.
    fn look(&mut self, agent: &mut Agent, releases: &Releases) {
        let truth = &mut self.truths[agent.index];
        let Some(release) = releases.on_record(&agent.disk) else { return };
        let block_bytes = release.offer.layout.block_size.bytes() as usize;
        for area in [Area::Image, Area::Pages] {
            let changes = agent.disk.region_mut(area).take_changes();
            let durable = agent.disk.region(area).durable();
            let set = if area == Area::Image { &mut truth.blocks } else { &mut truth.pages };
            let numbers: BTreeSet<u32> = match changes {
                None => {
                    set.clear();
                    (0..release.count(area)).collect()
                }
                Some(ranges) => ranges
                    .iter()
                    .filter(|(from, to)| from < to)
                    .flat_map(|(from, to)| (from / block_bytes) as u32..=((to - 1) / block_bytes) as u32)
                    .collect(),
            };
            for number in numbers {
                let right = release
                    .block(area, number)
                    .is_some_and(|(start, bytes)| durable.get(start..start + bytes.len()) == Some(bytes));
                if right {
                    set.insert(number);
                } else {
                    set.remove(&number);
                }
            }
        }
    }

    /// An agent answers. What it says about its blocks must be true, even if its power fails now.
    pub(super) fn agent_answers(&mut self, agent: &Agent) {
        let Some(machine) = &agent.machine else { return };
        let (present, _) = machine.progress();
        let durable = self.truths[agent.index].blocks.len();
        if matches!(machine.state(), State::Pages | State::Blocks) && present as usize > durable {
            let what = format!("agent {} answers with {present} blocks, {durable} are there", agent.index);
            self.violation(what);
        }
    }

    /// An agent reports an event.
    pub(super) fn agent_event(&mut self, agent: &Agent, event: &Event, releases: &Releases) {
        let Some(release) = releases.on_record(&agent.disk) else { return };
        let truth = &self.truths[agent.index];
        match event {
            Event::Discarded(error) if self.faultless => {
                self.violation(format!("agent {} discards a datagram: {error:?}", agent.index));
            }
            Event::Recovered { blocks, of, .. } => {
                // Everything right whose pages are present is found again, and nothing else.
                let all_pages = truth.pages.len() == release.count(Area::Pages) as usize;
                let found = *blocks as usize;
                let readable = readable_blocks(agent, release);
                if found > readable || (all_pages && found < readable && agent.disk.failures == 0.0) {
                    let what = format!("agent {} finds {found} of {readable} blocks ({of})", agent.index);
                    self.violation(what);
                }
            }
            _ => {}
        }
    }

    /// The distributor has a new report of an honest agent: it claims no more than what is true.
    pub(super) fn report(
        &mut self,
        of: MemberId,
        machine: &Distribution,
        keys: &Keys,
        agents: &[Agent],
        releases: &Releases,
    ) {
        for agent in machine.agents().iter().filter(|agent| agent.id == of) {
            let Some(status) = agent.status else { continue };
            let Some(index) = keys.agents.iter().position(|member| member.id == agent.id) else { continue };
            let release = releases.current();
            let on_record = releases.on_record(&agents[index].disk).map(Release::digest);
            if status.state != State::Confirmed && on_record != Some(release.digest()) {
                continue;
            }
            let durable = self.truths[index].blocks.len() as u32;
            let count = release.count(Area::Image);
            let claimed = match status.state {
                State::Pages | State::Blocks => count - status.missing_blocks.min(count),
                State::Ready | State::Scheduled | State::Trial => count,
                State::Confirmed => {
                    if agents[index].disk.running() != release.offer.image_digest {
                        self.violation(format!("agent {index} says confirmed and runs something else"));
                    }
                    continue;
                }
                _ => continue,
            };
            let settled = agents[index].disk.running() == release.offer.image_digest;
            if claimed > durable && !settled {
                self.violation(format!("agent {index} reported {claimed} blocks, {durable} are there"));
            }
        }
    }

    /// The end: every agent runs a signed image, or the one before.
    pub(super) fn end(
        &mut self,
        agent: &Agent,
        factory: update_core::digest::Digest,
        releases: &Releases,
    ) -> bool {
        let running = agent.disk.running();
        let whole = running == factory || releases.has_image(running);
        if !whole {
            self.violation(format!("agent {} runs no intact image", agent.index));
        }
        whole
    }
}

/// Blocks that a program reads back right, synced or not.
fn readable_blocks(agent: &Agent, release: &Release) -> usize {
    let region = agent.disk.region(Area::Image);
    let mut buffer = vec![0; release.offer.layout.block_size.bytes() as usize];
    (0..release.count(Area::Image))
        .filter(|number| {
            release.block(Area::Image, *number).is_some_and(|(start, bytes)| {
                region.read(start, &mut buffer[..bytes.len()]).is_ok() && buffer[..bytes.len()] == *bytes
            })
        })
        .count()
}
