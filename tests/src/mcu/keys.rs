//! New keys for emulated nodes, and nodes that have lost count of the numbers that they have used.

use std::time::{Duration, Instant};

use agent_embedded::layouts::MPS2_AN386;
use anyhow::{Result, ensure};
use nix::sys::signal::Signal;

use super::flash_file::FlashFile;
use super::node::Node;
use super::trial::{Trial, UP_WITHIN, name};

/// What a node says when it has new keys.
const IN_FORCE: &str = "new keys are in force";
/// What a node says when it does not know which numbers it has used.
const LOST: &str = "the numbers that it has used are not known";
/// How long the keys may take, with loss on every link.
const WITHIN: &str = "90s";
/// `fwcast`'s exit code for what has not ended in time.
const TIMED_OUT: i32 = 6;

impl Trial<'_> {
    /// The group gets new keys while one node has no power, and then again, together with another CoAP group.
    /// After that a node restarts, from what it has stored.
    pub(super) fn new_keys(&mut self) -> Result<()> {
        let Some(first) = self.nodes.first_mut() else { return Ok(()) };
        first.cut()?;
        let off = name(first);
        let start = Instant::now();
        let without = self.fleet.rekey(&["--within", "15s"], TIMED_OUT)?;
        ensure!(without == [off], "without new keys, while one node is off: {without:?}");
        let listened = self.starts_again(0)?;
        let moved = self.fleet.another_coap_group();
        let without = self.fleet.rekey(&["--coap-group", &moved, "--within", WITHIN], 0)?;
        ensure!(without.is_empty(), "without the second new keys: {without:?}");
        let seconds = start.elapsed().as_secs();
        for node in &mut self.nodes {
            node.wait_for(IN_FORCE, 1, UP_WITHIN)?;
        }
        let again = self.starts_again(0)?;
        ensure!(again > listened, "a node does not start again with the keys that it has stored");
        self.all_answer("after the new keys")?;
        println!("new keys, twice: every node and agent has them, after {seconds} s; one was off");
        Ok(())
    }

    /// The records of a node are wiped. It knows that it was used, asks the Group Manager for another Sender
    /// ID, and is a member again without anybody touching it.
    pub(super) fn lost_count(&mut self) -> Result<()> {
        let mut manager = self.fleet.start_manager()?;
        let Some(node) = self.nodes.last_mut() else { return Ok(()) };
        let had = node.lines_with(IN_FORCE);
        node.cut()?;
        wipe_records(node)?;
        let start = Instant::now();
        node.start(self.net)?;
        node.wait_for(LOST, 1, UP_WITHIN)?;
        node.wait_for(IN_FORCE, had + 1, UP_WITHIN)?;
        println!("records wiped: a member again after {} s", start.elapsed().as_secs());
        manager.signal(Signal::SIGTERM)?;
        ensure!(manager.wait(UP_WITHIN)?.success(), "the Group Manager ended with an error");
        self.all_answer("after one has lost count")
    }

    /// Gives a node power again; returns how often it has said that it listens.
    fn starts_again(&mut self, index: usize) -> Result<usize> {
        let Some(node) = self.nodes.get_mut(index) else { return Ok(0) };
        node.cut()?;
        let listened = node.lines_with("listens to");
        node.start(self.net)?;
        node.wait_for("listens to", listened + 1, UP_WITHIN)?;
        Ok(listened + 1)
    }

    fn all_answer(&self, when: &str) -> Result<()> {
        let start = Instant::now();
        let everyone = self.wish.nodes + self.wish.linux;
        loop {
            let reports = self.fleet.status()?;
            let silent: Vec<&str> =
                reports.iter().filter(|it| it.state == "lost").map(|it| it.name.as_str()).collect();
            if reports.len() == everyone && silent.is_empty() {
                return Ok(());
            }
            ensure!(start.elapsed() < UP_WITHIN, "{when} these do not answer: {silent:?}");
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

fn wipe_records(node: &Node) -> Result<()> {
    let mut flash = FlashFile::open(node.flash())?;
    let records = MPS2_AN386.records;
    let begin = records.offset as usize;
    flash.bytes_mut()[begin..begin + records.bytes as usize].fill(0xff);
    flash.save()
}
