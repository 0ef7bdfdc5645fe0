//! Junk: an attacker on the network who endlessly sends invalid datagrams to the CoAP group.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use coap_wire::{Code, Message, Token, Type, Writer, option};
use update_core::digest::UpdateId;
use update_core::resource::Resource;

use crate::hear::hear;
use crate::netns::Net;
use crate::scenarios::attacker::join;
use crate::world::Dice;

/// The pause between two datagrams.
const PAUSE: Duration = Duration::from_millis(8);
/// How many datagrams of the distributor are kept, to be sent again unchanged or modified.
const KEPT_MAX: usize = 512;
/// Longest datagram.
const BYTES_MAX: usize = 1232;

/// A running flood. It ends when this value is dropped.
#[derive(Debug)]
pub struct Flood {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<u64>>>,
}

impl Flood {
    /// Starts it from a host.
    ///
    /// # Errors
    /// A socket cannot be opened there.
    pub fn start(net: &Net, host: usize, coap_group: SocketAddr, seed: u64) -> Result<Self> {
        let own = net.address(host);
        let (ears, mouth) = net.inside(host, || -> Result<_> {
            let ears = join(coap_group)?;
            ears.set_nonblocking(true)?;
            Ok((ears, UdpSocket::bind((own, 0))?))
        })??;
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let junk = Junk { own, heard: Vec::new(), dice: Dice::new(seed, 0x1a1a) };
        let run = move || junk.run(&ears, &mouth, coap_group, &seen);
        Ok(Self { stop, thread: Some(std::thread::spawn(run)) })
    }

    /// Stops it, and returns how many datagrams were sent.
    ///
    /// # Errors
    /// They could no longer be sent.
    pub fn stop(mut self) -> Result<u64> {
        self.end().context("it has ended already")?
    }

    fn end(&mut self) -> Option<Result<u64>> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take()?;
        Some(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        // A caller that wants the result calls `stop`.
        let _ = self.end();
    }
}

struct Junk {
    own: IpAddr,
    heard: Vec<Vec<u8>>,
    dice: Dice,
}

impl Junk {
    fn run(mut self, ears: &UdpSocket, mouth: &UdpSocket, to: SocketAddr, stop: &AtomicBool) -> Result<u64> {
        let mut sent = 0;
        while !stop.load(Ordering::Relaxed) {
            self.listen(ears)?;
            if let Some(datagram) = self.next() {
                mouth.send_to(&datagram, to)?;
                sent += 1;
            }
            std::thread::sleep(PAUSE);
        }
        Ok(sent)
    }

    /// Keeps what others send.
    fn listen(&mut self, ears: &UdpSocket) -> Result<()> {
        let mut buffer = [0; BYTES_MAX];
        while let Some((length, from)) = hear(|| ears.recv_from(&mut buffer))? {
            if from.ip() == self.own {
                continue;
            }
            if self.heard.len() == KEPT_MAX {
                self.heard.swap_remove(self.dice.below(KEPT_MAX as u64) as usize);
            }
            self.heard.push(buffer[..length].to_vec());
        }
        Ok(())
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        match self.dice.below(16) {
            0..3 => {
                let length = 1 + self.dice.below(BYTES_MAX as u64) as usize;
                Some(self.dice.bytes(length))
            }
            3..6 => self.coap(None),
            // A Partial IV of one byte, a Gid and a kid: group mode, but of an unknown group.
            6..9 => {
                let head = [&[0x39, 7, 4][..], &self.dice.bytes(4), &self.dice.bytes(1)].concat();
                self.coap(Some(&head))
            }
            9..13 => self.again(),
            13..15 => self.changed(),
            _ => self.renumbered(),
        }
    }

    /// Well-formed CoAP: a block of an unknown image.
    fn coap(&mut self, oscore: Option<&[u8]>) -> Option<Vec<u8>> {
        let mut datagram = [0; BYTES_MAX];
        let token = Token::new(&self.dice.bytes(2))?;
        let (code, id) = (Code::PUT, self.dice.below(1 << 16) as u16);
        let mut writer = Writer::message(&mut datagram, Type::NonConfirmable, code, id, token).ok()?;
        match oscore {
            Some(value) => drop(writer.option(option::OSCORE, value).ok()?),
            None => {
                let id = UpdateId(self.dice.bytes(4).try_into().ok()?);
                Resource::Image(id).write_path(&mut writer).ok()?;
            }
        }
        writer.payload(&self.dice.bytes(1024)).ok()?;
        let length = writer.finish();
        Some(datagram[..length].to_vec())
    }

    /// A datagram of the distributor.
    fn again(&mut self) -> Option<Vec<u8>> {
        let index = self.dice.below(self.heard.len() as u64) as usize;
        self.heard.get(index).cloned()
    }

    /// The same with one bit flipped: often not even CoAP, or with a wrong signature.
    fn changed(&mut self) -> Option<Vec<u8>> {
        let mut datagram = self.again()?;
        let place = self.dice.below(datagram.len() as u64) as usize;
        datagram[place] ^= 1 << self.dice.below(8);
        Some(datagram)
    }

    /// The same with another Partial IV, which no replay window has seen: only the signature reveals it.
    fn renumbered(&mut self) -> Option<Vec<u8>> {
        let mut datagram = self.again()?;
        let value = Message::parse(&datagram).ok()?.option(option::OSCORE)?;
        let begin = value.as_ptr() as usize - datagram.as_ptr() as usize;
        let length = usize::from(value.first()? & 7);
        *datagram.get_mut(begin + length)? ^= 1 << self.dice.below(8);
        Some(datagram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use group_oscore::OscoreOption;

    fn junk() -> Junk {
        Junk { own: "fd77::9".parse().unwrap(), heard: Vec::new(), dice: Dice::new(1, 0) }
    }

    #[test]
    fn coap_is_well_formed_and_protected_as_it_looks() {
        let mut junk = junk();
        let plain = junk.coap(None).unwrap();
        assert_eq!(Message::parse(&plain).unwrap().payload().len(), 1024);
        let protected = junk.coap(Some(&[0x39, 7, 4, 1, 2, 3, 4, 9])).unwrap();
        let option = OscoreOption::of(&Message::parse(&protected).unwrap()).unwrap();
        assert_eq!(option.partial_iv.unwrap().value(), 7);
    }

    #[test]
    fn what_was_heard_is_sent_again_with_another_number() {
        let mut junk = junk();
        let datagram = junk.coap(Some(&[0x39, 7, 4, 1, 2, 3, 4, 9])).unwrap();
        junk.heard.push(datagram.clone());
        assert_eq!(junk.again(), Some(datagram.clone()));
        let other = junk.renumbered().unwrap();
        let number = |datagram: &[u8]| {
            OscoreOption::of(&Message::parse(datagram).unwrap()).unwrap().partial_iv.unwrap().value()
        };
        assert_ne!(number(&other), number(&datagram));
        assert_eq!(other.len(), datagram.len());
    }

    #[test]
    fn there_is_junk_before_anything_was_heard() {
        let mut junk = junk();
        assert!((0..100).filter_map(|_| junk.next()).count() > 30);
    }
}
