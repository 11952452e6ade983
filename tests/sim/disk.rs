//! What survives a crash: the tables of a store, in virtual time.
//!
//! ```text
//! Commit ─▶ queue ─▶ one transaction for all that wait (group commit): store::apply ─▶ durable ─▶ answers
//!                              crash here: nothing of it is left      or all of it is ─┘
//! ```
//!
//! The decisions are the production `store::apply` on the production `Account`; the tables and their
//! durability are the simulator's own. As in the SQLite engine, an account is put together again from
//! what is durable: leases from calls that are not settled, sums from the ledger.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use revbridge::events::Fact;
use revbridge::guardrails::{Account, Attempt, Lease, Limits, Mark, Refusal, Rules};
use revbridge::model::{
    CallId, CallRecord, CommitId, EndReason, Money, OrganizationId, Status, Timestamp, TokenDigest,
};
use revbridge::store::{
    Commit, Committed, Entry, EntryKind, Idempotency, IssuedToken, Phase, Recovered, Step, Unfinished, Write, apply,
};

use crate::mutant::Mutant;
use crate::rng::Rng;
use crate::scenario::DiskPlan;

/// One call as the tables hold it.
#[derive(Debug, Clone)]
pub struct Row {
    pub organization: OrganizationId,
    pub attempt: Attempt,
    pub record: CallRecord,
    pub snapshot: Option<Bytes>,
    pub reserved: Money,
    pub settled: bool,
    pub admitted: Timestamp,
    /// When the process was last known to live that had it.
    pub left_at: Option<Timestamp>,
}

/// A browser's token.
#[derive(Debug, Clone)]
pub struct TokenRow {
    pub call: CallId,
    pub expires_at: Timestamp,
    pub used: bool,
}

#[derive(Debug, Default)]
pub struct Tables {
    pub calls: BTreeMap<CallId, Row>,
    pub ledger: Vec<(CallId, Entry)>,
    pub marks: Vec<(OrganizationId, Mark)>,
    pub outbox: Vec<Fact>,
    pub keys: BTreeMap<[u8; 32], Idempotency>,
    pub tokens: BTreeMap<TokenDigest, TokenRow>,
    pub last_write: Option<Timestamp>,
}

/// One commit of a transaction: durable when the transaction is.
#[derive(Debug)]
pub struct Written {
    pub id: CommitId,
    pub commit: Commit,
    pub committed: Committed,
    pub write: Option<Write>,
    /// What the organization had declared when it was decided.
    pub limits: Option<Limits>,
}

#[derive(Debug)]
enum Job {
    Commit(CommitId, Box<Commit>),
    Forget(Vec<CallId>),
}

/// What is being written now.
#[derive(Debug, Default)]
struct Transaction {
    written: Vec<Written>,
    forgotten: Vec<CallId>,
    fails: bool,
}

#[derive(Debug)]
pub struct Disk {
    pub tables: Tables,
    rules: BTreeMap<OrganizationId, Rules>,
    accounts: BTreeMap<OrganizationId, Account>,
    queue: VecDeque<Job>,
    writing: Option<Transaction>,
    plan: DiskPlan,
    rng: Rng,
    mutant: Option<Mutant>,
}

impl Disk {
    pub fn new(plan: DiskPlan, rules: BTreeMap<OrganizationId, Rules>, rng: Rng, mutant: Option<Mutant>) -> Self {
        let accounts = rules.iter().map(|(id, rules)| (id.clone(), Account::new(rules.clone()))).collect();
        let (tables, queue) = Default::default();
        Self { tables, rules, accounts, queue, writing: None, plan, rng, mutant }
    }

    pub fn commit(&mut self, id: CommitId, commit: Box<Commit>) {
        self.queue.push_back(Job::Commit(id, commit));
    }

    pub fn forget(&mut self, calls: Vec<CallId>) {
        self.queue.push_back(Job::Forget(calls));
    }

    /// What the file declares has changed.
    pub fn declare(&mut self, organization: &OrganizationId, limits: Limits) {
        let account = self.accounts.get_mut(organization).map(|account| &mut account.rules);
        for rules in self.rules.get_mut(organization).into_iter().chain(account) {
            rules.limits = limits.clone();
        }
    }

    /// Begins a transaction over all that waits. `Some` is when it will be durable.
    pub fn begin(&mut self, healthy: bool) -> Option<Duration> {
        if self.writing.is_some() || self.queue.is_empty() {
            return None;
        }
        let mut transaction = Transaction::default();
        while let Some(job) = self.queue.pop_front() {
            match job {
                Job::Commit(id, commit) => {
                    let written = self.write(id, *commit, &transaction);
                    transaction.written.push(written);
                }
                Job::Forget(calls) => transaction.forgotten.extend(calls),
            }
        }
        transaction.fails = !healthy && self.rng.chance(self.plan.fails);
        self.writing = Some(transaction);
        let slow = !healthy && self.rng.chance(self.plan.slow);
        let (from, to) = self.plan.latency;
        let usual = self.rng.micros(from.as_micros() as u64, to.as_micros() as u64);
        Some(if slow { self.rng.millis(50, 4_000) } else { usual })
    }

