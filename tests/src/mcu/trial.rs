//! The trial of the emulated board: nodes and Linux agents in one group, a real distributor, loss on every
//! link, and an update during which every node loses its power repeatedly.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use agent_embedded::layouts::MPS2_AN386;
use anyhow::{Context, Result, ensure};
use embedded_storage::nor_flash::NorFlash as _;
use rand_core::Rng;
use rand_pcg::Pcg64Mcg;

use super::build::Images;
use super::cuts::{Cut, Cuts, Moment};
use super::flash_file::FlashFile;
use super::flood::Flood;
use super::node::Node;
use crate::fleet::{CLASS, FIRST_SEQUENCE, Fleet, GROUP, Place, Plan, Pushed, Signing, VENDOR, with_manager};
use crate::netns::{Family, Net};
use crate::programs::Programs;
use crate::push_report::PushReport;

/// Slow enough that power can be cut in the middle of the transfer.
const RATE: &str = "200kbit/s";
/// How long a node may take until it listens.
pub(super) const UP_WITHIN: Duration = Duration::from_secs(60);
/// How long a push may take.
pub(super) const PUSH_WITHIN: Duration = Duration::from_secs(900);
/// How often nodes are checked while a push runs.
const GLANCE: Duration = Duration::from_millis(3);
/// Pushes that retry nodes whose first boot was cut.
const RETRIES_MAX: usize = 8;
/// How many power cuts each node must go through, if that many are requested.
const CUTS_MIN: usize = 3;
/// How a node reports that it returned to the previous image.
const ROLLED_BACK: &str = "agent: rolled back";
/// A class that no device has.
const OTHER_CLASS: &str = "lamp-9";

/// The parameters of a trial.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// Emulated nodes.
    pub nodes: usize,
    /// Linux agents.
    pub linux: usize,
    /// Loss on every link, each way.
    pub loss_percent: f64,
    /// Power cuts of each node.
    pub cuts: u32,
    /// Decides when the cuts occur.
    pub seed: u64,
    /// Only the update.
    pub quick: bool,
}

/// The results.
#[derive(Debug, Default)]
pub struct Found {
    /// Nodes and agents that confirmed the update.
    pub confirmed: usize,
    /// Power cuts that occurred while something was in progress.
    pub cuts: usize,
    /// Of these: in the transfer, in the boot stage, between two pages of the exchange, at the first boot.
    pub cuts_at: [usize; 4],
    /// Blocks that were in flash, verified, and were requested again.
    pub blocks_refetched: usize,
    /// How often a node returned to the previous image.
    pub rollbacks: usize,
    /// Datagrams that nobody should have believed.
    pub junk: u64,
    /// The highest processor use of an idle node.
    pub awake_percent: f64,
    /// The deepest stack of any node.
    pub stack_bytes: u64,
    /// What went wrong.
    pub wrong: Vec<String>,
}

/// A running trial.
pub struct Trial<'a> {
    pub(super) net: &'a Net,
    pub(super) fleet: Fleet<'a>,
    pub(super) nodes: Vec<Node>,
    pub(super) images: &'a Images,
    pub(super) wish: Wish,
    dice: Pcg64Mcg,
    pub(super) found: Found,
}

