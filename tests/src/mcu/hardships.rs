//! What the nodes of a trial must withstand in addition to power cuts: junk, silence, bad starts, images that
//! do not fit.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use agent_embedded::layouts::MPS2_AN386;
use agent_embedded::provisioning::HEADER_BYTES;
use anyhow::{Context, Result};
use update_core::refusal::Refusal;

use super::flash_file::FlashFile;
use super::node::Node;
use super::trial::{PUSH_WITHIN, Trial, active_is, name};
use super::{bad_starts, secrets};
use crate::fleet::{FIRST_SEQUENCE, Signing, manifest};

/// How long no flash may change while only junk arrives, and how long the update may take to finish before
/// that.
const JUNK_ALONE: Duration = Duration::from_secs(4);
const QUIET_WITHIN: Duration = Duration::from_secs(90);
/// The measuring time for the processor use of idle nodes, and the limit.
const ASLEEP: Duration = Duration::from_secs(5);
const AWAKE_MAX: f64 = 0.1;
/// A node answers on its console within this.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// A part of the answer.
const STATUS: &str = "agent: state=";
/// How a node reports that it has rolled back after a reset.
const RESET: &str = ": reset before it was confirmed";
/// How a boot stage reports that the image before the damaged one runs.
const PREVIOUS: &str = "older than the damaged image";
/// Which byte of the image is damaged.
const DAMAGED_AT: usize = 1000;
/// How a node reports that it has rolled back by order.
const UNDONE: &str = ": by order";

