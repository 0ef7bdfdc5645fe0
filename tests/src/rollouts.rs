//! Rollouts with the real programs on this machine: twenty agents in waves, with failures, and with a process
//! that is killed repeatedly.

mod eavesdropper;

use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rand_core::Rng;
use rand_pcg::Pcg64Mcg;

use crate::fleet::{
    FIRST_SEQUENCE, Fleet, GROUP, NAME_MARK, Place, Plan, RolloutReport, RolloutRun, Signing,
    healthy_without, manifest,
};
use crate::outcome::{Outcome, rounded};
use crate::programs::{Programs, root};
use eavesdropper::Eavesdropper;

/// Agents of the fleet.
const AGENTS: usize = 20;
/// How many agents the samples are run with.
const SAMPLE_AGENTS: usize = 9;
/// The samples, with their security group and rollout.
const SAMPLES: [(&str, &str, &str); 2] = [("lab", "lab", "lab-0-1-0"), ("canary", "hall", "lamps-2-4-1")];
const RATE: &str = "8Mbit/s";
const LOSS_PERCENT: f64 = 5.0;
/// The measured loss may be in this range, for agents that drop this much: on a busy machine, buffers
/// overflow too.
const LOSS_MEASURED: RangeInclusive<f64> = 3.5..=25.0;
/// How long an agent may take to become healthy. A healthy one needs a fraction of it.
const HEALTH_DEADLINE: &str = "5s";
/// The longest life of a process that is killed, in milliseconds.
const LIFE_MAX_MS: u32 = 1200;
/// How long a rollout may take.
const WITHIN: Duration = Duration::from_secs(300);

/// An agent is unhealthy while a file with this name is in the fleet's folder.
fn sick(name: &str) -> String {
    format!("sick-{name}")
}

/// A canary of 2, then 6, then 12, with one agent in the second wave that never confirms; and a second
/// rollout whose canary fails, so that the other 18 do not activate.
///
/// # Errors
/// A program fails, or hangs.
pub fn demo(folder: &Path, programs: &Programs) -> Result<Outcome> {
    let start = Instant::now();
    let mut fleet = fleet(folder, programs, AGENTS, true)?;
    let names = sorted_names(&fleet);
    // In the second wave, which contains agents 2 to 7 in order of their names.
    let stubborn = &names[4];
    fs::write(fleet.path(sick(stubborn)), "")?;
    fleet.start_all()?;

    write_rollout(&fleet, "first", FIRST_SEQUENCE + 1, 256 * 1024, &waves("2s", ""))?;
    fleet.fwcast(&[&["validate", "-f", "first.yaml"]])?;
    fleet.fwcast(&[&["plan", "-f", "first.yaml"]])?;
    let (first_exit, report) = fleet.run_rollout("first.yaml")?.wait(WITHIN)?;
    let first = report?;

    for canary in &names[..2] {
        fs::write(fleet.path(sick(canary)), "")?;
    }
    write_rollout(&fleet, "second", FIRST_SEQUENCE + 2, 128 * 1024, &waves("2s", ""))?;
    let loss = measured_loss(&fleet, "second.yaml")?;
    let (second_exit, report) = fleet.run_rollout("second.yaml")?.wait(WITHIN)?;
    let second = report?;
    let second_image = fs::read(fleet.path("second.img"))?;
    let untouched = (1..=AGENTS).filter(|number| {
        let runs_it = fleet.running_image(*number).is_ok_and(|image| image == second_image);
        let told = second.agents.iter().any(|agent| {
            agent.tries > 0 && agent.name == format!("{GROUP}/{}", fleet.agent_names()[number - 1])
        });
        !runs_it && !told
    });
    let untouched = untouched.count();
    for line in [&first.doing, &second.doing] {
        println!("{line}");
    }
    let waves: Vec<_> = first.waves.iter().map(|wave| wave.agents).collect();
    let reason = first.agents.iter().find(|agent| agent.progress == "rolled-back");
    let reason = reason.map(|agent| agent.reason.clone()).unwrap_or_default();
    let exits = [first_exit.code(), second_exit.code()];
    let outcomes = [first.outcome.as_deref(), second.outcome.as_deref()];
    let ok = exits == [Some(5), Some(4)]
        && outcomes == [Some("done-with-failures"), Some("stopped")]
        && waves == [2, 6, 12]
        && reason.contains("the health command ended with exit status: 1")
        && first.count("confirmed") == AGENTS - 1
        && untouched == 18
        && LOSS_MEASURED.contains(&loss);
    Ok(Outcome::new(ok)
        .figure("exits", exits.to_vec())
        .figure("outcomes", outcomes.to_vec())
        .figure("waves", waves)
        .figure("reason", reason)
        .figure("confirmed", first.count("confirmed"))
        .figure("rolled_back", first.count("rolled-back") + second.count("rolled-back"))
        .figure("untouched", untouched)
        .figure("loss_percent", loss)
        .figure("seconds", rounded(start.elapsed().as_secs_f64())))
}

