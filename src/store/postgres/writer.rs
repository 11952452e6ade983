//! The one thread that writes: carries out what waits in a transaction, and answers after its commit.
//!
//! ```text
//!  queue ──▶ gather ──▶ transaction ──▶ answers
//!    ▲                      │ lost
//!    │                      ▼
//!    └── a connection ── knocking (thread)      meanwhile: no INVITE; what live calls owe waits
//! ```
//!
//! Deliberately absent: a connection that is made on this thread while calls are under way. A database that is
//! away holds up nobody who only asks whether it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use metrics::{describe_histogram, histogram};
use tracing::{error, info, warn};

use super::away::Owed;
use super::batch::{self, Node};
use super::books::{Books, Failed, Promise, Work, Written};
use super::link::{Link, LinkError};
use super::server::Server;
use super::{Wake, recover, retention};
use crate::guardrails::Account;
use crate::model::{CallId, CommitId, OrganizationId, Timestamp};
use crate::store::engine::queue::Queue;
use crate::store::engine::{BEAT, wall_clock};
use crate::store::{ChangeOrder, Changed, Commit, Committed, Idempotency, Retention};

/// Commits in one transaction, at most: what a slow database makes wait is answered in bites.
pub(super) const GROUP: usize = 512;

/// Between two attempts to reach the database, at most.
const PAUSE: Duration = Duration::from_millis(500);

/// How often this node looks at what others have changed. A key that is revoked there is good here for no longer.
const LOOK: Duration = Duration::from_millis(500);

/// What the writer is asked to do.
pub(super) enum Order {
    Commit(CommitId, Box<Commit>),
    Forget(Vec<CallId>),
    /// Stores an answer outside any call, and hands back the one that stands.
    Answer(Box<Idempotency>, Timestamp, Stands),
    /// In a transaction of its own: what comes after it is under the new rules.
    Change(Box<ChangeOrder>, Tell),
    /// Shows the account as the database has it.
    Inspect(OrganizationId, Show),
    /// Says whether the database can be written.
    Ping(Box<dyn FnOnce(bool) + Send>),
    /// How long what is kept is kept.
    Keep(Retention),
    /// The database can be reached again.
    Back(Box<Link>),
    Stop,
}

pub(super) struct Writer {
    pub server: Server,
    pub node: Node,
    /// `None` while the database is away.
    pub link: Option<Link>,
    pub orders: Arc<Queue<Order>>,
    pub books: Books,
    pub answer: Answer,
    /// The number of the last transaction of this node that was begun.
    pub number: i64,
    /// The last transaction failed, though the database lives.
    pub failing: bool,
    /// Another process has this node's name.
    pub fenced: bool,
    pub owed: Owed,
    /// Of which nobody knows whether they are written, with what became of them if they are.
    pub doubt: Option<Doubt>,
    pub last_beat: Option<Instant>,
    /// What was answered late, and until when that may not have been heard everywhere: until then this process is known
    /// to live only up to the moment at which it was handed in.
    pub late: Late,
    /// At what other nodes may have changed.
    pub last_look: Instant,
    pub forgotten: Vec<CallId>,
    /// Nobody needs a connection any more.
    pub closed: Arc<AtomicBool>,
    pub retention: Retention,
    pub wake: Wake,
}

/// A group whose COMMIT was sent and never answered.
pub(super) struct Doubt {
    pub number: i64,
    pub group: Group,
    pub written: Written,
}

/// See [`Writer::late`].
pub(super) type Late = Option<(Timestamp, Instant)>;

/// An answer that took no longer says when it was heard.
const PROMPT: Duration = Duration::from_secs(1);
/// After so long an answer was heard, and what it allows was done.
const HEARD: Duration = Duration::from_secs(5);

/// Up to when this process may be said to live. Whoever takes its calls up believes that what was durable well before was
/// acknowledged; of what was answered late, because the database was away, that is not so yet.
pub(super) fn known_alive(late: Late, now: Timestamp) -> Timestamp {
    late.filter(|(_, until)| Instant::now() < *until).map_or(now, |(handed_in, _)| handed_in.min(now))
}

