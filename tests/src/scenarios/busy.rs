//! Agents that are busy with another update, until that one is withdrawn.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Scenario, Stage, updates};
use crate::fleet::{FIRST_SEQUENCE, Signing, Update};
use crate::netns::Family::V4;

pub(super) const SCENARIOS: [Scenario; 1] = [Scenario::new("third image", V4, 2, third_image)];

/// So slow that a push can be stopped in the midst.
const RATE: &str = "1Mbit/s";
const IMAGE_BYTES: u64 = 512 * 1024;
const WITHIN: Duration = Duration::from_secs(90);

/// Two pushes are stopped, so that a third image is refused as busy. Withdrawing the second one ends that.
fn third_image(stage: &Stage<'_>) -> Result<()> {
    let mut fleet = stage.fleet(RATE)?;
    fleet.start_all()?;
    let images = [("one.img", 1), ("two.img", 2), ("three.img", 3)].map(|(name, above)| {
        let signing = Signing::of_sequence(FIRST_SEQUENCE + above);
        Update::make_signed(&fleet, name, IMAGE_BYTES - above, signing)
    });
    let [one, two, three] = images;
    let (one, two, three) = (one?, two?, three?);
    for update in [&one, &two] {
        let mut push = update.push(&mut fleet, &[])?;
        updates::wait_for_bytes(stage, &mut push, IMAGE_BYTES / 4)?;
        push.interrupt()?;
        push.wait(WITHIN)?;
    }
    let refused = three.push(&mut fleet, &[])?.wait(WITHIN)?.report?;
    for agent in &refused.agents {
        let why = agent.reason.as_deref().unwrap_or_default();
        let told = ["busy", "manifest sequence number 3", "that ends in", "--cancel"];
        ensure!(agent.state == "refused" && told.iter().all(|part| why.contains(part)), "{agent:?}");
    }
    std::fs::remove_file(fleet.path(&two.image))?;
    let report = two.push(&mut fleet, &["--cancel"])?.wait(WITHIN)?.succeeded()?;
    ensure!(report.ending == "cancelled", "{report:?}");
    let report = three.push(&mut fleet, &[])?.wait(WITHIN)?.succeeded().context("the third image")?;
    updates::everyone_runs(&fleet, &three, &report)
}
