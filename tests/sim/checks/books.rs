//! Records, events and money as they become durable, kept a second time by simple sums.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use revbridge::events::FactKind;
use revbridge::guardrails::Limits;
use revbridge::model::{CallId, CallRecord, Day, E164, Money, OrganizationId, Status, Timestamp};
use revbridge::store::{Committed, EntryKind, Phase, Step, Write};

use super::{Check, Checks};
use crate::disk::{Tables, Written};

#[derive(Debug, Default)]
pub struct Books {
    calls: BTreeMap<CallId, Entry>,
    organizations: BTreeMap<OrganizationId, Sums>,
    /// Phones B whose calls were admitted: the world dials each once, and repeats that at most with its key.
    dialled: BTreeSet<E164>,
    /// Whose settlement could not be made durable at first.
    failed: BTreeSet<CallId>,
}

/// One call so far.
#[derive(Debug)]
struct Entry {
    status: Status,
    reserved: Money,
    day: Day,
    terminal: Option<CallRecord>,
    ends: u32,
}

#[derive(Debug, Default)]
struct Sums {
    live: BTreeSet<CallId>,
    reserved: BTreeMap<Day, Money>,
    spent: BTreeMap<Day, Money>,
    admitted: Vec<Timestamp>,
}

impl Books {
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// Whoever asked for the end of this call was told that it is decided, though not durable.
    pub fn settling_failed(&self, call: CallId) -> bool {
        self.failed.contains(&call)
    }
}

impl Checks {
    /// One commit has become durable.
    pub fn on_durable(&mut self, written: &Written) {
        if let (Step::Settle { .. }, Committed::Unavailable) = (&written.commit.step, &written.committed) {
            self.books.failed.insert(written.commit.call);
        }
        let Some(write) = &written.write else { return };
        match (&written.commit.step, &written.committed) {
            (Step::Admit(_), Committed::Admitted { .. }) => self.on_admitted(written, write),
            (Step::Extend { amount }, Committed::Extended) => self.on_extended(written, *amount),
            _ => {}
        }
        self.on_record(written, write);
    }

    fn on_admitted(&mut self, written: &Written, write: &Write) {
        let commit = &written.commit;
        let day = write.record.day;
        let entry = Entry { status: Status::Queued, reserved: write.reserved, day, terminal: None, ends: 0 };
        let twice = self.books.calls.insert(commit.call, entry).is_some();
        self.unless(!twice, Check::Record, || format!("{} is admitted twice", commit.call));
        let first = self.books.dialled.insert(commit.record.to_number.expect("a live call has its number"));
        self.unless(first, Check::Record, || format!("{} is a second call for one dial", commit.call));
        let sums = self.books.organizations.entry(commit.organization.clone()).or_default();
        sums.live.insert(commit.call);
        sums.admitted.push(commit.at);
        *sums.reserved.entry(day).or_default() += write.reserved;
        let legs = sums.live.len() * 2;
        let minute = |at: &&Timestamp| commit.at.since(**at) < Duration::from_secs(60);
        let rate = sums.admitted.iter().filter(minute).count();
        let Some(limits) = &written.limits else { return };
        let (cap, most) = (limits.max_concurrent_legs as usize, limits.max_calls_per_minute as usize);
        self.unless(legs <= cap, Check::Legs, || format!("{legs} legs of {cap}"));
        self.unless(rate <= most, Check::Rate, || format!("{rate} calls in a minute of {most}"));
        self.on_spend(&commit.organization, day, limits);
    }

    fn on_extended(&mut self, written: &Written, amount: Money) {
        let commit = &written.commit;
        let Some(entry) = self.books.calls.get_mut(&commit.call) else { return };
        entry.reserved += amount;
        let day = entry.day;
        let sums = self.books.organizations.entry(commit.organization.clone()).or_default();
        *sums.reserved.entry(day).or_default() += amount;
        if let Some(limits) = &written.limits {
            self.on_spend(&commit.organization, day, limits);
        }
    }

    fn on_spend(&mut self, organization: &OrganizationId, day: Day, limits: &Limits) {
        let Some(sums) = self.books.organizations.get(organization) else { return };
        let of = |sums: &BTreeMap<Day, Money>| sums.get(&day).copied().unwrap_or_default();
        let used = of(&sums.spent) + of(&sums.reserved);
        self.unless(used <= limits.daily_spend_limit, Check::Spend, || {
            format!("{used} of {} is spent or reserved", limits.daily_spend_limit)
        });
    }

