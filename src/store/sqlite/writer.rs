//! The one thread that writes: gathers what waits into a transaction, and answers after its commit.
//!
//! ```text
//!  orders ──▶ gather (until somebody's patience ends) ──▶ BEGIN; apply each; COMMIT ──▶ answers
//!    ▲                                                          │ failed
//!    └──────────────── Unavailable to the whole group ◀─────────┴─ accounts read again from the file
//! ```

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use metrics::{describe_histogram, histogram};
use rusqlite::{Connection, TransactionBehavior};
use tracing::{error, info};

use super::books::{Books, forget, micros};
use super::{answers, recover, wall_clock};
use crate::guardrails::{Account, Rules};
use crate::model::{CallId, CommitId, OrganizationId, Timestamp};
use crate::store::{Commit, Committed, Idempotency, Step};

/// Commits in one transaction, at most: what a slow disk makes wait is answered in bites.
const GROUP: usize = 512;

/// A group of this many waits for no more: what one more saves is next to nothing.
const COMPANY: usize = 16;

/// The longest that a commit waits for company. When commits come further apart than this, on average,
/// there is none to wait for.
const LONGEST: Duration = Duration::from_millis(5);

/// How often the file is told that the process lives, and old answers are dropped.
const BEAT: Duration = Duration::from_secs(1);

/// What the writer is asked to do.
pub(super) enum Order {
    Commit(CommitId, Box<Commit>, Instant),
    Forget(Vec<CallId>),
    /// Stores an answer outside any call, and hands back the one that stands.
    Answer(Box<Idempotency>, Timestamp, Stands),
    Declare(BTreeMap<OrganizationId, Rules>),
    /// Shows the account as of the last transaction.
    Inspect(OrganizationId, Show),
    /// Says whether the file can be written.
    Ping(Box<dyn FnOnce(bool) + Send>),
    Stop,
}

pub(super) struct Writer {
    pub db: Connection,
    pub orders: Receiver<Order>,
    pub books: Books,
    pub rules: BTreeMap<OrganizationId, Rules>,
    pub answer: Box<dyn Fn(CommitId, Committed) + Send>,
    /// Memory and file may differ: a transaction failed, and reading the accounts again did too.
    pub stale: bool,
    /// The last transaction failed.
    pub failing: bool,
    pub last_beat: Option<Instant>,
    pub forgotten: Vec<CallId>,
    pub pace: Pace,
}

/// How far apart commits come, as a moving average over about eight of them.
pub(super) struct Pace {
    last: Instant,
    gap: Duration,
}

impl Pace {
    pub fn new() -> Self {
        Self { last: Instant::now(), gap: LONGEST * 2 }
    }

    fn commit(&mut self, at: Instant) {
        // A long silence is no longer a silence after a few commits.
        let gap = at.saturating_duration_since(self.last).min(LONGEST * 8);
        self.last = self.last.max(at);
        self.gap = (self.gap * 7 + gap) / 8;
    }

    fn is_dense(&self) -> bool {
        self.gap < LONGEST
    }
}

/// Who wants to see an account; there is none for an unknown organization.
type Show = Box<dyn FnOnce(Option<&Account>) + Send>;

/// Where the answer that stands goes to; `None` when nothing could be written.
type Stands = Box<dyn FnOnce(Option<Idempotency>) + Send>;

type Written = (Vec<Committed>, Vec<Option<Idempotency>>);

/// What goes into one transaction.
#[derive(Default)]
struct Group {
    commits: Vec<(CommitId, Box<Commit>)>,
    answers: Vec<(Box<Idempotency>, Timestamp, Stands)>,
    pings: Vec<Box<dyn FnOnce(bool) + Send>>,
    /// When the first of them cannot wait any longer.
    due: Option<Instant>,
    stop: bool,
}

impl Group {
    fn is_full(&self) -> bool {
        self.stop || self.commits.len() + self.answers.len() >= GROUP
    }

    /// One sync serves enough, or nothing else may join.
    fn is_due(&self, now: impl FnOnce() -> Instant) -> bool {
        self.is_full() || self.commits.len() >= COMPANY || self.due.is_some_and(|due| due <= now())
    }

    fn due_within(&mut self, from: Instant, patience: Duration) {
        let due = from + patience;
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }
}

/// How long a commit may wait for company. Syncing the disk costs the same for one as for many, so at a
/// few hundred commits a second this is what saves most of the processor's time. Only the INVITE of leg B
/// has somebody waiting on the line who hears the delay.
fn patience(step: &Step) -> Duration {
    match step {
        Step::PermitLeg(_) => Duration::from_micros(300),
        Step::Admit(_) | Step::Extend { .. } => Duration::from_millis(3),
        Step::Keep | Step::Settle { .. } => LONGEST,
    }
}

impl Writer {
    pub fn run(mut self) {
        describe_histogram!("revbridge_transaction_seconds", "From the start of a transaction to its commit on disk");
        describe_histogram!("revbridge_commit_group_size", "Commits in one transaction");
        loop {
            let group = self.gather();
            let stop = group.stop;
            self.carry_out(group);
            if stop {
                return;
            }
        }
    }

