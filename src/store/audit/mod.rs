//! The proof that the books are right: every call against its bookings, events and record, every day against its sums.
//!
//! ```text
//! engine: rows of one moment, by organization and call ──▶ one call at a time ──▶ days ──▶ sums, balances
//!                                                              └──── differences ────┴────────┘
//! ```
//!
//! Pure: an engine hands rows in, and each difference comes out with its name as it is found. Memory holds one call
//! and a few numbers per organization and day, however many calls there are.
//!
//! Deliberately absent: whether a limit was kept at the time, for limits change and are not kept; and repair, for a
//! difference is a bug that somebody must see.

mod call;
mod finding;

pub use finding::{Difference, Finding};

use std::collections::{BTreeMap, BTreeSet};

use self::call::CallBooks;
use super::EntryKind;
use crate::events::FactKind;
use crate::model::{CallId, Day, Money, OrganizationId, Status, Timestamp};

/// How far the store has come in what it does by and by.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// Charges up to this position are in the sums.
    pub summed: u64,
    /// No record was dropped whose call was created after this.
    pub records_to: Timestamp,
    /// No fact was dropped whose position is above this.
    pub facts_to: u64,
}

/// Something that the store has of a call.
#[derive(Debug, Clone)]
pub struct CallRow {
    /// `None`: of no organization that the store knows.
    pub organization: Option<OrganizationId>,
    pub call: CallId,
    pub part: Part,
}

#[derive(Debug, Clone)]
pub enum Part {
    /// `kind` is `None` for one that no release knows.
    Booking { position: u64, kind: Option<EntryKind>, amount: Money, day: Day, at: Timestamp },
    /// `record` as it was told, if it was kept.
    Fact { position: u64, kind: Option<FactKind>, record: Option<Gist> },
    /// The row of a call that is not forgotten. `record` until it is settled.
    Live { reserved: Money, day: Day, record: Option<Gist> },
    /// The row of a record that is final.
    Final { record: Gist },
}

/// What of a record the books are about; `None` when it cannot be read.
pub type Gist = Option<Record>;

#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub call: CallId,
    pub organization: OrganizationId,
    pub status: Status,
    pub cost: Money,
    pub day: Day,
    pub is_answered: bool,
    pub billable_seconds: u64,
}

/// A day's sums as an engine keeps them, of charged calls or of records that were dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DaySums {
    pub calls: u64,
    pub answered: u64,
    pub billable_seconds: u64,
    pub spent: Money,
}

/// What all accounts of an organization's day hold, by the postings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Balances {
    pub available: Money,
    pub reserved: Money,
    pub spent: Money,
}

/// What an audit has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Audited {
    pub calls: u64,
    pub live: u64,
    /// Calls whose record is past its time and dropped.
    pub retired: u64,
    pub bookings: u64,
    pub events: u64,
    /// Organizations' days with calls.
    pub days: u64,
    pub differences: u64,
}

type DayKey = (OrganizationId, Day);

/// What the calls of one day came to, by their bookings and records.
#[derive(Debug, Default)]
struct DayBooks {
    /// Of calls whose charge is in the sums; `answered` and `billable_seconds` of those with a record.
    summed: DaySums,
    /// Of calls without a record.
    missing: DaySums,
    charged: Money,
    open: Money,
}

/// Takes rows and tells differences.
pub struct Auditor<'a> {
    progress: Progress,
    tell: &'a mut dyn FnMut(Difference),
    audited: Audited,
    call: Option<CallBooks>,
    days: BTreeMap<DayKey, DayBooks>,
    spend: BTreeMap<DayKey, DaySums>,
    retired: BTreeMap<DayKey, DaySums>,
    balances: BTreeMap<DayKey, Balances>,
}

impl<'a> Auditor<'a> {
    pub fn new(progress: Progress, tell: &'a mut dyn FnMut(Difference)) -> Self {
        Self {
            progress,
            tell,
            audited: Audited::default(),
            call: None,
            days: BTreeMap::new(),
            spend: BTreeMap::new(),
            retired: BTreeMap::new(),
            balances: BTreeMap::new(),
        }
    }

    /// Rows of a call must follow each other: bookings by position, then facts, then the live row, then the record.
    pub fn row(&mut self, row: CallRow) {
        if self.call.as_ref().is_none_or(|call| !call.is_of(&row)) {
            self.close_call();
            self.call = Some(CallBooks::new(row.organization.clone(), row.call));
        }
        match row.part {
            Part::Booking { .. } => self.audited.bookings += 1,
            Part::Fact { .. } => self.audited.events += 1,
            Part::Live { .. } | Part::Final { .. } => {}
        }
        if let Some(call) = &mut self.call {
            call.take(row.part);
        }
    }

