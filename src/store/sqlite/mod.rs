//! The SQLite engine: one writer thread, group commit, readers beside it.
//!
//! ```text
//!  switch ── submit, forget ──▶ writer thread ──▶ file ◀── readers (API)
//!         ◀─ answer(id, …) ────┘   │  accounts in memory
//!  API ───── preview, usage ───────┘
//! ```
//!
//! The file is in WAL mode with `synchronous=FULL`: an answer leaves after its data is on the disk.
//! A call that lives is one row, so that a step writes few pages; its record moves to another table
//! with its end. Deliberately absent: a second process on the same file, which is refused at the start,
//! and anything the configuration declares, which is handed over at every start.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // An engine has a thread, a clock, and locks.

mod answers;
mod books;
mod directory;
mod queue;
mod reader;
mod recover;
mod schema;
mod tokens;
mod writer;

pub use directory::{Declared, KeyInfo};
pub use reader::{ListQuery, Page};

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use self::directory::Directory;
use self::queue::Queue;
use self::reader::Reader;
use self::writer::{BEAT, Order, Writer};
use super::{Commit, Committed, Idempotency, Recovered, TokenState};
use crate::config::OrganizationConfig;
use crate::guardrails::{self, Account, Attempt, Preview};
use crate::model::{CallId, CallRecord, CommitId, Money, OrganizationId, Timestamp, TokenDigest};

/// How long an answer that belongs to no commit waits for commits to be written with.
const ANSWER: Duration = Duration::from_millis(5);

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{0}: another process is using this file")]
    InUse(PathBuf),
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    #[error("the file has schema version {version}, this program knows up to {known}: start a newer release")]
    TooNew { version: i64, known: i64 },
    #[error("the file is a database of another program")]
    Foreign,
    #[error("{0}")]
    Declared(String),
    #[error("the store cannot be written")]
    Unwritable,
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// What an organization uses now.
#[derive(Debug, Clone)]
pub struct Usage {
    /// What the configuration declares of it, limits and all.
    pub organization: Arc<OrganizationConfig>,
    pub legs: u64,
    /// Admitted in the last 60 s.
    pub calls: usize,
    /// Of today, in the organization's timezone.
    pub spent: Money,
    /// By live calls that today's limit has to carry.
    pub reserved: Money,
}

/// The open file. Dropping it writes what was submitted and ends the writer.
pub struct SqliteStore {
    orders: Arc<Queue<Order>>,
    reader: Reader,
    directory: RwLock<Arc<Directory>>,
    writer: Option<JoinHandle<()>>,
    /// Held for as long as the writer may write.
    _lock: File,
}

impl SqliteStore {
    /// Opens or creates the file, brings its schema up to date, and starts the writer. `answer` is called
    /// on the writer's thread, once per transaction, with each submitted commit in the order of the commits.
    pub fn open(
        path: &Path,
        declared: &Declared<'_>,
        answer: impl Fn(Vec<(CommitId, Committed)>) + Send + 'static,
    ) -> Result<(Self, Recovered), StoreError> {
        let lock = schema::lock(path)?;
        let rules = directory::rules(declared)?;
        let mut db = schema::open_writer(path)?;
        recover::enrol(&db, rules.keys().cloned())?;
        recover::sum_up(&mut db)?;
        let books = recover::books(&db, &rules, wall_clock())?;
        let recovered = recover::recovered(&db)?;
        let orders = Arc::new(Queue::new());
        let writer = Writer {
            db,
            orders: Arc::clone(&orders),
            books,
            rules,
            answer: Box::new(answer),
            stale: false,
            failing: false,
            last_beat: None,
            forgotten: Vec::new(),
        };
        let writer = thread::Builder::new().name("store".to_owned()).spawn(move || writer.run());
        let writer = writer.map_err(|error| StoreError::File(path.to_owned(), error))?;
        let store = Self {
            orders,
            reader: Reader::new(path),
            directory: RwLock::new(Arc::new(Directory::new(declared))),
            writer: Some(writer),
            _lock: lock,
        };
        Ok((store, recovered))
    }

    /// Hands a commit over and returns at once.
    pub fn submit(&self, id: CommitId, commit: Box<Commit>) {
        let patience = queue::patience(&commit.step);
        self.orders.push_commit(Order::Commit(id, commit), patience);
    }

