//! A board with an unusable provisioning area or records: it prints why in one line, repeats it to anyone who
//! asks on the console, and does nothing else. And a board whose network does not start at once.

use std::fs;
use std::path::Path;
use std::time::Duration;

use agent_embedded::layouts::MPS2_AN386;
use agent_embedded::provisioning::{HEADER_BYTES, MAGIC, ProvisioningError, VERSION};
use anyhow::{Context, Result, ensure};
use boot_stage::image::{WRITTEN_BYTES_MAX, trailer};
use boot_stage::layout::Partition;
use sha2::{Digest as _, Sha256};

use super::flash_file::FlashFile;
use super::node::Node;
use crate::netns::Net;

/// How long a board may take to print, or repeat, what is wrong.
const WITHIN: Duration = Duration::from_secs(20);
/// Two resets, after one second and after two.
const LATE_WITHIN: Duration = Duration::from_secs(40);
/// What an agent without records prints, and what one prints that tries again.
const LOST: &str = "agent: cannot run: the records are damaged";
const AGAIN: &str = "tries again after a reset";
/// Bytes of SHA-256 in the header.
const DIGEST_BYTES: usize = 16;
/// Where the version is in the CBOR: after the head of the map and the first key.
const VERSION_AT: usize = 2;

/// A change to a provisioning area.
type Spoil = fn(&mut [u8], &[u8; 16]) -> Result<()>;

/// A description of the area, the change to it, and the error that must be printed.
const CASES: [(&str, Spoil, ProvisioningError); 5] = [
    ("empty", empty, ProvisioningError::Empty),
    ("torn", torn, ProvisioningError::Damaged),
    ("of an older version", |area, _| version(area, VERSION - 1), ProvisioningError::Version),
    ("of a newer version", |area, _| version(area, VERSION + 1), ProvisioningError::Version),
    ("with a group that is not a multicast address", unicast, ProvisioningError::NotMulticast),
];

/// Starts a board from a copy of this flash for each way in which its provisioning can be wrong; returns what
/// went wrong. `group` is the CoAP group's address.
///
/// # Errors
/// QEMU cannot be run.
pub fn try_all(node: &mut Node, net: &Net, good: &Path, group: &[u8; 16]) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for (what, spoil, error) in CASES {
        fs::copy(good, node.flash())?;
        let mut flash = FlashFile::open(node.flash())?;
        let Partition { offset, bytes } = MPS2_AN386.provisioning;
        let area = flash.bytes_mut().get_mut(offset as usize..(offset + bytes) as usize);
        spoil(area.context("the layout lies within the flash")?, group)?;
        flash.save()?;
        let before = node.lines_with(error.text());
        node.start(net)?;
        if let Err(why) = node.wait_for(error.text(), before + 1, WITHIN) {
            wrong.push(format!("a provisioning area {what} is not reported: {why:#}"));
        } else if let Err(why) = node.ask(error.text(), WITHIN) {
            wrong.push(format!("with a provisioning area {what} the console does not answer: {why:#}"));
        }
        if node.console().contains("listens to") {
            wrong.push(format!("with a provisioning area {what} the agent runs"));
        }
        node.cut()?;
    }
    println!("provisioning: {} of {} bad areas are reported", CASES.len() - wrong.len(), CASES.len());
    Ok(wrong)
}

/// Starts a board from a copy of this flash that has lost all of its records; returns what went wrong.
///
/// # Errors
/// QEMU cannot be run.
pub fn without_records(node: &mut Node, net: &Net, good: &Path) -> Result<Option<String>> {
    fs::copy(good, node.flash())?;
    let mut flash = FlashFile::open(node.flash())?;
    let Partition { offset, bytes } = MPS2_AN386.records;
    let records = flash.bytes_mut().get_mut(offset as usize..(offset + bytes) as usize);
    records.context("the layout lies within the flash")?.fill(0x5a);
    flash.save()?;
    let before = node.lines_with("boot: runs");
    node.start(net)?;
    let told = node.wait_for(LOST, 1, WITHIN).and_then(|()| node.ask(LOST, WITHIN));
    let runs = node.lines_with("boot: runs") == before + 1 && !node.console().contains("listens to");
    node.cut()?;
    println!("lost records: {}", if told.is_ok() { "reported" } else { "not reported" });
    Ok(match told {
        Err(why) => Some(format!("lost records are not reported: {why:#}")),
        Ok(()) if !runs => Some("without its records a board does not run its image, or sends".to_owned()),
        Ok(()) => None,
    })
}