    /// A row of the sums of charged calls; a day may have many.
    pub fn spend(&mut self, organization: OrganizationId, day: Day, sums: DaySums) {
        self.spend.entry((organization, day)).or_default().add(&sums);
    }

    /// The sums of the records that were dropped.
    pub fn retired(&mut self, organization: OrganizationId, day: Day, sums: DaySums) {
        self.retired.entry((organization, day)).or_default().add(&sums);
    }

    pub fn balances(&mut self, organization: OrganizationId, day: Day, balances: Balances) {
        self.balances.insert((organization, day), balances);
    }

    /// A booking whose postings do not sum to zero.
    pub fn unbalanced_booking(&mut self, call: CallId, sum: Money) {
        self.say(Difference::of(Finding::PostingsUnbalanced).call(call).amounts(&Money::ZERO, &sum));
    }

    /// An idempotency answer, a token or a delivery, that belongs to a call; `is_there`: what it needs is.
    pub fn reference(&mut self, finding: Finding, call: CallId, is_there: bool) {
        if !is_there {
            self.say(Difference::of(finding).call(call));
        }
    }

    /// After the last row: compares the days.
    pub fn finish(mut self) -> Audited {
        self.close_call();
        self.audited.days = self.days.len() as u64;
        let sums = self.spend.keys().chain(self.retired.keys());
        let keys: BTreeSet<DayKey> = self.days.keys().chain(sums).chain(self.balances.keys()).cloned().collect();
        keys.iter().for_each(|key| self.compare_day(key));
        self.audited
    }

    fn say(&mut self, difference: Difference) {
        self.audited.differences += 1;
        (self.tell)(difference);
    }

    fn close_call(&mut self) {
        let Some(call) = self.call.take() else { return };
        self.audited.calls += 1;
        let mut found = Vec::new();
        let verdict = call.judge(&self.progress, &mut found);
        found.into_iter().for_each(|difference| self.say(difference));
        let Some((organization, day)) = call.organization.clone().zip(call.day()) else { return };
        let books = self.days.entry((organization, day)).or_default();
        books.open += verdict.open;
        self.audited.live += u64::from(verdict.is_live);
        let Some(charged) = verdict.charged else { return };
        books.charged += charged.amount;
        let sums = DaySums { calls: 1, spent: charged.amount, ..DaySums::default() };
        if charged.position <= self.progress.summed {
            let record = call.last_record();
            books.summed.add(&DaySums {
                answered: record.map_or(0, |record| u64::from(record.is_answered)),
                billable_seconds: record.map_or(0, |record| record.billable_seconds),
                ..sums
            });
        }
        if verdict.is_retired {
            self.audited.retired += 1;
            books.missing.add(&sums);
        }
    }

    fn compare_day(&mut self, key: &DayKey) {
        let DayBooks { summed, missing, charged, open } = self.days.remove(key).unwrap_or_default();
        let retired = self.retired.remove(key).unwrap_or_default();
        let spend = self.spend.remove(key).unwrap_or_default();
        let balances = self.balances.remove(key).unwrap_or_default();
        let told = |finding| Difference::of(finding).day(key.0.clone(), key.1);
        let counts = [
            (Finding::SumOfCallsDiffers, summed.calls, spend.calls),
            (Finding::SumOfAnsweredDiffers, summed.answered + retired.answered, spend.answered),
            (Finding::SumOfSecondsDiffers, summed.billable_seconds + retired.billable_seconds, spend.billable_seconds),
            (Finding::RetiredCallsDiffer, missing.calls, retired.calls),
        ];
        let amounts = [
            (Finding::SumOfSpentDiffers, summed.spent, spend.spent),
            (Finding::RetiredSpentDiffers, missing.spent, retired.spent),
            (Finding::SpentBalanceDiffers, charged, balances.spent),
            (Finding::ReservedBalanceDiffers, open, balances.reserved),
            (Finding::AvailableBalanceDiffers, Money::ZERO - charged - open, balances.available),
        ];
        let counts = counts.into_iter().filter(|(_, expected, found)| expected != found);
        let counts = counts.map(|(finding, expected, found)| told(finding).amounts(&expected, &found));
        let amounts = amounts.into_iter().filter(|(_, expected, found)| expected != found);
        let amounts = amounts.map(|(finding, expected, found)| told(finding).amounts(&expected, &found));
        counts.chain(amounts).collect::<Vec<_>>().into_iter().for_each(|difference| self.say(difference));
    }
}

impl DaySums {
    fn add(&mut self, other: &DaySums) {
        self.calls += other.calls;
        self.answered += other.answered;
        self.billable_seconds += other.billable_seconds;
        self.spent += other.spent;
    }
}
