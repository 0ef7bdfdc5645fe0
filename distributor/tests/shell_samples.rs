//! The shell samples of the documentation, run as they are written there: `console` blocks in `README.md`,
//! `docs/operating.md` and `tests/cmd/*.md`. Those that need a network are marked `console,ignore`; the
//! package `tests` runs the same commands between real programs. `TRYCMD=overwrite` writes down what is said
//! now.

/// All blocks of a page run one after another in one folder, which begins as `tests/cmd/<page>.in`.
#[test]
fn shell_samples_say_what_fwcast_says() {
    trycmd::TestCases::new()
        .register_bin("fwcast", trycmd::cargo::cargo_bin!("fwcast"))
        .env("FWCAST_STATE", "state")
        .env("FWCAST_WITNESS", "witness")
        .env("STATE_DIRECTORY", "")
        .env("FWCAST_CONFIG", "")
        .env("XDG_CONFIG_HOME", "config")
        .env("FWCAST_OUTPUT", "")
        .env("NO_COLOR", "1")
        .env("USER", "operator")
        .case("tests/cmd/*.md");
}

/// What a page shows of a file is what its samples read.
#[test]
fn documents_in_the_pages_are_those_that_their_samples_read() {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    for (page, file) in
        [("../README.md", "README.in/first.yaml"), ("../docs/operating.md", "operating.in/lamps.yaml")]
    {
        let shown = format!("```yaml\n{}```", read(&format!("tests/cmd/{file}")));
        assert!(read(page).contains(&shown), "{page} shows another {file}");
    }
}
