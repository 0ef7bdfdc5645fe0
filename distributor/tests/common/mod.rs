//! Runs the built `fwcast` in a folder of its own.
#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]
#![allow(dead_code, reason = "no test file uses all of it")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A folder with state, witness and whatever a test writes.
pub(crate) struct Desk {
    folder: TempDir,
}

/// How one run of `fwcast` ended.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A desk with keys `root.pem` and `image.pem` and group `hall`.
    pub(crate) fn with_group() -> Self {
        let desk = Self::new();
        desk.ok("key generate --kind root --out root.pem");
        desk.ok("key generate --kind image --out image.pem");
        desk.ok(CREATE_HALL);
        desk
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `fwcast` with these words.
    pub(crate) fn run(&self, words: &str) -> Run {
        self.run_args(&words.split_whitespace().collect::<Vec<_>>())
    }

    pub(crate) fn run_args(&self, args: &[&str]) -> Run {
        let output: Output = Command::new(env!("CARGO_BIN_EXE_fwcast"))
            .args(args)
            .current_dir(self.folder.path())
            .env_remove("STATE_DIRECTORY")
            .env("FWCAST_STATE", self.path("state"))
            .env("FWCAST_WITNESS", self.path("witness"))
            .output()
            .unwrap();
        Run {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs `fwcast`, which must do it.
    pub(crate) fn ok(&self, words: &str) -> Run {
        let run = self.run(words);
        assert_eq!(run.code, 0, "{words}\n{}{}", run.out, run.err);
        run
    }

    /// Runs `fwcast`, which must do it, and reads its JSON.
    pub(crate) fn json(&self, words: &str) -> serde_json::Value {
        serde_json::from_str(&self.ok(&format!("{words} -o json")).out).unwrap()
    }

    /// Runs `fwcast`, which must fail with this code and one sentence that has all these words.
    pub(crate) fn fails(&self, words: &str, code: i32, said: &[&str]) {
        let run = self.run(words);
        assert_eq!(run.code, code, "{words}\n{}{}", run.out, run.err);
        assert_eq!(run.out, "", "{words}");
        for word in said {
            assert!(run.err.contains(word), "'{word}' for {words}\n{}", run.err);
        }
        // Wrong arguments get a hint below the sentence.
        if code != 2 {
            assert_eq!(run.err.lines().count(), 1, "{words}\n{}", run.err);
        }
        assert!(run.err.starts_with("error: "), "{words}\n{}", run.err);
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    pub(crate) fn mode(&self, name: &str) -> u32 {
        std::fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o777
    }

    pub(crate) fn chmod(&self, name: &str, mode: u32) {
        std::fs::set_permissions(self.path(name), PermissionsExt::from_mode(mode)).unwrap();
    }

    /// All files below a folder.
    pub(crate) fn files(&self, name: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        collect(&self.path(name), &mut found);
        found
    }
}

pub(crate) const CREATE_HALL: &str = "group create hall --coap-group 239.192.0.1:5683 --interface \
    lo --distributor 127.0.0.1:5690 --root-key root.pem --image-key image.pem.pub";
pub(crate) const ENROLL_LAMP: &str =
    "agent enroll lamp-1 --group hall --vendor acme.example --class lamp-2 --out lamp-1.yaml";
pub(crate) const SIGN: &str = "image sign firmware --key image.pem --vendor acme.example --class \
lamp-2 --sequence 7 --previous 6 --out firmware.suit";

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else {
            found.push(path);
        }
    }
}
