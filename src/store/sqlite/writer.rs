//! The one thread that writes: carries out what waits in a transaction, and answers after its commit.
//!
//! ```text
//!  queue ──▶ gather (until somebody's patience ends) ──▶ BEGIN; apply each; COMMIT ──▶ answers
//!    ▲                                                          │ failed
//!    └──────────────── Unavailable to the whole group ◀─────────┴─ accounts read again from the file
//! ```

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use metrics::{describe_histogram, histogram};
use rusqlite::Connection;
use tracing::{error, info};

use super::books::{Books, forget, micros};
use super::tenancy::{self, Outcome};
use super::{answers, deliveries, recover, retention, statements};
use crate::guardrails::Account;
use crate::model::{CallId, CommitId, OrganizationId, Timestamp};
use crate::store::engine::directory::Directory;
use crate::store::engine::queue::Queue;
use crate::store::engine::{BEAT, StoreError, wall_clock};
use crate::store::tenants::{Decided, Tenants};
use crate::store::{ChangeOrder, Changed, Commit, Committed, Idempotency, Retention};

/// Commits in one transaction, at most: what a slow disk makes wait is answered in bites.
const GROUP: usize = 512;

/// How often a quiet store looks for what is past its time.
const SWEEP: Duration = Duration::from_secs(600);

/// What the writer is asked to do.
pub(super) enum Order {
    Commit(CommitId, Box<Commit>),
    Forget(Vec<CallId>),
    /// Stores an answer outside any call, and hands back the one that stands.
    Answer(Box<Idempotency>, Timestamp, Stands),
    /// In a transaction of its own: what comes after it is under the new rules.
    Change(Box<ChangeOrder>, Tell),
    /// Whatever else there is to write.
    Write(Job),
    /// Shows the account as of the last transaction.
    Inspect(OrganizationId, Show),
    /// Says whether the file can be written.
    Ping(Box<dyn FnOnce(bool) + Send>),
    /// How long what is kept is kept.
    Keep(Retention),
    /// Work on the file between two groups. It touches nothing that accounts are made of.
    Between(Work),
    Stop,
}

pub(super) struct Writer {
    pub db: Connection,
    pub orders: Arc<Queue<Order>>,
    pub books: Books,
    pub tenants: Arc<Tenants>,
    /// What the edge sees of them.
    pub directory: Arc<Directory>,
    pub answer: Answer,
    pub wake: Wake,
    /// Memory and file may differ: a transaction failed, and reading the accounts again did too.
    pub stale: bool,
    /// The last transaction failed.
    pub failing: bool,
    pub last_beat: Option<Instant>,
    pub forgotten: Vec<CallId>,
    pub retention: Retention,
    /// When what is past its time is next looked for, though nobody asks for anything.
    pub sweep: Instant,
    /// The last bite was not the last one.
    pub more: bool,
}

/// Takes what became of each commit of a transaction.
type Answer = Box<dyn Fn(Vec<(CommitId, Committed)>) + Send>;

/// Who wants to see an account; there is none for an unknown organization.
type Show = Box<dyn FnOnce(Option<&Account>) + Send>;

/// Where the answer that stands goes to; `None` when nothing could be written.
type Stands = Box<dyn FnOnce(Option<Idempotency>) + Send>;

/// Who waits for a change; `None` when nothing could be written.
type Tell = Box<dyn FnOnce(Option<Changed>) + Send>;
/// Work of its own on the writing connection.
type Work = Box<dyn FnOnce(&mut Connection) + Send>;

/// Writes in the transaction, and gives what to do once that is durable. An error undoes the whole transaction, also
/// what calls commit in it, so only the file's own errors are one.
pub(super) type Job = Box<dyn FnOnce(&Connection, &mut Books) -> rusqlite::Result<Box<dyn FnOnce()>> + Send>;

/// Called after a transaction that made deliveries due.
pub(super) type Wake = Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>;

struct Written {
    committed: Vec<Committed>,
    stand: Vec<Option<Idempotency>>,
    replies: Vec<Box<dyn FnOnce()>>,
}

/// What goes into one transaction.
#[derive(Default)]
struct Group {
    commits: Vec<(CommitId, Box<Commit>)>,
    answers: Vec<(Box<Idempotency>, Timestamp, Stands)>,
    jobs: Vec<Job>,
    pings: Vec<Box<dyn FnOnce(bool) + Send>>,
    stop: bool,
}