impl Trial<'_> {
    /// Runs it, from the enrolment to the last bad image.
    ///
    /// # Errors
    /// Something cannot be done at all; test failures are in [`Found::wrong`].
    pub fn run(folder: &Path, programs: &Programs, images: &Images, wish: Wish) -> Result<Found> {
        // The distributor, the Linux agents, and a host for the junk.
        let hosts = u8::try_from(wish.linux + 2).context("too many agents")?;
        let net = Net::new("mcu", Family::V6, hosts)?;
        let group_arguments = with_manager(net.address(0));
        let plan = Plan { group_arguments, ..Plan::new(wish.linux, RATE) };
        let fleet = Fleet::create(programs, Place::Net(&net), folder, plan)?;
        let dice = Pcg64Mcg::new(u128::from(wish.seed) | 1 << 64);
        let found = Found::default();
        let mut trial = Trial { net: &net, fleet, nodes: Vec::new(), images, wish, dice, found };
        trial.prepare(folder)?;
        let flood = Flood::start(&net, wish.linux + 1, trial.fleet.coap_group(), wish.seed)?;
        trial.update()?;
        if images.has_lamp {
            trial.lamp()?;
        }
        trial.junk_alone()?;
        trial.found.junk = flood.stop()?;
        trial.new_keys()?;
        trial.sleeps("after the update")?;
        if !wish.quick {
            trial.sleeps_without_distributor()?;
            trial.never_confirmed()?;
            trial.hangs()?;
            trial.undone()?;
            trial.refused("the downgrade", "second.img", Signing::of_sequence(1), "a newer version", true)?;
            let other = Signing { class: OTHER_CLASS, ..Signing::of_sequence(9) };
            trial.refused("the image of another class", "second.img", other, "another class", true)?;
            trial.too_large()?;
            trial.flipped_bit()?;
            trial.last_update()?;
            trial.previous_runs()?;
        }
        trial.lost_count()?;
        trial.secrets()?;
        for node in &trial.nodes {
            trial.found.stack_bytes = trial.found.stack_bytes.max(node.stack_bytes()?);
        }
        Ok(trial.found)
    }

    /// Enrolls the nodes, writes their flash as in production, and starts everything.
    fn prepare(&mut self, folder: &Path) -> Result<()> {
        for (name, program) in [
            ("first.bin", &self.images.first),
            ("second.img", &self.images.second),
            ("third.img", &self.images.sick),
        ] {
            fs::write(self.fleet.path(name), &program.linked.image)?;
        }
        self.fleet.sign("first.bin", "first.suit", Signing::of_sequence(FIRST_SEQUENCE))?;
        let envelope = fs::read(self.fleet.path("first.suit"))?;
        for number in 0..self.wish.nodes {
            let host = self.wish.linux + 2 + number;
            self.net.add_tap(host)?;
            let node = Node::new(host, &self.images.boot.file, folder);
            self.enroll(&node, &envelope)?;
            self.nodes.push(node);
        }
        self.bad_starts(folder)?;
        self.fleet.start_all()?;
        for node in &mut self.nodes {
            node.start(self.net)?;
        }
        for node in &mut self.nodes {
            node.wait_for("listens to", 1, UP_WITHIN)?;
        }
        for host in (1..=self.wish.linux).chain(self.nodes.iter().map(Node::host)) {
            self.net.drop_randomly(host, self.wish.loss_percent)?;
        }
        println!("{} nodes and {} Linux agents listen", self.wish.nodes, self.wish.linux);
        Ok(())
    }

    fn enroll(&self, node: &Node, envelope: &[u8]) -> Result<()> {
        let (name, file) = (name(node), format!("{}.cbor", name(node)));
        let address = format!("{}/64", self.net.address(node.host()));
        self.fleet.fwcast(&[
            &["agent", "enroll", &name, "--group", GROUP, "--vendor", VENDOR, "--class", CLASS][..],
            &["--format", "cbor", "--address", &address, "--out", &file],
        ])?;
        let provisioning = fs::read(self.fleet.path(&file))?;
        let mut flash = FlashFile::erased(node.flash());
        let layout = MPS2_AN386;
        let mut buffer = [0; boot_stage::image::WRITTEN_BYTES_MAX];
        let trailer =
            boot_stage::image::trailer(envelope, &mut buffer).context("the envelope is too long")?;
        for (offset, bytes) in [
            (layout.provisioning.offset, &*provisioning),
            (layout.active.offset, &self.images.first.linked.image),
            (layout.trailer(layout.active).offset, trailer),
        ] {
            let mut words = bytes.to_vec();
            words.resize(bytes.len().next_multiple_of(4), 0xff);
            flash.write(offset, &words).map_err(|error| anyhow::anyhow!("the flash refuses: {error:?}"))?;
        }
        flash.save()
    }

    /// The update, with power cuts.
    fn update(&mut self) -> Result<()> {
        self.fleet.sign("second.img", "second.img.suit", Signing::of_sequence(FIRST_SEQUENCE + 1))?;
        let mut cuts = self.plan_cuts();
        let mut report = self.push_with_cuts(&[], &mut cuts)?;
        let blocks = report.blocks_multicast;
        // An image whose first boot was cut has been rolled back, as it must. The operator retries it, and no
        // block is sent for that.
        for _ in 0..RETRIES_MAX {
            let back = report.count("rolled back");
            if back == 0 {
                break;
            }
            println!("update: {back} rolled back, because their first boot was cut: retrying them");
            self.found.rollbacks += back;
            report = self.push_with_cuts(&["--retry"], &mut cuts)?;
            if report.blocks_multicast + report.blocks_unicast > 0 {
                self.found.wrong.push("the retry has sent blocks again".to_owned());
            }
        }
        self.note_cuts(&cuts);
        self.found.confirmed = report.count("confirmed");
        println!("update: {} confirmed, {blocks} blocks sent by multicast", self.found.confirmed);
        self.check_update(&report)
    }

    fn plan_cuts(&self) -> Vec<Cuts> {
        let image = &self.images.second.linked.image;
        self.nodes.iter().map(|_| Cuts::plan(self.wish.cuts, image)).collect()
    }

    fn note_cuts(&mut self, cuts: &[Cuts]) {
        let least = CUTS_MIN.min(self.wish.cuts as usize);
        for (node, cuts) in self.nodes.iter().zip(cuts) {
            self.found.cuts += cuts.made();
            self.found.blocks_refetched += cuts.refetched(node);
            if cuts.made() < least {
                let made = cuts.made();
                self.found.wrong.push(format!("{} lost its power {made} times, not {least}", name(node)));
            }
        }
        let at = |moment| cuts.iter().map(|cuts| cuts.made_at(&[moment])).sum();
        self.found.cuts_at =
            [Moment::Transfer, Moment::BootStage, Moment::Exchange, Moment::FirstBoot].map(at);
        let [transfer, boot_stage, exchange, first_boot] = self.found.cuts_at;
        println!(
            "power cuts: {transfer} at the transfer, {boot_stage} in the boot stage, {exchange} in the midst \
             of the exchange, {first_boot} at the first boot; {} came too late and do not count",
            at(Moment::Missed)
        );
        if self.found.blocks_refetched > transfer {
            let blocks = self.found.blocks_refetched;
            self.found
                .wrong
                .push(format!("{blocks} verified blocks were fetched again after {transfer} cuts"));
        }
    }

    fn push_with_cuts(&mut self, more: &[&str], cuts: &mut [Cuts]) -> Result<PushReport> {
        let mut push = self.fleet.push("second.img", "second.img.suit", more)?;
        let start = Instant::now();
        while !push.has_ended()? && start.elapsed() < PUSH_WITHIN {
            self.cut_where_due(cuts)?;
            std::thread::sleep(GLANCE);
        }
        let pushed = push.wait(Duration::from_secs(1))?;
        // A node that is without power now gets it back before the next push.
        for (node, cuts) in self.nodes.iter_mut().zip(cuts) {
            cuts.light(node, self.net)?;
        }
        let Pushed { report, said, .. } = pushed;
        report.with_context(|| format!("the push failed: {said}"))
    }

    fn check_update(&mut self, report: &PushReport) -> Result<()> {
        let image = &self.images.second.linked.image;
        let wrong = &mut self.found.wrong;
        for node in &mut self.nodes {
            node.wait_for("listens to", 1, UP_WITHIN)?;
            let console = node.console();
            let last = console.lines().rfind(|line| line.contains("image version="));
            if !last.is_some_and(|line| line.contains("image version=2")) {
                wrong.push(format!("{} does not run the update", name(node)));
            }
            if !active_is(node, image)? {
                wrong.push(format!("the active slot of {} is not the update", name(node)));
            }
        }
        let everyone = self.wish.nodes + self.wish.linux;
        if self.found.confirmed != everyone {
            wrong.push(format!("{} of {everyone} have confirmed: {:?}", self.found.confirmed, report.agents));
        }
        Ok(())
    }

    fn cut_where_due(&mut self, cuts: &mut [Cuts]) -> Result<()> {
        for (node, cuts) in self.nodes.iter_mut().zip(cuts) {
            if let Some(Cut { moment, .. }) = cuts.look(node, self.net, &mut self.dice)? {
                println!("{}: power cut, {moment:?}", name(node));
            }
        }
        Ok(())
    }

    /// An image that never proves healthy is rolled back to the previous one. The push continues the one that
    /// died in [`Self::sleeps_without_distributor`].
    fn never_confirmed(&mut self) -> Result<()> {
        let before: Vec<usize> = self.nodes.iter().map(|node| node.lines_with(ROLLED_BACK)).collect();
        let push = self.fleet.push("third.img", "third.img.suit", &["--confirm-within", "4min"])?;
        let pushed = push.wait(PUSH_WITHIN)?;
        let report = pushed.report.with_context(|| pushed.said.clone())?;
        let told = report.count("rolled back");
        let back = self.came_back(ROLLED_BACK, &before, UP_WITHIN)?;
        println!("an image that never proves healthy: {back} rolled back, {told} reported it");
        if told != self.wish.nodes {
            self.found.wrong.push(format!("{told} nodes reported a roll back: {:?}", report.agents));
        }
        Ok(())
    }

    /// Every node refuses an image signed like this, with a reason that contains `why`. So do the Linux
    /// agents, if it is not meant for them either.
    pub(super) fn refused(
        &mut self,
        what: &str,
        image: &str,
        signing: Signing<'_>,
        why: &str,
        linux_too: bool,
    ) -> Result<()> {
        let envelope = format!("{}.suit", what.replace(' ', "-"));
        self.fleet.sign(image, &envelope, signing)?;
        let pushed = self.fleet.push(image, &envelope, &["--transfer-within", "60s"])?.wait(PUSH_WITHIN)?;
        let said = pushed.said.clone();
        let report = pushed.report.with_context(|| said)?;
        let told = report.agents.iter().filter(|it| it.reason.as_deref().is_some_and(|it| it.contains(why)));
        let told = told.count();
        let wanted = if linux_too { report.agents.len() } else { self.nodes.len() };
        println!("{what}: {told} of {wanted} refused it");
        if told != wanted {
            self.found.wrong.push(format!("{told} refused {what}: {:?}", report.agents));
        }
        for node in &self.nodes {
            if node.lines_with(why) == 0 {
                self.found.wrong.push(format!("{} did not report that it refuses {what}", name(node)));
            }
        }
        Ok(())
    }

    /// A bit of the active slot is flipped while the power is off: the boot stage notices.
    fn flipped_bit(&mut self) -> Result<()> {
        let place = self.dice.next_u32() as usize % self.images.second.linked.image.len();
        let Some(node) = self.nodes.first_mut() else { return Ok(()) };
        node.cut()?;
        let (jumped, noticed) = (node.lines_with("boot: runs"), node.lines_with("damaged"));
        let recovered = node.lines_with("recovered from the other slot");
        let listened = node.lines_with("listens to");
        let mut flash = FlashFile::open(node.flash())?;
        flash.bytes_mut()[MPS2_AN386.active.offset as usize + place] ^= 1;
        flash.save()?;
        node.start(self.net)?;
        std::thread::sleep(Duration::from_secs(3));
        let recovers = node.lines_with("recovered from the other slot") > recovered;
        let refuses = node.lines_with("damaged") > noticed && node.lines_with("boot: runs") == jumped;
        println!("a flipped bit: {}", if recovers { "recovered" } else { "refused by the boot stage" });
        if !recovers && !refuses {
            self.found.wrong.push(format!("{} runs a damaged image", name(node)));
        }
        if recovers {
            node.wait_for("listens to", listened + 1, UP_WITHIN)?;
            let name = name(node);
            let report = self.fleet.status()?.into_iter().find(|report| report.name == name);
            let reason = report.and_then(|report| report.reason).unwrap_or_default();
            println!("a flipped bit: {name} reports '{reason}'");
            if !reason.contains("damaged") {
                self.found.wrong.push(format!("{name} does not report that it recovered"));
            }
        }
        Ok(())
    }
}

pub(super) fn name(node: &Node) -> String {
    format!("node-{}", node.host())
}

/// Whether the active slot holds this image.
pub(super) fn active_is(node: &Node, image: &[u8]) -> Result<bool> {
    let flash = FlashFile::open(node.flash())?;
    let begin = MPS2_AN386.active.offset as usize;
    let slot = flash.bytes().get(begin..begin + image.len());
    ensure!(slot.is_some(), "the image is larger than the flash");
    Ok(slot == Some(image))
}
