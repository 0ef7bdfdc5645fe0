//! `fwcast validate` and `fwcast schema`: the samples are right, and what is wrong is shown with its line and
//! a caret.
#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

mod common;

use std::path::PathBuf;

use common::Desk;
use fwcast_documents::source::Source;
use fwcast_documents::{Manifests, check};

fn samples() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests"))
}

fn sample(name: &str) -> String {
    std::fs::read_to_string(samples().join(name)).unwrap()
}

/// The canary sample with one piece replaced.
fn with(from: &str, to: &str) -> String {
    let text = sample("canary.yaml");
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1)
}

/// What `fwcast validate` says of a text, without its last line.
fn said(desk: &Desk, text: &str) -> String {
    desk.write("a.yaml", text.as_bytes());
    let run = desk.run("validate -f a.yaml");
    assert_eq!((run.code, run.out.as_str()), (1, ""), "{text}\n{}", run.err);
    let (problems, last) = run.err.trim_end().rsplit_once('\n').unwrap();
    assert!(last.starts_with("error: ") && last.contains("correct them and run"), "{last}");
    problems.to_owned()
}

#[test]
fn the_samples_are_valid_each_and_together() {
    let desk = Desk::new();
    for (name, documents) in [("lab.yaml", 3), ("canary.yaml", 3), ("building.yaml", 3)] {
        let run = desk.run_args(&["validate", "-o", "json", "-f", samples().join(name).to_str().unwrap()]);
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{name}");
        let report: serde_json::Value = serde_json::from_str(&run.out).unwrap();
        assert_eq!(report["ok"], true, "{name}");
        assert_eq!(report["documents"].as_array().unwrap().len(), documents, "{name}");
    }
    let run = desk.run_args(&["validate", "-f", samples().to_str().unwrap()]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.out.contains("lamps-2-4-1") && run.out.contains("canary.yaml:"), "{}", run.out);
}

#[test]
fn the_samples_fit_the_schema_and_what_is_wrong_does_not() {
    let schema: serde_json::Value = serde_json::from_str(&Desk::new().ok("schema").out).unwrap();
    let shipped: serde_json::Value = serde_json::from_str(&sample("schema/v1.json")).unwrap();
    assert!(schema == shipped);
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut documents = 0;
    for name in ["lab.yaml", "canary.yaml", "building.yaml"] {
        for part in sample(name).split("\n---\n") {
            let value: serde_json::Value = provisioning::yaml::from_str(part).unwrap();
            let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{name}: {errors:?}");
            documents += 1;
        }
    }
    assert_eq!(documents, 9);
    let rollout = sample("canary.yaml").split("\n---\n").nth(2).unwrap().to_owned();
    for (from, to) in [
        ("minSample: 2", "minSamples: 2"),
        ("kind: Rollout", "kind: Rollouts"),
        ("size: 6", "size: six"),
        ("size: 6", "size: 6, agents: [lamp-1]"),
        ("groups: [hall-lamps]", "groups: []"),
        ("fwcast/v1", "fwcast/v2"),
        ("minimum: 80%", "minimum: 80"),
    ] {
        assert!(rollout.contains(from), "{from}");
        let value: serde_json::Value = provisioning::yaml::from_str(&rollout.replacen(from, to, 1)).unwrap();
        assert!(!validator.is_valid(&value), "{to}");
    }
}

#[test]
fn what_is_read_is_written_and_read_alike() {
    let sources = Source::read(&[samples()]).unwrap();
    let manifests = Manifests::read(sources).unwrap();
    check::check(&manifests).unwrap();
    for found in &manifests.found {
        let text = provisioning::yaml::to_string(&found.manifest).unwrap();
        let source = Source { name: "again".to_owned(), folder: ".".into(), text: text.clone() };
        let again = Manifests::read(vec![source]).unwrap_or_else(|problems| panic!("{text}\n{problems:?}"));
        assert_eq!(again.found[0].manifest, found.manifest, "{text}");
    }
}

#[test]
fn a_problem_is_shown_with_its_line_and_a_caret() {
    let shown = said(&Desk::new(), &with("minSample: 2 ", "minSamples: 2"));
    let lines: Vec<&str> = shown.lines().collect();
    assert!(
        lines[0]
            .starts_with("error: unknown key 'minSamples', expected one of 'failed', 'lost', 'minSample'"),
        "{shown}"
    );
    assert!(lines[1].ends_with("--> a.yaml:50:5"), "{shown}");
    assert!(lines[3].starts_with("50 |     minSamples: 2"), "{shown}");
    assert_eq!(lines[4].trim(), "|     ^^^^^^^^^^", "{shown}");
}

