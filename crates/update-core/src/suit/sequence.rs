//! A command sequence of a SUIT manifest (draft section 8.4.6).

use super::envelope::{read_digest, reader};
use super::{Part, SuitError};
use crate::cbor::Reader;
use crate::digest::Digest;

/// The numbers of commands (draft sections 8.4.9 and 8.4.10).
pub(crate) mod command {
    pub(crate) const VENDOR_IDENTIFIER: i64 = 1;
    pub(crate) const CLASS_IDENTIFIER: i64 = 2;
    pub(crate) const IMAGE_MATCH: i64 = 3;
    pub(crate) const SET_COMPONENT_INDEX: i64 = 12;
    pub(crate) const OVERRIDE_PARAMETERS: i64 = 20;
    pub(crate) const FETCH: i64 = 21;
    pub(crate) const INVOKE: i64 = 23;
}

/// The numbers of parameters (draft section 8.4.8).
pub(crate) mod parameter {
    pub(crate) const VENDOR_IDENTIFIER: i64 = 1;
    pub(crate) const CLASS_IDENTIFIER: i64 = 2;
    pub(crate) const IMAGE_DIGEST: i64 = 3;
    pub(crate) const IMAGE_SIZE: i64 = 14;
    pub(crate) const URI: i64 = 21;
}

/// A reporting policy has four bits (draft section 8.4.7).
const REPORTING_POLICY_MAX: u64 = 15;

/// A command of the subset that every manifest processor must know (draft section 8.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command<'b> {
    /// suit-condition-vendor-identifier
    VendorIdentifier,
    /// suit-condition-class-identifier
    ClassIdentifier,
    /// suit-condition-image-match
    ImageMatch,
    /// suit-directive-set-component-index
    SetComponentIndex(u64),
    /// suit-directive-override-parameters
    OverrideParameters(Parameters<'b>),
    /// suit-directive-fetch
    Fetch,
    /// suit-directive-invoke
    Invoke,
}

impl Command<'_> {
    /// The number of the command.
    pub(crate) const fn number(&self) -> i64 {
        match self {
            Self::VendorIdentifier => command::VENDOR_IDENTIFIER,
            Self::ClassIdentifier => command::CLASS_IDENTIFIER,
            Self::ImageMatch => command::IMAGE_MATCH,
            Self::SetComponentIndex(_) => command::SET_COMPONENT_INDEX,
            Self::OverrideParameters(_) => command::OVERRIDE_PARAMETERS,
            Self::Fetch => command::FETCH,
            Self::Invoke => command::INVOKE,
        }
    }
}

/// The parameters that one command sets; `None` for those that it does not set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Parameters<'b> {
    pub(crate) vendor: Option<[u8; 16]>,
    pub(crate) class: Option<[u8; 16]>,
    pub(crate) image_digest: Option<Digest>,
    pub(crate) image_size: Option<u64>,
    pub(crate) uri: Option<&'b str>,
}

/// The commands of a sequence, one by one. It ends after an error.
#[derive(Debug, Clone)]
pub(crate) struct Commands<'b> {
    reader: Reader<'b, SuitError>,
    part: Part,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Start,
    /// This many pairs of command and argument follow.
    Pairs(u64),
    Over,
}

impl<'b> Commands<'b> {
    /// Reads the commands in the content of a wrapped sequence.
    pub(crate) fn new(sequence: &'b [u8], part: Part) -> Self {
        Self { reader: reader(sequence, part), part, state: State::Start }
    }

    fn read_next(&mut self) -> Result<Option<Command<'b>>, SuitError> {
        let pairs = match self.state {
            State::Start => self.read_pair_count()?,
            State::Pairs(pairs) => pairs,
            State::Over => return Ok(None),
        };
        let Some(rest) = pairs.checked_sub(1) else {
            self.state = State::Over;
            self.reader.end()?;
            return Ok(None);
        };
        self.state = State::Pairs(rest);
        self.read_command().map(Some)
    }

    /// A sequence is an array of commands, each followed by its argument.
    fn read_pair_count(&mut self) -> Result<u64, SuitError> {
        let len = self.reader.array()?;
        if len % 2 == 0 { Ok(len / 2) } else { Err(self.reader.malformed()) }
    }

    fn read_command(&mut self) -> Result<Command<'b>, SuitError> {
        let number = self.reader.int()?;
        let command = match number {
            command::VENDOR_IDENTIFIER => Command::VendorIdentifier,
            command::CLASS_IDENTIFIER => Command::ClassIdentifier,
            command::IMAGE_MATCH => Command::ImageMatch,
            command::FETCH => Command::Fetch,
            command::INVOKE => Command::Invoke,
            command::SET_COMPONENT_INDEX => {
                return Ok(Command::SetComponentIndex(self.reader.uint()?));
            }
            command::OVERRIDE_PARAMETERS => {
                return Ok(Command::OverrideParameters(self.read_parameters()?));
            }
            command => return Err(SuitError::UnsupportedCommand { command }),
        };
        if self.reader.uint()? > REPORTING_POLICY_MAX {
            return Err(self.reader.malformed());
        }
        Ok(command)
    }

    fn read_parameters(&mut self) -> Result<Parameters<'b>, SuitError> {
        let mut parameters = Parameters::default();
        let mut previous: &[u8] = &[];
        for _ in 0..self.reader.map()? {
            match self.reader.key(&mut previous)? {
                parameter::VENDOR_IDENTIFIER => parameters.vendor = Some(*self.reader.array_of()?),
                parameter::CLASS_IDENTIFIER => parameters.class = Some(*self.reader.array_of()?),
                parameter::IMAGE_DIGEST => {
                    parameters.image_digest = Some(read_digest(self.reader.bytes()?, self.part)?);
                }
                parameter::IMAGE_SIZE => parameters.image_size = Some(self.reader.uint()?),
                parameter::URI => parameters.uri = Some(self.reader.text()?),
                parameter => return Err(SuitError::UnsupportedParameter { parameter }),
            }
        }
        Ok(parameters)
    }
}

impl<'b> Iterator for Commands<'b> {
    type Item = Result<Command<'b>, SuitError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.read_next();
        if next.is_err() {
            self.state = State::Over;
        }
        next.transpose()
    }
}
