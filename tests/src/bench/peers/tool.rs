//! The tools that are compared.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

/// Source of the program that sends and receives with NORM's library.
const NORM: &str = include_str!("norm.cpp");

/// Where udpcast's programs find each other; by default by broadcast, for which a host needs an address.
const MEETING: &str = "239.77.0.8";

/// A tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Tool {
    /// fwcast: every datagram encrypted and signed, the image confirmed
    Fwcast,
    /// NORM (RFC 5740), tuned: parity on demand, nothing protected
    Norm,
    /// UFTP: repetition, nothing protected
    Uftp,
    /// UFTP with AES-256-GCM: the group protected, nothing signed
    UftpAes,
    /// udpcast with parity in advance, nothing protected
    Udpcast,
}

/// What the commands of a tool work with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job<'a> {
    /// A folder for programs that the bench builds.
    pub(super) folder: &'a Path,
    /// The image.
    pub(super) image: &'a Path,
    /// How many receivers.
    pub(super) receivers: u8,
    /// The rate of the link, in bits a second.
    pub(super) rate: f64,
}

impl Tool {
    /// In the order of the table.
    pub(super) const ALL: [Self; 5] = [Self::Fwcast, Self::Norm, Self::Uftp, Self::UftpAes, Self::Udpcast];

    /// The Debian package that is missing on this machine, if one is.
    pub(super) fn missing(self) -> Option<&'static str> {
        let here = match self {
            Self::Fwcast => true,
            Self::Norm => Path::new("/usr/include/normApi.h").exists() && is_program("g++"),
            Self::Uftp | Self::UftpAes => is_program("uftp") && is_program("uftpd"),
            Self::Udpcast => is_program("udp-sender") && is_program("udp-receiver"),
        };
        (!here).then(|| self.package().unwrap_or_default())
    }

    /// The Debian packages that it comes in; fwcast comes from this tree.
    pub(super) const fn package(self) -> Option<&'static str> {
        match self {
            Self::Fwcast => None,
            Self::Norm => Some("libnorm-dev g++"),
            Self::Uftp | Self::UftpAes => Some("uftp"),
            Self::Udpcast => Some("udpcast"),
        }
    }

    /// Builds what it needs into the folder.
    ///
    /// # Errors
    /// It does not build.
    pub(super) fn prepare(self, folder: &Path) -> Result<()> {
        if self != Self::Norm {
            return Ok(());
        }
        let source = folder.join("norm.cpp");
        fs::write(&source, NORM)?;
        let mut compiler = Command::new("g++");
        compiler.args(["-O2", "-o"]).arg(folder.join("norm")).arg(&source).arg("-lnorm");
        let built = compiler.output().context("cannot run g++")?;
        let said = String::from_utf8_lossy(&built.stderr);
        ensure!(built.status.success(), "NORM's driver does not build: {}", said.trim());
        Ok(())
    }

    /// The program that receives on host `number`, into a folder of its own.
    pub(super) fn receiver(self, job: &Job<'_>, number: usize, into: &Path) -> Command {
        match self {
            Self::Norm => {
                let mut norm = Command::new(job.folder.join("norm"));
                norm.arg("receive").arg(into).arg(number.to_string());
                norm
            }
            Self::Udpcast => {
                let mut udpcast = Command::new("udp-receiver");
                udpcast.arg("--file").arg(self.received(job, into));
                udpcast.args(["--nokbd", "--nosync", "--no-progress", "--interface", "eth0"]);
                udpcast.args(["--rcvbuf", "4194304", "--mcast-rdv-address", MEETING]);
                udpcast
            }
            // A temporary file is renamed when it is complete.
            _ => {
                let mut uftp = Command::new("uftpd");
                uftp.args(["-d", "-t", "-I", "eth0", "-B", "4194304", "-D"]).arg(into);
                uftp
            }
        }
    }

    /// The program that sends. Each is told a rate that with its headers is the link's: what it counts as
    /// the rate differs.
    pub(super) fn sender(self, job: &Job<'_>) -> Command {
        let kilobits = |part: f64| format!("{:.0}", job.rate * part / 1000.0);
        match self {
            Self::Norm => {
                let mut norm = Command::new(job.folder.join("norm"));
                norm.arg("send").arg(job.image).arg(job.receivers.to_string());
                norm.arg(format!("{:.0}", job.rate * 0.97));
                norm
            }
            Self::Udpcast => {
                let mut udpcast = Command::new("udp-sender");
                udpcast.arg("--file").arg(job.image);
                udpcast.args(["--min-receivers", &job.receivers.to_string()]);
                udpcast.args(["--max-bitrate", &format!("{}k", kilobits(0.99))]);
                udpcast.args(["--nokbd", "--no-progress", "--interface", "eth0", "--full-duplex"]);
                udpcast.args(["--fec", "8x8/64", "--rexmit-hello-interval", "100"]);
                udpcast.args(["--retries-until-drop", "200", "--mcast-rdv-address", MEETING]);
                udpcast
            }
            _ => {
                let mut uftp = Command::new("uftp");
                uftp.args(["-R", &kilobits(0.97), "-I", "eth0", "-B", "4194304", "-r", "0.05"]);
                if self == Self::UftpAes {
                    uftp.args(["-Y", "aes256-gcm", "-h", "sha256"]);
                } else {
                    uftp.args(["-b", "1400"]);
                }
                uftp.arg(job.image);
                uftp
            }
        }
    }

    /// The received image.
    pub(super) fn received(self, job: &Job<'_>, into: &Path) -> PathBuf {
        match self {
            Self::Norm => into.join("received"),
            _ => into.join(job.image.file_name().unwrap_or_default()),
        }
    }

    /// Whether the receiver's end, and not the file, shows that it is complete.
    pub(super) fn ends_when_complete(self) -> bool {
        self == Self::Udpcast
    }

    /// Package and version, as the package manager knows it.
    pub(super) fn version(self) -> Option<String> {
        let package = self.package()?.split(' ').next()?;
        let asked = Command::new("dpkg-query").args(["-W", "-f", "${Package} ${Version}", package]).output();
        String::from_utf8(asked.ok()?.stdout).ok().filter(|said| !said.is_empty())
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fwcast => "fwcast",
            Self::Norm => "NORM",
            Self::Uftp => "UFTP",
            Self::UftpAes => "UFTP, AES-256-GCM",
            Self::Udpcast => "udpcast, FEC",
        })
    }
}

fn is_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_missing() {
        assert!(is_program("sh"));
        assert!(!is_program("fwcast-has-no-such-program"));
        assert_eq!(Tool::Fwcast.missing(), None);
    }

    #[test]
    fn each_tool_is_told_the_rate_of_the_link() {
        let paths = (Path::new("f"), Path::new("f/image"));
        let job = Job { folder: paths.0, image: paths.1, receivers: 8, rate: 10_000_000.0 };
        for (tool, rate) in
            [(Tool::Norm, "9700000"), (Tool::Uftp, "9700"), (Tool::UftpAes, "9700"), (Tool::Udpcast, "9900k")]
        {
            assert!(tool.sender(&job).get_args().any(|word| word == rate), "{tool}");
        }
    }
}
