//! What the engines share: how commits wait for company, and the tenants as the edge sees them.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // An engine has a thread, a clock, and locks.

pub(super) mod directory;
pub(super) mod queue;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::model::Timestamp;
use crate::store::StoreDown;
use crate::store::tenants::Unreadable;

/// How often what can wait is written: that the process lives, what was spent, which calls are forgotten.
pub(super) const BEAT: Duration = Duration::from_secs(1);

/// How long an answer that belongs to no commit waits for commits to be written with.
pub(super) const ANSWER: Duration = Duration::from_millis(5);

/// Calls looked at for one page, at most: some 20 ms. What a filter rarely matches is found over several pages, and
/// no request reads a store of millions.
pub(super) const EXAMINED: usize = 20_000;

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{0}: another process is using this file")]
    InUse(PathBuf),
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    #[error("the store has schema version {version}, this program knows up to {known}: start a newer release")]
    TooNew { version: i64, known: i64 },
    #[error("the file is a database of another program")]
    Foreign,
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error("the store has schema version {version}, this program works on {known}: start the server on it once")]
    TooOld { version: i64, known: i64 },
    #[error("the store cannot be written")]
    Unwritable,
    #[error("the copy is damaged: {0}")]
    Damaged(String),
    #[error("the store's log is being read and could not be wiped; try again")]
    LogInUse,
    #[error("the number is still in the file, in a place that this program does not know")]
    NotErased,
    #[error("the database is older than PostgreSQL 15")]
    OldServer,
    #[error("another process is node {0} of this store")]
    NameTaken(String),
    #[error("TLS: {0}")]
    Tls(String),
    #[error(transparent)]
    Postgres(Box<dyn std::error::Error + Send + Sync>),
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

impl From<StoreError> for StoreDown {
    /// Whoever asked is told that it is down; operators why.
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the store cannot be used");
        StoreDown
    }
}

/// The engine's own clock, for what no commit brings the time of.
pub(super) fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
