//! Power cuts: when they occur, and what they cost.

use std::time::{Duration, Instant};

use agent_embedded::layouts::MPS2_AN386;
use anyhow::{Result, anyhow};
use boot_stage::boot_record::{BootRecord, Phase};
use boot_stage::record_log::RecordLog;
use rand_core::Rng;
use rand_pcg::Pcg64Mcg;

use super::flash_file::FlashFile;
use super::node::Node;
use crate::netns::Net;

/// Bytes of an image block.
const BLOCK_BYTES: usize = 1024;
/// How long a node is without power, at most.
const DARK_MILLISECONDS: u32 = 300;
/// How long a node takes, roughly, from the restart to the jump into the new image.
const SWAP_MILLISECONDS: u32 = 150;

/// What a node is doing when its power is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// It receives blocks.
    Transfer,
    /// The boot stage works on an activated update, but is not moving pages yet, or no longer.
    BootStage,
    /// The boot stage exchanges the slots: they are mixed.
    Exchange,
    /// The new image runs on trial.
    FirstBoot,
    /// None of these: the cut came too late, and does not count.
    Missed,
}

/// The target of a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aim {
    Transfer,
    Swap,
    FirstBoot,
}

impl Aim {
    /// The console lines after which the moment is drawn, and within how many milliseconds.
    const fn trigger(self) -> (&'static [&'static str], u32) {
        match self {
            Self::Transfer => (&["agent: accepted", "agent: recovered"], 5000),
            Self::Swap => (&["agent: restarting"], SWAP_MILLISECONDS),
            Self::FirstBoot => (&["image version=2"], 60),
        }
    }

    const fn is_hit(self, moment: Moment) -> bool {
        match self {
            Self::Transfer => matches!(moment, Moment::Transfer),
            Self::Swap => matches!(moment, Moment::BootStage | Moment::Exchange),
            Self::FirstBoot => matches!(moment, Moment::FirstBoot),
        }
    }
}

/// A cut that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Where the node really was, according to its flash and its console.
    pub moment: Moment,
    /// Blocks of the update that were intact in flash.
    present: usize,
    /// Starts of the agent before it.
    starts: usize,
}

/// The cuts of one node: the planned ones and those made.
#[derive(Debug)]
pub struct Cuts {
    image: Vec<u8>,
    /// In reverse order: the last one is next.
    to_come: Vec<Aim>,
    made: Vec<Cut>,
    /// When the next one is due, once its trigger has been seen.
    due: Option<Instant>,
    /// How many lines with its trigger no longer count.
    seen: usize,
    /// When the power comes back.
    dark_until: Option<Instant>,
}

impl Cuts {
    /// This many cuts during the update to `image`: first in the transfer, then alternately in the exchange
    /// of the slots and at the first boot. Each pair of these costs another activation.
    #[must_use]
    pub fn plan(count: u32, image: &[u8]) -> Self {
        let at_transfer = count.div_ceil(2).min(2);
        let later = (at_transfer..count)
            .map(|cut| if (cut - at_transfer).is_multiple_of(2) { Aim::Swap } else { Aim::FirstBoot });
        let mut to_come: Vec<Aim> = (0..at_transfer).map(|_| Aim::Transfer).chain(later).collect();
        to_come.reverse();
        Self { image: image.to_vec(), to_come, made: Vec::new(), due: None, seen: 0, dark_until: None }
    }

    /// Cuts the power when it is time, or restores it; returns whether it was cut.
    ///
    /// # Errors
    /// QEMU cannot be killed or started.
    pub fn look(&mut self, node: &mut Node, net: &Net, dice: &mut Pcg64Mcg) -> Result<Option<Cut>> {
        let now = Instant::now();
        if let Some(until) = self.dark_until {
            if until <= now {
                self.light(node, net)?;
            }
            return Ok(None);
        }
        let Some(aim) = self.to_come.last().copied() else { return Ok(None) };
        match self.due {
            None => {
                if triggers(node, aim) > self.seen {
                    self.due = Some(now + milliseconds(dice.next_u32() % aim.trigger().1));
                }
                Ok(None)
            }
            Some(due) if due <= now => {
                let cut = self.cut(node, aim)?;
                self.dark_until = Some(Instant::now() + milliseconds(dice.next_u32() % DARK_MILLISECONDS));
                Ok(Some(cut))
            }
            Some(_) => Ok(None),
        }
    }

    /// Restores the power at once if it is off.
    ///
    /// # Errors
    /// The same as for [`look`](Self::look).
    pub fn light(&mut self, node: &mut Node, net: &Net) -> Result<()> {
        if self.dark_until.take().is_some() { node.start(net) } else { Ok(()) }
    }

    /// Cuts that occurred at one of these moments.
    #[must_use]
    pub fn made_at(&self, moments: &[Moment]) -> usize {
        self.made.iter().filter(|cut| moments.contains(&cut.moment)).count()
    }

    /// Cuts that occurred while something was in progress.
    #[must_use]
    pub fn made(&self) -> usize {
        self.made.len() - self.made_at(&[Moment::Missed])
    }

