//! `fwcast agent import`: enrolls many agents from a table.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use provisioning::Name;
use provisioning::yaml::first_refused;

use crate::commands::arguments::{self, Class, Vendor};
use crate::commands::exit_codes::Failure;
use crate::commands::kind::made;
use crate::commands::output::say;
use fwcast_documents::values;
use fwcast_service::Fleet;
use fwcast_service::enroll::{Given, Request};
use fwcast_service::import::{self, Imported};
use fwcast_state::Label;
use fwcast_state::files::{self, shown};
use fwcast_store::Store;
use rollout_engine::Many;

/// The longest table, in bytes.
const TABLE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Most lines that are imported at once.
const LINES_MAX: usize = 100_000;
/// Most problems that are shown.
const PROBLEMS_MAX: usize = 20;
/// The columns, besides those of labels.
const COLUMNS: [&str; 16] = [
    "name",
    "group",
    "vendor",
    "class",
    "format",
    "address",
    "router",
    "interface",
    "listen-port",
    "agent-state",
    "activate-command",
    "activate-deadline",
    "ready-command",
    "health-command",
    "health-deadline",
    "health-interval",
];
/// What the name of a label's column begins with.
const LABEL: &str = "label:";

/// Arguments of `agent import`.
#[derive(Debug, Args)]
pub struct Import {
    /// Table with a head line: name, and what `agent enroll` takes, like vendor, class, health-command;
    /// label:KEY for a label
    file: PathBuf,
    /// Folder for the agents' files, one each; nothing is overwritten
    #[arg(long, value_name = "DIR")]
    out_dir: PathBuf,
    /// Group of the agents whose line names none
    #[arg(long)]
    group: Option<Name>,
    /// Vendor of the agents whose line names none: a domain, or a UUID
    #[arg(long, value_name = "DOMAIN|UUID")]
    vendor: Option<Vendor>,
    /// Class of the agents whose line names none: a name, or a UUID
    #[arg(long, value_name = "MODEL|UUID")]
    class: Option<Class>,
}

/// One line of the table, by column. Empty cells are left out.
struct Line<'a>(BTreeMap<&'a str, &'a str>);

impl Import {
    /// Imports the table. Nothing is enrolled before every line was checked.
    pub(super) async fn run<S: Store>(&self, fleet: &Fleet<S>) -> Result<Imported, Failure> {
        let requests = self.requests()?;
        let total = requests.len();
        files::make_folder(&self.out_dir)?;
        let tell = |done: Imported| {
            if total > 100 {
                say!("{} of {total} lines", done.enrolled + done.passed_over);
            }
        };
        Ok(made(fleet.import(requests, tell).await?))
    }

    fn requests(&self) -> Result<Vec<Request>, Failure> {
        let file = shown(&self.file);
        let bytes = files::read(&self.file, TABLE_BYTES_MAX)?;
        let text = files::text(&bytes).map_err(|error| {
            Failure::error(format!(
                "{file} is not UTF-8 text at byte {}: save it as UTF-8",
                error.valid_up_to()
            ))
        })?;
        if let Some((line, column, why)) = first_refused(text) {
            return Err(Failure::error(format!("{file}:{line}:{column}: {why}")));
        }
        let mut table = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
        let bad = |error: csv::Error| {
            let line = error.position().map_or(1, csv::Position::line);
            let why = error.to_string().escape_debug().to_string();
            Failure::error(format!("{file}:{line}: {why}; correct the table there"))
        };
        let head = table.headers().map_err(bad)?.clone();
        check_head(&head).map_err(|why| Failure::error(format!("{file}:1: {why}")))?;
        let (mut requests, mut problems) = (Vec::new(), Vec::new());
        let (mut names, mut outs) = (BTreeSet::new(), BTreeMap::new());
        for record in table.records() {
            let record = record.map_err(bad)?;
            let at = record.position().map_or(0, csv::Position::line);
            let cells = head.iter().zip(record.iter()).filter(|(_, cell)| !cell.is_empty()).collect();
            match self.request(&Line(cells)) {
                Ok(request) if !names.insert((request.group.clone(), request.name.clone())) => {
                    problems.push(format!("{file}:{at}: agent '{}' is there twice", request.name));
                }
                // Two groups may have an agent of one name, and colons are no part of file names.
                Ok(request) if outs.contains_key(&request.out) => problems.push(format!(
                    "{file}:{at}: the agents of this line and of line {} would both have the file {}: import \
                     them into different folders",
                    outs[&request.out],
                    shown(&request.out)
                )),
                Ok(request) => {
                    outs.insert(request.out.clone(), at);
                    requests.push(request);
                }
                Err(why) => problems.push(format!("{file}:{at}: {why}")),
            }
            if requests.len() > LINES_MAX {
                return Err(Failure::error(format!("{file} has more than {LINES_MAX} lines: split it")));
            }
            if problems.len() >= PROBLEMS_MAX {
                break;
            }
        }
        if problems.is_empty() {
            return Ok(requests);
        }
        problems.iter().for_each(|problem| say!("{problem}"));
        Err(Failure::error(format!(
            "{} in {file}, and nothing was enrolled: correct that and run this command again",
            Many(problems.len(), "problem")
        )))
    }

