//! Settings, and where each comes from: a flag, the environment, a file, or the default.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::commands::exit_codes::Failure;
use crate::commands::output::{Color, Format};
use crate::commands::yaml;

/// What a configuration file may contain.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "state, witness, output and color")]
struct ConfigFile {
    state: Option<PathBuf>,
    witness: Option<PathBuf>,
    output: Option<Format>,
    color: Option<Color>,
}

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// An option of this command.
    Flag,
    /// The environment variable with this name.
    Environment(&'static str),
    /// A configuration file.
    File(PathBuf),
    /// The default.
    Default,
}

/// A setting, if given, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value; `None` for the default.
    pub value: Option<T>,
    /// Where it comes from.
    pub origin: Origin,
}

/// All settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder for groups, keys and counters.
    pub state: Setting<PathBuf>,
    /// The folder for the second copy of the counters.
    pub witness: Setting<PathBuf>,
    /// The output format.
    pub output: Setting<Format>,
    /// Colours in tables.
    pub color: Setting<Color>,
}

/// The settings on the command line.
#[derive(Debug, Default)]
pub struct Flags {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--state`.
    pub state: Option<PathBuf>,
    /// `--witness`.
    pub witness: Option<PathBuf>,
    /// `--output`.
    pub output: Option<Format>,
    /// `--color`.
    pub color: Option<Color>,
}

impl Settings {
    /// Gathers them: flags, then `FWCAST_*`, then the first of these configuration files that exists:
    /// `--config`, `./fwcast.yaml`, `$XDG_CONFIG_HOME/fwcast/config.yaml` or `/etc/fwcast/config.yaml`.
    ///
    /// # Errors
    /// A file or a variable has an invalid value.
    pub fn gather(flags: Flags) -> Result<Self, Failure> {
        let named = flags.config.or_else(|| variable("FWCAST_CONFIG").map(PathBuf::from));
        let path = named.or_else(|| usual_files().into_iter().find(|path| path.is_file()));
        let file: ConfigFile = path.as_deref().map(yaml::read).transpose()?.unwrap_or_default();
        let folder = path.as_deref().and_then(Path::parent).map(Path::to_path_buf).unwrap_or_default();
        let from_file = |value: Option<PathBuf>| value.map(|value| folder.join(value));
        let path = path.as_deref();
        Ok(Self {
            state: choose(flags.state, "FWCAST_STATE", to_path, from_file(file.state), path)?,
            witness: choose(flags.witness, "FWCAST_WITNESS", to_path, from_file(file.witness), path)?,
            output: choose(flags.output, "FWCAST_OUTPUT", to_word, file.output, path)?,
            color: choose(flags.color, "FWCAST_COLOR", to_word, file.color, path)?,
        })
    }
}

fn choose<T>(
    flag: Option<T>,
    name: &'static str,
    read: impl FnOnce(&'static str, OsString) -> Result<T, Failure>,
    in_file: Option<T>,
    file: Option<&Path>,
) -> Result<Setting<T>, Failure> {
    let setting = |value, origin| Ok(Setting { value: Some(value), origin });
    if let Some(value) = flag {
        return setting(value, Origin::Flag);
    }
    if let Some(text) = variable(name) {
        return setting(read(name, text)?, Origin::Environment(name));
    }
    match (in_file, file) {
        (Some(value), Some(file)) => setting(value, Origin::File(file.to_path_buf())),
        _ => Ok(Setting { value: None, origin: Origin::Default }),
    }
}

fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

fn to_path(_: &'static str, text: OsString) -> Result<PathBuf, Failure> {
    Ok(text.into())
}

fn to_word<T: ValueEnum>(name: &'static str, text: OsString) -> Result<T, Failure> {
    let text = text.to_string_lossy();
    T::from_str(&text, false).map_err(|_| {
        let words: Vec<String> = T::value_variants()
            .iter()
            .filter_map(|value| Some(value.to_possible_value()?.get_name().to_owned()))
            .collect();
        Failure::usage(format!(
            "the environment variable {name} is '{}': set it to one of {}, or unset it",
            text.escape_debug(),
            words.join(", ")
        ))
    })
}

fn usual_files() -> Vec<PathBuf> {
    let home = variable("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".config")));
    let mut files = vec![PathBuf::from("fwcast.yaml")];
    files.extend(home.map(|home| home.join("fwcast/config.yaml")));
    files.push("/etc/fwcast/config.yaml".into());
    files
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment(name) => f.write_str(name),
            Self::File(path) => f.write_str(&fwcast_state::files::shown(path).to_string()),
            Self::Default => f.write_str("default"),
        }
    }
}
