//! `fwcast push`: one update to one group, in the foreground.

use std::path::PathBuf;

use clap::Args;
use provisioning::Name;
use update_core::census::State;
use update_core::distribution::Ending;
use update_core::suit::Offer;

use super::arguments::{Rate, seconds};
use super::completions::security_groups;
use super::exit_codes::{Exit, Failure};
use super::kind::on_fleet;
use super::output::{self, say};
use super::progress::Progress;
use super::report::outcome::PushReport;
use crate::commands::global::Global;
use fwcast_service::control::Stop;
use fwcast_service::drive::DistributionEnd;
use fwcast_service::push::{self, Request};
use fwcast_state::files::shown;
use rollout_engine::Many;

/// Deliver an image to every agent of a group, and activate it there
#[derive(Debug, Args)]
pub struct Push {
    /// The image file
    image: PathBuf,
    /// Its signed SUIT envelope [default: IMAGE with .suit appended]
    #[arg(long, value_name = "FILE")]
    envelope: Option<PathBuf>,
    /// The group
    #[arg(short, long, add = security_groups())]
    group: Name,
    /// Only deliver it: leave it ready, and do not activate it
    #[arg(long)]
    no_activate: bool,
    /// Withdraw it instead: agents that have not activated it drop it and are free for another image. Needs
    /// only the envelope
    #[arg(long, conflicts_with_all = ["no_activate", "retry", "delay", "unverified"])]
    cancel: bool,
    /// Retry agents that rolled back an earlier activation
    #[arg(long)]
    retry: bool,
    /// Agents activate this long after they hear it [default: at once]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    delay: Option<u32>,
    /// How long an agent may take to answer at all. One that has not is lost
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = seconds)]
    first_answer_within: u32,
    /// How long an agent that has answered may take to receive the whole image. One that misses something
    /// then is lost
    #[arg(long, value_name = "TIME", default_value = "6h", value_parser = seconds)]
    transfer_within: u32,
    /// How long an agent may take from its activation to the report of its trial. One that has not reported
    /// then is lost
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = seconds)]
    confirm_within: u32,
    /// Send at this rate instead of the group's, in bits per second on the link
    #[arg(long)]
    rate: Option<Rate>,
    /// Offer it even if this machine's key set cannot verify it: the agents decide
    #[arg(long)]
    unverified: bool,
    /// No progress on standard error
    #[arg(short, long)]
    quiet: bool,
}

impl Push {
    /// Delivers the update, and prints the result of each agent.
    pub fn run(&self, global: &Global) -> Result<Exit, Failure> {
        // Everything about the image is checked before the group is touched.
        let checked = push::check(&global.state_dir()?, self.request())?;
        let pushed = on_fleet(global, async |fleet| {
            let push = fleet.open_push(checked).await?;
            self.say_what_begins(push.offer(), push.agents(), push.rate_bits_per_second());
            let mut progress = Progress::new(self.quiet, push.offer().layout.block_size.bytes());
            let pushed = push.run(&mut progress, Stop::on_signals()?).await;
            progress.finish();
            Ok((pushed?, progress.rounds()))
        });
        let (pushed, rounds) = pushed?;
        if let Some(error) = &pushed.not_noted {
            say!("note: some reports and measurements could not be stored: {error}");
        }
        let report = PushReport::new(&pushed, rounds, self.wanted());
        output::print(global.output, &report)?;
        if global.output.is_for_people() {
            self.say_how_it_ended(pushed.ended, &report);
        }
        Ok(report.exit(pushed.ended))
    }

    fn request(&self) -> Request {
        Request {
            image: self.image.clone(),
            envelope: self.envelope.clone(),
            group: self.group.clone(),
            activate: !self.no_activate,
            retry: self.retry,
            delay_s: self.delay.unwrap_or(0),
            first_answer_within_s: self.first_answer_within,
            transfer_within_s: self.transfer_within,
            confirm_within_s: self.confirm_within,
            rate_bits_per_second: self.rate.map(|rate| rate.0),
            unverified: self.unverified,
            cancel: self.cancel,
        }
    }

    const fn wanted(&self) -> State {
        if self.no_activate { State::Ready } else { State::Confirmed }
    }

    fn say_what_begins(&self, offer: &Offer, agents: usize, rate: u64) {
        if !self.quiet {
            let doing = if self.cancel { "withdrawing" } else { "pushing" };
            say!(
                "{doing} update {} (manifest sequence number {}) to {} of group {} at {}",
                offer.id,
                offer.sequence_number,
                Many(agents, "agent"),
                self.group,
                Rate(rate)
            );
        }
    }

    fn say_how_it_ended(&self, ended: DistributionEnd, report: &PushReport) {
        let (there, of) = report.counts();
        let state = self.wanted().name();
        match ended {
            DistributionEnd::Interrupted => {
                say!("stopped; agents keep what they have, and the same command continues from there");
            }
            DistributionEnd::By(Ending::NobodyAnswered) => {
                say!("no agent answered: check that they run, then `fwcast doctor --group {}`", self.group);
            }
            DistributionEnd::By(Ending::ImageUnreadable) => say!(
                "{} changed or could not be read while it was sent; agents keep what they have; with the \
                 right file, the same command continues",
                shown(&self.image)
            ),
            DistributionEnd::By(Ending::Cancelled) => say!(
                "{there} of {} do not hold the update any more; who has it on trial or confirmed keeps it",
                Many(of, "agent")
            ),
            DistributionEnd::By(_) => {
                say!("{there} of {} {state} after {:.1} s", Many(of, "agent"), report.seconds);
            }
        }
    }
}
