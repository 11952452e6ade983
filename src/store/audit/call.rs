//! One call's books: what must be true of them together.

use super::{CallRow, Difference, Finding, Part, Progress, Record};
use crate::events::FactKind;
use crate::model::{CallId, Day, Money, OrganizationId, Status, Timestamp};
use crate::store::EntryKind;

/// A record is made, and its admission booked, within this of each other.
const SLACK: std::time::Duration = std::time::Duration::from_secs(60);

/// All that the store has of one call.
#[derive(Debug, Default)]
pub(super) struct CallBooks {
    pub organization: Option<OrganizationId>,
    id: Option<CallId>,
    reserves: u64,
    charges: u64,
    set_aside: Money,
    charged: Money,
    released: Money,
    unknown: u64,
    negative: Option<Money>,
    days: Vec<Day>,
    admitted: Option<(u64, Timestamp)>,
    charge_at: Option<u64>,
    after_end: bool,
    facts: Vec<(u64, FactKind)>,
    live: Option<(Money, Day)>,
    /// Of the live row, then of the final ones, each with whether it can be read.
    live_record: Option<Option<Record>>,
    finals: Vec<Option<Record>>,
    /// Of `call_completed`.
    told_cost: Option<Money>,
}

/// What a call adds to its day.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub is_live: bool,
    /// Set aside and neither charged nor released.
    pub open: Money,
    pub charged: Option<Charged>,
    /// Its record was dropped in time.
    pub is_retired: bool,
}

#[derive(Debug)]
pub(super) struct Charged {
    pub amount: Money,
    pub position: u64,
}

impl CallBooks {
    pub fn new(organization: Option<OrganizationId>, call: CallId) -> Self {
        Self { organization, id: Some(call), ..Self::default() }
    }

    pub fn is_of(&self, row: &CallRow) -> bool {
        self.id == Some(row.call) && self.organization == row.organization
    }

    pub fn day(&self) -> Option<Day> {
        self.days.first().copied()
    }

    pub fn last_record(&self) -> Option<&Record> {
        self.finals.first()?.as_ref()
    }

    pub fn take(&mut self, part: Part) {
        match part {
            Part::Booking { position, kind, amount, day, at } => self.book(position, kind, amount, day, at),
            Part::Fact { position, kind, record } => {
                self.facts.extend(kind.map(|kind| (position, kind)));
                if kind == Some(FactKind::CallCompleted) {
                    self.told_cost = record.flatten().map(|record| record.cost);
                }
            }
            Part::Live { reserved, day, record } => {
                self.live = Some((reserved, day));
                self.live_record = record;
            }
            Part::Final { record } => self.finals.push(record),
        }
    }

    fn book(&mut self, position: u64, kind: Option<EntryKind>, amount: Money, day: Day, at: Timestamp) {
        if amount < Money::ZERO {
            self.negative = Some(amount);
        }
        self.days.push(day);
        self.after_end |= self.charge_at.is_some() && kind != Some(EntryKind::Release);
        match kind {
            Some(EntryKind::Reserve) => {
                self.reserves += 1;
                self.set_aside += amount;
                self.admitted = Some((position, at));
            }
            Some(EntryKind::Extend) => self.set_aside += amount,
            Some(EntryKind::Charge) => {
                self.charges += 1;
                self.charged += amount;
                self.charge_at = Some(position);
            }
            Some(EntryKind::Release) => self.released += amount,
            None => self.unknown += 1,
        }
    }

    /// Tells every difference, and what the call adds to its day.
    pub fn judge(&self, progress: &Progress, found: &mut Vec<Difference>) -> Verdict {
        if self.organization.is_none() {
            found.push(self.difference(Finding::UnknownOrganization));
        }
        if self.unknown > 0 {
            found.push(self.difference(Finding::UnknownBooking));
        }
        if let Some(amount) = self.negative {
            found.push(self.difference(Finding::NegativeAmount).amounts(&Money::ZERO, &amount));
        }
        let Some(admitted) = self.admitted else {
            found.push(self.difference(Finding::NeverAdmitted));
            return Verdict::default();
        };
        if self.reserves > 1 {
            found.push(self.difference(Finding::AdmittedTwice).amounts(&1, &self.reserves));
        }
        self.judge_days(found);
        self.judge_records(found);
        let verdict = match self.charge_at {
            Some(position) => self.judge_settled(admitted, position, progress, found),
            None => self.judge_open(found),
        };
        self.judge_events(admitted.0, progress, found);
        verdict
    }