#[test]
fn every_mistake_is_a_sentence_at_its_place() {
    let desk = Desk::new();
    for (from, to, place, sentence) in [
        ("version: \"2.4.1\"", "version: 1.10", ":30:12", "in quotes, like \"1.10\""),
        ("rate: 20Mbit/s", "rate: 20MB/s", ":19:11", "500kbit/s"),
        ("rate: 20Mbit/s", "group: \"coap://192.0.2.1:5683\"", ":19:12", "multicast address"),
        ("rate: 20Mbit/s", "blockSize: 500", ":19:16", "256, 512 or 1024"),
        ("rate: 20Mbit/s", "hops: 0", ":19:11", "from 1 to 255"),
        ("code: none", "code: rs16\n    generation: 4097", ":24:17", "up to 4096"),
        ("code: none", "code: cauchy\n    generation: 129", ":24:17", "8 to 128"),
        ("code: none", "code: auto\n    generation: 7", ":24:17", "leave it out"),
        ("code: none", "code: raptorq", ":23:11", "unknown word 'raptorq'"),
        ("code: none", "generation: 64", ":23:17", "needs a parity code"),
        ("    selector:\n", "    agents: [lamp-1]\n    selector:\n", ":13:3", "exactly one of the two"),
        ("operator: DoesNotExist", "operator: In", ":17:13", "at least one value"),
        ("model: lamp-2", "model: 2", ":15:29", "in quotes"),
        ("kind: Image", "kind: Picture", ":26:7", "no kind 'Picture'"),
        ("kind: Image\n", "", ":25:1", "does not say its kind"),
        ("apiVersion: fwcast/v1", "apiVersion: fwcast/v2", ":7:13", "fwcast/v1"),
        ("name: lamp-firmware", "name: Lamp", ":28:9", "a-z, 0-9"),
        ("  file: firmware\n", "", ":31:13", "give the file"),
        ("size: 6,", "size: 0,", ":43:28", "a number of agents like 5"),
        ("size: 6,", "", ":43:9", "exactly one of size, selector and agents"),
        ("name: early", "name: canary", ":43:15", "its own name"),
        ("size: 2,", "size: rest,", ":42:29", "move it behind the others"),
        ("soak: 2s, approval", "soak: 2 days ago, approval", ":42:38", "like 90s"),
        ("minimum: 80%", "minimum: 80", ":46:14", "like 5%"),
        ("minimum: 80%", "minimum: 101%", ":46:14", "from 0% to 100%"),
        ("when: now", "when: window", ":54:11", "add `windows.activate`"),
        ("when: now", "when: at", ":54:11", "needs the moment"),
        ("when: now", "at: 2026-12-01T03:00:00Z", ":54:9", "only with `when: at`"),
        ("when: now", "when: at\n    at: tomorrow", ":55:9", "offset"),
        ("on: [lost, busy]", "on: [lost, boredom]", ":59:16", "unknown word 'boredom'"),
        ("    on: [lost, busy]\n", "", ":57:10", "not after what"),
        ("groups: [hall-lamps]", "groups: []", ":40:3", "at least one RolloutGroup"),
        ("groups: [hall-lamps]", "groups: [hall-lamps, hall-lamps]", ":40:24", "twice"),
        ("image: lamp-firmware", "image: sha256:12", ":39:10", "64 hexadecimal digits"),
        ("name: lamps-2-4-1", "name: lamps-2-4-1\n  name: b", ":38:3", "'name' is there twice"),
        ("deadlines:", "deadlines: &d", ":51:14", "anchors"),
        ("deadlines:\n    transfer: 10m", "deadlines: *d", ":51:14", ""),
    ] {
        let shown = said(&desk, &with(from, to));
        assert!(shown.contains(&format!("a.yaml{place}")), "{to}: {place}\n{shown}");
        assert!(shown.contains(sentence), "{to}: {sentence}\n{shown}");
        assert_eq!(shown.matches("error: ").count(), 1, "{to}\n{shown}");
        // A sentence, not the words of a library.
        for word in ["struct", "invalid type", "enum", "`serde", "variant"] {
            assert!(!shown.contains(word), "{to}: {word}\n{shown}");
        }
    }
}

#[test]
fn windows_are_checked() {
    let desk = Desk::new();
    let window = |cron: &str, tz: &str| {
        let activation = with("when: now", "when: window");
        let windows =
            format!("  windows: {{activate: [{{cron: \"{cron}\", for: 1h, tz: {tz}}}]}}\n  deadlines:");
        activation.replacen("  deadlines:", &windows, 1)
    };
    desk.write("a.yaml", window("0 1 * * *", "Europe/Amsterdam").as_bytes());
    desk.ok("validate -f a.yaml");
    for (cron, tz, column, sentence) in [
        ("0 0 31 2 *", "UTC", 31, "never opens"),
        ("0 0 * *", "UTC", 31, "has 4 fields"),
        ("61 0 * * *", "UTC", 31, "no cron expression"),
        ("0 1 * * *", "Europe/Nowhere", 57, "no time zone 'Europe/Nowhere'"),
    ] {
        let shown = said(&desk, &window(cron, tz));
        assert!(
            shown.contains(sentence) && shown.contains(&format!("a.yaml:51:{column}")),
            "{cron}\n{shown}"
        );
    }
}

