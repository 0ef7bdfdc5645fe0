//! Power cuts: when they come, and what they cost.

use std::time::{Duration, Instant};

use agent_embedded::layouts::MPS2_AN386;
use anyhow::Result;
use rand_core::Rng;
use rand_pcg::Pcg64Mcg;

use super::flash_file::FlashFile;
use super::node::Node;
use crate::netns::Net;

/// Bytes of an image block.
const BLOCK_BYTES: usize = 1024;
/// How long a node is without power, at most.
const DARK_MILLISECONDS: u32 = 300;

/// What a node is doing when its power is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It receives blocks.
    Transfer,
    /// The boot stage exchanges the slots.
    Swap,
    /// The new image runs for the first time.
    FirstBoot,
}

impl Kind {
    /// The line of the console after which the moment is drawn, and within how many milliseconds.
    const fn trigger(self) -> (&'static str, u32) {
        match self {
            Self::Transfer => ("agent: accepted", 7000),
            Self::Swap => ("agent: restarting", 400),
            Self::FirstBoot => ("image version=2", 300),
        }
    }
}

/// A cut that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// At what.
    pub kind: Kind,
    /// Blocks of the update that were whole in flash.
    pub present: usize,
    /// Starts of the agent before it.
    starts: usize,
}

/// The cuts of one node: those to come and those made.
#[derive(Debug)]
pub struct Cuts {
    image: Vec<u8>,
    /// In their order; the last one is the next.
    to_come: Vec<Kind>,
    made: Vec<Cut>,
    /// When the next one is due, once its trigger has been seen.
    due: Option<Instant>,
    /// Lines with the trigger that count no more.
    seen: usize,
    /// When the power comes back.
    dark_until: Option<Instant>,
}

impl Cuts {
    /// So many cuts during the update to `image`: at the transfer, at the swap and at the first boot, and at
    /// whatever the dice say beyond that.
    #[must_use]
    pub fn plan(count: u32, image: &[u8], dice: &mut Pcg64Mcg) -> Self {
        let mut to_come: Vec<Kind> = (0..count)
            .map(|cut| match if cut < 3 { cut } else { dice.next_u32() % 3 } {
                0 => Kind::Transfer,
                1 => Kind::Swap,
                _ => Kind::FirstBoot,
            })
            .collect();
        to_come.sort_by_key(|kind| std::cmp::Reverse(*kind as u8));
        Self { image: image.to_vec(), to_come, made: Vec::new(), due: None, seen: 0, dark_until: None }
    }

    /// Cuts the power if it is time to, or gives it back; says if it has been cut.
    ///
    /// # Errors
    /// QEMU cannot be killed or started.
    pub fn look(&mut self, node: &mut Node, net: &Net, dice: &mut Pcg64Mcg) -> Result<Option<Cut>> {
        let now = Instant::now();
        if let Some(until) = self.dark_until {
            if until <= now {
                self.dark_until = None;
                node.start(net)?;
            }
            return Ok(None);
        }
        let Some(kind) = self.to_come.last().copied() else { return Ok(None) };
        let (trigger, spread) = kind.trigger();
        match self.due {
            None => {
                let lines = node.lines_with(trigger);
                if lines > self.seen {
                    self.due = Some(now + milliseconds(dice.next_u32() % spread));
                }
                Ok(None)
            }
            Some(due) if due <= now => {
                let cut = self.cut(node, kind)?;
                self.dark_until = Some(Instant::now() + milliseconds(dice.next_u32() % DARK_MILLISECONDS));
                Ok(Some(cut))
            }
            Some(_) => Ok(None),
        }
    }

    /// Gives the power back at once, where it is off.
    ///
    /// # Errors
    /// As [`look`](Self::look).
    pub fn light(&mut self, node: &mut Node, net: &Net) -> Result<()> {
        if self.dark_until.take().is_some() { node.start(net) } else { Ok(()) }
    }

    /// Makes the cuts whose moment did not come, while nothing goes on.
    ///
    /// # Errors
    /// As [`look`](Self::look).
    pub fn catch_up(&mut self, node: &mut Node, net: &Net) -> Result<()> {
        while let Some(kind) = self.to_come.last().copied() {
            self.cut(node, kind)?;
            node.start(net)?;
            std::thread::sleep(milliseconds(DARK_MILLISECONDS));
        }
        Ok(())
    }

    /// Cuts made so far.
    #[must_use]
    pub fn made(&self) -> u32 {
        u32::try_from(self.made.len()).unwrap_or(u32::MAX)
    }

    /// Blocks that were whole in flash at a cut during the transfer, and that the node did not find again
    /// afterwards, as its console tells.
    #[must_use]
    pub fn refetched(&self, node: &Node) -> usize {
        let console = node.console();
        let transfers = self.made.iter().filter(|cut| cut.kind == Kind::Transfer);
        transfers.map(|cut| cut.present.saturating_sub(recovered(&console, cut.starts).unwrap_or(0))).sum()
    }

    fn cut(&mut self, node: &mut Node, kind: Kind) -> Result<Cut> {
        let done_already = kind == Kind::Transfer && node.lines_with("agent: verified") > 0;
        node.cut()?;
        let present = if kind == Kind::Transfer && !done_already {
            present(&FlashFile::open(node.flash())?, &self.image)
        } else {
            0
        };
        let cut = Cut { kind, present, starts: node.lines_with("image version=") };
        self.made.push(cut);
        self.to_come.pop();
        self.due = None;
        // The next cut waits for a line of its own.
        self.seen = self.to_come.last().map_or(0, |next| match next {
            Kind::FirstBoot | Kind::Swap if *next != kind => 0,
            _ => node.lines_with(next.trigger().0),
        });
        Ok(cut)
    }
}

/// Blocks of an image that are whole in the update slot.
fn present(flash: &FlashFile, image: &[u8]) -> usize {
    let begin = MPS2_AN386.update.offset as usize;
    let slot = flash.bytes().get(begin..begin + image.len()).unwrap_or_default();
    image.chunks(BLOCK_BYTES).zip(slot.chunks(BLOCK_BYTES)).filter(|(one, other)| one == other).count()
}

/// What the node said that it found, in the start after so many others.
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
}