impl Group {
    fn is_full(&self) -> bool {
        self.stop || self.commits.len() + self.answers.len() + self.jobs.len() >= GROUP
    }
}

impl Writer {
    pub fn run(mut self) {
        describe_histogram!("revbridge_transaction_seconds", "From the start of a transaction to its commit on disk");
        describe_histogram!("revbridge_commit_group_size", "Commits in one transaction");
        let mut orders = Vec::new();
        loop {
            let queue = Arc::clone(&self.orders);
            queue.gather(&mut orders, self.next_beat());
            let mut waiting = orders.drain(..);
            loop {
                let group = self.group(&mut waiting);
                let stop = group.stop;
                self.carry_out(group);
                if stop {
                    return;
                }
                if waiting.len() == 0 {
                    break;
                }
            }
        }
    }

    /// When something has to be written though nobody asks.
    fn next_beat(&self) -> Option<Instant> {
        let beats = self.books.any_lease() || !self.forgotten.is_empty();
        let beat = self.last_beat.filter(|_| beats).map(|last| last + BEAT);
        Some(beat.map_or(self.sweep, |beat| beat.min(self.sweep)))
    }

    fn group(&mut self, waiting: &mut impl Iterator<Item = Order>) -> Group {
        let mut group = Group::default();
        while !group.is_full()
            && let Some(order) = waiting.next()
        {
            self.take(order, &mut group);
        }
        group
    }

    fn take(&mut self, order: Order, group: &mut Group) {
        match order {
            Order::Commit(id, commit) => group.commits.push((id, commit)),
            Order::Answer(answer, now, reply) => group.answers.push((answer, now, reply)),
            Order::Write(job) => group.jobs.push(job),
            Order::Forget(calls) => self.forgotten.extend(calls),
            Order::Change(order, tell) => tell(self.change(&order)),
            Order::Inspect(organization, show) => show(self.books.account(&organization)),
            Order::Ping(reply) if self.failing => group.pings.push(reply),
            Order::Ping(reply) => reply(true),
            Order::Keep(retention) => {
                self.retention = retention;
                self.sweep = Instant::now();
            }
            Order::Between(work) => work(&mut self.db),
            Order::Stop => group.stop = true,
        }
    }

    /// One change, durable and in force when this returns; `None` when it could not be written.
    fn change(&mut self, order: &ChangeOrder) -> Option<Changed> {
        if self.stale {
            self.refresh();
        }
        if self.stale {
            return None;
        }
        match self.try_change(order) {
            Ok(Outcome::Decided(decided)) => Some(self.follow(*decided)),
            Ok(Outcome::Other(changed)) => Some(changed),
            Err(error) => {
                error!(%error, "the store cannot be written");
                self.failing = true;
                None
            }
        }
    }

    fn try_change(&self, order: &ChangeOrder) -> Result<Outcome, StoreError> {
        self.execute("BEGIN IMMEDIATE")?;
        let outcome = tenancy::change(&self.db, &self.tenants, order);
        let outcome = outcome.and_then(|outcome| Ok(self.execute("COMMIT").map(|()| outcome)?));
        if outcome.is_err() && !self.db.is_autocommit() {
            // If this fails too, the next transaction says so when it begins.
            let _ = self.execute("ROLLBACK");
        }
        outcome
    }

    /// The change is durable: the next decision is by what follows from it.
    fn follow(&mut self, decided: Decided) -> Changed {
        let Decided { tenants, touched, skipped, .. } = decided;
        let tenants = Arc::new(tenants);
        self.tenants = Arc::clone(&tenants);
        self.directory.replace(Arc::clone(&tenants));
        // What somebody else changed may have been followed by what its calls use.
        let fits = self.books.declare(&tenants, &touched) && !touched.all;
        if !fits || self.books.enlist(&self.db, &tenants).is_err() {
            self.stale = true;
            self.refresh();
        }
        Changed::Done { tenants, skipped }
    }

    /// Makes memory agree with the file again.
    fn refresh(&mut self) {
        match recover::books(&self.db, &self.tenants, wall_clock()) {
            Ok(books) => {
                self.books = books;
                self.stale = false;
            }
            Err(error) => error!(%error, "the store cannot be read"),
        }
    }

