//! Updates that agents or the distributor refuse, each for its own reason.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Scenario, Stage};
use crate::fleet::{FIRST_SEQUENCE, Fleet, Signing, Update};
use crate::netns::Family::{V4, V6};

pub(super) const SCENARIOS: [Scenario; 4] = [
    Scenario::new("downgrade", V6, 2, downgrade),
    Scenario::new("wrong class", V6, 2, wrong_class),
    Scenario::new("wrong image key", V4, 2, wrong_image_key),
    Scenario::new("corrupted image file", V4, 2, corrupted_image_file),
];

const RATE: &str = "4Mbit/s";
const IMAGE_BYTES: u64 = 64 * 1024;
/// How long a push may take.
const WITHIN: Duration = Duration::from_secs(60);
/// Exit code for a wrong signature or hash.
const BAD_SIGNATURE: i32 = 9;

/// [order]: a manifest sequence number below that of the installed image.
fn downgrade(stage: &Stage<'_>) -> Result<()> {
    let mut fleet = stage.fleet(RATE)?;
    fleet.start_all()?;
    let update = Update::make(&fleet, IMAGE_BYTES)?;
    update.push(&mut fleet, &[])?.wait(WITHIN)?.succeeded()?;
    let signing = Signing::of_sequence(FIRST_SEQUENCE);
    let older = Update::make_signed(&fleet, "older.img", IMAGE_BYTES / 2, signing)?;
    refused_by_all(&mut fleet, &older, &[], "newer version")
}

fn wrong_class(stage: &Stage<'_>) -> Result<()> {
    let mut fleet = stage.fleet(RATE)?;
    fleet.start_all()?;
    let signing = Signing { class: "heater-7", ..Signing::of_sequence(FIRST_SEQUENCE + 1) };
    let update = Update::make_signed(&fleet, "new.img", IMAGE_BYTES, signing)?;
    refused_by_all(&mut fleet, &update, &[], "another class")
}

/// A distributor that ignores the key set offers what another key has signed.
fn wrong_image_key(stage: &Stage<'_>) -> Result<()> {
    let mut fleet = stage.fleet(RATE)?;
    fleet.start_all()?;
    fleet.generate_key("image", "other.pem")?;
    let signing = Signing { key: "other.pem", ..Signing::of_sequence(FIRST_SEQUENCE + 1) };
    let update = Update::make_signed(&fleet, "new.img", IMAGE_BYTES, signing)?;
    let pushed = update.push(&mut fleet, &[])?.wait(WITHIN)?;
    ensure!(pushed.status.code() == Some(BAD_SIGNATURE), "ended with {}: {}", pushed.status, pushed.said);
    refused_by_all(&mut fleet, &update, &["--unverified"], "no image key that the device trusts")
}

/// One bit of the image has changed since it was signed: nothing is sent.
fn corrupted_image_file(stage: &Stage<'_>) -> Result<()> {
    let mut fleet = stage.fleet(RATE)?;
    fleet.start_all()?;
    let update = Update::make(&fleet, IMAGE_BYTES)?;
    let path = fleet.path(&update.image);
    let mut bytes = std::fs::read(&path)?;
    bytes[usize::try_from(IMAGE_BYTES / 2)?] ^= 1;
    std::fs::write(&path, bytes)?;
    let before = stage.net.link_bytes(0)?;
    let pushed = update.push(&mut fleet, &[])?.wait(WITHIN)?;
    ensure!(pushed.status.code() == Some(BAD_SIGNATURE), "ended with {}: {}", pushed.status, pushed.said);
    let sent = stage.net.link_bytes(0)? - before;
    ensure!(sent < 2000, "{sent} bytes went over the link");
    Ok(())
}

/// Every agent refuses the update for a reason that contains these words, and keeps its image.
fn refused_by_all(fleet: &mut Fleet<'_>, update: &Update, more: &[&str], why: &str) -> Result<()> {
    let before = fleet.running_image(1)?;
    let pushed = update.push(fleet, more)?.wait(WITHIN)?;
    let report = pushed.report.with_context(|| format!("ended with {}: {}", pushed.status, pushed.said))?;
    ensure!(!report.ok && !pushed.status.success(), "the push reports success: {report:?}");
    for (index, agent) in report.agents.iter().enumerate() {
        let reason = agent.reason.as_deref().unwrap_or_default();
        ensure!(agent.state == "refused", "{} is '{}' ({reason})", agent.name, agent.state);
        ensure!(reason.contains(why), "{} refuses because: {reason}", agent.name);
        ensure!(fleet.running_image(index + 1)? == before, "{} runs another image", agent.name);
    }
    ensure!(report.agents.len() == fleet.agent_names().len(), "some agents are not in the report");
    Ok(())
}
