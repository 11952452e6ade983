//! The file: its lock, its settings, its schema and the steps to it.

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::cmp::Ordering;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::{info, warn};

use super::StoreError;

/// One step per version of the schema, forwards only; `user_version` counts the steps taken.
const MIGRATIONS: &[&str] = &[
    include_str!("0001_calls.sql"),
    include_str!("0002_tokens.sql"),
    include_str!("0003_events.sql"),
    include_str!("0004_tenants.sql"),
    include_str!("0005_books.sql"),
    include_str!("0006_breaker.sql"),
    include_str!("0007_webhooks.sql"),
    include_str!("0008_left.sql"),
    include_str!("0009_traces.sql"),
];

/// The first version whose files overwrite what is deleted.
const FIRST_CLEAN: i64 = 5;

/// Marks the file as ours: `rvbr`.
const APPLICATION_ID: i32 = 0x7276_6272;

/// How long a statement waits for somebody who reads the file by hand.
const BUSY: Duration = Duration::from_millis(250);

/// Pages of log that are written before they are copied to their place and the log begins anew.
const LOG_PAGES: u32 = 4_000;

/// What that many pages take in the log, with their headers and a last group.
const LOG_BYTES: usize = (LOG_PAGES as usize + 200) * (PAGE_BYTES + 24);

/// SQLite's own default.
const PAGE_BYTES: usize = 4_096;

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
    let scrub = migrate(&mut db)?.is_some_and(|version| version < FIRST_CLEAN);
    db.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    db.pragma_update(None, "synchronous", "full")?;
    // What is deleted is overwritten: it may be a person's number.
    db.pragma_update(None, "secure_delete", true)?;
    if scrub {
        info!("writing the store anew, once: what older releases deleted is still in its pages");
        db.execute_batch("VACUUM")?;
    }
    // 16 MB of pages: the ends of the tables and the calls that live.
    db.pragma_update(None, "cache_size", -16_384)?;
    // Hot pages are written back once per 16 MB of log instead of once per 4.
    db.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    db.pragma_update(None, "journal_size_limit", 64 << 20)?;
    // The log is there from the first look at the file.
    db.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    if let Err(error) = lengthen(&beside(path, "-wal")) {
        warn!(%error, "the store's log grows as it is written, which is slower");
    }
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

/// Gives the log its full length. While a file grows each sync writes its length and its blocks too, which
/// takes twice the time. The log's reader stops at zeros as it does at the end.
fn lengthen(log: &Path) -> io::Result<()> {
    let log = OpenOptions::new().write(true).open(log)?;
    let length = log.metadata()?.len();
    // By the page: what is written at once is kept by the kernel in one piece, and to write a page into a piece of
    // megabytes costs it several times that of one by itself.
    let mut pages = (length..LOG_BYTES as u64).step_by(PAGE_BYTES);
    let written = pages.try_for_each(|at| log.write_all_at(&[0; PAGE_BYTES], at));
    let written = written.and_then(|()| log.sync_all());
    // Half of it would only take the last of a full disk.
    written.or_else(|error| log.set_len(length).and(Err(error)))
}

/// The version that it had before; `None` for a new file.
fn migrate(db: &mut Connection) -> Result<Option<i64>, StoreError> {
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
    Ok((tables > 0).then_some(version))
}

/// Refuses a file of another program.
pub(super) fn is_ours(db: &Connection) -> Result<i64, StoreError> {
    let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    if pragma("application_id")? != i64::from(APPLICATION_ID) {
        return Err(StoreError::Foreign);
    }
    Ok(pragma("user_version")?)
}

/// Refuses also one of another version.
pub(super) fn is_current(db: &Connection) -> Result<(), StoreError> {
    let (version, known) = (is_ours(db)?, MIGRATIONS.len() as i64);
    match version.cmp(&known) {
        Ordering::Less => Err(StoreError::TooOld { version, known }),
        Ordering::Equal => Ok(()),
        Ordering::Greater => Err(StoreError::TooNew { version, known }),
    }
}

/// Cuts the log to nothing, and gives it its length of zeros again: no byte of what it held is left. Whoever reads the
/// log keeps it from that.
pub(super) fn wipe_log(db: &Connection, path: &Path) -> Result<(), StoreError> {
    let busy: bool = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy {
        return Err(StoreError::LogInUse);
    }
    lengthen(&beside(path, "-wal")).map_err(|error| StoreError::File(path.to_owned(), error))
}

/// Opens or creates a file that only its owner reads: it holds numbers.
fn private(path: &Path) -> Result<File, StoreError> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    opened.map_err(|error| StoreError::File(path.to_owned(), error))
}

pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
