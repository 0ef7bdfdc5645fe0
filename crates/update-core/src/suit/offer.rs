//! The conditions under which a SUIT manifest is an fwcast offer.

use super::manifest::Manifest;
use super::sequence::{Command, Commands, Parameters, command, parameter};
use super::{Offer, SuitError};
use crate::block::{BlockSize, ImageSize, Layout};
use crate::digest::{Digest, UpdateId};

/// The identifier of the image component.
pub(crate) const IMAGE_COMPONENT: &[u8] = &[0];
/// The first part of the identifier of the hash tree's component; the block size is the second.
pub(crate) const TREE_COMPONENT: &[u8] = b"tree";
/// Where the image is: the resource beside the manifest.
pub(crate) const IMAGE_URI: &str = "image";

/// The two components, by their index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Component {
    Image,
    Tree,
}

impl Offer {
    /// Reads a verified manifest with this digest.
    pub(crate) fn from_manifest(manifest: &Manifest<'_>, digest: Digest) -> Result<Self, SuitError> {
        let block_bytes = read_block_size(manifest)?;
        let (image, tree) = walk_shared(manifest.shared())?;
        let validate = manifest.validate().ok_or(step_missing(command::IMAGE_MATCH))?;
        walk_validate(validate)?;
        let install = manifest.install().ok_or(step_missing(command::FETCH))?;
        walk_install(install)?;
        // Booting is up to the boot stage; no manifest controls it.
        if manifest.invoke().is_some() {
            return Err(SuitError::UnsupportedCommand { command: command::INVOKE });
        }
        let image_size = needed(image.image_size, parameter::IMAGE_SIZE)?;
        let page_size = needed(tree.image_size, parameter::IMAGE_SIZE)?;
        Ok(Self {
            digest,
            id: UpdateId::of(&digest),
            sequence_number: manifest.sequence_number,
            vendor: needed(image.vendor, parameter::VENDOR_IDENTIFIER)?,
            class: needed(image.class, parameter::CLASS_IDENTIFIER)?,
            layout: read_layout(image_size, page_size, block_bytes)?,
            image_digest: needed(image.image_digest, parameter::IMAGE_DIGEST)?,
            tree_root: needed(tree.image_digest, parameter::IMAGE_DIGEST)?,
        })
    }
}

/// Checks that the components are the image and its tree. The identifier of the tree holds the block size.
fn read_block_size(manifest: &Manifest<'_>) -> Result<u16, SuitError> {
    let mut reader = manifest.components();
    let is_offer = reader.array()? == 2
        && reader.array()? == 1
        && reader.bytes()? == IMAGE_COMPONENT
        && reader.array()? == 2
        && reader.bytes()? == TREE_COMPONENT;
    if !is_offer {
        return Err(SuitError::NotAnOffer);
    }
    let bytes = reader.bytes()?.try_into().map_err(|_| SuitError::NotAnOffer)?;
    Ok(u16::from_be_bytes(bytes))
}

fn read_layout(image_size: u64, page_size: u64, block_bytes: u16) -> Result<Layout, SuitError> {
    let image = u32::try_from(image_size).ok().and_then(ImageSize::new);
    let image_size = image.ok_or(SuitError::ImageSize { bytes: image_size })?;
    let wrong = SuitError::BlockSize { bytes: page_size };
    if page_size != u64::from(block_bytes) {
        return Err(wrong);
    }
    let block_size = BlockSize::new(u32::from(block_bytes)).ok_or(wrong)?;
    Ok(Layout { image_size, block_size })
}

/// Reads the shared sequence: the parameters of image and tree, and the checks of vendor and class.
fn walk_shared<'b>(commands: Commands<'b>) -> Result<(Parameters<'b>, Parameters<'b>), SuitError> {
    let (mut image, mut tree) = (Parameters::default(), Parameters::default());
    let (mut vendor_checked, mut class_checked) = (false, false);
    let mut selected = None;
    for command in commands {
        let command = command?;
        if let Command::SetComponentIndex(index) = command {
            selected = Some(component(index)?);
            continue;
        }
        let component = selected.ok_or(SuitError::NoComponentSelected)?;
        match (command, component) {
            (Command::OverrideParameters(new), Component::Image) => set(&mut image, &new)?,
            (Command::OverrideParameters(new), Component::Tree) => {
                refuse(new.vendor, parameter::VENDOR_IDENTIFIER)?;
                refuse(new.class, parameter::CLASS_IDENTIFIER)?;
                set(&mut tree, &new)?;
            }
            (Command::VendorIdentifier, Component::Image) => {
                needed(image.vendor, parameter::VENDOR_IDENTIFIER)?;
                vendor_checked = true;
            }
            (Command::ClassIdentifier, Component::Image) => {
                needed(image.class, parameter::CLASS_IDENTIFIER)?;
                class_checked = true;
            }
            (other, _) => return Err(out_of_place(&other)),
        }
    }
    taken(vendor_checked, command::VENDOR_IDENTIFIER)?;
    taken(class_checked, command::CLASS_IDENTIFIER)?;
    Ok((image, tree))
}

