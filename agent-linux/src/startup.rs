//! Opens the device from its configuration, or only checks it.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::command::Launcher;
use crate::config::{Config, shown};
use crate::disk::Disk;
use crate::failure::Failure;
use crate::interface::Interface;
use crate::linux_platform::{LinuxPlatform, PlatformError};
use crate::loss::Loss;
use crate::machine::{self, Machine, OtherMachine};
use crate::notify::Notifier;
use crate::run::Device;
use crate::slots::{OpenError, Slots, Switch};
use crate::sockets::Sockets;
use crate::watch::Watch;

/// How often an interface is looked for that is not there yet.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The configured interface, which is waited for: at boot it may come after the agent, or with an adapter.
///
/// # Errors
/// It has not come within this time. The unit starts the agent again then.
pub async fn interface(config: &Config, within: Duration) -> Result<Interface, Failure> {
    let start = Instant::now();
    let notifier = Notifier::from_environment();
    loop {
        let error = match Interface::by_name(&config.interface) {
            Ok(interface) => return Ok(interface),
            Err(error) => error,
        };
        if start.elapsed() >= within {
            return Err(Failure::error(format!("{error}; it did not come within {} s", within.as_secs())));
        }
        if start.elapsed() < LOOK_AGAIN {
            tracing::warn!("{error}: waiting for it");
            notifier.waits(&format!("waiting for the interface {}", config.interface));
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// Opens storage, then sockets. Must be called inside a tokio runtime.
///
/// # Errors
/// [`Failure`]: what could not be opened, and what to do.
pub fn open_device(config: &Config, interface: Interface, loss: Loss) -> Result<Device, Failure> {
    for problem in config.trial.problems() {
        tracing::error!("no update can succeed before this is mended: linux.{problem}");
    }
    let disk = open_disk(&config.state_directory)?;
    of_this_machine(config, |machine| machine::claim(&disk, machine, config.moved))?;
    let platform = LinuxPlatform::open(disk, config.trial.clone(), Launcher::default())
        .map_err(|error| refused(&config.state_directory, error))?;
    for problem in platform.slots().problems() {
        tracing::error!("no update can succeed before this is mended: {problem}");
    }
    let (watch, notifier) = (Watch::of(&interface), Notifier::from_environment());
    let sockets = open_sockets(config, interface, loss)?;
    Ok(Device { sockets, watch, platform, notifier, start: Instant::now() })
}

/// Opens what an agent would open, and changes nothing that matters. Skips a state folder in use, because the
/// agent that uses it has checked it. Must be called inside a tokio runtime. Returns what could not be
/// checked.
///
/// # Errors
/// [`Failure`], as from [`open_device`].
pub fn check(config: &Config) -> Result<Option<&'static str>, Failure> {
    let folder = &config.state_directory;
    let problems: Vec<String> = config.trial.problems().map(|problem| format!("linux.{problem}")).collect();
    if !problems.is_empty() {
        return Err(Failure::error(problems.join("; ")));
    }
    let interface =
        Interface::by_name(&config.interface).map_err(|error| Failure::error(error.to_string()))?;
    if !folder.exists() {
        if config.trial.switch() == Switch::BuiltIn {
            return Err(refused(folder, PlatformError::Slots(OpenError::NotInstalled)));
        }
        open_sockets(config, interface, Loss::none())?;
        return Ok(None);
    }
    match Disk::open(folder) {
        Ok(disk) => {
            of_this_machine(config, |machine| machine::check(&disk, machine, config.moved))?;
            let slots = Slots::open(disk, config.trial.switch())
                .map_err(|error| refused(folder, PlatformError::Slots(error)))?;
            let problems: Vec<String> = slots.problems().collect();
            if !problems.is_empty() {
                return Err(Failure::error(format!("in {}: {}", shown(folder), problems.join("; "))));
            }
            open_sockets(config, interface, Loss::none())?;
            Ok(None)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            // Its port is taken too, by the running agent.
            open_sockets(&Config { listen_port: None, ..config.clone() }, interface, Loss::none())?;
            Ok(Some("an agent is running, so its state folder and port were not checked"))
        }
        Err(error) => Err(cannot_open(folder, &error)),
    }
}

fn open_disk(folder: &Path) -> Result<Disk, Failure> {
    Disk::open(folder).map_err(|error| cannot_open(folder, &error))
}

/// Only the machine that the folder belongs to may use its counters, as this says.
fn of_this_machine(
    config: &Config,
    may_use: impl FnOnce(Option<&Machine>) -> io::Result<Result<(), OtherMachine>>,
) -> Result<(), Failure> {
    let folder = &config.state_directory;
    Machine::of_this_one()
        .and_then(|machine| may_use(machine.as_ref()))
        .map_err(|error| cannot_open(folder, &error))?
        .map_err(|error| {
            Failure::not_allowed(format!("cannot use the state folder {}: {error}", shown(folder)))
        })
}

fn open_sockets(config: &Config, interface: Interface, loss: Loss) -> Result<Sockets, Failure> {
    let group = config.provisioning.coap_group;
    Sockets::open(group, interface, config.listen_port, loss)
        .map_err(|error| Failure::error(error.to_string()))
}

fn cannot_open(folder: &Path, error: &io::Error) -> Failure {
    Failure::error(format!("cannot use the state folder {}: {error}", shown(folder)))
}

fn refused(folder: &Path, error: PlatformError) -> Failure {
    let sentence = format!("cannot use the state folder {}: {error}", shown(folder));
    match error {
        PlatformError::Slots(OpenError::Torn | OpenError::Missing(_) | OpenError::OtherVersion(_)) => {
            Failure::not_allowed(sentence)
        }
        _ => Failure::error(sentence),
    }
}
