//! The SUIT manifest map and its common section (draft sections 8.4 and 8.4.5).

use super::envelope::reader;
use super::sequence::Commands;
use super::{Part, SuitError};
use crate::cbor::Reader;

/// The version of the manifest structure in draft section 8.4.1.
pub(crate) const VERSION: u64 = 1;

/// The members of the manifest map and of the common section.
pub(crate) mod member {
    pub(crate) const VERSION: i64 = 1;
    pub(crate) const SEQUENCE_NUMBER: i64 = 2;
    pub(crate) const COMMON: i64 = 3;
    pub(crate) const VALIDATE: i64 = 7;
    pub(crate) const INVOKE: i64 = 9;
    pub(crate) const INSTALL: i64 = 20;
    pub(crate) const COMPONENTS: i64 = 2;
    pub(crate) const SHARED_SEQUENCE: i64 = 4;
}

/// A SUIT manifest, split into its parts. Its sequences have not been read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manifest<'b> {
    pub(crate) sequence_number: u64,
    /// The array of component identifiers, each an array of byte strings.
    components: &'b [u8],
    shared: &'b [u8],
    validate: Option<&'b [u8]>,
    invoke: Option<&'b [u8]>,
    install: Option<&'b [u8]>,
}

impl<'b> Manifest<'b> {
    /// Parses the content of the wrapped manifest.
    pub(crate) fn parse(manifest: &'b [u8]) -> Result<Self, SuitError> {
        let mut reader = reader(manifest, Part::Manifest);
        let mut version = None;
        let mut sequence_number = None;
        let mut common = None;
        let (mut validate, mut invoke, mut install) = (None, None, None);
        let mut previous: &[u8] = &[];
        for _ in 0..reader.map()? {
            match reader.key(&mut previous)? {
                member::VERSION => version = Some(read_version(&mut reader)?),
                member::SEQUENCE_NUMBER => sequence_number = Some(reader.uint()?),
                member::COMMON => common = Some(read_common(reader.bytes()?)?),
                member::VALIDATE => validate = Some(reader.bytes()?),
                member::INVOKE => invoke = Some(reader.bytes()?),
                member::INSTALL => install = Some(reader.bytes()?),
                key => {
                    return Err(SuitError::UnsupportedMember { part: Part::Manifest, key });
                }
            }
        }
        reader.end()?;
        match (version, sequence_number, common) {
            (Some(()), Some(sequence_number), Some((components, shared))) => {
                Ok(Self { sequence_number, components, shared, validate, invoke, install })
            }
            _ => Err(reader.malformed()),
        }
    }

    /// The component identifiers: a reader before an array of arrays of byte strings, known to be
    /// well-formed.
    pub(crate) fn components(&self) -> Reader<'b, SuitError> {
        reader(self.components, Part::Common)
    }

    pub(crate) fn shared(&self) -> Commands<'b> {
        Commands::new(self.shared, Part::SharedSequence)
    }

    pub(crate) fn validate(&self) -> Option<Commands<'b>> {
        self.validate.map(|sequence| Commands::new(sequence, Part::Validate))
    }

    pub(crate) fn install(&self) -> Option<Commands<'b>> {
        self.install.map(|sequence| Commands::new(sequence, Part::Install))
    }

    pub(crate) fn invoke(&self) -> Option<Commands<'b>> {
        self.invoke.map(|sequence| Commands::new(sequence, Part::Invoke))
    }
}

fn read_version(reader: &mut Reader<'_, SuitError>) -> Result<(), SuitError> {
    let version = reader.uint()?;
    if version == VERSION { Ok(()) } else { Err(SuitError::UnsupportedVersion { version }) }
}

/// Reads the common section: the array of components and the content of the shared sequence. Both are
/// required.
fn read_common(common: &[u8]) -> Result<(&[u8], &[u8]), SuitError> {
    let mut reader = reader(common, Part::Common);
    let (mut components, mut shared) = (None, None);
    let mut previous: &[u8] = &[];
    for _ in 0..reader.map()? {
        match reader.key(&mut previous)? {
            member::COMPONENTS => components = Some(read_components(&mut reader)?),
            member::SHARED_SEQUENCE => shared = Some(reader.bytes()?),
            key => {
                return Err(SuitError::UnsupportedMember { part: Part::Common, key });
            }
        }
    }
    reader.end()?;
    components.zip(shared).ok_or(reader.malformed())
}

fn read_components<'b>(reader: &mut Reader<'b, SuitError>) -> Result<&'b [u8], SuitError> {
    let start = reader.position();
    for _ in 0..reader.array()? {
        for _ in 0..reader.array()? {
            reader.bytes()?;
        }
    }
    Ok(reader.since(start))
}
