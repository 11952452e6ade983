//! What a leg may still cost: paid in periods ahead of the talk, never after it.
//!
//! ```text
//! answer ──── first period (reserved at admission) ────┬── step ──┬── step ──▶
//!                                             extend ──┘ AHEAD before it is reached
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Call;
use super::party::Party;
use super::state::{End, State};
use super::{CallAction, StepKind};
use crate::events::Notice;
use crate::guardrails::LegPrice;
use crate::media::{MediaCommand, Source};
use crate::model::{EndReason, EndedBy, Money, Side, Timestamp};
use crate::store::{Committed, Step};

/// How long before the end of what is paid the next period is reserved. Room for a slow disk.
const AHEAD: Duration = Duration::from_secs(3);
/// How long to wait before asking a store that could not commit once more.
const AGAIN: Duration = Duration::from_millis(500);

/// One leg's meter. It runs from the leg's answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Meter {
    price: Option<LegPrice>,
    answered_at: Option<Timestamp>,
    /// Talk time that is covered by reservations.
    paid: Duration,
    /// What the extension that is being committed adds. A snapshot that holds it was written by that
    /// very commit, so it was granted.
    asked: Duration,
    /// Not before.
    retry_at: Option<Timestamp>,
    /// A guardrail said no: the end of what is paid is the end of the call.
    last: bool,
}

impl Meter {
    pub fn admitted(&mut self, price: LegPrice) {
        self.price = Some(price);
        self.paid = Duration::from_secs(price.first_seconds.into());
    }

    pub fn answered(&mut self, now: Timestamp) {
        self.answered_at.get_or_insert(now);
    }

    /// The answer did not become a conversation: nothing is owed for it.
    pub fn void(&mut self) {
        self.answered_at = None;
    }

    /// For a snapshot that was taken up again.
    pub fn restored(&mut self) {
        self.paid += std::mem::take(&mut self.asked);
    }

    fn paid_until(&self) -> Option<Timestamp> {
        Some(self.answered_at? + self.paid)
    }

    fn talk(&self, ended_at: Timestamp) -> Option<Duration> {
        Some(ended_at.since(self.answered_at?).min(self.paid))
    }

    /// What the leg cost if it ended then. Never more than what was reserved for it.
    pub fn cost(&self, ended_at: Timestamp) -> Money {
        match (self.price, self.talk(ended_at)) {
            (Some(price), Some(talk)) => price.cost(talk),
            (None, _) | (_, None) => Money::ZERO,
        }
    }

    /// Whole seconds that are charged.
    pub fn billable_seconds(&self, ended_at: Timestamp) -> u64 {
        match (self.price, self.talk(ended_at)) {
            (Some(price), Some(talk)) => price.billed_seconds(talk),
            (None, _) | (_, None) => 0,
        }
    }

    /// `extending`: an extension is being committed, so only the end of what is paid matters.
    pub fn next_timeout(&self, extending: bool) -> Option<Timestamp> {
        let paid_until = self.paid_until()?;
        if self.last || extending {
            return Some(paid_until);
        }
        let ask = paid_until - AHEAD;
        Some(self.retry_at.map_or(ask, |retry| retry.max(ask)).min(paid_until))
    }

    fn is_spent(&self, now: Timestamp) -> bool {
        self.paid_until().is_some_and(|until| until <= now)
    }

    /// Asks for as many steps as it takes to be ahead again; `None` when it is.
    fn ask(&mut self, now: Timestamp) -> Option<Money> {
        let (price, answered_at) = (self.price?, self.answered_at?);
        let needed = (now + AHEAD).since(answered_at);
        if self.last || self.retry_at.is_some_and(|retry| retry > now) || needed < self.paid {
            return None;
        }
        let steps = (needed - self.paid).as_secs() / price.step().as_secs().max(1) + 1;
        self.asked = price.step() * u32::try_from(steps).unwrap_or(u32::MAX);
        Some(price.step_cost().times(steps))
    }

    fn granted(&mut self) {
        self.paid += std::mem::take(&mut self.asked);
        self.retry_at = None;
    }

    fn refused(&mut self) {
        self.last |= std::mem::take(&mut self.asked) > Duration::ZERO;
    }

    fn unavailable(&mut self, now: Timestamp) {
        if std::mem::take(&mut self.asked) > Duration::ZERO {
            self.retry_at = Some(now + AGAIN);
        }
    }
}

impl Call {
    /// Reserves ahead for the legs that need it, and ends the call at the end of what is paid.
    pub(super) fn meter_timeout(&mut self, now: Timestamp, out: &mut Vec<CallAction>) {
        if matches!(self.state, State::Ending(_)) {
            return;
        }
        if let Some(side) = Side::BOTH.into_iter().find(|side| self.party(*side).is_spent(now)) {
            let reason = if self.party(side).meter.last { EndReason::SpendLimit } else { EndReason::StoreUnavailable };
            return self.end(now, End::new(reason, EndedBy::Guardrail), out);
        }
        if self.extending {
            return;
        }
        let asked: Vec<Money> = Side::BOTH.into_iter().filter_map(|side| self.party_mut(side).ask(now)).collect();
        if !asked.is_empty() {
            self.extending = true;
            self.commit(StepKind::Extend, Step::Extend { amount: asked.into_iter().sum() }, Vec::new(), out);
        }
    }

    pub(super) fn extended(&mut self, now: Timestamp, committed: Committed, out: &mut Vec<CallAction>) {
        self.extending = false;
        match committed {
            Committed::Extended => self.meters(Meter::granted),
            Committed::Refused(refusal) => {
                self.meters(Meter::refused);
                out.push(CallAction::Notice(Notice::LegRefused { call: self.plan.id, guardrail: refusal.guardrail() }));
                if let State::Bridged(_) = self.state {
                    out.push(CallAction::Media(Side::User, MediaCommand::Play(Source::Warning)));
                }
            }
            Committed::Done
            | Committed::Admitted { .. }
            | Committed::Permitted(_)
            | Committed::Replayed(_)
            | Committed::Conflict { .. }
            | Committed::Unavailable => self.meters(|meter| meter.unavailable(now)),
        }
    }

    fn meters(&mut self, change: impl Fn(&mut Meter)) {
        change(&mut self.user.meter);
        change(&mut self.destination.meter);
    }
}

impl Party {
    fn is_spent(&self, now: Timestamp) -> bool {
        self.is_live() && self.meter.is_spent(now)
    }

    fn ask(&mut self, now: Timestamp) -> Option<Money> {
        if self.is_live() { self.meter.ask(now) } else { None }
    }
}
