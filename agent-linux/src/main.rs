//! The daemon `fwcast-agent`: arguments, logging and exit codes; everything else is in the library.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use agent_linux::agent::{self, Sets};
use agent_linux::arguments::{Arguments, Print, Profile};
use agent_linux::command::{SUPERVISE, supervise};
use agent_linux::config::{Config, shown};
use agent_linux::failure::{Exit, Failure};
use agent_linux::install::{first_installed_record, install};
use agent_linux::loss::Loss;
use agent_linux::run::{asked_to_stop, run};
use agent_linux::startup;
use clap::Parser;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let [first, command @ ..] = arguments.as_slice()
        && first == SUPERVISE
    {
        return ExitCode::from(supervise(command));
    }
    let arguments = Arguments::parse();
    if let Some(print) = arguments.print {
        return printed(print);
    }
    log_to_standard_error(arguments.level());
    match act(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("fwcast-agent: {failure}");
            failure.exit.into()
        }
    }
}

fn printed(print: Print) -> ExitCode {
    // Who reads it may have had enough.
    match print.text().and_then(|text| std::io::stdout().write_all(&text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fwcast-agent: cannot write the text: {error}");
            ExitCode::from(Exit::Error as u8)
        }
    }
}

fn act(arguments: &Arguments) -> Result<(), Failure> {
    let loss = arguments.loss()?;
    let config = Config::load(&arguments.config, &arguments.overrides())?;
    if let (Some(image), Some(sequence)) = (&arguments.install, arguments.sequence) {
        return install_first(&config, image, sequence);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::error(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(async {
        if arguments.check {
            return check(&config);
        }
        serve(&config, loss, arguments.interface_within(), arguments.profile).await
    })
}

async fn serve(
    config: &Config,
    loss: Loss,
    interface_within: Duration,
    profile: Profile,
) -> Result<(), Failure> {
    let stop = asked_to_stop().map_err(|error| Failure::error(format!("cannot catch signals: {error}")))?;
    let mut stop = std::pin::pin!(stop);
    let interface = tokio::select! {
        interface = startup::interface(config, interface_within) => interface?,
        () = stop.as_mut() => return Ok(()),
    };
    let mut device = startup::open_device(config, interface, loss)?;
    let mut sets = Sets::for_blocks_of(config.provisioning.block_size, profile)
        .ok_or_else(|| Failure::error("no memory for the sets of blocks"))?;
    let seed = getrandom::u64().map_err(|error| {
        Failure::error(format!("the system returned no random bytes ({error}): try again"))
    })?;
    let mut agent = agent::agent(config, &mut device.platform, &mut sets, seed)?;
    tracing::info!(
        name = %config.provisioning.name,
        coap_group = %agent.place().coap_group,
        interface = config.interface,
        "started"
    );
    device.listen_at(agent.place().coap_group);
    run(&mut agent, &mut device, stop).await;
    Ok(())
}

fn install_first(config: &Config, image: &Path, sequence_number: u64) -> Result<(), Failure> {
    let length = install(
        &config.state_directory,
        image,
        &first_installed_record(sequence_number)?,
        config.trial.switch(),
    )?;
    println!("installed {} ({length} bytes) as manifest sequence number {sequence_number}", shown(image));
    Ok(())
}

fn check(config: &Config) -> Result<(), Failure> {
    let unchecked = startup::check(config)?;
    let group = config.provisioning.coap_group;
    println!("{}: {group} on {} is valid", config.provisioning.name, config.interface);
    if let Some(unchecked) = unchecked {
        println!("{unchecked}");
    }
    Ok(())
}

fn log_to_standard_error(level: tracing::Level) {
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        // Whoever reads the log may be gone; that is no reason to stop.
        .log_internal_errors(false)
        .init();
}