/// The process that runs a rollout is killed this many times, at random moments, and restarted each time. The
/// rollout must end as if nothing had happened, and no Partial IV of the distributor may appear on two
/// different datagrams.
///
/// # Errors
/// A program fails, or hangs.
pub fn kills(folder: &Path, programs: &Programs, times: u32, seed: u64) -> Result<Outcome> {
    let start = Instant::now();
    let mut fleet = fleet(folder, programs, AGENTS, false)?;
    let names = sorted_names(&fleet);
    fs::write(fleet.path(sick(&names[4])), "")?;
    fleet.start_all()?;
    // The last wave is approved only after the last kill, so the rollout outlasts all kills.
    write_rollout(&fleet, "first", FIRST_SEQUENCE + 1, 2 * 1024 * 1024, &waves("8s", ", approval: manual"))?;
    let eavesdropper = Eavesdropper::start(fleet.coap_group())?;
    let mut random = Pcg64Mcg::new(u128::from(seed) | 1);
    let mut killed = 0;
    while killed < times {
        let mut run = fleet.run_rollout("first.yaml")?;
        std::thread::sleep(Duration::from_millis(u64::from(random.next_u32() % LIFE_MAX_MS)));
        ensure!(!run.has_ended()?, "the rollout is over after {killed} kills: {:?}", run.wait(WITHIN)?);
        run.kill()?;
        killed += 1;
    }
    let run = fleet.run_rollout("first.yaml")?;
    let (status, report) = approve_to_the_end(&fleet, "first", run)?;
    let heard = eavesdropper.stop()?;
    let as_if_nothing = status.code() == Some(5)
        && report.count("confirmed") == AGENTS - 1
        && report.count("rolled-back") == 1
        && report.agents.iter().all(|agent| agent.tries == 1);
    println!("{}", report.doing);
    Ok(Outcome::new(as_if_nothing && killed == times && heard.repeated == 0 && heard.numbers > 1000)
        .figure("kills", killed)
        .figure("exit", status.code())
        .figure("confirmed", report.count("confirmed"))
        .figure("rolled_back", report.count("rolled-back"))
        .figure("tries_max", report.agents.iter().map(|agent| agent.tries).max().unwrap_or(0))
        .figure("nonces", heard.numbers)
        .figure("nonces_repeated", heard.repeated)
        .figure("seconds", rounded(start.elapsed().as_secs_f64())))
}