impl Trial<'_> {
    /// A separate board, whose provisioning is wrong in every way.
    pub(super) fn bad_starts(&mut self, folder: &Path) -> Result<()> {
        let Some(good) = self.nodes.first().map(|node| node.flash().to_owned()) else { return Ok(()) };
        let IpAddr::V6(group) = self.fleet.coap_group().ip() else { return Ok(()) };
        let host = self.wish.linux + 2 + self.wish.nodes;
        self.net.add_tap(host)?;
        let mut node = Node::new(host, &self.images.boot.file, folder);
        self.found.wrong.extend(bad_starts::try_all(&mut node, self.net, &good, &group.octets())?);
        self.found.wrong.extend(bad_starts::without_records(&mut node, self.net, &good)?);
        let Some(late) = &self.images.late else { return Ok(()) };
        fs::write(self.fleet.path("late.img"), &late.linked.image)?;
        self.fleet.sign("late.img", "late.suit", Signing::of_sequence(FIRST_SEQUENCE))?;
        let envelope = fs::read(self.fleet.path("late.suit"))?;
        let late = (&*late.linked.image, &*envelope);
        self.found.wrong.extend(bad_starts::late(&mut node, self.net, &good, late)?);
        Ok(())
    }

    /// While only junk arrives, no byte of any flash changes.
    pub(super) fn junk_alone(&mut self) -> Result<()> {
        let start = Instant::now();
        let flashes = |nodes: &[Node]| -> Result<Vec<Vec<u8>>> {
            nodes.iter().map(|node| Ok(fs::read(node.flash())?)).collect()
        };
        let mut before = flashes(&self.nodes)?;
        while start.elapsed() < QUIET_WITHIN {
            std::thread::sleep(JUNK_ALONE);
            let after = flashes(&self.nodes)?;
            if before == after {
                println!("junk alone: no flash changes");
                return Ok(());
            }
            before = after;
        }
        self.found.wrong.push("junk makes nodes write to their flash".to_owned());
        Ok(())
    }

    /// Idle nodes do not use the processor.
    pub(super) fn sleeps(&mut self, when: &str) -> Result<()> {
        let count = |nodes: &[Node]| nodes.iter().map(Node::cpu_time).collect::<Result<Vec<_>>>();
        let before = count(&self.nodes)?;
        std::thread::sleep(ASLEEP);
        let mut most: f64 = 0.0;
        for (node, (before, after)) in self.nodes.iter().zip(before.into_iter().zip(count(&self.nodes)?)) {
            let awake = (after - before).as_secs_f64() / ASLEEP.as_secs_f64();
            most = most.max(awake);
            if awake > AWAKE_MAX {
                let percent = awake * 100.0;
                self.found.wrong.push(format!("{} is awake {percent:.0} % of the time {when}", name(node)));
            }
        }
        println!("{when} the nodes take at most {:.1} % of a processor", most * 100.0);
        self.found.awake_percent = self.found.awake_percent.max(most * 100.0);
        Ok(())
    }

    /// The distributor dies in the middle of a transfer.
    pub(super) fn sleeps_without_distributor(&mut self) -> Result<()> {
        self.fleet.sign("third.img", "third.img.suit", Signing::of_sequence(FIRST_SEQUENCE + 2))?;
        let accepted: Vec<usize> = self.nodes.iter().map(|node| node.lines_with("agent: accepted")).collect();
        let push = self.fleet.push("third.img", "third.img.suit", &[])?;
        for (node, accepted) in self.nodes.iter_mut().zip(accepted) {
            node.wait_for("agent: accepted", accepted + 1, PUSH_WITHIN)?;
        }
        push.kill()?;
        // What was sent is stored, and the agents have noticed that nothing arrives any more.
        std::thread::sleep(Duration::from_secs(8));
        self.sleeps("with the distributor gone")?;
        for node in &mut self.nodes {
            node.ask(STATUS, ANSWERS_WITHIN)?;
        }
        Ok(())
    }

    /// A node whose update hangs, faults or cannot start returns to the previous image on its own.
    pub(super) fn hangs(&mut self) -> Result<()> {
        let images = self.images;
        for (sequence, (what, program)) in (FIRST_SEQUENCE + 3..).zip(&images.stuck) {
            let (file, envelope) = (format!("{what}.img"), format!("{what}.suit"));
            fs::write(self.fleet.path(&file), &program.linked.image)?;
            self.fleet.sign(&file, &envelope, Signing::of_sequence(sequence))?;
            let Some(node) = self.nodes.last() else { return Ok(()) };
            let rollout = self.write_rollout(what, &file, &envelope, &[name(node)])?;
            let before = node.lines_with(RESET);
            let report = self.fleet.run_rollout(&rollout)?.wait(PUSH_WITHIN)?.1?;
            let Some(node) = self.nodes.last_mut() else { return Ok(()) };
            let said = node.wait_for(RESET, before + 1, ANSWERS_WITHIN);
            let back = said.is_ok() && active_is(node, &images.second.linked.image)?;
            let ended = if back { "came back on its own" } else { "did not come back" };
            println!("the update that was built with `{what}`: the node {ended}");
            self.found.rollbacks += usize::from(back);
            if !back || report.count("rolled-back") != 1 {
                let name = name(node);
                self.found.wrong.push(format!("{name} and an update that {what}: {report:?}"));
            }
        }
        Ok(())
    }

    /// Writes the manifest of a rollout to only these agents; returns the name of the file.
    fn write_rollout(&self, name: &str, image: &str, envelope: &str, agents: &[String]) -> Result<String> {
        let agents = format!("agents: [{}]", agents.join(", "));
        let text =
            manifest(name, name, "  activation: { confirmWithin: 4m }").replace("selector: {}", &agents);
        let image = format!(
            "---\napiVersion: fwcast/v1\nkind: Image\nmetadata: {{ name: {name} }}\n\
             spec: {{ version: \"3\", file: {image}, envelope: {envelope} }}\n"
        );
        let file = format!("{name}.yaml");
        fs::write(self.fleet.path(&file), text + &image)?;
        Ok(file)
    }

    /// How many nodes run the previous image again, and have reported it in one more line than `before`.
    pub(super) fn came_back(&mut self, said: &str, before: &[usize], within: Duration) -> Result<usize> {
        let image = &self.images.second.linked.image;
        let mut back = 0;
        for (node, before) in self.nodes.iter_mut().zip(before) {
            if node.wait_for(said, before + 1, within).is_ok() && active_is(node, image)? {
                back += 1;
            } else {
                self.found.wrong.push(format!("{} did not come back: '{said}'", name(node)));
            }
        }
        self.found.rollbacks += back;
        Ok(back)
    }

    /// An image on trial is taken back by order, before it can give itself up.
    pub(super) fn undone(&mut self) -> Result<()> {
        self.fleet.sign("third.img", "undone.suit", Signing::of_sequence(FIRST_SEQUENCE + 6))?;
        let names: Vec<String> = self.nodes.iter().map(name).collect();
        let rollout = self.write_rollout("undone", "third.img", "undone.suit", &names)?;
        let before: Vec<usize> = self.nodes.iter().map(|node| node.lines_with(UNDONE)).collect();
        let run = self.fleet.run_rollout(&rollout)?;
        let start = Instant::now();
        while self.fleet.rollout_count("undone", "trial")? < names.len() && start.elapsed() < PUSH_WITHIN {
            std::thread::sleep(Duration::from_millis(200));
        }
        self.fleet.fwcast(&[&["rollout", "undo", "undone", "--yes"]])?;
        let report = run.wait(PUSH_WITHIN)?.1?;
        let told = report.count("rolled-back");
        let back = self.came_back(UNDONE, &before, ANSWERS_WITHIN)?;
        println!("an image on trial, undone by order: {back} rolled back, {told} reported it");
        if told != names.len() || report.outcome.as_deref() != Some("undone") {
            self.found.wrong.push(format!("the rollout that was undone: {report:?}"));
        }
        Ok(())
    }

    /// An image that does not fit is refused, and the nodes are not affected.
    pub(super) fn too_large(&mut self) -> Result<()> {
        let bytes = u64::from(MPS2_AN386.image_bytes_max()) + 1;
        self.fleet.make_image("large.img", bytes)?;
        let starts: Vec<usize> = self.nodes.iter().map(|node| node.lines_with("image version=")).collect();
        let signing = Signing::of_sequence(FIRST_SEQUENCE + 9);
        let why = Refusal::ImageTooLarge.text();
        self.refused("the image larger than the slot", "large.img", signing, why, false)?;
        for (node, starts) in self.nodes.iter_mut().zip(starts) {
            node.ask(STATUS, ANSWERS_WITHIN)?;
            if node.lines_with("image version=") != starts {
                self.found
                    .wrong
                    .push(format!("{} restarts because of an image that is too large", name(node)));
            }
        }
        Ok(())
    }

    /// After all of that every node takes one more update, including the recovered ones.
    pub(super) fn last_update(&mut self) -> Result<()> {
        self.fleet.sign("second.img", "last.suit", Signing::of_sequence(FIRST_SEQUENCE + 10))?;
        let pushed = self.fleet.push("second.img", "last.suit", &[])?.wait(PUSH_WITHIN)?;
        let report = pushed.report.with_context(|| pushed.said.clone())?;
        let confirmed = report.count("confirmed");
        println!("one more update: {confirmed} of {} confirmed", report.agents.len());
        let image = &self.images.second.linked.image;
        for node in &self.nodes {
            if !active_is(node, image)? {
                self.found.wrong.push(format!("{} does not run the last update", name(node)));
            }
        }
        if confirmed != report.agents.len() {
            self.found.wrong.push(format!("{confirmed} have confirmed the last update: {:?}", report.agents));
        }
        Ok(())
    }

    /// A bit of the confirmed image is flipped, and the previous image is in the other slot. That image runs,
    /// reports it, and accepts the confirmed one again.
    pub(super) fn previous_runs(&mut self) -> Result<()> {
        let Some(node) = self.nodes.last_mut() else { return Ok(()) };
        let name = name(node);
        let before = (node.lines_with(PREVIOUS), node.lines_with("listens to"));
        node.cut()?;
        let mut flash = FlashFile::open(node.flash())?;
        flash.bytes_mut()[MPS2_AN386.active.offset as usize + DAMAGED_AT] ^= 1;
        flash.save()?;
        node.start(self.net)?;
        if let Err(why) = node.wait_for(PREVIOUS, before.0 + 1, ANSWERS_WITHIN) {
            self.found.wrong.push(format!("the previous image does not run: {why:#}"));
            return Ok(());
        }
        node.wait_for("listens to", before.1 + 1, QUIET_WITHIN)?;
        let report = self.fleet.status()?.into_iter().find(|report| report.name == name);
        let reason = report.and_then(|report| report.reason).unwrap_or_default();
        println!("a damaged image: {name} runs the previous one and reports '{reason}'");
        if !reason.contains("damaged") {
            self.found.wrong.push(format!("{name} does not report that the previous image runs"));
        }
        let pushed = self.fleet.push("second.img", "last.suit", &[])?.wait(PUSH_WITHIN)?;
        let report = pushed.report.with_context(|| pushed.said.clone())?;
        let confirmed = report.count("confirmed");
        println!("the damaged image again: {confirmed} of {} confirmed", report.agents.len());
        let image = &self.images.second.linked.image;
        let Some(node) = self.nodes.last() else { return Ok(()) };
        if confirmed != report.agents.len() || !active_is(node, image)? {
            self.found.wrong.push(format!("{name} has not taken its image again: {:?}", report.agents));
        }
        Ok(())
    }

    /// No console has printed a secret.
    pub(super) fn secrets(&mut self) -> Result<()> {
        for node in &self.nodes {
            let file = fs::read(self.fleet.path(format!("{}.cbor", name(node))))?;
            let secrets = secrets::of(&file, HEADER_BYTES)?;
            let console = node.console();
            if secrets.iter().any(|secret| secrets::is_said(secret, &console)) {
                self.found.wrong.push(format!("the console of {} contains a secret", name(node)));
            }
        }
        Ok(())
    }
}
