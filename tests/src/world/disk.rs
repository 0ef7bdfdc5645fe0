//! An agent's storage: records that are replaced as a whole, two areas whose writes are durable only after a
//! sync, and a boot switch.

use super::{Dice, Sabotage};
use update_core::digest::Digest;
use update_core::platform::{Area, Platform, Record, RollBackCause, Trial};

/// The error of the medium when a task fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskFailed;

/// The cause of a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// A power failure: what is not synced is kept, lost or torn.
    Power,
    /// The process is killed: everything written can be read, but is still not synced.
    Kill,
}

/// One area.
#[derive(Debug, Default)]
pub struct Region {
    durable: Vec<u8>,
    /// Written and not yet synced, in order.
    pending: Vec<(usize, Vec<u8>)>,
    /// Byte ranges of `durable` that have changed since the last query; `None` for all.
    changed: Option<Vec<(usize, usize)>>,
}

impl Region {
    /// What would be left after a power cut if no pending write were kept.
    #[must_use]
    pub fn durable(&self) -> &[u8] {
        &self.durable
    }

    /// Whether everything written is durable.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.pending.is_empty()
    }

    /// The byte ranges that have changed durably since the last call; `None` for all of them.
    pub fn take_changes(&mut self) -> Option<Vec<(usize, usize)>> {
        self.changed.replace(Vec::new())
    }

    /// The bytes as a program reads them.
    pub fn read(&self, offset: usize, buffer: &mut [u8]) -> Result<(), DiskFailed> {
        let end = offset + buffer.len();
        buffer.copy_from_slice(self.durable.get(offset..end).ok_or(DiskFailed)?);
        for (start, data) in &self.pending {
            let (from, to) = ((*start).max(offset), (start + data.len()).min(end));
            if from < to {
                buffer[from - offset..to - offset].copy_from_slice(&data[from - start..to - start]);
            }
        }
        Ok(())
    }

    /// Makes room. Old content stays: stale bytes are the worst that a new update can find.
    fn prepare(&mut self, bytes: u32) {
        self.durable.resize(bytes as usize, 0xa5);
        self.pending.clear();
        self.changed = None;
    }

    fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), DiskFailed> {
        let start = offset as usize;
        if start + data.len() > self.durable.len() {
            return Err(DiskFailed);
        }
        self.pending.push((start, data.to_vec()));
        Ok(())
    }

    fn sync(&mut self) {
        for (start, data) in std::mem::take(&mut self.pending) {
            self.keep(start, &data);
        }
    }

    fn keep(&mut self, start: usize, data: &[u8]) {
        self.durable[start..start + data.len()].copy_from_slice(data);
        if let Some(changed) = &mut self.changed {
            changed.push((start, start + data.len()));
        }
    }

    /// Each unsynced write is kept, lost, truncated or scrambled.
    fn power_cut(&mut self, dice: &mut Dice) {
        for (start, data) in std::mem::take(&mut self.pending) {
            let len = data.len();
            match dice.below(4) {
                0 => self.keep(start, &data),
                1 => {}
                2 => self.keep(start, &data[..dice.below(len as u64 + 1) as usize]),
                _ => {
                    let noise = dice.bytes(len);
                    let mixed: Vec<u8> = data
                        .chunks(16)
                        .zip(noise.chunks(16))
                        .flat_map(|(new, noise)| if dice.chance(0.5) { new } else { noise })
                        .copied()
                        .collect();
                    self.keep(start, &mixed);
                }
            }
        }
    }
}

/// The storage of one agent, which survives its restarts.
#[derive(Debug)]
pub struct Disk {
    records: [Option<Vec<u8>>; 4],
    image: Region,
    pages: Region,
    /// The state of the trial, as the boot stage knows it.
    trial: Trial,
    /// SHA-256 of the running image.
    running: Digest,
    /// SHA-256 of the image that comes back if the trial fails.
    fallback: Digest,
    /// The probability that a task is refused.
    pub failures: f64,
    /// A guarantee that it breaks.
    pub sabotage: Option<Sabotage>,
    dice: Dice,
}

impl Disk {
    /// A disk from the factory, with a running image.
    #[must_use]
    pub fn new(dice: Dice) -> Self {
        let factory = Digest::of(b"the image from the factory");
        Self {
            records: [const { None }; 4],
            image: Region::default(),
            pages: Region::default(),
            trial: Trial::None,
            running: factory,
            fallback: factory,
            failures: 0.0,
            sabotage: None,
            dice,
        }
    }

