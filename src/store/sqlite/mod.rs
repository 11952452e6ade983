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
//! with its end. Deliberately absent: a second process on the same file, which is refused at the start.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // An engine has a thread, a clock, and locks.

mod answers;
mod audit;
mod books;
mod breaker;
mod copy;
mod deliveries;
mod erase;
mod reader;
mod recover;
mod retention;
mod schema;
mod statements;
mod tenancy;
mod tokens;
mod traces;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Instant;

pub use audit::audit;
pub use copy::backup;

use rusqlite::Connection;

use self::books::Books;
use self::reader::Reader;
use self::writer::{Order, Wake, Writer};
use super::engine::directory::Directory;
use super::engine::queue::{self, Queue};
use super::engine::{ANSWER, BEAT, StoreError, wall_clock};
use super::{
    CallFilter, Commit, Committed, Erased, ErasedRows, Erasure, Event, Idempotency, KeyInfo, Outbox, Page, Records,
    Recovered, Retention, Statement, Statements, Store, StoreDown, TokenState, Upkeep, Usage,
};
use crate::guardrails::{self, Account, Attempt, Preview};
use crate::model::{CallId, CallRecord, CommitId, Day, OrganizationId, Timestamp, TokenDigest};

/// The open file. Dropping it writes what was submitted and ends the writer.
pub struct SqliteStore {
    path: PathBuf,
    orders: Arc<Queue<Order>>,
    reader: Reader,
    directory: Arc<Directory>,
    writer: Option<JoinHandle<()>>,
    wake: Wake,
    /// Held for as long as the writer may write.
    _lock: File,
}

impl SqliteStore {
    /// Opens or creates the file, brings its schema up to date, and starts the writer. `answer` is called
    /// on the writer's thread, once per transaction, with each submitted commit in the order of the commits.
    pub fn open(
        path: &Path,
        answer: impl Fn(Vec<(CommitId, Committed)>) + Send + 'static,
    ) -> Result<(Self, Recovered), StoreError> {
        let lock = schema::lock(path)?;
        let mut db = schema::open_writer(path)?;
        let tenants = Arc::new(tenancy::load(&db)?);
        recover::sum_up(&mut db)?;
        deliveries::release(&db, wall_clock())?;
        let books = recover::books(&db, &tenants, wall_clock())?;
        let recovered = recover::recovered(&db)?;
        let orders = Arc::new(Queue::new());
        let directory = Arc::new(Directory::new(Arc::clone(&tenants)));
        let wake = Wake::new(OnceLock::new());
        let writer = Writer {
            db,
            wake: Arc::clone(&wake),
            orders: Arc::clone(&orders),
            books,
            tenants,
            directory: Arc::clone(&directory),
            answer: Box::new(answer),
            stale: false,
            failing: false,
            last_beat: None,
            forgotten: Vec::new(),
            retention: Retention::default(),
            sweep: Instant::now() + BEAT,
            more: false,
        };
        let writer = thread::Builder::new().name("store".to_owned()).spawn(move || writer.run());
        let writer = writer.map_err(|error| StoreError::File(path.to_owned(), error))?;
        let store = Self {
            path: path.to_owned(),
            orders,
            reader: Reader::new(path),
            directory,
            writer: Some(writer),
            wake,
            _lock: lock,
        };
        Ok((store, recovered))
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

    /// Has the writer carry this out in a transaction of its own or of others; what it says once that is durable.
    fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &mut Books) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreDown> {
        let (reply, done) = mpsc::sync_channel(1);
        let job = Box::new(move |tx: &Connection, books: &mut Books| {
            let done = work(tx, books)?;
            Ok(Box::new(move || drop(reply.send(done))) as Box<dyn FnOnce()>)
        });
        self.orders.push(Order::Write(job), Instant::now() + ANSWER);
        // Dropped without a word: the transaction failed.
        done.recv().map_err(|_| StoreError::Unwritable.into())
    }

    /// For at once.
    fn order(&self, order: Order) {
        self.orders.push(order, Instant::now());
    }
}

impl Store for SqliteStore {
    fn submit(&self, id: CommitId, commit: Box<Commit>) {
        let patience = queue::patience(&commit.step);
        self.orders.push_commit(Order::Commit(id, commit), patience);
    }

    fn forget(&self, calls: Vec<CallId>) {
        self.orders.push(Order::Forget(calls), Instant::now() + BEAT);
    }

    fn authenticate(&self, sha256: &[u8; 32]) -> Option<Arc<KeyInfo>> {
        self.directory.tenants().authenticate(sha256, wall_clock()).map(Arc::new)
    }

    fn preview(&self, attempt: Attempt, now: Timestamp) -> Result<Option<Preview>, StoreDown> {
        let organization = attempt.organization.clone();
        Ok(self.inspect(organization, move |account| guardrails::preview(account, &attempt, now))?)
    }

    fn usage(&self, organization: &OrganizationId, now: Timestamp) -> Result<Option<Usage>, StoreDown> {
        let tenants = self.directory.tenants();
        let Some(known) = tenants.organization(organization).cloned() else { return Ok(None) };
        Ok(self.inspect(organization.clone(), move |account| Usage::of(known, account, now))?)
    }