    fn carry_out(&mut self, mut group: Group) {
        let sweep = self.sweep <= Instant::now();
        let beat = group.stop || sweep || self.last_beat.is_none_or(|last| last.elapsed() >= BEAT);
        let asked =
            !(group.commits.is_empty() && group.answers.is_empty() && group.jobs.is_empty() && group.pings.is_empty());
        if !asked && !(beat && (sweep || self.books.any_lease() || !self.forgotten.is_empty())) {
            return;
        }
        let began = Instant::now();
        let jobs = std::mem::take(&mut group.jobs);
        let written = self.transaction(&group, jobs, beat);
        let works = written.is_some();
        histogram!("revbridge_transaction_seconds").record(began.elapsed());
        histogram!("revbridge_commit_group_size").record(group.commits.len() as f64);
        let Written { committed, stand, replies } = written.unwrap_or_else(|| Written {
            committed: group.commits.iter().map(|_| Committed::Unavailable).collect(),
            stand: vec![None; group.answers.len()],
            replies: Vec::new(),
        });
        self.orders.written(committed.iter().filter(|committed| committed.is_durable()).count());
        (self.answer)(group.commits.iter().map(|(id, _)| *id).zip(committed).collect());
        for ((_, _, reply), stands) in group.answers.into_iter().zip(stand) {
            reply(stands);
        }
        replies.into_iter().for_each(|reply| reply());
        group.pings.into_iter().for_each(|reply| reply(works));
        if std::mem::take(&mut self.books.deliveries_due)
            && let Some(wake) = self.wake.get()
        {
            wake();
        }
    }

    /// What became of each commit and each answer; `None` when nothing was written.
    fn transaction(&mut self, group: &Group, jobs: Vec<Job>, beat: bool) -> Option<Written> {
        if self.stale {
            self.refresh();
        }
        if self.stale {
            return None;
        }
        if beat {
            // Also when it fails: the next beat is no reason to try sooner than somebody asks.
            self.last_beat = Some(Instant::now());
            self.sweep = Instant::now() + SWEEP;
        }
        match self.try_transaction(group, jobs, beat || self.failing) {
            Ok(written) => {
                if self.failing {
                    info!("the store can be written again");
                }
                self.failing = false;
                Some(written)
            }
            Err(error) => {
                error!(%error, commits = group.commits.len(), "the store cannot be written");
                self.failing = true;
                self.stale = true;
                self.refresh();
                None
            }
        }
    }

    /// All of the group or nothing. Begin and end are prepared once, like every other statement.
    fn try_transaction(&mut self, group: &Group, jobs: Vec<Job>, beat: bool) -> rusqlite::Result<Written> {
        self.execute("BEGIN IMMEDIATE")?;
        let written = self.write(group, jobs, beat).and_then(|written| self.execute("COMMIT").map(|()| written));
        if written.is_err() && !self.db.is_autocommit() {
            // If this fails too, the next group says so when it begins.
            let _ = self.execute("ROLLBACK");
        }
        if written.is_ok() && beat {
            self.forgotten.clear();
            if self.more {
                self.sweep = Instant::now() + BEAT;
            }
        }
        written
    }

    fn execute(&self, statement: &str) -> rusqlite::Result<()> {
        self.db.prepare_cached(statement)?.execute([]).map(drop)
    }

    fn write(&mut self, group: &Group, jobs: Vec<Job>, beat: bool) -> rusqlite::Result<Written> {
        let Self { db, books, forgotten, retention, more, .. } = self;
        let committed = group.commits.iter().map(|(_, commit)| books.apply(db, commit));
        let committed = committed.collect::<Result<Vec<_>, _>>()?;
        let stand = group.answers.iter().map(|(answer, now, _)| {
            let first = answers::find(db, &answer.key, *now)?;
            if first.is_none() {
                answers::insert(db, answer, *now)?;
            }
            Ok(Some(first.unwrap_or_else(|| Idempotency::clone(answer))))
        });
        let stand = stand.collect::<Result<Vec<_>, rusqlite::Error>>()?;
        let replies = jobs.into_iter().map(|job| job(db, books)).collect::<Result<Vec<_>, _>>()?;
        if beat {
            forget(db, forgotten)?;
            let now = wall_clock();
            statements::sum_up(db)?;
            // What is in this very transaction nobody has heard of yet.
            let oldest = group.commits.iter().map(|(_, commit)| commit.at).min();
            let alive = oldest.map_or(now, |oldest| oldest.min(now));
            db.prepare_cached("UPDATE alive SET at = ?")?.execute([micros(alive)])?;
            *more = retention::purge(db, retention, now)?;
            deliveries::bury(db, now)?;
            deliveries::purge(db, now)?;
        }
        Ok(Written { committed, stand, replies })
    }
}
