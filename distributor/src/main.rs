//! The operator's command line of fwcast: arguments and exit codes only.

use std::process::ExitCode;

use distributor::cli::Cli;
use distributor::commands::completions::answer_shell;
use distributor::commands::output::say;

fn main() -> ExitCode {
    answer_shell();
    match Cli::from_command_line().run() {
        Ok(exit) => exit.into(),
        Err(failure) => {
            say!("error: {failure}");
            failure.exit.into()
        }
    }
}