    fn write(&mut self, id: CommitId, mut commit: Commit, transaction: &Transaction) -> Written {
        if let Some(committed) = self.repeated(&commit, transaction) {
            return Written { id, commit, committed, write: None, limits: None };
        }
        let Some(account) = self.accounts.get_mut(&commit.organization) else {
            let committed = Committed::Refused(Refusal::Unknown);
            return Written { id, commit, committed, write: None, limits: None };
        };
        if let (Some(Mutant::WrongPrice), Step::Settle { cost }) = (self.mutant, &mut commit.step) {
            *cost = cost.times(2);
        }
        let lifted = self.mutant == Some(Mutant::NoLimits);
        let limits = account.rules.limits.clone();
        if lifted {
            let rules = &mut account.rules.limits;
            (rules.max_concurrent_legs, rules.max_calls_per_minute) = (10_000, 10_000);
            rules.daily_spend_limit = Money::MAX;
        }
        let mut applied = apply(account, &commit);
        if let (Some(mutant), Some(write)) = (self.mutant, &mut applied.write) {
            falsify(mutant, write);
        }
        account.rules.limits = limits.clone();
        if applied.write.is_some() && !self.lets_in(&commit, transaction) {
            (applied.committed, applied.write) = (Committed::Spent, None);
        }
        Written { id, commit, committed: applied.committed, write: applied.write, limits: Some(limits) }
    }

    /// Whether the token of a `Connect` can be used; everything else needs none.
    fn lets_in(&self, commit: &Commit, transaction: &Transaction) -> bool {
        let Step::Connect { token, .. } = &commit.step else { return true };
        let earlier = |written: &Written| {
            let uses = matches!(&written.commit.step, Step::Connect { token: other, .. } if other == token);
            uses && written.write.is_some()
        };
        let fits = |row: &TokenRow| row.call == commit.call && !row.used && row.expires_at > commit.at;
        self.tables.tokens.get(token).is_some_and(fits) && !transaction.written.iter().any(earlier)
    }

    /// The answer to a request whose idempotency key is known, durable or earlier in this transaction.
    fn repeated(&self, commit: &Commit, transaction: &Transaction) -> Option<Committed> {
        let asked = commit.idempotency.as_ref()?;
        let earlier = transaction
            .written
            .iter()
            .filter(|w| w.write.is_some())
            .find_map(|w| w.commit.idempotency.as_ref().filter(|known| known.key == asked.key));
        let known = self.tables.keys.get(&asked.key).or(earlier)?;
        Some(if known.body == asked.body {
            Committed::Replayed(known.answer.clone())
        } else {
            Committed::Conflict { request_id: known.request_id.clone() }
        })
    }

    /// What a store that does not wait for its data would say now.
    pub fn answers_early(&mut self) -> Vec<(CommitId, Committed)> {
        let written = self.writing.iter_mut().flat_map(|t| &mut t.written);
        written.map(|w| (w.id, std::mem::replace(&mut w.committed, Committed::Done))).collect()
    }

    /// The transaction is over: its commits, all durable or all [`Committed::Unavailable`].
    pub fn end(&mut self, now: Timestamp) -> Vec<Written> {
        let Some(mut transaction) = self.writing.take() else { return Vec::new() };
        if transaction.fails {
            self.reload();
            // Nobody waits for it, so the store tries again by itself.
            self.queue.push_back(Job::Forget(std::mem::take(&mut transaction.forgotten)));
            for written in &mut transaction.written {
                (written.committed, written.write) = (Committed::Unavailable, None);
            }
        } else {
            self.make_durable(now, &transaction);
        }
        transaction.written
    }

    /// The process dies. What was being written is lost or became durable unheard; what waited is lost.
    pub fn crash(&mut self, now: Timestamp) -> Vec<Written> {
        let survives = self.rng.chance(500);
        let written = match self.writing.take() {
            Some(transaction) if survives && !transaction.fails => {
                self.make_durable(now, &transaction);
                transaction.written
            }
            Some(_) | None => Vec::new(),
        };
        self.queue.clear();
        if self.mutant == Some(Mutant::DiskLosesCalls) {
            self.tables.calls.clear();
        }
        self.reload();
        written
    }

    fn make_durable(&mut self, now: Timestamp, transaction: &Transaction) {
        self.tables.last_write = Some(now);
        for written in &transaction.written {
            if let Some(write) = &written.write {
                self.tables.take(&written.commit, write, self.mutant);
            }
        }
        for call in &transaction.forgotten {
            if let Some(row) = self.tables.calls.get_mut(call) {
                row.snapshot = None;
            }
        }
    }

