//! An attacker on the network: an outsider with captured datagrams, and an insider with the group's secret
//! and its own key.

use super::{Dice, Host, Keys, Network, Release};
use coap_wire::{Block, Code, Message, NoResponse, Token, Type, Writer, option};
use group_oscore::Mode;
use update_core::limits::DATAGRAM_BYTES_MAX;
use update_core::resource::Resource;
use update_core::time::Instant;

/// The attacker.
pub(super) struct Attacker {
    dice: Dice,
}

impl Attacker {
    /// An attacker with its own dice.
    #[must_use]
    pub(super) fn new(dice: Dice) -> Self {
        Self { dice }
    }

    /// Attacks once. `next` is about the distributor's next number.
    pub(super) fn strike(
        &mut self,
        now: Instant,
        network: &mut Network,
        keys: &Keys,
        release: &Release,
        next: u64,
    ) {
        let hosts = keys.agents.len() as u64 + 1;
        let victim = match self.dice.below(hosts) {
            0 => Host::Distributor,
            index => Host::Agent(index as usize - 1),
        };
        let distributor = Network::address_of(Host::Distributor);
        let by_group = victim != Host::Distributor && self.dice.chance(0.5);
        match self.dice.below(6) {
            0 => {
                let len = self.dice.below(1400) as usize;
                let junk = self.dice.bytes(len);
                network.inject(now, distributor, victim, by_group, junk);
            }
            1 => {
                if let Some((from, to, way, mut bytes)) = network.captured(&mut self.dice) {
                    super::network::flip_bits(&mut bytes, &mut self.dice);
                    network.inject(now, from, to, way, bytes);
                }
            }
            2 => {
                if let Some((from, to, way, bytes)) = network.captured(&mut self.dice) {
                    network.inject(now, from, to, way, bytes);
                }
            }
            // Redirected: to another host, on another socket.
            3 => {
                if let Some((from, _, _, bytes)) = network.captured(&mut self.dice) {
                    network.inject(now, from, victim, by_group, bytes);
                }
            }
            kind => {
                let ahead = self.dice.below(400);
                if let Some(bytes) = self.forge(keys, release, kind == 4, next + ahead) {
                    network.inject(now, distributor, victim, by_group, bytes);
                }
            }
        }
    }

    /// An insider's request: a block with wrong bytes, or an order to drop the update.
    fn forge(&mut self, keys: &Keys, release: &Release, as_distributor: bool, piv: u64) -> Option<Vec<u8>> {
        let mut context = keys.insider_context(as_distributor, piv);
        let layout = release.offer.layout;
        let id = release.offer.id;
        let number = self.dice.below(u64::from(layout.block_count())) as u32;
        let len = layout.block_range(update_core::block::BlockNumber(number))?.1;
        let size_exponent = layout.block_size.exponent();
        let block = Block { number, more: number + 1 < layout.block_count(), size_exponent };
        let (code, resource) = match self.dice.below(3) {
            0 => (Code::PUT, Resource::Image(id)),
            1 => (Code::PUT, Resource::Hashes(id)),
            _ => (Code::POST, Resource::Cancel),
        };
        let mut plain = [0; DATAGRAM_BYTES_MAX];
        let token = Token::new(&self.dice.bytes(4))?;
        let message_id = self.dice.number() as u16;
        let mut writer = Writer::message(&mut plain, Type::NonConfirmable, code, message_id, token).ok()?;
        resource.write_path(&mut writer).ok()?;
        if code == Code::PUT {
            writer.option(option::BLOCK1, block.encode().as_bytes()).ok()?;
            writer.option(option::NO_RESPONSE, &[NoResponse::ALL_SUPPRESSED.value()]).ok()?;
            writer.payload(&self.dice.bytes(len)).ok()?;
        } else {
            let target = update_core::target::Target::All;
            let command = update_core::command::Command {
                digest: release.digest(),
                attempt: u32::MAX,
                target,
                delay_ms: 0,
                from_trial: false,
                dated: None,
            };
            let mut payload = [0; 256];
            let len = command.encode(&mut payload)?;
            writer.payload(&payload[..len]).ok()?;
        }
        let len = writer.finish();
        let message = Message::parse(plain.get(..len)?).ok()?;
        let mut out = vec![0; DATAGRAM_BYTES_MAX];
        let (len, _) = context.protect_request(&message, Mode::Group, &mut out).ok()?;
        out.truncate(len);
        Some(out)
    }
}