/// Reads the validate sequence: the image must match its digest.
fn walk_validate(commands: Commands<'_>) -> Result<(), SuitError> {
    let mut selected = None;
    let mut matched = false;
    for command in commands {
        match (command?, selected) {
            (Command::SetComponentIndex(index), _) => selected = Some(component(index)?),
            (_, None) => return Err(SuitError::NoComponentSelected),
            (Command::ImageMatch, Some(Component::Image)) => matched = true,
            (other, _) => return Err(out_of_place(&other)),
        }
    }
    taken(matched, command::IMAGE_MATCH)
}

/// Reads the install sequence: fetch the image from the resource beside the manifest, then match its digest.
fn walk_install(commands: Commands<'_>) -> Result<(), SuitError> {
    let mut selected = None;
    let (mut uri_set, mut fetched, mut matched) = (false, false, false);
    for command in commands {
        match (command?, selected) {
            (Command::SetComponentIndex(index), _) => selected = Some(component(index)?),
            (_, None) => return Err(SuitError::NoComponentSelected),
            (Command::OverrideParameters(new), Some(Component::Image)) => {
                check_uri(&new)?;
                uri_set = true;
            }
            (Command::Fetch, Some(Component::Image)) if uri_set => fetched = true,
            (Command::ImageMatch, Some(Component::Image)) if fetched => matched = true,
            (other, _) => return Err(out_of_place(&other)),
        }
    }
    taken(fetched, command::FETCH)?;
    taken(matched, command::IMAGE_MATCH)
}

/// Only the URI may be set during install: digest and size stay as in the shared sequence.
fn check_uri(new: &Parameters<'_>) -> Result<(), SuitError> {
    refuse(new.vendor, parameter::VENDOR_IDENTIFIER)?;
    refuse(new.class, parameter::CLASS_IDENTIFIER)?;
    refuse(new.image_digest, parameter::IMAGE_DIGEST)?;
    refuse(new.image_size, parameter::IMAGE_SIZE)?;
    let uri = needed(new.uri, parameter::URI)?;
    if uri == IMAGE_URI { Ok(()) } else { Err(SuitError::UnsupportedUri) }
}

/// Sets parameters of the shared sequence, each at most once.
fn set<'b>(parameters: &mut Parameters<'b>, new: &Parameters<'b>) -> Result<(), SuitError> {
    refuse(new.uri, parameter::URI)?;
    once(&mut parameters.vendor, new.vendor, parameter::VENDOR_IDENTIFIER)?;
    once(&mut parameters.class, new.class, parameter::CLASS_IDENTIFIER)?;
    once(&mut parameters.image_digest, new.image_digest, parameter::IMAGE_DIGEST)?;
    once(&mut parameters.image_size, new.image_size, parameter::IMAGE_SIZE)
}

fn once<T>(place: &mut Option<T>, new: Option<T>, parameter: i64) -> Result<(), SuitError> {
    if place.is_some() {
        return refuse(new, parameter);
    }
    *place = new;
    Ok(())
}

fn component(index: u64) -> Result<Component, SuitError> {
    match index {
        0 => Ok(Component::Image),
        1 => Ok(Component::Tree),
        _ => Err(SuitError::NotAnOffer),
    }
}

fn refuse<T>(value: Option<T>, parameter: i64) -> Result<(), SuitError> {
    if value.is_none() { Ok(()) } else { Err(SuitError::UnsupportedParameter { parameter }) }
}

fn needed<T>(value: Option<T>, parameter: i64) -> Result<T, SuitError> {
    value.ok_or(SuitError::ParameterMissing { parameter })
}

fn taken(step: bool, command: i64) -> Result<(), SuitError> {
    if step { Ok(()) } else { Err(step_missing(command)) }
}

const fn step_missing(command: i64) -> SuitError {
    SuitError::StepMissing { command }
}

const fn out_of_place(command: &Command<'_>) -> SuitError {
    SuitError::UnsupportedCommand { command: command.number() }
}
