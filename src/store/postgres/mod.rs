//! The PostgreSQL engine: a store that several nodes share.
//!
//! ```text
//!  switch ── submit, forget ──▶ writer thread ──▶ database ◀── readers (API)
//!         ◀─ answer(id, …) ────┘   │  accounts in memory, each with its version
//!  API ───── preview, usage ───────┘
//! ```
//!
//! It has the shape of the SQLite engine: one writer thread, group commit, accounts in memory. What is new is
//! that memory may be old: a group locks its accounts' rows first, and an account whose version has moved is
//! read again. So of any number of nodes each decides on the truth, and an organization that has one node's
//! calls only is never read twice.
//!
//! - `link`: one connection, every wait with a deadline. `server`: where they lead.
//! - `writer`, `books`, `batch`: from the queue to COMMIT. `away`: without a database.
//! - `reader`: beside the writer.
//!
//! Deliberately absent: SQL that decides. The guardrails are the same pure functions on every engine.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // An engine has a thread, a clock, and locks.

mod answers;
mod audit;
mod away;
mod batch;
mod books;
mod cluster;
mod deliveries;
mod erase;
mod link;
mod pool;
mod reader;
mod recover;
mod retention;
mod schema;
mod server;
mod statements;
mod tenancy;
mod tokens;
mod traces;
mod writer;

pub use audit::audit;
pub use link::LinkError;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use self::away::Owed;
use self::batch::Node;
use self::books::Books;
use self::cluster::Heart;
use self::pool::Pool;
use self::reader::Reader;
use self::server::Server;
use self::writer::{Order, Writer};
use super::cluster::{Peer, Unheard};
use super::engine::directory::Directory;
use super::engine::queue::{self, Queue};
use super::engine::{ANSWER, BEAT, StoreError, wall_clock};
use super::{
    CallFilter, Cluster, Commit, Committed, Event, Idempotency, KeyInfo, Outbox, Page, Records, Recovered, Retention,
    Store, StoreDown, TokenState, Usage,
};
use crate::config::PostgresUrl;
use crate::guardrails::{self, Account, Attempt, Preview};
use crate::model::{CallId, CallRecord, CommitId, OrganizationId, Timestamp, TokenDigest};

/// Whom to wake when deliveries are due.
type Wake = Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>;

/// The open database. Dropping it writes what was submitted and ends the writer.
pub struct PostgresStore {
    orders: Arc<Queue<Order>>,
    reader: Reader,
    /// For what is written beside the accounts.
    pool: Pool,
    directory: Arc<Directory>,
    heart: Heart,
    wake: Wake,
    writer: Option<JoinHandle<()>>,
    closed: Arc<AtomicBool>,
}

impl PostgresStore {
    /// Connects, brings the schema up to date, takes the node's name, and starts the writer. `answer` is called
    /// on the writer's thread, with submitted commits in the order of the commits of each call.
    pub fn open(
        url: &PostgresUrl,
        node: &str,
        answer: impl Fn(Vec<(CommitId, Committed)>) + Send + 'static,
    ) -> Result<(Self, Recovered), StoreError> {
        let server = Server::new(url)?;
        schema::migrate(&mut server.migrator()?)?;
        let mut link = server.writer()?;
        let (epoch, number, alive) = schema::take_name(&mut link, node)?;
        let tenants = Arc::new(tenancy::load(&mut link)?);
        let directory = Arc::new(Directory::new(Arc::clone(&tenants)));
        let mut books = Books::new(tenants, Arc::clone(&directory));
        recover::learn(&mut link, &mut books)?;
        let recovered = recover::recovered(&mut link, node, alive.map(timestamp))?;
        let orders = Arc::new(Queue::new());
        let closed = Arc::new(AtomicBool::new(false));
        let wake = Wake::new(OnceLock::new());
        let node = Node { id: node.to_owned(), epoch };
        let heart = Heart::new(server.clone(), node.clone());
        let writer = Writer {
            server: server.clone(),
            node,
            link: Some(link),
            orders: Arc::clone(&orders),
            books,
            answer: Box::new(answer),
            number,
            failing: false,
            fenced: false,
            owed: Owed::default(),
            doubt: None,
            last_beat: None,
            late: None,
            last_look: Instant::now(),
            forgotten: Vec::new(),
            closed: Arc::clone(&closed),
            retention: Retention::default(),
            wake: Arc::clone(&wake),
        };
        let writer = thread::Builder::new().name("store".to_owned()).spawn(move || writer.run());
        let store = Self {
            orders,
            reader: Reader::new(server.clone()),
            pool: Pool::new(server, Server::writer),
            wake,
            directory,
            heart,
            writer: Some(writer.map_err(LinkError::from)?),
            closed,
        };
        Ok((store, recovered))
    }

    /// Asks the writer, who knows what is in use, and makes sure.
    fn inspect<T: Send + 'static>(
        &self,
        organization: OrganizationId,
        read: impl FnOnce(&Account) -> T + Send + 'static,
    ) -> Result<Option<T>, StoreError> {
        let (reply, shown) = mpsc::sync_channel(1);
        let show = Box::new(move |account: Result<Option<&Account>, LinkError>| {
            drop(reply.send(account.map(|account| account.map(read))));
        });
        self.order(Order::Inspect(organization, show));
        Ok(shown.recv().map_err(|_| StoreError::Unwritable)??)
    }

    /// For at once.
    fn order(&self, order: Order) {
        self.orders.push(order, Instant::now());
    }
}

impl Store for PostgresStore {
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

    fn cluster(&self) -> Option<&dyn Cluster> {
        Some(self)
    }
}

impl Cluster for PostgresStore {
    fn node(&self) -> &str {
        self.heart.node()
    }

    fn beat(&self, url: Option<&str>) -> Result<Vec<Peer>, Unheard> {
        self.heart.beat(url)
    }

    fn take_over(&self, dead: &Peer) -> Result<Option<Recovered>, Unheard> {
        self.heart.take_over(dead)
    }

    fn owner(&self, call: CallId) -> Result<Option<Peer>, StoreDown> {
        Ok(self.reader.read(|link| cluster::owner(link, self.heart.node(), &call.to_bytes()))?)
    }
}

impl Records for PostgresStore {
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

impl Outbox for PostgresStore {
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

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        self.order(Order::Stop);
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn micros(at: Timestamp) -> i64 {
    i64::try_from(at.as_micros()).unwrap_or(i64::MAX)
}

fn timestamp(micros: i64) -> Timestamp {
    Timestamp::from_micros(u64::try_from(micros).unwrap_or(0))
}
