//! What a commit does to an account: the guardrails' word, and what an engine then writes.

use super::{Commit, Committed, Step};
use crate::guardrails::{self, Account, Attempt, Lease, Mark, MarkKind, Refusal, Settlement};
use crate::model::{CallRecord, Day, Money};

/// A movement in the ledger, which only grows. Both sides of the movement follow from its kind, so one
/// entry is a whole booking and nothing can be out of balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub kind: EntryKind,
    /// Not negative.
    pub amount: Money,
    pub day: Day,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// An admission: available → reserved.
    Reserve,
    /// A further period, or what a call that is over cost more than it had reserved: available → reserved.
    Extend,
    /// The cost of a call that is over: reserved → spent.
    Charge,
    /// What a call did not use: reserved → available.
    Release,
}

impl EntryKind {
    pub fn as_str(self) -> &'static str {
        match self {
            EntryKind::Reserve => "reserve",
            EntryKind::Extend => "extend",
            EntryKind::Charge => "charge",
            EntryKind::Release => "release",
        }
    }

    /// Reads what [`EntryKind::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        [EntryKind::Reserve, EntryKind::Extend, EntryKind::Charge, EntryKind::Release]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// What an engine has to write for one commit, after the guardrails have spoken.
#[derive(Debug)]
pub struct Applied {
    pub committed: Committed,
    /// `None`: nothing at all.
    pub write: Option<Write>,
}

/// One commit's writes, next to the snapshot and the facts that the commit itself holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    pub phase: Phase,
    /// With the day and, once settled, the cost. Not to be written in [`Phase::Over`].
    pub record: CallRecord,
    /// To append to the ledger.
    pub entries: Vec<Entry>,
    /// To append to what the breakers look at.
    pub marks: Vec<Mark>,
    /// What the call holds after this commit.
    pub reserved: Money,
}

/// Where a call stands for the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It begins with this commit.
    Admitted,
    Live,
    /// It ends with this commit: the record is final.
    Settled,
    /// It was settled before, and only takes down late answers: of the commit, the snapshot alone is
    /// written.
    Over,
}

/// Decides on a commit and changes the account accordingly. An engine writes [`Applied`] in the
/// transaction in which it holds the account; if that transaction fails it must reload the account.
/// Whether the commit's idempotency key was used before, the engine has asked already; and that the token of
/// `Connect` is unused it makes sure of before anything is written.
pub fn apply(account: &mut Account, commit: &Commit) -> Applied {
    let applied = match &commit.step {
        Step::Admit(attempt) => admit(account, commit, attempt),
        Step::PermitLeg(attempt) => guardrails::decide_leg(account, attempt, commit.at)
            .map(|permit| (Committed::Permitted(permit), Some(keep(account, commit)))),
        Step::Extend { amount } => extend(account, commit, *amount),
        Step::Settle { cost } => Ok(settle(account, commit, *cost)),
        Step::Connect { .. } => Ok(connect(account, commit)),
        Step::Keep => Ok((Committed::Done, Some(keep(account, commit)))),
    };
    match applied {
        Ok((committed, write)) => Applied { committed, write },
        Err(refusal) => Applied { committed: Committed::Refused(refusal), write: None },
    }
}

fn admit(account: &mut Account, commit: &Commit, attempt: &Attempt) -> Result<(Committed, Option<Write>), Refusal> {
    let (grant, permit) = guardrails::decide_admission(account, attempt, commit.at)?;
    account.admit(attempt, &grant, commit.at);
    let write = Write {
        phase: Phase::Admitted,
        record: CallRecord { day: grant.day, ..commit.record.clone() },
        entries: vec![Entry { kind: EntryKind::Reserve, amount: grant.reserved, day: grant.day }],
        marks: Vec::new(),
        reserved: grant.reserved,
    };
    Ok((Committed::Admitted { permit, grant }, Some(write)))
}

fn extend(account: &mut Account, commit: &Commit, amount: Money) -> Result<(Committed, Option<Write>), Refusal> {
    let amount = amount.max(Money::ZERO);
    guardrails::decide_extension(account, commit.call, amount, commit.at)?;
    account.extend(commit.call, amount);
    let mut write = keep(account, commit);
    write.entries.push(Entry { kind: EntryKind::Extend, amount, day: write.record.day });
    Ok((Committed::Extended, Some(write)))
}

/// Nothing is written when the call was settled before: its record, its charge and its last fact stand.
fn settle(account: &mut Account, commit: &Commit, cost: Money) -> (Committed, Option<Write>) {
    let Some(settlement) = account.settle(commit.call, cost) else { return (Committed::Done, None) };
    let Settlement { day, extended, charged, released } = settlement;
    let entry = |kind, amount| Entry { kind, amount, day };
    let mut entries = Vec::from_iter((extended > Money::ZERO).then(|| entry(EntryKind::Extend, extended)));
    entries.push(entry(EntryKind::Charge, charged));
    entries.extend((released > Money::ZERO).then(|| entry(EntryKind::Release, released)));
    let record = CallRecord { day, cost: charged, ..commit.record.clone() };
    let marks = account.watch(&record, commit.at);
    let tripped = marks.iter().find_map(|mark| match mark.kind {
        MarkKind::Tripped(reason) => Some(Committed::Tripped(reason)),
        MarkKind::Short | MarkKind::Answered | MarkKind::Unanswered => None,
    });
    let write = Write { phase: Phase::Settled, record, entries, marks, reserved: Money::ZERO };
    (tripped.unwrap_or(Committed::Done), Some(write))
}

/// A call that is over takes nobody in.
fn connect(account: &Account, commit: &Commit) -> (Committed, Option<Write>) {
    match account.lease(commit.call) {
        Some(_) => (Committed::Done, Some(keep(account, commit))),
        None => (Committed::Spent, None),
    }
}

fn keep(account: &Account, commit: &Commit) -> Write {
    let record = commit.record.clone();
    match account.lease(commit.call) {
        Some(Lease { day, reserved, .. }) => Write {
            phase: Phase::Live,
            record: CallRecord { day: *day, ..record },
            entries: Vec::new(),
            marks: Vec::new(),
            reserved: *reserved,
        },
        None => {
            let (entries, marks) = Default::default();
            Write { phase: Phase::Over, record, entries, marks, reserved: Money::ZERO }
        }
    }
}