/// Takes what became of each commit of a transaction.
type Answer = Box<dyn Fn(Vec<(CommitId, Committed)>) + Send>;

/// Who wants to see an account: there is none for an unknown organization, and an error while the database is away.
pub(super) type Show = Box<dyn FnOnce(Result<Option<&Account>, LinkError>) + Send>;

/// Where the answer that stands goes to; `None` when nothing could be written.
type Stands = Box<dyn FnOnce(Option<Idempotency>) + Send>;

/// Who waits for a change; `None` when it could not be written, or nobody knows.
type Tell = Box<dyn FnOnce(Option<Changed>) + Send>;

/// A commit on its way. One that was answered already has no id.
pub(super) struct Step {
    pub id: Option<CommitId>,
    pub commit: Box<Commit>,
}

impl Step {
    pub fn promise(&self) -> Promise {
        if self.id.is_some() { Promise::Open } else { Promise::Given }
    }
}

/// What goes into one transaction, and who waits for it.
#[derive(Default)]
pub(super) struct Group {
    pub steps: Vec<Step>,
    pub answers: Vec<(Box<Idempotency>, Timestamp, Stands)>,
    shows: Vec<(OrganizationId, Show)>,
    pings: Vec<Box<dyn FnOnce(bool) + Send>>,
    stop: bool,
}

impl Group {
    pub fn of(steps: Vec<Step>) -> Self {
        Self { steps, ..Self::default() }
    }

    fn is_full(&self) -> bool {
        self.stop || self.steps.len() + self.answers.len() >= GROUP
    }

    fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.answers.is_empty()
    }

    pub fn organizations(&self) -> Vec<OrganizationId> {
        self.steps.iter().map(|step| step.commit.organization.clone()).collect()
    }

    /// When the first of its commits was handed in.
    fn oldest(&self) -> Option<Timestamp> {
        self.steps.iter().map(|step| step.commit.at).min()
    }

    fn work(&self, number: i64, late: Late) -> Work<'_> {
        let now = wall_clock();
        Work {
            commits: self.steps.iter().map(|step| (&*step.commit, step.promise())).collect(),
            answers: self.answers.iter().map(|(answer, now, _)| (&**answer, *now)).collect(),
            number,
            now,
            alive: self.oldest().map_or(now, |oldest| oldest.min(now)).min(known_alive(late, now)),
        }
    }

    /// Each of its commits and answers as a group of its own.
    fn split(self) -> impl Iterator<Item = Group> {
        let steps = self.steps.into_iter().map(|step| Group { steps: vec![step], ..Group::default() });
        steps.chain(self.answers.into_iter().map(|answer| Group { answers: vec![answer], ..Group::default() }))
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
                self.turn(group);
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
        let beats = self.books.any_lease() || !self.forgotten.is_empty() || !self.owed.is_empty();
        let beat = self.last_beat.filter(|_| beats).map(|last| last + BEAT);
        let look = Some(self.last_look + LOOK);
        beat.into_iter().chain(look).min().filter(|_| self.link.is_some())
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
            Order::Commit(id, commit) => group.steps.push(Step { id: Some(id), commit }),
            Order::Answer(answer, now, reply) => group.answers.push((answer, now, reply)),
            Order::Forget(calls) => self.forgotten.extend(calls),
            Order::Change(order, tell) => tell(self.change(&order)),
            Order::Inspect(organization, show) => group.shows.push((organization, show)),
            Order::Ping(reply) => group.pings.push(reply),
            Order::Keep(retention) => self.retention = retention,
            Order::Back(link) => self.back(*link),
            Order::Stop => group.stop = true,
        }
    }

    /// What is owed first, then the group, then what only wants to know.
    fn turn(&mut self, mut group: Group) {
        let (shows, pings) = (std::mem::take(&mut group.shows), std::mem::take(&mut group.pings));
        let stop = group.stop;
        self.pay();
        if !group.is_empty() {
            self.carry_out(group);
        }
        self.beat(stop);
        if self.last_look.elapsed() >= LOOK {
            self.last_look = Instant::now();
            self.look();
        }
        let works = if pings.is_empty() { self.link.is_some() } else { self.works() };
        self.show(shows);
        pings.into_iter().for_each(|reply| reply(works));
        if stop {
            self.last_words();
        }
    }

    /// One transaction. What cannot be written now is refused or waits.
    pub(super) fn carry_out(&mut self, group: Group) {
        let Some(link) = self.link.as_mut().filter(|_| !self.fenced) else { return self.away(group) };
        let began = Instant::now();
        self.number += 1;
        let written = self.books.carry_out(link, &self.node, &group.work(self.number, self.late));
        histogram!("revbridge_transaction_seconds").record(began.elapsed());
        histogram!("revbridge_commit_group_size").record(group.steps.len() as f64);
        match written {
            Ok(written) => {
                if std::mem::take(&mut self.failing) {
                    info!("the store can be written again");
                }
                self.wake_sender();
                self.tell(group, written);
            }
            Err(failed) => self.failed(group, failed),
        }
    }

    /// The last transaction has made deliveries due, perhaps.
    fn wake_sender(&mut self) {
        if std::mem::take(&mut self.books.deliveries_due)
            && let Some(wake) = self.wake.get()
        {
            wake();
        }
    }

    pub(super) fn tell(&mut self, group: Group, (committed, stand): Written) {
        let oldest = group.oldest().filter(|oldest| wall_clock().since(*oldest) > PROMPT);
        if let Some(oldest) = oldest {
            self.late = Some((oldest, Instant::now() + HEARD));
        }
        self.orders.written(committed.iter().filter(|committed| committed.is_durable()).count());
        let told = group.steps.iter().zip(committed);
        (self.answer)(told.filter_map(|(step, committed)| Some((step.id?, committed))).collect());
        for ((_, _, reply), stands) in group.answers.into_iter().zip(stand) {
            reply(Some(stands));
        }
    }

    fn failed(&mut self, mut group: Group, failed: Failed) {
        self.books.doubt(&group.organizations());
        match failed {
            Failed::Refused(error) => self.refused(group, &error),
            Failed::Lost(error) => {
                self.lose(&error);
                self.away(group);
            }
            Failed::InDoubt(error, mut written) => {
                self.tell_in_doubt(&mut group, &mut written);
                self.doubt = Some(Doubt { number: self.number, group, written });
                self.lose(&error);
            }
            Failed::Fenced => {
                self.fence();
                self.away(group);
            }
        }
    }

    /// The database lives and did not take it. One commit that it can never take must not hold up the others.
    fn refused(&mut self, group: Group, error: &LinkError) {
        if !self.undo() {
            return self.away(group);
        }
        let many = group.steps.len() + group.answers.len() > 1;
        if error.is_conflict() || many && !error.is_shortage() {
            warn!(%error, commits = group.steps.len(), "a transaction was not taken: each part of it once more");
            return group.split().for_each(|one| self.alone(one));
        }
        error!(%error, commits = group.steps.len(), "the store cannot be written");
        self.failing = true;
        self.away(group);
    }

    /// As [`Writer::carry_out`], without a second attempt.
    fn alone(&mut self, group: Group) {
        let Some(link) = self.link.as_mut().filter(|_| !self.fenced) else { return self.away(group) };
        self.number += 1;
        match self.books.carry_out(link, &self.node, &group.work(self.number, self.late)) {
            Ok(written) => self.tell(group, written),
            Err(Failed::Refused(error)) => {
                self.books.doubt(&group.organizations());
                let shortage = error.is_shortage();
                error!(%error, "the store cannot be written");
                self.undo();
                // What the database will never take is told, or it would be owed for ever.
                if shortage { self.away(group) } else { self.refuse(group) }
            }
            Err(failed) => self.failed(group, failed),
        }
    }

    /// Ends a transaction that the server has refused. Whether the connection is good for another one.
    pub(super) fn undo(&mut self) -> bool {
        let undone = self.link.as_mut().map(|link| link.batch("ROLLBACK"));
        if let Some(Err(error)) = undone {
            self.lose(&error);
        }
        self.link.is_some()
    }

    pub(super) fn fence(&mut self) {
        if !std::mem::replace(&mut self.fenced, true) {
            error!(node = self.node.id, "another process has this node's name: nothing is written any more");
        }
        if let Some(link) = self.link.as_mut() {
            let _ = link.batch("ROLLBACK");
        }
    }

    /// That this process lives, and what can wait.
    fn beat(&mut self, stop: bool) {
        let due = stop || self.last_beat.is_none_or(|last| last.elapsed() >= BEAT);
        if !due || self.fenced || !(stop || self.books.any_lease() || !self.forgotten.is_empty()) {
            return;
        }
        // Also when it fails: the next beat is no reason to try sooner than somebody asks.
        self.last_beat = Some(Instant::now());
        let Some(link) = self.link.as_mut() else { return };
        let now = wall_clock();
        let done = batch::alive(link, &self.node, known_alive(self.late, now)).and_then(|ours| {
            batch::forget(link, &self.forgotten)?;
            retention::purge(link, &self.retention, now)?;
            Ok(ours)
        });
        match done {
            Ok(true) => self.forgotten.clear(),
            Ok(false) => self.fence(),
            Err(error) if error.is_refusal() => error!(%error, "the store cannot be tidied up"),
            Err(error) => self.lose(&error),
        }
    }

    fn works(&mut self) -> bool {
        if self.fenced || self.doubt.is_some() {
            return false;
        }
        let Some(link) = self.link.as_mut() else { return false };
        match batch::alive(link, &self.node, known_alive(self.late, wall_clock())) {
            Ok(true) => true,
            Ok(false) => {
                self.fence();
                false
            }
            Err(error) => {
                if !error.is_refusal() {
                    self.lose(&error);
                }
                false
            }
        }
    }

    /// Other nodes may have written: the accounts are read again where they have.
    fn show(&mut self, shows: Vec<(OrganizationId, Show)>) {
        if shows.is_empty() {
            return;
        }
        let names: Vec<_> = shows.iter().map(|(name, _)| name.clone()).collect();
        let fresh = match self.link.as_mut() {
            Some(link) => recover::refresh(link, &mut self.books, &names, wall_clock()),
            None => Err(LinkError::Away),
        };
        if let Err(error) = &fresh
            && self.link.is_some()
        {
            self.lose(error);
        }
        for (name, show) in shows {
            show(if fresh.is_ok() { Ok(self.books.account(&name)) } else { Err(LinkError::Away) });
        }
    }

    /// The connection is no good any more. Another one is looked for beside this thread.
    pub(super) fn lose(&mut self, error: &LinkError) {
        error!(%error, "the store is away: no new INVITE; what live calls owe waits");
        self.link = None;
        self.knock();
    }

    pub(super) fn knock(&self) {
        let (server, orders, closed) = (self.server.clone(), Arc::clone(&self.orders), Arc::clone(&self.closed));
        let knocking = std::thread::Builder::new().name("store-knock".to_owned()).spawn(move || {
            let mut pause = Duration::from_millis(25);
            while !closed.load(Ordering::Relaxed) {
                match server.writer() {
                    Ok(link) => return orders.push(Order::Back(Box::new(link)), Instant::now()),
                    Err(_) => std::thread::sleep(pause),
                }
                pause = (pause * 2).min(PAUSE);
            }
        });
        if let Err(error) = knocking {
            error!(%error, "no thread to look for the store with: start the server again");
        }
    }
}