/// Runs the samples of `manifests/` that need no particular time, unchanged except for the name of the
/// security group.
///
/// # Errors
/// A program fails, or hangs.
pub fn samples(folder: &Path, programs: &Programs) -> Result<Outcome> {
    let start = Instant::now();
    let mut fleet = fleet(folder, programs, SAMPLE_AGENTS, false)?;
    fleet.start_all()?;
    let mut confirmed = Vec::new();
    for (number, (sample, group, rollout)) in (1..).zip(SAMPLES) {
        let text = fs::read_to_string(root().join("manifests").join(format!("{sample}.yaml")))?;
        let text = text.replace(&format!("\n    group: {group}"), &format!("\n    group: {GROUP}"));
        fs::write(fleet.path(format!("{sample}.yaml")), text)?;
        fleet.make_image("firmware", 32 * 1024 * number)?;
        let _ = fs::remove_file(fleet.path("firmware.suit"));
        fleet.sign("firmware", "firmware.suit", Signing::of_sequence(FIRST_SEQUENCE + number))?;
        let run = fleet.run_rollout(&format!("{sample}.yaml"))?;
        let (status, report) = approve_to_the_end(&fleet, rollout, run)?;
        ensure!(status.success(), "the sample {sample}.yaml ended with {status}: {report:?}");
        confirmed.push(report.count("confirmed"));
    }
    Ok(Outcome::new(confirmed == [SAMPLE_AGENTS; SAMPLES.len()])
        .figure("samples", SAMPLES.map(|(sample, ..)| sample).to_vec())
        .figure("confirmed", confirmed)
        .figure("seconds", rounded(start.elapsed().as_secs_f64())))
}

/// Approves whatever needs an approval, until the rollout ends.
fn approve_to_the_end(
    fleet: &Fleet<'_>,
    rollout: &str,
    mut run: RolloutRun,
) -> Result<(ExitStatus, RolloutReport)> {
    let start = Instant::now();
    while !run.has_ended()? && start.elapsed() < WITHIN {
        // This is refused until an approval is needed.
        fleet.fwcast_output(&["rollout", "approve", rollout])?;
        std::thread::sleep(Duration::from_millis(500));
    }
    let (status, report) = run.wait(WITHIN)?;
    Ok((status, report?))
}

fn fleet<'n>(folder: &Path, programs: &Programs, agents: usize, show: bool) -> Result<Fleet<'n>> {
    let folder = folder.canonicalize()?;
    let mut agent_arguments =
        healthy_without(&folder.join(sick(NAME_MARK)).display().to_string(), HEALTH_DEADLINE);
    agent_arguments.extend(["--label", "model=lamp-2"].map(str::to_owned));
    let plan = Plan { loss_percent: LOSS_PERCENT, agent_arguments, show, ..Plan::new(agents, RATE) };
    Fleet::create(programs, Place::Loopback, &folder, plan)
}

/// The loss in percent that `fwcast plan` uses, which must be a measured one.
fn measured_loss(fleet: &Fleet<'_>, file: &str) -> Result<f64> {
    let output = fleet.fwcast(&[&["plan", "-f", file, "-o", "json"]])?;
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    ensure!(plan["loss_measured_at"].is_string(), "no loss was measured: {plan}");
    let loss = plan["loss"].as_str().and_then(|loss| loss.strip_suffix('%')?.parse().ok());
    loss.with_context(|| format!("the loss is not a percentage: {plan}"))
}

/// The names in the order in which waves take them.
fn sorted_names(fleet: &Fleet<'_>) -> Vec<String> {
    let mut names = fleet.agent_names();
    names.sort();
    names
}

/// Waves of 2, 6 and the others; the first two are watched for this long. `early` is appended to the second
/// one.
fn waves(soak: &str, early: &str) -> String {
    format!(
        "  waves:
    - {{ name: canary, size: 2, soak: {soak} }}
    - {{ name: early, size: 6, soak: {soak}{early} }}
    - {{ name: others, size: rest }}
"
    )
}

/// Creates a signed image of this many bytes, and the rollout manifest that distributes it in these waves,
/// both with this name.
fn write_rollout(fleet: &Fleet<'_>, name: &str, sequence: u64, bytes: u64, waves: &str) -> Result<()> {
    let image = format!("{name}.img");
    fleet.make_image(&image, bytes)?;
    fleet.sign(&image, &format!("{image}.suit"), Signing::of_sequence(sequence))?;
    let spec = format!(
        "{waves}  success: {{ minimum: 80% }}
  activation: {{ when: now, confirmWithin: 20s }}"
    );
    fs::write(fleet.path(format!("{name}.yaml")), manifest(name, &image, &spec))
        .context("cannot write the rollout manifest")
}