    /// Accounts as the tables say they are.
    fn reload(&mut self) {
        let tables = &self.tables;
        let account = |(id, rules): (&OrganizationId, &Rules)| {
            let rows = || tables.calls.values().filter(|row| row.organization == *id);
            let mut admitted: Vec<_> = rows().map(|row| row.admitted).collect();
            admitted.sort();
            let leases = rows().filter(|row| !row.settled).map(|row| Lease {
                attempt: row.attempt.clone(),
                reserved: row.reserved,
                day: row.record.day,
            });
            let mut spent = BTreeMap::new();
            for (call, entry) in &tables.ledger {
                if entry.kind == EntryKind::Charge && tables.calls.get(call).is_some_and(|r| r.organization == *id) {
                    *spent.entry(entry.day).or_insert(Money::ZERO) += entry.amount;
                }
            }
            let marks = tables.marks.iter().filter(|(owner, _)| owner == id).map(|(_, mark)| *mark);
            (id.clone(), Account::restored(rules.clone(), admitted, leases, spent, marks))
        };
        self.accounts = self.rules.iter().map(account).collect();
    }

    /// What a start finds.
    pub fn recover(&mut self) -> Recovered {
        let last_alive = self.tables.last_write;
        let unfinished = |(call, row): (&CallId, &mut Row)| {
            let snapshot = row.snapshot.clone()?;
            let (organization, record) = (row.organization.clone(), row.record.clone());
            // That of the process that had it: whoever takes it up may die before it is settled.
            row.left_at = row.left_at.or(last_alive);
            Some(Unfinished { call: *call, organization, record, snapshot, last_alive: row.left_at })
        };
        Recovered { calls: self.tables.calls.iter_mut().filter_map(unfinished).collect(), last_alive }
    }
}

/// What mutants write instead.
fn falsify(mutant: Mutant, write: &mut Write) {
    match (mutant, write.phase) {
        (Mutant::StatusGoesBack, Phase::Live) => write.record.status = Status::Queued,
        (Mutant::WrongReason, Phase::Settled) => {
            write.record.status = EndReason::MaskingGuard.status(write.record.answered_at.is_some());
            write.record.end_reason = Some(EndReason::MaskingGuard);
        }
        _ => {}
    }
}

impl Tables {
    pub fn snapshot(&self, call: CallId) -> Option<&str> {
        let snapshot = self.calls.get(&call)?.snapshot.as_deref()?;
        std::str::from_utf8(snapshot).ok()
    }

    /// Would the next process know of the dialog that the phone calls by this tag?
    pub fn knows(&self, call: CallId, tag: &str) -> bool {
        self.snapshot(call).is_some_and(|snapshot| snapshot.contains(&format!("\"{tag}\"")))
    }

    fn take(&mut self, commit: &Commit, write: &Write, mutant: Option<Mutant>) {
        if let (Step::Admit(attempt), Phase::Admitted) = (&commit.step, write.phase) {
            let row = Row {
                organization: commit.organization.clone(),
                attempt: attempt.clone(),
                record: write.record.clone(),
                snapshot: None,
                reserved: write.reserved,
                settled: false,
                admitted: commit.at,
                left_at: None,
            };
            self.calls.insert(commit.call, row);
            if let Some(IssuedToken { digest, expires_at, .. }) = commit.token {
                self.tokens.insert(digest, TokenRow { call: commit.call, expires_at, used: false });
            }
        }
        if let Step::Connect { token, .. } = &commit.step
            && let Some(row) = self.tokens.get_mut(token)
        {
            row.used = true;
        }
        if let Some(known) = &commit.idempotency {
            self.keys.insert(known.key, known.clone());
        }
        let Some(row) = self.calls.get_mut(&commit.call) else { return };
        if commit.snapshot.is_some() {
            row.snapshot.clone_from(&commit.snapshot);
        }
        if write.phase == Phase::Over {
            return;
        }
        row.record.clone_from(&write.record);
        row.reserved = write.reserved;
        row.settled = write.phase == Phase::Settled;
        self.ledger.extend(write.entries.iter().map(|entry| (commit.call, *entry)));
        self.marks.extend(write.marks.iter().map(|mark| (commit.organization.clone(), *mark)));
        self.outbox.extend(commit.facts.iter().cloned());
        if mutant == Some(Mutant::ChargesTwice) {
            let charges = write.entries.iter().filter(|e| e.kind == EntryKind::Charge);
            self.ledger.extend(charges.map(|entry| (commit.call, *entry)));
        }
        if mutant == Some(Mutant::TellsTwice) {
            self.outbox.extend(commit.facts.iter().cloned());
        }
    }
}
