//! The daemon `fwcast-agent`.

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let [first, command @ ..] = arguments.as_slice()
        && first == agent_linux::command::SUPERVISE
    {
        return ExitCode::from(agent_linux::command::supervise(command));
    }
    ExitCode::SUCCESS
}
