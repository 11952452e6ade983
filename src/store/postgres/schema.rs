//! The schema in the database, and the steps to it.

use std::time::{Duration, Instant};

use super::link::{Link, LinkError};
use super::server::SCHEMA;
use crate::store::engine::StoreError;

/// One step per version of the schema, forwards only.
const MIGRATIONS: &[&str] = &[
    include_str!("0001_store.sql"),
    include_str!("0002_tenants.sql"),
    include_str!("0003_account.sql"),
    include_str!("0004_left.sql"),
    include_str!("0005_traces.sql"),
];

/// Whoever migrates holds this lock: `rvbr`, and a number for what it guards.
const LOCK: i32 = 0x7276_6272;
const MIGRATING: i32 = 0;

/// A process that was killed keeps its connection for as long as the server takes to miss it.
const RELEASED: Duration = Duration::from_secs(6);

/// The oldest release that has everything we use, as the server numbers it.
const OLDEST: i32 = 150_000;

/// Brings the schema up to date. Several nodes that start at once do it one after the other.
pub(super) fn migrate(link: &mut Link) -> Result<(), StoreError> {
    let server = link.query_opt("SELECT current_setting('server_version_num')::int", &[])?;
    let server: i32 = server.map_or(Ok(0), |row| row.try_get(0)).map_err(LinkError::from)?;
    if server < OLDEST {
        return Err(StoreError::OldServer);
    }
    link.batch("BEGIN")?;
    let migrated = steps(link);
    match migrated {
        Ok(()) => Ok(link.batch("COMMIT")?),
        Err(error) => {
            // If this fails too, the connection is gone, and with it what it began.
            let _ = link.batch("ROLLBACK");
            Err(error)
        }
    }
}

/// All of them in one transaction: in this database a step can be undone.
fn steps(link: &mut Link) -> Result<(), StoreError> {
    // As long as another node's steps take.
    link.batch("SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0")?;
    link.query("SELECT pg_advisory_xact_lock($1, $2)", &[&LOCK, &MIGRATING])?;
    let (ours, relations) = looks(link)?;
    if !ours && relations > 0 {
        return Err(StoreError::Foreign);
    }
    if !ours {
        link.batch(&format!(
            "CREATE SCHEMA IF NOT EXISTS {SCHEMA};
             CREATE TABLE {SCHEMA}.schema_version (id int PRIMARY KEY CHECK (id = 1), version bigint NOT NULL);
             INSERT INTO {SCHEMA}.schema_version VALUES (1, 0)"
        ))?;
    }
    let (version, known) = version(link)?;
    for sql in MIGRATIONS.iter().skip(usize::try_from(version).unwrap_or(0)) {
        link.batch(sql)?;
    }
    if version < known {
        link.execute("UPDATE schema_version SET version = $1", &[&known])?;
    }
    Ok(())
}

/// Whether the schema is one of ours, and how much is in it.
fn looks(link: &mut Link) -> Result<(bool, i64), LinkError> {
    let found = link.query_opt(
        "SELECT to_regclass('revbridge.schema_version') IS NOT NULL,
                (SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('revbridge'))",
        &[],
    )?;
    found.map_or(Ok((false, 0)), |row| Ok((get(&row, 0)?, get(&row, 1)?)))
}

/// The version of the schema, no newer than the one that this program knows.
fn version(link: &mut Link) -> Result<(i64, i64), StoreError> {
    let version = link.query_opt("SELECT version FROM schema_version", &[])?;
    let version = version.map_or(Ok(0), |row| get::<i64>(&row, 0))?;
    let known = MIGRATIONS.len() as i64;
    if version > known { Err(StoreError::TooNew { version, known }) } else { Ok((version, known)) }
}

/// That the schema is the one that this program works on. Changes nothing.
pub(super) fn is_current(link: &mut Link) -> Result<(), StoreError> {
    if !looks(link)?.0 {
        return Err(StoreError::Foreign);
    }
    let (version, known) = version(link)?;
    if version < known { Err(StoreError::TooOld { version, known }) } else { Ok(()) }
}

fn get<T: for<'a> tokio_postgres::types::FromSql<'a>>(
    row: &tokio_postgres::Row,
    column: usize,
) -> Result<T, LinkError> {
    Ok(row.try_get(column)?)
}

/// Whether this connection has the node's name to itself. Two processes under one name would fence each other
/// in turn; the lock finds the mistake at the start of the second, the epoch holds whatever happens.
pub(super) fn claim(link: &mut Link, node: &str) -> Result<bool, LinkError> {
    let row = link.query_opt("SELECT pg_try_advisory_lock($1, hashtext($2) | 1)", &[&LOCK, &node])?;
    row.map_or(Ok(false), |row| get(&row, 0))
}

/// Takes the node's name. Returns its epoch, the number of the last transaction under it, and when that was.
pub(super) fn take_name(link: &mut Link, node: &str) -> Result<(i64, i64, Option<i64>), StoreError> {
    let began = Instant::now();
    while !claim(link, node)? {
        if began.elapsed() > RELEASED {
            return Err(StoreError::NameTaken(node.to_owned()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let row = link.query_opt(
        "INSERT INTO node (id, epoch) VALUES ($1, 1)
         ON CONFLICT (id) DO UPDATE SET epoch = node.epoch + 1, at = now()
         RETURNING epoch, written, alive",
        &[&node],
    )?;
    let row = row.ok_or(StoreError::Unwritable)?;
    Ok((get(&row, 0)?, get(&row, 1)?, get(&row, 2)?))
}
