//! Asking before something that cannot be undone.

use std::io::{IsTerminal, Write};

use clap::Args;

use super::exit_codes::Failure;

/// The option that answers the question.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Yes {
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
}

impl Yes {
    /// Asks on the terminal whether to do it, unless `--yes` is given. `what` is what is left as it was
    /// otherwise.
    pub(super) fn or_ask(self, question: &str, what: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        let declined = |how: &str| Failure::usage(format!("{what} was left as it is: {how}"));
        if !std::io::stdin().is_terminal() {
            return Err(declined("there is no terminal to ask on, so give --yes"));
        }
        // Even if the question cannot be shown, the answer decides.
        let _ = write!(std::io::stderr(), "{question} [y/N] ");
        let mut answer = String::new();
        let read = std::io::stdin().read_line(&mut answer);
        let yes = read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes");
        if yes { Ok(()) } else { Err(declined("the answer was not yes")) }
    }
}
