//! One example or more at the end of every help page.

use clap::Command;

/// The commands, and what one may type.
const EXAMPLES: &[(&str, &[&str])] = &[
    ("key generate", &["fwcast key generate --kind root --out root.key"]),
    ("key show", &["fwcast key show image.key.pub"]),
    ("key set", &["fwcast key set --root root.key --add image.key.pub --out keys.cbor"]),
    (
        "group create",
        &[
            "fwcast group create hall --coap-group 239.192.7.1:5683 --interface eth1 --distributor \
             192.0.2.10:5690 --key-set keys.cbor",
            "fwcast group create hall --replace --yes",
        ],
    ),
    ("group set", &["fwcast group set hall --rate 4Mbit/s"]),
    (
        "group rekey",
        &["fwcast group rekey hall", "fwcast group rekey hall --coap-group 239.192.7.2:5683 --within 5m"],
    ),
    ("group show", &["fwcast group show hall"]),
    ("group list", &["fwcast group list -o json"]),
    (
        "agent enroll",
        &[
            "fwcast agent enroll lamp-1 --group hall --vendor example.com --class lamp-v2 --out lamp-1.yaml",
            "fwcast agent enroll lamp-1 --group hall --again --out again.yaml",
        ],
    ),
    (
        "agent import",
        &["fwcast agent import lamps.csv --out-dir files --group hall --vendor example.com --class lamp-v2"],
    ),
    ("agent list", &["fwcast agent list --group hall"]),
    (
        "agent label",
        &["fwcast agent label lamp-1 ring=canary old-", "fwcast agent label -l model=lamp-2 floor=3"],
    ),
    ("agent remove", &["fwcast agent remove hall/lamp-1 --yes"]),
    ("agent evict", &["fwcast agent evict hall/lamp-1 --reason stolen --destroy --yes"]),
    ("agent rejoin", &["fwcast agent rejoin lamp-1 --group hall"]),
    ("manager run", &["fwcast manager run"]),
    ("agent release", &["fwcast agent release lamp-1"]),
    ("agent inspect", &["fwcast agent inspect lamp-1.yaml"]),
    (
        "image sign",
        &["fwcast image sign firmware.bin --key image.key --vendor example.com --class lamp-v2 \
             --sequence 2 --out firmware.bin.suit"],
    ),
    ("image inspect", &["fwcast image inspect firmware.bin.suit"]),
    ("image verify", &["fwcast image verify firmware.bin.suit firmware.bin --key image.key.pub"]),
    ("push", &["fwcast push firmware.bin --group hall"]),
    ("status", &["fwcast status", "fwcast status lamps-2 --watch", "fwcast status --group hall"]),
    ("doctor", &["fwcast doctor --group hall"]),
    ("get", &["fwcast get agents --group hall --progress rolled-back", "fwcast get rollouts -o name"]),
    ("describe", &["fwcast describe agent hall/lamp-1"]),
    ("delete", &["fwcast delete rollout lamps-2"]),
    ("history", &["fwcast history lamps-2", "fwcast history hall/lamp-1"]),
    ("events", &["fwcast events --follow -o jsonl"]),
    (
        "backup",
        &[
            "fwcast backup --out fwcast.tar",
            "fwcast backup --out move.tar --move-to 0123456789abcdef0123456789abcdef --yes",
        ],
    ),
    ("config machine", &["fwcast config machine"]),
    ("restore", &["fwcast restore fwcast.tar"]),
    ("validate", &["fwcast validate -f lamps.yaml"]),
    ("schema", &["fwcast schema > fwcast.schema.json"]),
    ("plan", &["fwcast plan -f lamps.yaml --exit-code"]),
    ("apply", &["fwcast apply -f manifests/"]),
    ("run", &["fwcast run -f lamps.yaml", "fwcast run lamps-2 doors-5"]),
    ("rollout start", &["fwcast rollout start lamps-2"]),
    ("rollout pause", &["fwcast rollout pause lamps-2 --reason 'trade fair'"]),
    ("rollout resume", &["fwcast rollout resume lamps-2"]),
    ("rollout approve", &["fwcast rollout approve lamps-2"]),
    ("rollout retry", &["fwcast rollout retry lamps-2"]),
    ("rollout cancel", &["fwcast rollout cancel lamps-2 --yes"]),
    ("rollout undo", &["fwcast rollout undo lamps-2"]),
    ("config view", &["fwcast config view --origin"]),
    ("completions", &["fwcast completions bash > ~/.local/share/bash-completion/completions/fwcast"]),
    ("man", &["fwcast man rollout approve | man -l -"]),
];

/// The command line with its examples.
#[must_use]
pub fn with_examples(command: Command) -> Command {
    let command = EXAMPLES.iter().fold(command, |command, (path, examples)| {
        let words: Vec<&str> = path.split(' ').collect();
        at(command, &words, &text(examples))
    });
    command.mut_subcommands(|noun| {
        let leads = format!("{} ", noun.get_name());
        let first = EXAMPLES.iter().find(|(path, _)| path.starts_with(&leads));
        match first {
            Some((_, examples)) => noun.after_help(text(examples)),
            None => noun,
        }
    })
}

fn text(examples: &[&str]) -> String {
    let lines: Vec<String> = examples.iter().map(|example| format!("  {example}")).collect();
    let heading = if examples.len() == 1 { "Example:" } else { "Examples:" };
    format!("{heading}\n{}", lines.join("\n"))
}

/// Puts the text at the end of the help of the subcommand that these words name, if there is one.
fn at(command: Command, words: &[&str], text: &str) -> Command {
    match words {
        [] => command.after_help(text.to_owned()),
        [first, rest @ ..] if command.find_subcommand(first).is_some() => {
            command.mut_subcommand(first, |inner| at(inner, rest, text))
        }
        _ => command,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::{CommandFactory, FromArgMatches as _};

    fn leaves(command: &Command, path: &str, all: &mut Vec<String>) {
        for inner in command.get_subcommands() {
            let path = format!("{path} {}", inner.get_name()).trim().to_owned();
            if inner.has_subcommands() { leaves(inner, &path, all) } else { all.push(path) }
        }
    }

    #[test]
    fn every_command_has_an_example_and_every_example_is_a_command() {
        let mut all = Vec::new();
        leaves(&Cli::command(), "", &mut all);
        all.sort();
        let mut known: Vec<&str> = EXAMPLES.iter().map(|(path, _)| *path).collect();
        known.sort_unstable();
        assert_eq!(all, known);
        for example in EXAMPLES.iter().flat_map(|(_, examples)| *examples) {
            let typed = example.split([' ']).take_while(|word| !matches!(*word, ">" | "|"));
            let words: Vec<String> = typed.map(|word| word.trim_matches('\'').to_owned()).collect();
            let words = if example.contains('\'') { words.into_iter().take(4).collect() } else { words };
            let matches = with_examples(Cli::command()).try_get_matches_from(words);
            let read = matches.map(|matches| Cli::from_arg_matches(&matches).map(drop));
            assert!(matches!(read, Ok(Ok(()))), "{example}: {read:?}");
        }
    }
}
