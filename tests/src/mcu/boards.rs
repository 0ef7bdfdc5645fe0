//! The boards, one package each below `agent-embedded/boards`.

use std::collections::BTreeMap;
use std::fs;

use agent_embedded::layouts::{MPS2_AN386, RP2350, STM32H563};
use anyhow::{Context, Result};
use boot_stage::layout::FlashLayout;
use serde::Deserialize;

use crate::programs::root;

/// Where the boards are, below the root.
pub const BOARDS: &str = "agent-embedded/boards";

/// A board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Board {
    /// Its package, and the name of the package's folder.
    pub name: &'static str,
    /// Its processor, as the compiler calls it.
    pub target: &'static str,
    /// The address of its boot stage.
    pub boot: u32,
    /// The address of its flash.
    pub flash: u32,
    /// The layout of the flash.
    pub layout: FlashLayout,
}

impl Board {
    /// The board that QEMU emulates.
    pub const EMULATED: Self = Self {
        name: "mps2-an386",
        target: "thumbv7em-none-eabihf",
        boot: 0,
        flash: 0x2100_0000,
        layout: MPS2_AN386,
    };

    /// The boards that are built and linked, but not run.
    pub const REAL: [Self; 2] = [
        Self {
            name: "stm32h563",
            target: "thumbv8m.main-none-eabihf",
            boot: 0x0800_0000,
            flash: 0x0800_0000,
            layout: STM32H563,
        },
        Self {
            name: "rp2350",
            target: "thumbv8m.main-none-eabihf",
            boot: 0x1000_0000,
            flash: 0x1000_0000,
            layout: RP2350,
        },
    ];

    /// The address of its active slot.
    #[must_use]
    pub const fn active(&self) -> u32 {
        self.flash + self.layout.active.offset
    }

    /// The limits of its programs, from the one file for all boards.
    ///
    /// # Errors
    /// The file does not contain this board.
    pub fn budget(&self) -> Result<Budget> {
        let text = fs::read_to_string(root().join(BOARDS).join("budgets.json"))?;
        let mut all: BTreeMap<String, Budget> = serde_json::from_str(&text)?;
        all.remove(self.name).with_context(|| format!("budgets.json has no board {}", self.name))
    }
}

/// The limits of a board's programs, in bytes.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Budget {
    /// The agent's image in its slot.
    pub agent_flash: u64,
    /// The agent's static data and stack.
    pub agent_ram: u64,
    /// The boot stage.
    pub boot_flash: u64,
    /// The boot stage's static data.
    pub boot_ram: u64,
}

#[cfg(test)]
mod tests {
    use agent_embedded::layouts::STM32H563_BANK_BYTES;

    use super::*;
    use crate::nor_flash::SimulatedFlash;

    const MIB: usize = 1024 * 1024;

    #[test]
    fn each_layout_fits_its_flash() {
        assert_eq!(MPS2_AN386.check(&SimulatedFlash::<4, 4096>::new(16 * MIB, true)), Ok(()));
        assert_eq!(STM32H563.check(&SimulatedFlash::<16, 8192>::new(2 * MIB, false)), Ok(()));
        assert_eq!(RP2350.check(&SimulatedFlash::<16, 4096>::new(2 * MIB, false)), Ok(()));
    }

    #[test]
    fn each_slot_has_room_for_the_budget_and_each_boot_stage_is_in_front_of_everything() {
        for board in [Board::EMULATED].into_iter().chain(Board::REAL) {
            let budget = board.budget().unwrap();
            assert!(budget.agent_flash <= u64::from(board.layout.image_bytes_max()), "{}", board.name);
            let first =
                [board.layout.active, board.layout.provisioning].map(|it| it.offset).into_iter().min();
            let behind_boot = u64::from(board.flash - board.boot) + u64::from(first.unwrap());
            assert!(budget.boot_flash <= behind_boot, "{}", board.name);
        }
    }

    /// Slots in the same place of both banks; everything else in the first one.
    #[test]
    fn banks_exchange_the_slots_and_nothing_else() {
        let FlashLayout { active, update, spare, pages, records, provisioning, .. } = STM32H563;
        assert_eq!((update.offset, update.bytes), (active.offset + STM32H563_BANK_BYTES, active.bytes));
        for stays in [spare, pages, records, provisioning] {
            assert!(stays.offset >= active.offset + active.bytes);
            assert!(stays.offset + stays.bytes <= STM32H563_BANK_BYTES);
        }
    }
}