    fn gather(&mut self) -> Group {
        let mut group = Group::default();
        while !group.is_full() {
            let order = match self.orders.try_recv() {
                Ok(order) => Ok(order),
                Err(_) if group.is_due(Instant::now) => return group,
                Err(_) => match self.wait(&group) {
                    Some(wait) => self.orders.recv_timeout(wait),
                    None => self.orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
                },
            };
            match order {
                Ok(order) => self.take(order, &mut group),
                Err(RecvTimeoutError::Timeout) => return group,
                Err(RecvTimeoutError::Disconnected) => group.stop = true,
            }
        }
        group
    }

    /// How long nothing has to be written; `None` for ever.
    fn wait(&self, group: &Group) -> Option<Duration> {
        let beat = match self.last_beat {
            Some(last) if self.books.any_lease() || !self.forgotten.is_empty() => Some(last + BEAT),
            Some(_) | None => None,
        };
        let next = group.due.into_iter().chain(beat).min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    fn take(&mut self, order: Order, group: &mut Group) {
        match order {
            Order::Commit(id, commit, since) => {
                self.pace.commit(since);
                let patience = if self.pace.is_dense() { patience(&commit.step) } else { Duration::ZERO };
                group.due_within(since, patience);
                group.commits.push((id, commit));
            }
            Order::Answer(answer, now, reply) => {
                group.due_within(Instant::now(), Duration::from_millis(3));
                group.answers.push((answer, now, reply));
            }
            Order::Forget(calls) => self.forgotten.extend(calls),
            Order::Declare(rules) => self.declare(rules),
            Order::Inspect(organization, show) => show(self.books.account(&organization)),
            Order::Ping(reply) if self.failing => {
                group.due_within(Instant::now(), Duration::ZERO);
                group.pings.push(reply);
            }
            Order::Ping(reply) => reply(true),
            Order::Stop => group.stop = true,
        }
    }

    fn declare(&mut self, rules: BTreeMap<OrganizationId, Rules>) {
        self.books.declare(&rules);
        self.rules = rules;
        // An organization that is new gets its number, and its account, by reading them all again.
        if self.rules.keys().any(|name| self.books.account(name).is_none()) {
            self.stale = true;
            self.refresh();
        }
    }

    /// Makes memory agree with the file again.
    fn refresh(&mut self) {
        let read = recover::enrol(&self.db, self.rules.keys().cloned())
            .and_then(|()| recover::books(&self.db, &self.rules, wall_clock()));
        match read {
            Ok(books) => {
                self.books = books;
                self.stale = false;
            }
            Err(error) => error!(%error, "the store cannot be read"),
        }
    }

    fn carry_out(&mut self, group: Group) {
        let beat = self.last_beat.is_none_or(|last| last.elapsed() >= BEAT);
        let asked = !(group.commits.is_empty() && group.answers.is_empty() && group.pings.is_empty());
        if !asked && self.forgotten.is_empty() && !(beat && self.books.any_lease()) {
            return;
        }
        let began = Instant::now();
        let written = self.transaction(&group, beat);
        let works = written.is_some();
        histogram!("revbridge_transaction_seconds").record(began.elapsed());
        histogram!("revbridge_commit_group_size").record(group.commits.len() as f64);
        let (committed, stand) = written.unwrap_or_else(|| {
            (group.commits.iter().map(|_| Committed::Unavailable).collect(), vec![None; group.answers.len()])
        });
        for ((id, _), committed) in group.commits.iter().zip(committed) {
            (self.answer)(*id, committed);
        }
        for ((_, _, reply), stands) in group.answers.into_iter().zip(stand) {
            reply(stands);
        }
        group.pings.into_iter().for_each(|reply| reply(works));
    }

    /// What became of each commit and each answer; `None` when nothing was written.
    fn transaction(&mut self, group: &Group, beat: bool) -> Option<Written> {
        if self.stale {
            self.refresh();
        }
        if self.stale {
            return None;
        }
        if beat {
            // Also when it fails: the next beat is no reason to try sooner than somebody asks.
            self.last_beat = Some(Instant::now());
        }
        match self.try_transaction(group, beat || self.failing) {
            Ok(written) => {
                if self.failing {
                    info!("the store can be written again");
                }
                self.failing = false;
                self.forgotten.clear();
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

    fn try_transaction(&mut self, group: &Group, beat: bool) -> rusqlite::Result<Written> {
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let committed = group.commits.iter().map(|(_, commit)| self.books.apply(&tx, commit));
        let committed = committed.collect::<Result<Vec<_>, _>>()?;
        let stand = group.answers.iter().map(|(answer, now, _)| {
            let first = answers::find(&tx, &answer.key, *now)?;
            if first.is_none() {
                answers::insert(&tx, answer, *now)?;
            }
            Ok(Some(first.unwrap_or_else(|| Idempotency::clone(answer))))
        });
        let stand = stand.collect::<Result<Vec<_>, rusqlite::Error>>()?;
        forget(&tx, &self.forgotten)?;
        if beat {
            let now = wall_clock();
            tx.prepare_cached("INSERT OR REPLACE INTO alive (id, at) VALUES (1, ?)")?.execute([micros(now)])?;
            answers::purge(&tx, now)?;
        }
        tx.commit()?;
        Ok((committed, stand))
    }
}
