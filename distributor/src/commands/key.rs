//! `fwcast key`: signing keys.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use comfy_table::Table;
use serde::Serialize;

use crate::commands::exit_codes::{Exit, Failure};
use crate::commands::global::Global;
use crate::commands::output::{self, Printable, fields};
use fwcast_state::key_sets::TrustedKeys;
use fwcast_state::keys::{self, KeyKind, PublicKey};

/// The key commands.
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Make an Ed25519 key pair: the private key in FILE (PKCS#8 PEM), the public one in FILE.pub
    Generate(Generate),
    /// Show the public half of a key file
    Show(Show),
    /// Sign the set of image keys that devices trust; do it where the root key is
    Set(Set),
}

/// Arguments of `key set`.
#[derive(Debug, Args)]
pub struct Set {
    /// Private root key, which signs the set
    #[arg(long, value_name = "FILE")]
    root: PathBuf,
    /// Public image keys that devices will trust, 1 to 4
    #[arg(long, value_name = "FILE.pub", required = true, num_args = 1..)]
    add: Vec<PathBuf>,
    /// File to write the signed set to; nothing is overwritten
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Serialize)]
struct ShownSet {
    file: PathBuf,
    version: u64,
    root_key: String,
    image_keys: Vec<String>,
}

/// Arguments of `key generate`.
#[derive(Debug, Args)]
pub struct Generate {
    /// What the key will sign: images, or key sets, which say which image keys devices trust
    #[arg(long, value_enum)]
    kind: Purpose,
    /// File to write the private key to; nothing is overwritten
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// What a key will sign.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Purpose {
    /// Signs images
    Image,
    /// Signs key sets: which image keys devices trust
    Root,
}

impl From<Purpose> for KeyKind {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Image => Self::Image,
            Purpose::Root => Self::Root,
        }
    }
}

/// Arguments of `key show`.
#[derive(Debug, Args)]
pub struct Show {
    /// A private or public key file
    file: PathBuf,
}

#[derive(Serialize)]
struct Shown {
    kind: Option<KeyKind>,
    algorithm: &'static str,
    /// Ed25519 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    file: PathBuf,
    /// Where the public key was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    public_file: Option<PathBuf>,
}

impl Key {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<Exit, Failure> {
        let shown = match self {
            Self::Set(set) => {
                output::print(global.output, &set.run()?)?;
                return Ok(Exit::Done);
            }
            Self::Generate(Generate { kind, out }) => {
                let made = keys::generate((*kind).into(), out)?;
                let public = PublicKey::Ed25519(made.key.verifying_key());
                Shown {
                    public_file: Some(keys::public_path(out)),
                    ..Shown::new(public, made.kind, out.clone())
                }
            }
            Self::Show(Show { file }) => {
                let (key, kind) = PublicKey::read_any(file)?;
                Shown::new(key, kind, file.clone())
            }
        };
        output::print(global.output, &shown)?;
        Ok(Exit::Done)
    }
}

impl Set {
    fn run(&self) -> Result<ShownSet, Failure> {
        let keys = TrustedKeys::sign(&self.root, &self.add)?;
        keys.write(&self.out)?;
        let set = keys.key_set()?;
        Ok(ShownSet {
            file: self.out.clone(),
            version: set.version(),
            root_key: keys::fingerprint(&keys.root),
            image_keys: set.keys().iter().map(keys::fingerprint).collect(),
        })
    }
}

impl Printable for ShownSet {
    fn table(&self) -> Table {
        fields([
            ("file", fwcast_state::files::shown(&self.file)),
            ("version", self.version.to_string()),
            ("root key", self.root_key.clone()),
            ("image keys", self.image_keys.join(" ")),
        ])
    }
}

impl Shown {
    fn new(key: PublicKey, kind: Option<KeyKind>, file: PathBuf) -> Self {
        let (algorithm, bytes) = match key {
            PublicKey::Ed25519(key) => ("Ed25519", Some(key.to_bytes())),
            PublicKey::Es256(_) => ("ES256", None),
        };
        Self {
            kind,
            algorithm,
            public_key: bytes.map(hex::encode),
            fingerprint: bytes.map(|bytes| keys::fingerprint(&bytes)),
            file,
            public_file: None,
        }
    }
}

impl Printable for Shown {
    fn table(&self) -> Table {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        fields([
            ("file", fwcast_state::files::shown(&self.file)),
            ("kind", self.kind.map_or_else(|| "-".to_owned(), |kind| kind.to_string())),
            ("algorithm", self.algorithm.to_owned()),
            ("public key", or_dash(&self.public_key)),
            ("fingerprint", or_dash(&self.fingerprint)),
        ])
    }
}