    /// Blocks that were intact in flash at a cut during the transfer, and that the node did not find again
    /// afterwards, according to its console.
    #[must_use]
    pub fn refetched(&self, node: &Node) -> usize {
        let console = node.console();
        let transfers = self.made.iter().filter(|cut| cut.moment == Moment::Transfer);
        transfers.map(|cut| cut.present.saturating_sub(recovered(&console, cut.starts).unwrap_or(0))).sum()
    }

    fn cut(&mut self, node: &mut Node, aim: Aim) -> Result<Cut> {
        node.cut()?;
        let mut flash = FlashFile::open(node.flash())?;
        let console = node.console();
        let moment = moment(phase(&mut flash)?, &console);
        let present = present(&flash, &self.image);
        let cut = Cut { moment, present, starts: console.matches("image version=").count() };
        self.made.push(cut);
        // A missed target is aimed at again, if there is another chance.
        if aim.is_hit(moment) {
            self.to_come.pop();
        }
        if moment == Moment::Missed && console.contains("agent: confirmed") {
            // There will be no other chance: the node would be cut at every start, and never heard again.
            self.to_come.clear();
        }
        self.due = None;
        self.seen = match self.to_come.last() {
            // The next cut waits for a line of its own, or for one that the node has not reached yet.
            Some(next) => triggers(node, *next),
            None => 0,
        };
        Ok(cut)
    }
}

/// Console lines after which such a cut may occur.
fn triggers(node: &Node, aim: Aim) -> usize {
    aim.trigger().0.iter().map(|text| node.lines_with(text)).sum()
}

/// The progress of an update, according to the flash.
fn phase(flash: &mut FlashFile) -> Result<Phase> {
    let unreadable = |error| anyhow!("the records in flash cannot be read after a cut: {error:?}");
    let log = RecordLog::open(flash, MPS2_AN386.records).map_err(unreadable)?;
    Ok(BootRecord::load(flash, &log).map_err(unreadable)?.phase)
}

/// What a node was doing.
fn moment(phase: Phase, console: &str) -> Moment {
    let boot_stage_runs = console.lines().last().is_some_and(|line| line == "agent: restarting");
    let is_receiving = console.contains("agent: accepted") && !console.contains("agent: verified");
    match phase {
        Phase::Exchanging | Phase::ExchangingBack(_) => Moment::Exchange,
        Phase::Activated | Phase::Trial if boot_stage_runs => Moment::BootStage,
        Phase::Trial => Moment::FirstBoot,
        Phase::Settled if is_receiving => Moment::Transfer,
        _ => Moment::Missed,
    }
}

/// Blocks of an image that are intact in the update slot.
fn present(flash: &FlashFile, image: &[u8]) -> usize {
    let begin = MPS2_AN386.update.offset as usize;
    let slot = flash.bytes().get(begin..begin + image.len()).unwrap_or_default();
    image.chunks(BLOCK_BYTES).zip(slot.chunks(BLOCK_BYTES)).filter(|(one, other)| one == other).count()
}

/// What the node reported to have found, in the start after this many others.
fn recovered(console: &str, starts: usize) -> Option<usize> {
    let mut started = 0;
    for line in console.lines() {
        started += usize::from(line.contains("image version="));
        if started > starts
            && let Some((_, counts)) = line.split_once("blocks=")
            && line.contains("recovered")
        {
            return counts.split_whitespace().next()?.parse().ok();
        }
    }
    None
}

fn milliseconds(count: u32) -> Duration {
    Duration::from_millis(count.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_recovered_is_that_of_the_next_start() {
        let console = "agent: image version=1\nagent: recovered 01 blocks=3 of=9\n\
                       agent: image version=1\nagent: recovered 01 blocks=7 of=9\n";
        assert_eq!(recovered(console, 0), Some(3));
        assert_eq!(recovered(console, 1), Some(7));
        assert_eq!(recovered(console, 2), None);
    }

    #[test]
    fn a_cut_is_told_by_flash_and_console() {
        let receiving = "agent: accepted 01 sequence=2 bytes=9\n";
        assert_eq!(moment(Phase::Settled, receiving), Moment::Transfer);
        assert_eq!(moment(Phase::Settled, "agent: node-1 listens to x\n"), Moment::Missed);
        assert_eq!(moment(Phase::Settled, "agent: accepted\nagent: verified\n"), Moment::Missed);
        assert_eq!(moment(Phase::Activated, "agent: verified\nagent: restarting\n"), Moment::BootStage);
        assert_eq!(moment(Phase::Exchanging, "agent: restarting\n"), Moment::Exchange);
        assert_eq!(moment(Phase::Trial, "agent: restarting\n"), Moment::BootStage);
        assert_eq!(moment(Phase::Trial, "agent: restarting\nboot: runs\n"), Moment::FirstBoot);
        assert_eq!(moment(Phase::Healthy, "boot: runs\nagent: confirmed\n"), Moment::Missed);
    }
}
