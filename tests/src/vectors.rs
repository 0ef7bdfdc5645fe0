//! Reproduces suites of Group OSCORE vectors, value by value and byte for byte.
//!
//! A file holds suites. A suite has a group with its members, every derived key, messages to be protected
//! again from the unprotected CoAP at the given Partial IV and then unprotected by their receiver, and
//! messages to be refused for a stated reason. Values that a suite leaves out are not checked; those that it
//! has must be right.

mod json;
mod members;
mod messages;
mod refusals;

use json::Object;
use members::Suite;
use serde_json::Value;
use std::path::Path;

/// What was reproduced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Suites in the file.
    pub suites: usize,
    /// Values that were compared: keys, infos, nonces, structures, signatures, datagrams.
    pub values: usize,
    /// Messages that were protected with the same bytes, and then unprotected.
    pub messages: usize,
    /// Messages that were refused for the stated reason.
    pub refused: usize,
}

/// Runs every suite of a file. The first difference ends the run, and the error says where it is.
pub fn run(path: &Path) -> Result<Report, String> {
    let file = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{file}: {error}"))?;
    let root: Value = serde_json::from_str(&text).map_err(|error| format!("{file}: {error}"))?;
    let suites = match root.get("suites") {
        Some(suites) => {
            suites.as_array().ok_or_else(|| format!("{file}: suites is not an array"))?.as_slice()
        }
        None => std::slice::from_ref(&root),
    };
    let mut report = Report::default();
    for suite in suites {
        let name = suite.get("suite").and_then(Value::as_str).unwrap_or("suite").to_owned();
        run_suite(Object::new(suite), &mut report).map_err(|error| format!("{file}: {name}: {error}"))?;
        report.suites += 1;
    }
    if report.suites == 0 {
        return Err(format!("{file}: no suites"));
    }
    Ok(report)
}

fn run_suite(object: Object<'_>, report: &mut Report) -> Result<(), String> {
    let suite = Suite::read(object)?;
    report.values += suite.check_keys()?;
    let messages = messages::read(&suite)?;
    for message in &messages {
        report.values += message
            .check(&suite, &messages)
            .map_err(|error| format!("message {:?}: {error}", message.label))?;
        report.messages += 1;
    }
    report.refused += refusals::check(&suite, &messages)?;
    Ok(())
}