    fn ping(&self) -> Result<(), StoreDown> {
        let (reply, works) = mpsc::sync_channel(1);
        self.order(Order::Ping(Box::new(move |written| _ = reply.send(written))));
        if works.recv() == Ok(true) { Ok(()) } else { Err(StoreError::Unwritable.into()) }
    }
}

impl Records for SqliteStore {
    fn get(&self, organization: &OrganizationId, call: CallId) -> Result<Option<CallRecord>, StoreDown> {
        Ok(self.reader.call(organization, call)?)
    }

    fn list(&self, organization: &OrganizationId, filter: &CallFilter) -> Result<Page, StoreDown> {
        Ok(self.reader.list(organization, filter)?)
    }

    fn find_answer(&self, key: &[u8; 32]) -> Result<Option<Idempotency>, StoreDown> {
        Ok(self.reader.find_answer(key, wall_clock())?)
    }

    fn store_answer(&self, answer: Idempotency, now: Timestamp) -> Result<Idempotency, StoreDown> {
        let (reply, stands) = mpsc::sync_channel(1);
        let reply = Box::new(move |stands| drop(reply.send(stands)));
        self.orders.push(Order::Answer(Box::new(answer), now, reply), Instant::now() + ANSWER);
        stands.recv().ok().flatten().ok_or_else(|| StoreError::Unwritable.into())
    }

    fn find_token(&self, digest: TokenDigest) -> Result<Option<TokenState>, StoreDown> {
        Ok(self.reader.find_token(digest)?)
    }
}

impl Outbox for SqliteStore {
    fn events(
        &self,
        organization: &OrganizationId,
        of: Option<CallId>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Event>, StoreDown> {
        Ok(self.reader.events(organization, of, after, limit)?)
    }

    fn newest_event(&self, organization: &OrganizationId) -> Result<u64, StoreDown> {
        Ok(self.reader.newest_event(organization)?)
    }
}

impl Statements for SqliteStore {
    fn statement(&self, organization: &OrganizationId, from: Day, to: Day) -> Result<Statement, StoreDown> {
        Ok(self.reader.statement(organization, from, to)?)
    }
}

impl Upkeep for SqliteStore {
    fn keep(&self, retention: Retention) {
        self.order(Order::Keep(retention));
    }

    fn erase(&self, erasure: &Erasure) -> Result<Erased, StoreDown> {
        Ok(self.try_erase(erasure)?)
    }
}

impl SqliteStore {
    fn try_erase(&self, erasure: &Erasure) -> Result<Erased, StoreError> {
        if let Some(refused) = self.reader.read(|db| erase::refusal(db, erasure))? {
            return Ok(refused);
        }
        let mut rows = ErasedRows::default();
        let newest = loop {
            let (places, newest) = self.reader.read(|db| erase::find(db, erasure))?;
            if places.is_empty() {
                break newest;
            }
            for bite in places.chunks(erase::BITE) {
                let (erasure, bite) = (erasure.clone(), bite.to_vec());
                rows = self.between(move |db, _| {
                    let tx = db.transaction()?;
                    erase::bite(&tx, &erasure, &bite, &mut rows)?;
                    tx.commit()?;
                    Ok(rows)
                })?;
            }
        };
        let noted = erasure.clone();
        let refused = self.between(move |db, path| {
            let tx = db.transaction()?;
            let refused = erase::note(&tx, &noted, newest, rows)?;
            tx.commit()?;
            schema::wipe_log(db, path)?;
            Ok(refused)
        })?;
        if let Some(refused) = refused {
            return Ok(refused);
        }
        self.wipe(erasure)?;
        Ok(Erased::Done(rows))
    }

    /// Makes sure that no byte of the number is left in a corner of the file.
    fn wipe(&self, erasure: &Erasure) -> Result<(), StoreError> {
        let is_left = || {
            let files = [self.path.clone(), schema::beside(&self.path, "-wal")];
            let mut left = files.iter().map(|file| erase::is_in_file(file, erasure.number));
            left.try_fold(false, |any, left| left.map(|left| any || left))
                .map_err(|error| StoreError::File(self.path.clone(), error))
        };
        if !is_left()? {
            return Ok(());
        }
        self.between(|db, path| {
            db.execute_batch("VACUUM")?;
            schema::wipe_log(db, path)
        })?;
        if is_left()? { Err(StoreError::NotErased) } else { Ok(()) }
    }

    /// Has the writer do this on its connection, between two groups.
    fn between<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut rusqlite::Connection, &Path) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, done) = mpsc::sync_channel(1);
        let path = self.path.clone();
        self.order(Order::Between(Box::new(move |db| drop(reply.send(work(db, &path))))));
        done.recv().map_err(|_| StoreError::Unwritable)?
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

fn json(value: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// Reads a column that [`json`] wrote.
fn parse<T: serde::de::DeserializeOwned>(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error.into()))
}