    /// A record's content.
    #[must_use]
    pub fn record(&self, record: Record) -> Option<&[u8]> {
        self.records[slot(record)].as_deref()
    }

    /// An area.
    #[must_use]
    pub fn region(&self, area: Area) -> &Region {
        if area == Area::Image { &self.image } else { &self.pages }
    }

    /// An area, to query its changes.
    pub fn region_mut(&mut self, area: Area) -> &mut Region {
        if area == Area::Image { &mut self.image } else { &mut self.pages }
    }

    /// The state of the trial.
    #[must_use]
    pub fn trial(&self) -> Trial {
        self.trial
    }

    /// SHA-256 of the running image.
    #[must_use]
    pub fn running(&self) -> Digest {
        self.running
    }

    /// One bit of the image changes.
    pub fn spoil_image(&mut self) {
        if let Some(byte) = self.image.durable.first_mut() {
            *byte ^= 1;
        }
    }

    /// The image on trial is judged.
    pub fn judge(&mut self, healthy: bool) {
        if self.trial == Trial::Running {
            if healthy {
                self.trial = Trial::Healthy;
            } else {
                self.go_back(RollBackCause::Unhealthy);
            }
        }
    }

    /// A restart: an image on trial that has not proved healthy is rolled back.
    pub fn restart(&mut self, cut: Cut) {
        if cut == Cut::Power {
            self.image.power_cut(&mut self.dice);
            self.pages.power_cut(&mut self.dice);
        }
        if self.trial == Trial::Running {
            self.go_back(RollBackCause::Reset);
        }
    }

    fn go_back(&mut self, cause: RollBackCause) {
        self.trial = Trial::RolledBack(cause);
        self.running = self.fallback;
    }

    fn refuses(&mut self) -> Result<(), DiskFailed> {
        if self.dice.chance(self.failures) { Err(DiskFailed) } else { Ok(()) }
    }
}

impl Platform for Disk {
    type Error = DiskFailed;

    async fn save(&mut self, record: Record, bytes: &[u8]) -> Result<(), DiskFailed> {
        self.refuses()?;
        let place = &mut self.records[slot(record)];
        let forgets = record == Record::Counters && self.sabotage == Some(Sabotage::CountersForgotten);
        if !forgets || place.is_none() {
            *place = Some(bytes.to_vec());
        }
        Ok(())
    }

    async fn prepare(&mut self, image_bytes: u32, page_bytes: u32) -> Result<(), DiskFailed> {
        self.refuses()?;
        self.image.prepare(image_bytes);
        self.pages.prepare(page_bytes);
        Ok(())
    }

    async fn write(&mut self, area: Area, offset: u32, data: &[u8]) -> Result<(), DiskFailed> {
        self.refuses()?;
        self.region_mut(area).write(offset, data)
    }

    async fn read(&mut self, area: Area, offset: u32, buffer: &mut [u8]) -> Result<(), DiskFailed> {
        self.refuses()?;
        self.region(area).read(offset as usize, buffer)
    }

    async fn sync(&mut self) -> Result<(), DiskFailed> {
        self.refuses()?;
        if self.sabotage == Some(Sabotage::SyncLies) {
            return Ok(());
        }
        self.image.sync();
        self.pages.sync();
        Ok(())
    }

    async fn activate(&mut self, image_bytes: u32, _digest: &[u8; 32]) -> Result<(), DiskFailed> {
        self.refuses()?;
        let image = self.image.durable.get(..image_bytes as usize).ok_or(DiskFailed)?;
        self.fallback = self.running;
        self.running = Digest::of(image);
        self.trial = Trial::Running;
        Ok(())
    }

    async fn roll_back(&mut self) -> Result<(), DiskFailed> {
        self.refuses()?;
        if self.trial == Trial::Running {
            self.go_back(RollBackCause::Ordered);
        }
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), DiskFailed> {
        self.refuses()?;
        if self.trial == Trial::Healthy {
            // The slots change places: the area now holds the old image.
            self.image.durable.fill(0x5a);
            self.image.changed = None;
        }
        self.trial = Trial::None;
        Ok(())
    }
}

const fn slot(record: Record) -> usize {
    match record {
        Record::Counters => 0,
        Record::Update => 1,
        Record::Installed => 2,
        Record::Membership => 3,
    }
}
