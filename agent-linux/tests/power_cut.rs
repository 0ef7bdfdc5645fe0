//! The plug is pulled at every step of an update, and the device must end on the old or the new image, whole.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::cell::Cell;
use std::fs;
use std::rc::Rc;
use std::time::Duration;

use agent_linux::disk::{Cut, Disk};
use agent_linux::install::first_installed_record;
use agent_linux::linux_platform::LinuxPlatform;
use agent_linux::slots::Switch;
use agent_linux::trial::TrialSettings;
use common::{DIGEST, Device, OLD, block_on, settings};
use update_core::platform::{Area, Platform, Record, RollBackCause, Trial};

const NEW: &[u8] = &[0x5A; 700];
const BLOCK: usize = 256;
const UPDATE: &[u8] = b"the signed envelope";
const NEW_INSTALLED: &[u8] = b"the new one is installed";

/// The plug was pulled.
#[derive(Debug)]
struct Off;

/// One life of the device, from power on to the end of the update or to the cut.
struct Life {
    platform: LinuxPlatform,
    off: Rc<Cell<bool>>,
}

impl Life {
    /// Power on; the plug is pulled at the `nth` step from now, never for `None`.
    fn begin(device: &Device, settings: &TrialSettings, nth: Option<u32>, how: Cut) -> Result<Self, Off> {
        let disk = Disk::open(&device.state).unwrap();
        let off = Rc::new(Cell::new(false));
        if let Some(nth) = nth {
            let (off, mut count) = (off.clone(), 0);
            disk.cut_by(Box::new(move |_| {
                count += 1;
                match count {
                    _ if off.get() => Cut::Before,
                    _ if count <= nth => Cut::No,
                    _ => {
                        off.set(true);
                        how
                    }
                }
            }));
        }
        let opened = device.open_on(disk, settings);
        match opened {
            Ok(platform) => Ok(Self { platform, off }),
            Err(error) if off.get() => {
                drop(error);
                Err(Off)
            }
            Err(error) => panic!("the device does not start again: {error}"),
        }
    }

    fn done<T, E: std::fmt::Debug>(&self, result: Result<T, E>) -> Result<T, Off> {
        assert!(result.is_ok() || self.off.get(), "failed without a cut: {:?}", result.err());
        result.map_err(|_| Off)
    }

    /// What `Reception` does, reduced to its storage: goes on from wherever the last life was cut.
    async fn update(&mut self) -> Result<Trial, Off> {
        let mut trial = self.platform.trial();
        if trial == Trial::None {
            if self.stored().await? < NEW.len() {
                self.receive().await?;
            }
            let result = self.platform.activate(NEW.len() as u32, &DIGEST).await;
            self.done(result)?;
            trial = Trial::Running;
        }
        if trial == Trial::Running {
            trial = self.verdict().await?;
        }
        if trial == Trial::Healthy {
            assert_eq!(self.platform.trial_digest(), Some(DIGEST));
            let result = self.platform.save(Record::Installed, NEW_INSTALLED).await;
            self.done(result)?;
            let result = self.platform.settle().await;
            self.done(result)?;
        }
        Ok(trial)
    }

    /// How many bytes at the front are stored and right, as the hash tree would tell.
    async fn stored(&mut self) -> Result<usize, Off> {
        let mut image = vec![0; NEW.len()];
        let result = self.platform.read(Area::Image, 0, &mut image).await;
        self.done(result)?;
        Ok(image.iter().zip(NEW).take_while(|(is, wanted)| is == wanted).count())
    }

    async fn receive(&mut self) -> Result<(), Off> {
        let result = self.platform.prepare(NEW.len() as u32, 32).await;
        self.done(result)?;
        let result = self.platform.save(Record::Update, UPDATE).await;
        self.done(result)?;
        let result = self.platform.write(Area::Pages, 0, &[9; 32]).await;
        self.done(result)?;
        for (number, block) in NEW.chunks(BLOCK).enumerate() {
            let result = self.platform.write(Area::Image, (number * BLOCK) as u32, block).await;
            self.done(result)?;
        }
        let result = self.platform.sync().await;
        self.done(result)
    }