    fn judge_open(&self, found: &mut Vec<Difference>) -> Verdict {
        let open = self.set_aside - self.released;
        match (&self.live, &self.live_record) {
            (Some((reserved, _)), Some(_)) if *reserved != open => {
                found.push(self.difference(Finding::ReservationDiffers).amounts(&open, reserved));
            }
            (Some(_), Some(_)) => {}
            (Some(_), None) | (None, _) => found.push(self.difference(Finding::Lost)),
        }
        if !self.finals.is_empty() {
            found.push(self.difference(Finding::RecordNotCharged));
        }
        let is_live = self.live.is_some() && self.live_record.is_some();
        Verdict { is_live, open, ..Verdict::default() }
    }

    fn judge_settled(
        &self,
        admitted: (u64, Timestamp),
        position: u64,
        progress: &Progress,
        found: &mut Vec<Difference>,
    ) -> Verdict {
        if self.charges > 1 {
            found.push(self.difference(Finding::ChargedTwice).amounts(&1, &self.charges));
        }
        if self.after_end && self.charges == 1 {
            found.push(self.difference(Finding::BookedAfterEnd));
        }
        let settled = self.charged + self.released;
        if settled != self.set_aside {
            found.push(self.difference(Finding::Unbalanced).amounts(&self.set_aside, &settled));
        }
        if self.live_record.is_some() || self.live.is_some_and(|(reserved, _)| reserved != Money::ZERO) {
            found.push(self.difference(Finding::StillLive));
        }
        let mut is_retired = false;
        match self.finals.as_slice() {
            [] if admitted.1 <= progress.records_to + SLACK => is_retired = true,
            [] => found.push(self.difference(Finding::RecordMissing)),
            [_] => {}
            [_, _, ..] => found.push(self.difference(Finding::RecordTwice).amounts(&1, &self.finals.len())),
        }
        for cost in self.finals.iter().flatten().map(|record| record.cost).chain(self.told_cost) {
            if cost != self.charged {
                found.push(self.difference(Finding::CostDiffers).amounts(&self.charged, &cost));
            }
        }
        Verdict {
            is_live: false,
            open: self.set_aside - settled,
            charged: Some(Charged { amount: self.charged, position }),
            is_retired,
        }
    }

    fn judge_days(&self, found: &mut Vec<Difference>) {
        let Some(day) = self.day() else { return };
        let records = self.records().map(|record| record.day);
        let live = self.live.map(|(_, day)| day);
        if let Some(other) = self.days.iter().copied().chain(records).chain(live).find(|other| *other != day) {
            found.push(self.difference(Finding::DayDiffers).amounts(&day, &other));
        }
    }

    fn judge_records(&self, found: &mut Vec<Difference>) {
        let unreadable = self.finals.iter().chain(&self.live_record).any(Option::is_none);
        if unreadable {
            found.push(self.difference(Finding::RecordUnreadable));
        }
        let foreign = |record: &Record| {
            Some(record.call) != self.id || self.organization.as_ref().is_some_and(|own| record.organization != *own)
        };
        if self.records().any(foreign) {
            found.push(self.difference(Finding::RecordOfAnother));
        }
        if self.finals.iter().flatten().any(|record| !record.status.is_terminal()) {
            found.push(self.difference(Finding::RecordNotTerminal));
        }
    }

    fn records(&self) -> impl Iterator<Item = &Record> {
        self.finals.iter().chain(&self.live_record).flatten()
    }

    /// Exactly one `new_call`, one `call_completed` at the end, and with it the one of the outcome.
    fn judge_events(&self, admitted: u64, progress: &Progress, found: &mut Vec<Difference>) {
        let status = self.last_record().map(|record| record.status);
        for kind in FactKind::ALL {
            let times = self.facts.iter().filter(|(_, of)| *of == kind).count();
            // Whether it must be there, and from which position on it may have been dropped.
            let (must, since) = match kind {
                FactKind::NewCall => (Some(true), Some(admitted)),
                FactKind::CallCompleted => (Some(self.charge_at.is_some()), self.charge_at),
                FactKind::CallAnswered => (None, None),
                FactKind::CallNoAnswer => (status.map(|status| status == Status::NoAnswer), self.charge_at),
                FactKind::CallBusy => (status.map(|status| status == Status::Busy), self.charge_at),
                FactKind::CallFailed => (status.map(|status| status == Status::Failed), self.charge_at),
                // As often as the status changes.
                FactKind::CallStatus => continue,
            };
            let dropped = since.is_some_and(|position| position <= progress.facts_to);
            let finding = match (must, times) {
                (_, 2..) => Finding::EventTwice,
                (Some(true), 0) if !dropped => Finding::EventMissing,
                (Some(false), 1) => Finding::EventUntrue,
                (Some(_) | None, 0 | 1) => continue,
            };
            found.push(self.difference(finding).what(kind.as_str()));
        }
    }

    fn difference(&self, finding: Finding) -> Difference {
        let difference = Difference::of(finding).organization(self.organization.clone());
        match self.id {
            Some(id) => difference.call(id),
            None => difference,
        }
    }
}