    fn on_record(&mut self, written: &Written, write: &Write) {
        let call = written.commit.call;
        let record = &write.record;
        let Some(entry) = self.books.calls.get_mut(&call) else {
            return self.fail(Check::Record, format!("{call} has a record and was not admitted"));
        };
        if write.phase == Phase::Over {
            return;
        }
        let before = entry.status;
        entry.status = record.status;
        let ended = entry.terminal.is_some();
        let told: Vec<FactKind> = written.commit.facts.iter().map(|fact| fact.kind).collect();
        if write.phase == Phase::Settled {
            entry.terminal = Some(record.clone());
        }
        entry.ends += written.commit.facts.iter().filter(|f| f.kind == FactKind::CallCompleted).count() as u32;
        let (ends, reserved) = (entry.ends, entry.reserved);
        self.unless(record.status >= before, Check::Status, || {
            format!("{call} goes from {before:?} to {:?}", record.status)
        });
        // Each change is told, and by `call_status` only where no other fact does; what a step that was still to be
        // decided on tells, the one behind it may tell again.
        let (changed, listed) = (record.status != before, !matches!(written.commit.step, Step::Admit(_)));
        let again = !changed && told == [FactKind::CallStatus];
        let rightly =
            (changed != told.is_empty() || again) && (!told.contains(&FactKind::CallStatus) || told.len() == 1);
        self.unless(rightly || !listed, Check::Event, || {
            format!("{call} goes from {before:?} to {:?} and tells {told:?}", record.status)
        });
        self.unless(!ended, Check::Record, || format!("{call} is written after its terminal record"));
        self.unless(ends <= 1, Check::Event, || format!("{call} has {ends} terminal events"));
        self.unless(record.status.is_terminal() == (write.phase == Phase::Settled), Check::Record, || {
            format!("{call} is {:?} in {:?}", record.status, write.phase)
        });
        if write.phase == Phase::Settled {
            self.on_settled(written, write, reserved);
        }
    }

    fn on_settled(&mut self, written: &Written, write: &Write, reserved: Money) {
        let (commit, record) = (&written.commit, &write.record);
        let call = commit.call;
        // A call may only now have reserved what it cost.
        let extended: Money = write.entries.iter().filter(|e| e.kind == EntryKind::Extend).map(|e| e.amount).sum();
        let held = reserved + extended;
        let charged: Money = write.entries.iter().filter(|e| e.kind == EntryKind::Charge).map(|e| e.amount).sum();
        self.unless(charged <= held, Check::Charge, || format!("{call} costs {charged} of {held} reserved"));
        self.unless(charged == record.cost, Check::Charge, || format!("{call} costs {} and {charged}", record.cost));
        let complete = record.ended_at.is_some() && record.end_reason.is_some() && record.ended_by.is_some();
        self.unless(complete, Check::Record, || format!("{call} ends without saying when, why or by whom"));
        if let Some(reason) = record.end_reason {
            let expected = reason.status(record.answered_at.is_some());
            self.unless(record.status == expected, Check::Reason, || {
                format!("{call} is {:?} for {reason:?}, not {expected:?}", record.status)
            });
        }
        let sums = self.books.organizations.entry(commit.organization.clone()).or_default();
        sums.live.remove(&call);
        *sums.reserved.entry(record.day).or_default() -= reserved;
        *sums.spent.entry(record.day).or_default() += charged;
    }

    /// After everything: every admitted call has one record, one charge, one terminal event.
    pub fn on_tables(&mut self, tables: &Tables) {
        let calls: Vec<_> = self.books.calls.keys().copied().collect();
        for call in calls {
            let Some(row) = tables.calls.get(&call) else {
                self.fail(Check::Record, format!("{call} is not in the store any more"));
                continue;
            };
            self.unless(row.settled && row.record.status.is_terminal(), Check::Record, || {
                format!("{call} is {:?} at the end", row.record.status)
            });
            let charges = tables.ledger.iter().filter(|(c, e)| *c == call && e.kind == EntryKind::Charge).count();
            self.unless(charges == 1, Check::Charge, || format!("{call} is charged {charges} times"));
            let ended = |kind| tables.outbox.iter().filter(|f| f.call == call && f.kind == kind).count();
            let ends = ended(FactKind::CallCompleted);
            self.unless(ends == 1, Check::Event, || format!("{call} has {ends} terminal events"));
            self.unless(ended(FactKind::NewCall) == 1, Check::Event, || format!("{call} does not begin once"));
            let answers = ended(FactKind::CallAnswered);
            // An answer that crosses the end is told and not joined.
            let least = usize::from(row.record.answered_at.is_some());
            self.unless((least..=1).contains(&answers), Check::Event, || format!("{call} is answered {answers} times"));
            self.unless(row.reserved == Money::ZERO, Check::Spend, || format!("{call} still has money reserved"));
            self.unless(row.snapshot.is_none(), Check::Leak, || format!("{call} still has a snapshot"));
        }
        let open = tables.calls.keys().filter(|call| !self.books.calls.contains_key(call)).count();
        self.unless(open == 0, Check::Record, || format!("{open} calls that nobody saw admitted"));
    }
}
