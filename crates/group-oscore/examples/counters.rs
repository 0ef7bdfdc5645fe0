//! A member that keeps its counters in a file: the end of its reserved Sender Sequence Numbers, and the floor
//! of the replay window for the member that it listens to.
//!
//! `cargo run -p group-oscore --example counters -- FILE` sends a message at each start. It shows that no
//! number is used twice and no message is accepted twice, wherever it was stopped before.

use coap_wire::{Code, Message, Token, Type, Writer};
use ed25519_dalek::SigningKey;
use group_oscore::{
    AeadAlgorithm, CommonContext, Credential, Gid, GroupContext, GroupParameters, MemberId, Mode, Received,
    RecipientContext, ReplayWindow, SenderContext, SequenceNumbers, encode_ccs,
};
use std::error::Error;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// How many numbers are reserved at a time. A compromise: few writes to the file, and few numbers lost in a
/// crash.
const STEP: u64 = 64;
/// A new reservation is made before the last one is used up.
const LOW_WATER: u64 = 8;
/// How far the stored floor is ahead of what has been accepted.
const FLOOR_AHEAD: u64 = 256;

type Fallible<T> = Result<T, Box<dyn Error>>;

/// What survives a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counters {
    reserved_end: u64,
    floor: u64,
}

/// The file. It is replaced as a whole, so that a crash leaves either the old one or the new one.
struct CounterFile(PathBuf);

impl CounterFile {
    fn load(&self) -> Fallible<Option<Counters>> {
        let text = match fs::read_to_string(&self.0) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // A damaged file must not be taken for a new one: its numbers have been used.
        let mut numbers = text.split_whitespace().map(str::parse);
        match (numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(reserved_end)), Some(Ok(floor)), None) => Ok(Some(Counters { reserved_end, floor })),
            _ => Err(format!("{} is damaged: this member needs new keys", self.0.display()).into()),
        }
    }

    /// Durable on return: both the content and the file name.
    fn store(&self, counters: Counters) -> Fallible<()> {
        let new = self.0.with_extension("new");
        let mut file = File::create(&new)?;
        writeln!(file, "{} {}", counters.reserved_end, counters.floor)?;
        file.sync_all()?;
        fs::rename(&new, &self.0)?;
        let folder = self.0.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(())
    }
}

/// A member with its file.
struct Member {
    context: GroupContext<[RecipientContext; 1]>,
    file: CounterFile,
    stored: Counters,
}

impl Member {
    fn start(file: CounterFile) -> Fallible<Self> {
        let loaded = file.load()?;
        let stored = loaded.unwrap_or(Counters { reserved_end: 0, floor: 0 });
        // Numbers below the stored end may have been used, and messages below the stored floor may have been
        // accepted.
        let numbers = SequenceNumbers::new(stored.reserved_end, stored.reserved_end);
        let window = loaded.map_or_else(ReplayWindow::fresh, |it| ReplayWindow::from_floor(it.floor));
        Ok(Self { context: context(0xa1, 0xb0, numbers, window)?, file, stored })
    }

    /// Reserves numbers before anything is sent.
    fn reserve(&mut self) -> Fallible<()> {
        if let Some(reservation) = self.context.reservation_due(LOW_WATER, STEP) {
            let counters = Counters { reserved_end: reservation.end(), ..self.stored };
            self.file.store(counters)?;
            self.stored = counters;
            self.context.reserve(reservation)?;
        }
        Ok(())
    }

    fn send(&mut self, text: &str, datagram: &mut [u8]) -> Fallible<usize> {
        self.reserve()?;
        protect(&mut self.context, text, datagram)
    }

    /// Acts upon a request only if it is new, and once the floor that proves this is stored.
    fn receive(&mut self, datagram: &mut [u8]) -> Fallible<Option<String>> {
        let text = match self.context.unprotect_request(datagram) {
            Ok(Received::Fresh(request)) => String::from_utf8_lossy(request.body().payload()).into_owned(),
            // Older than the stored floor: genuine, but perhaps received before. See RFC 10021 section 9.
            Ok(Received::Unproven(_)) | Err(_) => return Ok(None),
        };
        let window = self.context.recipients()[0].window();
        if let Some(floor) = window.floor_due(self.stored.floor, FLOOR_AHEAD) {
            let counters = Counters { floor, ..self.stored };
            self.file.store(counters)?;
            self.stored = counters;
        }
        Ok(Some(text))
    }
}

fn main() -> Fallible<()> {
    let path = std::env::args_os().nth(1).map_or_else(|| "counters.txt".into(), PathBuf::from);
    let mut member = Member::start(CounterFile(path))?;
    let first = member.context.next_sequence_number();
    let mut datagram = [0; 512];
    let length = member.send("hello", &mut datagram)?;
    println!("sent {length} bytes under number {first}, reserved to {}", member.stored.reserved_end);

    // Another member sends under a number that the floor does not rule out; we receive the message twice.
    let numbers = SequenceNumbers::new(member.stored.floor, u64::MAX);
    let mut other = context(0xb0, 0xa1, numbers, ReplayWindow::fresh())?;
    let length = protect(&mut other, "and to you", &mut datagram)?;
    let mut again = datagram;
    let heard = member.receive(&mut datagram[..length])?;
    let heard_again = member.receive(&mut again[..length])?;
    println!("heard {heard:?}, then {heard_again:?}; the floor is {}", member.stored.floor);
    assert_eq!(heard_again, None, "a message is taken once");
    Ok(())
}

fn protect(
    context: &mut GroupContext<[RecipientContext; 1]>,
    text: &str,
    datagram: &mut [u8],
) -> Fallible<usize> {
    let mut plain = [0; 128];
    let token = Token::new(&[1]).ok_or("a short Token")?;
    let mut writer = Writer::message(&mut plain, Type::NonConfirmable, Code::POST, 1, token)?;
    writer.payload(text.as_bytes())?;
    let length = writer.finish();
    let request = Message::parse(&plain[..length])?;
    Ok(context.protect_request(&request, Mode::Group, datagram)?.0)
}

fn context(
    own: u8,
    other: u8,
    numbers: SequenceNumbers,
    window: ReplayWindow,
) -> Fallible<GroupContext<[RecipientContext; 1]>> {
    let common = CommonContext::derive(&GroupParameters {
        gid: Gid::new(&[0xdd, 0x11]).ok_or("a short Gid")?,
        master_secret: &[7; 16],
        master_salt: &[],
        aead: AeadAlgorithm::A128Gcm,
        group_encryption: AeadAlgorithm::A128Gcm,
        gm_credential: credential(9)?,
    })?;
    let id = |id| MemberId::new(&[id]).ok_or("a short Sender ID");
    let sender = SenderContext::derive(&common, id(own)?, credential(own)?, &[own; 32], numbers)?;
    let recipient = RecipientContext::derive(&common, id(other)?, credential(other)?, window)?;
    Ok(GroupContext::new(common, sender, [recipient])?)
}

fn credential(seed: u8) -> Fallible<Credential> {
    let mut ccs = [0; 46];
    let key = SigningKey::from_bytes(&[seed; 32]).verifying_key().to_bytes();
    encode_ccs(&key, &mut ccs).ok_or("46 bytes")?;
    Ok(Credential::from_ccs(&ccs)?)
}