#[test]
fn documents_are_checked_against_each_other() {
    let desk = Desk::new();
    // Two of the same kind and name, in two files.
    desk.write("one.yaml", sample("lab.yaml").as_bytes());
    desk.write("two.yaml", sample("lab.yaml").as_bytes());
    let run = desk.run("validate -f one.yaml -f two.yaml");
    assert_eq!(run.code, 1);
    assert!(run.err.contains("already a Rollout 'lab-0-1-0' at one.yaml:"), "{}", run.err);
    assert!(run.err.contains("3 problems in 1 file"), "{}", run.err);
    // An agent in the lists of two groups of one rollout.
    let group = |name: &str| {
        let text = sample("lab.yaml").split("\n---\n").next().unwrap().to_owned();
        text.replace("selector: {}", "agents: [lamp-1, lamp-2]")
            .replace("name: lab\n", &format!("name: {name}\n"))
    };
    let rollout = sample("lab.yaml").split("\n---\n").nth(2).unwrap().replace("[lab]", "[a, b]");
    let shown = said(&desk, &[group("a"), group("b"), rollout.clone()].join("\n---\n"));
    assert!(shown.contains("agent 'lamp-1' is in the groups 'a' and 'b'"), "{shown}");
    // What is not among the files is not looked at, and said so.
    desk.write("a.yaml", rollout.as_bytes());
    let run = desk.ok("validate -f a.yaml");
    for name in ["RolloutGroup 'a'", "RolloutGroup 'b'", "Image 'lab-firmware'"] {
        assert!(run.err.contains(&format!("note: {name} is not in these files")), "{}", run.err);
    }
}

#[test]
fn all_problems_of_all_files_are_told() {
    let desk = Desk::new();
    std::fs::create_dir(desk.path("all")).unwrap();
    desk.write("all/b.yaml", with("size: 6,", "size: six,").replace("20Mbit/s", "fast").as_bytes());
    desk.write("all/a.yaml", b"kind: Rollout\nkind: Rollout\n");
    desk.write("all/c.yaml", b"# nothing\n");
    desk.write("all/notes.txt", b"no YAML");
    let run = desk.run("validate -f all");
    assert_eq!(run.code, 1);
    let places = ["all/a.yaml:2:1", "all/b.yaml:19:11", "all/b.yaml:43:28", "all/c.yaml"];
    let found: Vec<Option<usize>> = places.iter().map(|place| run.err.find(place)).collect();
    assert!(found.iter().all(Option::is_some) && found.is_sorted(), "{found:?}\n{}", run.err);
    assert!(run.err.contains("4 problems in 3 files"), "{}", run.err);
    let run = desk.run("validate -f all -o json");
    let report: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!((run.code, report["ok"].as_bool()), (1, Some(false)));
    assert_eq!(report["problems"][1]["line"], 19);
    for (args, said) in [
        ("validate -f none.yaml", "there is no file 'none.yaml'"),
        ("validate -f /dev/zero", "not a regular file"),
    ] {
        let run = desk.run(args);
        assert_eq!(run.code, 1, "{args}");
        assert!(run.err.contains(said), "{args}\n{}", run.err);
    }
    assert_eq!(desk.run("validate").code, 2);
}

/// The work for a hostile file is bounded by what is read of it: its length, its depth, its number of values.
#[test]
fn hostile_files_are_refused() {
    let desk = Desk::new();
    let million = 1024 * 1024;
    let head =
        "apiVersion: fwcast/v1\nkind: Image\nmetadata: {name: a}\nspec:\n  version: \"1\"\n  digest: x\n";
    let fill = |line: &str| line.repeat((million - head.len() - 100) / line.len());
    let numbered: String = (0..15_000).map(|number| format!("k{number}: 1\n")).collect();
    for (text, sentence) in [
        ("#".repeat(million + 1), "longer than 1048576 bytes"),
        ("[".repeat(million), ""),
        ("- ".repeat(million / 2), ""),
        ("{a: ".repeat(million / 4), ""),
        (format!("{head}  x: {}{}\n", "[".repeat(16), "]".repeat(16)), "more than 16 deep"),
        (format!("a: [{}]\n", fill("x,")), "values in the text"),
        (format!("{head}{}", fill("name: 1\n")), "'name' is there twice"),
        (format!("{head}{numbered}"), "unknown key 'k0'"),
        (format!("{head}  words: \"{}\"\n", fill("word ")), "unknown key 'words'"),
        (format!("a: &a x\nb: [{}]\n", fill("*a,")), "anchors"),
        (format!("{head}  x: !!binary aGk=\n"), "tags"),
        (format!("{head}  <<: {{a: 1}}\n"), "merge keys"),
        ("---\n".repeat(900), "no document"),
        (fill("---\n"), "more than 1000 documents"),
        ("--- a\n".repeat(900), "does not say its kind"),
        ("--- a\n".repeat(50_000), "more than 1000 documents"),
        ("\u{feff}\u{0}".to_owned(), ""),
    ] {
        let shown = said(&desk, &text);
        let start: String = text.chars().take(20).collect();
        assert!(shown.contains(sentence), "{start}\n{shown:.2000}");
        assert!(shown.len() < 40_000, "{start}: {} bytes are said", shown.len());
    }
}
