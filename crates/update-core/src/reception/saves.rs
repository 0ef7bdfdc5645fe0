//! What has to be made durable, and in which order.

use super::{Doing, Output, Reception};
use crate::platform::{Record, Task};
use crate::record::UpdateRecord;

/// Records and area changes that are due, in the order in which they are carried out.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Saves {
    pub(super) update: bool,
    pub(super) roll_back: bool,
    pub(super) prepare: bool,
    pub(super) installed: bool,
    pub(super) settle: bool,
}

impl Reception<'_> {
    pub(super) fn records_due(&self) -> bool {
        let Saves { update, roll_back, prepare, installed, settle } = self.saves;
        update || roll_back || prepare || installed || settle
    }

    /// The next record or area change that is due, in the order that survives a power cut between any two:
    /// what is installed before the outcome that rests on it, the update before its areas and before an
    /// order that came with its attempt.
    pub(super) fn save_records(&mut self) -> Output<'_> {
        let task = if core::mem::take(&mut self.saves.installed) {
            self.doing = Some(Doing::SaveInstalled);
            let installed = self.config.device.installed;
            let len =
                installed.and_then(|i| crate::record::encode_installed(&i, &mut self.record)).unwrap_or(0);
            Task::Save { record: Record::Installed, bytes: self.record.get(..len).unwrap_or_default() }
        } else if core::mem::take(&mut self.saves.update) {
            self.doing = Some(Doing::SaveUpdate);
            let envelope = self.envelope.get(..self.envelope_len).unwrap_or_default();
            let len = self.update.as_ref().and_then(|update| {
                UpdateRecord { envelope, attempt: update.attempt, outcome: update.outcome }
                    .encode(&mut self.record)
            });
            let bytes = self.record.get(..len.unwrap_or(0)).unwrap_or_default();
            Task::Save { record: Record::Update, bytes }
        } else if core::mem::take(&mut self.saves.roll_back) {
            self.doing = Some(Doing::RollBack);
            Task::RollBack
        } else if core::mem::take(&mut self.saves.prepare) {
            self.doing = Some(Doing::Prepare);
            let (image_bytes, page_bytes) = self.update.as_ref().map_or((0, 0), |update| {
                let layout = update.offer.layout;
                (layout.image_size.bytes(), update.shape.page_count() * layout.block_size.bytes())
            });
            Task::Prepare { image_bytes, page_bytes }
        } else {
            self.saves.settle = false;
            self.doing = Some(Doing::Settle);
            Task::Settle
        };
        Output::Task(task)
    }
}
