//! The command line: serve, check a configuration, make a key.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use revbridge::config::Config;
use revbridge::server;
use sha2::{Digest, Sha256};

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
    /// Say every mistake of a configuration at once, with line and column.
    CheckConfig { file: PathBuf },
    /// API keys.
    #[command(subcommand)]
    Key(KeyCommand),
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Make a key: shown once, with the lines for config.toml that hold only its hash.
    New,
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
            server::media::recording(&config.media)?;
            println!(
                "{}: ok (organizations: {}, trunks: {}, prices: {})",
                file.display(),
                config.organizations.len(),
                config.trunks.len(),
                config.prices.len()
            );
            Ok(ExitCode::SUCCESS)
        }
        Command::Key(KeyCommand::New) => new_key().map(|()| ExitCode::SUCCESS),
    }
}

/// The configuration, or its mistakes on standard error, one a line.
fn read(path: &Path) -> Option<Config> {
    Config::load(path).map_err(|errors| eprintln!("{errors}")).ok()
}

fn new_key() -> anyhow::Result<()> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).context("the system gives no random bytes")?;
    let key = format!("rvk_{}", hex::encode(secret));
    println!("{key}\n");
    println!("# Shown once. For config.toml, below its organization:");
    println!("[[organization.key]]");
    println!("user = \"…\"");
    println!("sha256 = \"{}\"", hex::encode(Sha256::digest(&key)));
    println!("scopes = [\"calls:read\", \"calls:write\"]");
    Ok(())
}