    fn request(&self, line: &Line<'_>) -> Result<Request, String> {
        let name: Name = line.read("name")?.ok_or("there is no name in this line")?;
        let group = line.read("group")?.or_else(|| self.group.clone());
        let group = group.ok_or("there is no group: add the column, or give --group")?;
        let vendor = line.read("vendor")?.or_else(|| self.vendor.clone());
        let class = line.read("class")?.or_else(|| self.class.clone());
        if vendor.is_none() || class.is_none() {
            return Err(
                "there is no vendor or class: add the columns, or give --vendor and --class".to_owned()
            );
        }
        let is_mcu = line.with("format", |text| match text {
            "yaml" => Ok(false),
            "cbor" => Ok(true),
            _ => Err("a format is yaml or cbor".to_owned()),
        })?;
        let command = |column| line.with(column, |text| values::command_words(&[text.to_owned()]));
        let settings = Given {
            is_mcu,
            interface: line.with("interface", arguments::interface)?,
            listen_port: line.read("listen-port")?,
            agent_state: line.read("agent-state")?,
            activate_command: command("activate-command")?,
            activate_deadline: line.with("activate-deadline", arguments::seconds)?,
            ready_command: command("ready-command")?,
            health_command: command("health-command")?,
            health_deadline: line.with("health-deadline", arguments::seconds)?,
            health_interval: line.with("health-interval", arguments::seconds)?,
            network: line.read("address")?,
            router: line.read("router")?,
            ..Given::default()
        };
        let file = import::file_name(&name, is_mcu == Some(true));
        let out = self.out_dir.join(file);
        Ok(Request { name, group, vendor, class, labels: line.labels()?, again: false, settings, out })
    }
}

impl Line<'_> {
    fn with<T>(&self, column: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
        self.0.get(column).map(|cell| read(cell).map_err(|why| format!("{column}: {why}"))).transpose()
    }

    fn read<T: FromStr>(&self, column: &str) -> Result<Option<T>, String>
    where
        T::Err: ToString,
    {
        self.with(column, |cell| cell.parse().map_err(|error: T::Err| error.to_string()))
    }

    fn labels(&self) -> Result<BTreeMap<String, String>, String> {
        let labels = self.0.iter().filter_map(|(column, cell)| Some((column.strip_prefix(LABEL)?, cell)));
        let label = |(key, value): (&str, &&str)| {
            let label: Label =
                format!("{key}={value}").parse().map_err(|why| format!("{LABEL}{key}: {why}"))?;
            Ok((label.key.to_string(), label.value))
        };
        labels.map(label).collect()
    }
}

/// Every column is known and there once, and the name is there.
fn check_head(head: &csv::StringRecord) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for column in head {
        let shown = column.escape_debug();
        if !COLUMNS.contains(&column) && !column.starts_with(LABEL) {
            let known = COLUMNS.join(", ");
            return Err(format!("there is no column '{shown}': write one of {known}, or label:KEY"));
        }
        if !seen.insert(column) {
            return Err(format!("the column '{shown}' is there twice: keep one"));
        }
    }
    if seen.contains("name") { Ok(()) } else { Err("the head line has no column 'name': add it".to_owned()) }
}
