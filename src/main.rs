//! The command line: serve, check a configuration, make a key; audit, back up, erase; and what [`cli`] asks a running
//! server.

mod cli;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use revbridge::config::Config;
use revbridge::server;

use crate::cli::{Access, ChangesArguments, KeyCommand, NumberCommand, OrgCommand, PriceCommand, Request, UserCommand};

/// A call makes some hundreds of small allocations on threads of their own; this allocator takes about
/// half of the system one's time for them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rings two phones and joins them, showing only a number that the organization owns.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server until SIGTERM; SIGHUP reads the file again.
    Serve {
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Instead of the file's `log.format`.
        #[arg(long, value_enum)]
        log: Option<LogFormat>,
        /// Also log every message and step of every call.
        #[arg(long)]
        verbose: bool,
    },
    /// Say every mistake of a configuration at once, with line and column; then read the keys and certificates that it names.
    CheckConfig { file: PathBuf },
    /// Organizations of a running server, with their limits.
    Org {
        #[command(flatten)]
        access: Access,
        #[command(subcommand)]
        command: OrgCommand,
    },
    /// Users of an organization.
    User {
        #[command(flatten)]
        access: Access,
        #[command(subcommand)]
        command: UserCommand,
    },
    /// Numbers that an organization owns.
    Number {
        #[command(flatten)]
        access: Access,
        #[command(subcommand)]
        command: NumberCommand,
    },
    #[command(flatten)]
    Books(cli::books::BooksCommand),
    /// API keys.
    Key {
        #[command(flatten)]
        access: Access,
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// What legs cost.
    Price {
        #[command(flatten)]
        access: Access,
        #[command(subcommand)]
        command: PriceCommand,
    },
    /// Who changed what, newest first.
    Changes {
        #[command(flatten)]
        access: Access,
        #[command(flatten)]
        which: ChangesArguments,
    },
    /// Which trunk a call to a number would take now, and why.
    Route {
        #[command(flatten)]
        access: Access,
        /// With its '+': +14155550100.
        number: String,
    },
    /// The SIP messages of a call, as a ladder; numbers by their last digits.
    Trace {
        #[command(flatten)]
        access: Access,
        #[command(flatten)]
        which: cli::trace::TraceArguments,
    },
    /// Have the server read its configuration again, as SIGHUP does, and say what came of it.
    Reload {
        #[command(flatten)]
        access: Access,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Human,
    Json,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("revbridge: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve { config: path, log, verbose } => {
            let Some(mut config) = read(&path) else { return Ok(ExitCode::FAILURE) };
            if let Some(format) = log {
                config.log.json = matches!(format, LogFormat::Json);
            }
            server::run(&config, &path, verbose)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::CheckConfig { file } => {
            let Some(config) = read(&file) else { return Ok(ExitCode::FAILURE) };
            server::check(&config)?;
            println!(
                "{}: ok (organizations: {}, trunks: {}, prices: {})",
                file.display(),
                config.organizations.len(),
                config.trunks.len(),
                config.prices.len()
            );
            Ok(ExitCode::SUCCESS)
        }
        Command::Books(command) => cli::books::run(command),
        Command::Key { command: KeyCommand::New { for_admin }, .. } => new_key(for_admin).map(|()| ExitCode::SUCCESS),
        Command::Org { access, command } => Ok(cli::run(&access, command.into())),
        Command::User { access, command } => Ok(cli::run(&access, command.into())),
        Command::Number { access, command } => Ok(cli::run(&access, command.into())),
        Command::Key { access, command } => {
            // The one without a server is done above.
            Ok(Request::of_key(command).map_or(ExitCode::FAILURE, |request| cli::run(&access, request)))
        }
        Command::Price { access, command } => Ok(cli::run(&access, command.into())),
        Command::Changes { access, which } => Ok(cli::run(&access, which.into())),
        Command::Route { access, number } => Ok(cli::run(&access, Request::route(&number))),
        Command::Trace { access, which } => cli::trace::run(&access, &which),
        Command::Reload { access } => Ok(cli::run(&access, Request::reload())),
    }
}

/// The configuration, or its mistakes on standard error, one a line.
fn read(path: &Path) -> Option<Config> {
    Config::load(path).map_err(|errors| eprintln!("{errors}")).ok()
}

fn new_key(for_admin: bool) -> anyhow::Result<()> {
    let (key, sha256) = revbridge::api::new_key().context("the system gives no random bytes")?;
    let sha256 = hex::encode(sha256);
    println!("{key}\n");
    if for_admin {
        println!("# Shown once. For config.toml:");
        println!("[[admin.key]]");
        println!("name = \"…\"");
        println!("sha256 = \"{sha256}\"");
    } else {
        println!("# Shown once. For config.toml, below its organization:");
        println!("[[organization.key]]");
        println!("user = \"…\"");
        println!("sha256 = \"{sha256}\"");
        println!("scopes = [\"calls:read\", \"calls:write\"]");
    }
    Ok(())
}
