//! `revbridge audit`, `backup` and `erase`: the books proved, copied, and rid of a person's number.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Subcommand;
use revbridge::config::{Config, StoreUrl};
use revbridge::model::E164;
use revbridge::server::clock::Clock;
use revbridge::store::audit::{Audited, Difference};
use revbridge::store::engine::StoreError;
use revbridge::store::postgres;
use revbridge::store::sqlite::{self, SqliteStore};
use revbridge::store::{Erased, ErasedRows, Erasure, StoreDown, Upkeep as _};
use serde::Serialize;

#[derive(Debug, Subcommand)]
pub enum BooksCommand {
    /// Prove that bookings, records, events and sums agree; a server may be running. Exit code 1 when they do not.
    Audit {
        #[arg(long, value_name = "FILE", default_value = "config.toml")]
        config: PathBuf,
        /// Say it as one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Write a consistent copy of the store to a new file; a server may be running.
    Backup {
        #[arg(value_name = "FILE")]
        to: PathBuf,
        #[arg(long, value_name = "FILE", default_value = "config.toml")]
        config: PathBuf,
    },
    /// Take a person's number, and the names and labels of its calls, out of a store that no server is using.
    Erase {
        /// In E.164 form, such as +14155550100.
        number: String,
        #[arg(long, value_name = "FILE", default_value = "config.toml")]
        config: PathBuf,
    },
}

pub fn run(command: BooksCommand) -> anyhow::Result<ExitCode> {
    match command {
        BooksCommand::Audit { config, json } => audit(&read(&config)?, json),
        BooksCommand::Backup { to, config } => {
            match read(&config)?.store.url {
                StoreUrl::Sqlite(path) => sqlite::backup(&path, &to)?,
                StoreUrl::Postgres(_) => {
                    bail!("this store is a PostgreSQL database: copy it by pg_dump, also while it is used")
                }
            }
            println!("{}: written", to.display());
            Ok(ExitCode::SUCCESS)
        }
        BooksCommand::Erase { number, config } => erase(&number, &read(&config)?),
    }
}

fn read(path: &Path) -> anyhow::Result<Config> {
    Ok(Config::load(path)?)
}

/// Differences that are said one by one; a store that is wrong everywhere would fill the screen.
const SAID: usize = 1_000;

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    audited: Audited,
    /// The first thousand.
    found: Vec<Difference>,
}

fn audit(config: &Config, json: bool) -> anyhow::Result<ExitCode> {
    let mut found = Vec::new();
    let mut tell = |difference| {
        if !json && found.len() < SAID {
            println!("{difference}");
        }
        if found.len() < SAID {
            found.push(difference);
        }
    };
    let audited = match &config.store.url {
        StoreUrl::Sqlite(path) => sqlite::audit(path, &mut tell)?,
        StoreUrl::Postgres(url) => postgres::audit(url, &mut tell)?,
    };
    let right = audited.differences == 0;
    if json {
        println!("{}", serde_json::to_string(&Report { audited, found })?);
    } else {
        let Audited { calls, live, retired, bookings, events, days, differences } = audited;
        println!(
            "{calls} calls ({live} live, {retired} without a record that is past its time), {bookings} bookings, \
             {events} events, {days} days: {differences} differences"
        );
    }
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn erase(number: &str, config: &Config) -> anyhow::Result<ExitCode> {
    let Ok(number) = E164::parse(number) else { bail!("expected a number in E.164 form, such as +14155550100") };
    let StoreUrl::Sqlite(path) = &config.store.url else {
        bail!("nodes share this store: ask one of them, POST /v1/admin/erasures")
    };
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).context("the system gives no random bytes")?;
    let at = Clock::start(None).now();
    let opened = SqliteStore::open(path, |_| ());
    let store = match opened {
        Err(StoreError::InUse(_)) => bail!("a server is using this store: ask it, POST /v1/admin/erasures"),
        opened => opened?.0,
    };
    let erasure = Erasure { number, by: "command line".to_owned(), at, salt };
    match store.erase(&erasure) {
        Ok(Erased::Done(rows)) => {
            let ErasedRows { records, events, answers, changes } = rows;
            println!("erased: {records} records, {events} events, {answers} stored answers, {changes} log entries");
            Ok(ExitCode::SUCCESS)
        }
        Ok(Erased::InUse { calls }) => {
            bail!("{calls} calls with this number are not over: start the server, let it end them, and erase again")
        }
        Ok(Erased::Owned) => bail!("destinations were shown this number: it is an organization's own, no person's"),
        Ok(Erased::Declared { places }) => {
            bail!("the number is still declared in: {}; remove it there first", places.join(", "))
        }
        Err(StoreDown) => bail!("the store could not be written, or somebody reads it for long; try again"),
    }
}