    /// Drops what is kept of calls that are over, within about two seconds. A crash before that only makes
    /// the next start take them up once more.
    pub fn forget(&self, calls: Vec<CallId>) {
        self.orders.push(Order::Forget(calls), Instant::now() + BEAT);
    }

    /// Takes a new configuration: it holds for the next decision, also about calls that live.
    pub fn declare(&self, declared: &Declared<'_>) -> Result<(), StoreError> {
        self.order(Order::Declare(directory::rules(declared)?));
        *self.directory.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Directory::new(declared));
        Ok(())
    }

    /// Whose key this is; from memory.
    pub fn authenticate(&self, sha256: &[u8; 32]) -> Option<Arc<KeyInfo>> {
        self.directory().key(sha256)
    }

    /// One call's record. Blocks, as do all functions below.
    pub fn get(&self, organization: &OrganizationId, call: CallId) -> Result<Option<CallRecord>, StoreError> {
        self.reader.call(organization, call)
    }

    /// Calls, newest first: from page to page, each that existed when the first was read exactly once.
    pub fn list(&self, organization: &OrganizationId, query: &ListQuery) -> Result<Page, StoreError> {
        self.reader.list(organization, query)
    }

    /// What the guardrails would say; `None` for an unknown organization.
    pub fn preview(&self, attempt: Attempt, now: Timestamp) -> Result<Option<Preview>, StoreError> {
        let organization = attempt.organization.clone();
        self.inspect(organization, move |account| guardrails::preview(account, &attempt, now))
    }

    /// `None` for an unknown organization.
    pub fn usage(&self, organization: &OrganizationId, now: Timestamp) -> Result<Option<Usage>, StoreError> {
        let Some(declared) = self.directory().organization(organization) else { return Ok(None) };
        self.inspect(organization.clone(), move |account| {
            let today = account.day_use(now.day(&account.rules.zone));
            Usage {
                organization: declared,
                legs: account.legs_in_use(),
                calls: account.admitted_in_minute(now),
                spent: today.spent,
                reserved: today.reserved,
            }
        })
    }

    /// The first answer under this key in the last 24 hours.
    pub fn find_answer(&self, key: &[u8; 32]) -> Result<Option<Idempotency>, StoreError> {
        self.reader.find_answer(key, wall_clock())
    }

    /// What became of a browser's token, issued in the last 24 hours, or of the one whose browser comes back
    /// with a secret of this digest.
    pub fn find_token(&self, digest: TokenDigest) -> Result<Option<TokenState>, StoreError> {
        self.reader.find_token(digest)
    }

    /// Stores an answer that belongs to no commit, unless there is one under its key. Returns the one
    /// that stands.
    pub fn store_answer(&self, answer: Idempotency, now: Timestamp) -> Result<Idempotency, StoreError> {
        let (reply, stands) = mpsc::sync_channel(1);
        let reply = Box::new(move |stands| drop(reply.send(stands)));
        self.orders.push(Order::Answer(Box::new(answer), now, reply), Instant::now() + ANSWER);
        stands.recv().ok().flatten().ok_or(StoreError::Unwritable)
    }

    /// Can the file be written? Tries it when the last transaction failed.
    pub fn ping(&self) -> Result<(), StoreError> {
        let (reply, works) = mpsc::sync_channel(1);
        self.order(Order::Ping(Box::new(move |written| _ = reply.send(written))));
        if works.recv() == Ok(true) { Ok(()) } else { Err(StoreError::Unwritable) }
    }

    fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.directory.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks the writer, who alone knows what is in use.
    fn inspect<T: Send + 'static>(
        &self,
        organization: OrganizationId,
        read: impl FnOnce(&Account) -> T + Send + 'static,
    ) -> Result<Option<T>, StoreError> {
        let (reply, shown) = mpsc::sync_channel(1);
        let show = Box::new(move |account: Option<&Account>| drop(reply.send(account.map(read))));
        self.order(Order::Inspect(organization, show));
        shown.recv().map_err(|_| StoreError::Unwritable)
    }

    /// For at once.
    fn order(&self, order: Order) {
        self.orders.push(order, Instant::now());
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.order(Order::Stop);
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// The engine's own clock, for what no commit brings the time of.
fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

fn json(value: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// Reads a column that [`json`] wrote.
fn parse<T: serde::de::DeserializeOwned>(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error.into()))
}