    async fn verdict(&mut self) -> Result<Trial, Off> {
        let off = self.off.clone();
        tokio::select! {
            verdict = self.platform.news() => Ok(verdict),
            () = async {
                while !off.get() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            } => Err(Off),
        }
    }
}

/// Cuts one update at every step, in the first life or in the one after a cut; gives the number of cuts.
fn cut_everywhere(make: impl Fn(&Device) -> TrialSettings, how: Cut, end: Trial) -> u32 {
    let mut nth = 0;
    loop {
        let device = Device::installed_for(make(&Device::empty()).switch());
        let settings = make(&device);
        let first = block_on(async { Life::begin(&device, &settings, Some(nth), how)?.update().await });
        check(&device, &settings);
        if first.is_ok() {
            return nth;
        }
        // The next life is cut as well, at another place; the third one is spared.
        let _ = block_on(async { Life::begin(&device, &settings, Some(nth % 7), how)?.update().await });
        check(&device, &settings);
        let last = block_on(async { Life::begin(&device, &settings, None, how)?.update().await });
        let platform = device.open(&settings).unwrap();
        match (last.unwrap(), end) {
            // Settled in an earlier life, after which this one found nothing on trial and did it all again;
            // or now.
            (Trial::Healthy, Trial::Healthy) => assert_eq!(running(&device, &settings), NEW),
            (Trial::RolledBack(cause), Trial::RolledBack(expected)) => {
                assert_eq!(cause, expected);
                assert_eq!(running(&device, &settings), OLD);
                assert_eq!(platform.trial(), end);
            }
            other => panic!("cut {nth}: {other:?}"),
        }
        nth += 1;
    }
}

/// What holds at any moment: what runs is a whole image, old or new, and records are whole.
fn check(device: &Device, settings: &TrialSettings) {
    let image = running(device, settings);
    assert!(image == OLD || image == NEW, "a mixture of images runs");
    let installed = fs::read(device.state.join("installed.cbor")).unwrap();
    assert!(installed == first_installed_record(1).unwrap() || installed == NEW_INSTALLED);
    if let Ok(update) = fs::read(device.state.join("update.cbor")) {
        assert_eq!(update, UPDATE);
    }
}

/// The image that runs, by the link or by what the command noted.
fn running(device: &Device, settings: &TrialSettings) -> Vec<u8> {
    match settings.switch() {
        Switch::BuiltIn => device.current(),
        Switch::Command => {
            let slot = device.left("running").unwrap_or_else(|| "a".to_owned());
            fs::read(device.state.join(format!("slot-{slot}.img"))).unwrap()
        }
    }
}

fn by_link(_: &Device) -> TrialSettings {
    settings()
}

fn by_command(device: &Device) -> TrialSettings {
    let activate_command = device.shell("printf %s $FWCAST_SLOT > new && mv new running");
    TrialSettings { activate_command, ..settings() }
}

fn unhealthy(settings: TrialSettings) -> TrialSettings {
    let health_command = Some(vec!["/bin/false".to_owned()]);
    TrialSettings { health_command, health_deadline: Duration::from_millis(1), ..settings }
}

#[test]
fn a_good_image_ends_up_confirmed_wherever_the_cuts_come() {
    for how in [Cut::Before, Cut::Half] {
        let cuts = cut_everywhere(by_link, how, Trial::Healthy);
        assert!(cuts > 30, "only {cuts} steps were cut");
    }
}

#[test]
fn a_good_image_ends_up_confirmed_with_a_switch_command() {
    let cuts = cut_everywhere(by_command, Cut::Half, Trial::Healthy);
    assert!(cuts > 30, "only {cuts} steps were cut");
}

#[test]
fn a_bad_image_ends_up_rolled_back_wherever_the_cuts_come() {
    let expected = Trial::RolledBack(RollBackCause::Unhealthy);
    for make in [by_link, by_command] {
        let cuts = cut_everywhere(|device| unhealthy(make(device)), Cut::Before, expected);
        assert!(cuts > 30, "only {cuts} steps were cut");
    }
}