/// Starts a board with a confirmed image whose network controller answers only in its third start; returns
/// what went wrong.
///
/// # Errors
/// QEMU cannot be run.
pub fn late(
    node: &mut Node,
    net: &Net,
    good: &Path,
    (image, envelope): (&[u8], &[u8]),
) -> Result<Option<String>> {
    fs::copy(good, node.flash())?;
    let mut flash = FlashFile::open(node.flash())?;
    let (layout, mut buffer) = (MPS2_AN386, [0; WRITTEN_BYTES_MAX]);
    let trailer = trailer(envelope, &mut buffer).context("the envelope is too long")?;
    for (offset, bytes) in [(layout.active.offset, image), (layout.trailer(layout.active).offset, trailer)] {
        let place = flash.bytes_mut().get_mut(offset as usize..offset as usize + bytes.len());
        place.context("the layout lies within the flash")?.copy_from_slice(bytes);
    }
    flash.save()?;
    let before = (node.lines_with(AGAIN), node.lines_with("listens to"));
    node.start(net)?;
    let listens = node.wait_for("listens to", before.1 + 1, LATE_WITHIN);
    let resets = node.lines_with(AGAIN) - before.0;
    node.cut()?;
    println!("a controller that answers late: {resets} resets, then {listens:?}");
    Ok(match listens {
        Err(why) => Some(format!("a board whose network starts late does not recover: {why:#}")),
        Ok(()) if resets != 2 => Some(format!("{resets} resets until the network starts, not 2")),
        Ok(()) => None,
    })
}

fn empty(area: &mut [u8], _: &[u8; 16]) -> Result<()> {
    area.fill(0xff);
    Ok(())
}

fn torn(area: &mut [u8], _: &[u8; 16]) -> Result<()> {
    let end = HEADER_BYTES + cbor(area)?.len();
    area[end / 2..].fill(0xff);
    Ok(())
}

fn version(area: &mut [u8], version: u32) -> Result<()> {
    let at = cbor(area)?.get(VERSION_AT).map(|byte| u32::from(*byte));
    ensure!(at == Some(VERSION), "the CBOR does not begin with its version");
    // As long as it is below 24.
    area[HEADER_BYTES + VERSION_AT] = u8::try_from(version)?;
    seal(area)
}

fn unicast(area: &mut [u8], group: &[u8; 16]) -> Result<()> {
    let place = area.windows(group.len()).position(|bytes| bytes == group);
    let place = place.context("the CoAP group is not in the provisioning area")?;
    area[place] = 0xfd;
    seal(area)
}

/// The CBOR of a valid area.
fn cbor(area: &[u8]) -> Result<&[u8]> {
    let (header, rest) = area.split_at_checked(HEADER_BYTES).context("the area is too short")?;
    ensure!(header.starts_with(&MAGIC), "the area is not that of a provisioned device");
    let length = u32::from_le_bytes(header[MAGIC.len()..MAGIC.len() + 4].try_into()?) as usize;
    rest.get(..length).context("the length is wrong")
}

/// Makes the header match again.
fn seal(area: &mut [u8]) -> Result<()> {
    let digest = Sha256::digest(cbor(area)?);
    area[HEADER_BYTES - DIGEST_BYTES..HEADER_BYTES].copy_from_slice(&digest[..DIGEST_BYTES]);
    Ok(())
}
