//! The file: its lock, its settings, its schema and the steps to it.

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::StoreError;

/// One step per version of the schema, forwards only; `user_version` counts the steps taken.
const MIGRATIONS: &[&str] = &[include_str!("0001_calls.sql")];

/// Marks the file as ours: `rvbr`.
const APPLICATION_ID: i32 = 0x7276_6272;

/// How long a statement waits for somebody who reads the file by hand.
const BUSY: Duration = Duration::from_millis(250);

/// Keeps a second process off the file for as long as it lives. (SQLite's own exclusive mode would
/// keep our readers off too.)
pub(super) fn lock(path: &Path) -> Result<File, StoreError> {
    let file = private(&beside(path, ".lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(StoreError::File(path.to_owned(), error)),
    }
}

/// The writing connection, with the schema of this version.
pub(super) fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    drop(private(path)?);
    let mut db = Connection::open(path)?;
    db.busy_timeout(BUSY)?;
    migrate(&mut db)?;
    db.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    db.pragma_update(None, "synchronous", "full")?;
    // 16 MB of pages: the ends of the tables and the calls that live.
    db.pragma_update(None, "cache_size", -16_384)?;
    // Hot pages are written back once per 16 MB of log instead of once per 4.
    db.pragma_update(None, "wal_autocheckpoint", 4_000)?;
    db.pragma_update(None, "journal_size_limit", 64 << 20)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

/// A connection that can read only.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(BUSY)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

fn migrate(db: &mut Connection) -> Result<(), StoreError> {
    let pragma = |db: &Connection, name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let version = pragma(db, "user_version")?;
    let known = MIGRATIONS.len() as i64;
    if version > known {
        return Err(StoreError::TooNew { version, known });
    }
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables > 0 && pragma(db, "application_id")? != i64::from(APPLICATION_ID) {
        return Err(StoreError::Foreign);
    }
    for (step, sql) in MIGRATIONS.iter().enumerate().skip(usize::try_from(version).unwrap_or(0)) {
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute_batch(sql)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.pragma_update(None, "user_version", step as i64 + 1)?;
        tx.commit()?;
    }
    Ok(())
}

/// Opens or creates a file that only its owner reads: it holds numbers.
fn private(path: &Path) -> Result<File, StoreError> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    opened.map_err(|error| StoreError::File(path.to_owned(), error))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
