//! Prints results: a table for people, JSON and YAML for programs, names for other commands.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use clap::ValueEnum;
use comfy_table::{Cell, Table, presets};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::commands::exit_codes::Failure;
use rollout_engine::record::Progress;

/// The format of a command's standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// A table for people.
    #[default]
    Table,
    /// A table with all columns.
    Wide,
    /// One JSON value. Fields may be added, but never change their meaning.
    Json,
    /// The same, with each list item on its own line.
    Jsonl,
    /// The same as YAML.
    Yaml,
    /// Names only, one per line.
    Name,
}

/// Whether output for people has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Its name on the command line.
pub fn word(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// The result that a command prints.
pub trait Printable: Serialize {
    /// The same as a table.
    fn table(&self) -> Table;

    /// The same as a table with all columns.
    fn wide(&self) -> Table {
        self.table()
    }

    /// The names in it, as other commands take them; `None` if nothing in it has one.
    fn names(&self) -> Option<Vec<String>> {
        let name = |value: &Value| Some(value.get("name")?.as_str()?.to_owned());
        match &serde_json::to_value(self).ok()? {
            Value::Array(items) => items.iter().map(name).collect(),
            item => Some(vec![name(item)?]),
        }
    }
}

impl Format {
    /// Whether people read it. They may get extra notes.
    pub const fn is_for_people(self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }
}

static COLOR: OnceLock<Color> = OnceLock::new();

impl Color {
    /// The operator's choice for all output of this process. It is set once, at the start.
    pub fn choose(self) {
        let _ = COLOR.set(self);
    }

    /// Whether standard output is coloured.
    fn is_on() -> bool {
        match COLOR.get().copied().unwrap_or_default() {
            Self::Always => true,
            Self::Never => false,
            // no-color.org: set, and not empty.
            Self::Auto => {
                io::stdout().is_terminal()
                    && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        }
    }
}

/// Prints a report on standard output. A closed standard output (`| head`) is not an error.
pub fn print<R: Printable>(format: Format, report: &R) -> Result<(), Failure> {
    print_text(&render(format, report)?)
}

/// Prints a result that is not a list and has no table, in a format for programs.
pub fn print_value(format: Format, value: &impl Serialize) -> Result<(), Failure> {
    let failed = |error: &dyn fmt::Display| Failure::error(format!("cannot write the result: {error}"));
    let text = match format {
        Format::Yaml => provisioning::yaml::to_string(value).map_err(|error| failed(&error))?,
        Format::Jsonl => serde_json::to_string(value).map_err(|error| failed(&error))?,
        _ => serde_json::to_string_pretty(value).map_err(|error| failed(&error))?,
    };
    print_text(&format!("{}\n", text.trim_end()))
}

/// A report as printed text.
pub fn render<R: Printable>(format: Format, report: &R) -> Result<String, Failure> {
    let failed = |error: &dyn fmt::Display| Failure::error(format!("cannot write the result: {error}"));
    let mut text = match format {
        Format::Table => styled(report.table()),
        Format::Wide => styled(report.wide()),
        Format::Json => serde_json::to_string_pretty(report).map_err(|error| failed(&error))?,
        Format::Jsonl => lines(serde_json::to_value(report).map_err(|error| failed(&error))?),
        Format::Yaml => provisioning::yaml::to_string(report).map_err(|error| failed(&error))?,
        Format::Name => report.names().map(|names| names.join("\n")).ok_or_else(no_names)?,
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// `--output name` for a command that prints nothing with a name.
pub(crate) fn no_names() -> Failure {
    Failure::usage("nothing that this command prints has a name: choose another format with --output")
}

/// Prints a formatted line on standard error. A closed standard error (`2>&1 | head`) is not an error and
/// must not abort a command.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => { $crate::commands::output::say_line(format_args!($($text)*)) };
}
pub use crate::say;

/// As [`say!`].
pub fn say_line(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints text on standard output unchanged. A closed standard output is not an error.
pub fn print_text(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::error(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

fn styled(mut table: Table) -> String {
    if Color::is_on() {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table.to_string()
}

fn lines(value: Value) -> String {
    match value {
        Value::Array(items) => items.iter().map(|item| format!("{item}\n")).collect(),
        item => item.to_string(),
    }
}

/// Untrusted text for a terminal or a log. Escapes whatever could move the cursor, change colours or the text
/// direction, or begin a new line.
pub fn safe(text: &str) -> Cow<'_, str> {
    let harmless = |c: char| matches!(c, '\'' | '"' | '\\') || c.escape_debug().len() == 1;
    if text.chars().all(harmless) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if harmless(c) {
            escaped.push(c);
        } else {
            escaped.extend(c.escape_debug());
        }
    }
    Cow::Owned(escaped)
}

/// How long ago something was, in its largest unit, such as `5m`.
pub fn age(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(at.as_second()).max(0);
    for (unit, length) in [("d", 86_400), ("h", 3_600), ("m", 60)] {
        // Below two of a unit, the next smaller unit is more precise.
        if seconds >= 2 * length {
            return format!("{}{unit}", seconds / length);
        }
    }
    format!("{seconds}s")
}

/// The same, for something that may never have happened.
pub fn age_of(at: Option<Timestamp>, now: Timestamp) -> String {
    at.map_or_else(|| "-".to_owned(), |at| age(at, now))
}

/// An agent's progress, coloured as good or bad news.
pub fn progress(progress: Progress) -> Cell {
    let cell = Cell::new(progress.name());
    match progress {
        Progress::Confirmed => cell.fg(comfy_table::Color::Green),
        Progress::Lost => cell.fg(comfy_table::Color::Red),
        bad if bad.has_failed() => cell.fg(comfy_table::Color::Red),
        _ => cell,
    }
}

/// A table with these column headings.
pub fn columns<const N: usize>(heads: [&str; N]) -> Table {
    let mut table = plain();
    table.set_header(heads);
    table
}

/// A table of one thing: its fields below one another.
pub fn fields<'a>(rows: impl IntoIterator<Item = (&'a str, String)>) -> Table {
    let mut table = plain();
    for (name, value) in rows {
        table.add_row([name.to_owned(), value]);
    }
    table
}

fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Lamps(Vec<Lamp>);

    #[derive(Serialize)]
    struct Lamp {
        name: &'static str,
        on: bool,
    }

    impl Printable for Lamps {
        fn table(&self) -> Table {
            let mut table = columns(["LAMP", "STATE"]);
            for lamp in &self.0 {
                table.add_row([Cell::new(lamp.name), progress(Progress::Failed)]);
            }
            table
        }
    }

    #[test]
    fn each_form_says_the_same() {
        let lamps = Lamps(vec![Lamp { name: "a", on: true }, Lamp { name: "b", on: false }]);
        let render = |format| render(format, &lamps).unwrap();
        assert_eq!(render(Format::Jsonl), "{\"name\":\"a\",\"on\":true}\n{\"name\":\"b\",\"on\":false}\n");
        assert_eq!(render(Format::Name), "a\nb\n");
        assert_eq!(render(Format::Yaml), "- name: a\n  on: true\n- name: b\n  on: false\n");
        let read: Value = serde_json::from_str(&render(Format::Json)).unwrap();
        assert_eq!(read[1]["name"], "b");
        assert_eq!(render(Format::Table), render(Format::Wide));
        assert!(!render(Format::Table).contains('\u{1b}'));
        assert_eq!(super::render(Format::Name, &Lamps(Vec::new())).unwrap(), "");
    }

    #[test]
    fn text_from_elsewhere_cannot_move_the_cursor() {
        assert_eq!(safe("it's \"fine\" \\ größer"), "it's \"fine\" \\ größer");
        assert_eq!(safe("a\u{1b}[2J\nb\u{202e}\u{9b}31m"), "a\\u{1b}[2J\\nb\\u{202e}\\u{9b}31m");
    }

    #[test]
    fn an_age_has_one_unit() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let ago = |seconds: i64| age(Timestamp::from_second(1_000_000 - seconds).unwrap(), now);
        assert_eq!([0, 119, 120, 7199, 7200, 172_800].map(ago), ["0s", "119s", "2m", "119m", "2h", "2d"]);
        // A clock that was set back.
        assert_eq!(ago(-5), "0s");
    }
}
