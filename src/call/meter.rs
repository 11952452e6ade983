//! What a leg may still cost: paid in periods ahead of the talk, never after it.
//!
//! ```text
//! answer ──── first period (reserved at admission) ────┬── step ──┬── step ──▶
//!                                             extend ──┘ AHEAD before it is reached
//! ```
//!
//! It counts from the answer, and nothing is owed before the answer is acknowledged: until then its phone has
//! heard nothing of us, and takes the call for lost if it never does (RFC 3261 §13.3.1.4).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::guardrails::LegPrice;
use crate::model::{Money, Timestamp};

/// How long before the end of what is paid the next period is reserved. Room for a slow disk.
const AHEAD: Duration = Duration::from_secs(3);
/// How long to wait before asking a store that could not commit once more.
const AGAIN: Duration = Duration::from_millis(500);

/// A process that lives so long after an answer has acknowledged it or given it up, unless it could not reach its
/// database all the while: a commit takes less.
const IN_DOUBT: Duration = Duration::from_secs(5);

/// One leg's meter. It runs from the leg's answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Meter {
    price: Option<LegPrice>,
    answered_at: Option<Timestamp>,
    /// The ACK of the answer has left.
    #[serde(default)]
    owed: bool,
    /// Talk time that is covered by reservations.
    paid: Duration,
    /// What the extension that is being committed adds. A snapshot that holds it was written by that
    /// very commit, so it was granted.
    asked: Duration,
    /// Not before.
    #[serde(skip)]
    retry_at: Option<Timestamp>,
    /// A guardrail said no: the end of what is paid is the end of the call.
    pub last: bool,
}

impl Meter {
    pub fn admitted(&mut self, price: LegPrice) {
        self.price = Some(price);
        self.paid = Duration::from_secs(price.first_seconds.into());
    }

    pub fn answered(&mut self, now: Timestamp) {
        self.answered_at.get_or_insert(now);
    }

    pub fn acknowledged(&mut self) {
        self.owed = true;
    }

    /// For a snapshot that shows the answer before its ACK, of a process that lived until then at least.
    pub fn acknowledged_if_long_before(&mut self, last_alive: Timestamp) {
        self.owed |= self.answered_at.is_some_and(|answered| answered + IN_DOUBT <= last_alive);
    }

    /// For a snapshot that was taken up again.
    pub fn restored(&mut self) {
        self.paid += std::mem::take(&mut self.asked);
    }

    fn paid_until(&self) -> Option<Timestamp> {
        Some(self.answered_at? + self.paid)
    }

    fn talk(&self, ended_at: Timestamp) -> Option<Duration> {
        Some(ended_at.since(self.answered_at.filter(|_| self.owed)?).min(self.paid))
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

    pub fn is_spent(&self, now: Timestamp) -> bool {
        self.paid_until().is_some_and(|until| until <= now)
    }

    /// Asks for as many steps as it takes to be ahead again; `None` when it is.
    pub fn ask(&mut self, now: Timestamp) -> Option<Money> {
        let (price, answered_at) = (self.price?, self.answered_at?);
        let needed = (now + AHEAD).since(answered_at);
        if self.last || self.retry_at.is_some_and(|retry| retry > now) || needed < self.paid {
            return None;
        }
        let steps = (needed - self.paid).as_secs() / price.step().as_secs().max(1) + 1;
        self.asked = price.step() * u32::try_from(steps).unwrap_or(u32::MAX);
        Some(price.step_cost().times(steps))
    }

    pub fn granted(&mut self) {
        self.paid += std::mem::take(&mut self.asked);
        self.retry_at = None;
    }

    pub fn refused(&mut self) {
        self.last |= std::mem::take(&mut self.asked) > Duration::ZERO;
    }

    pub fn unavailable(&mut self, now: Timestamp) {
        if std::mem::take(&mut self.asked) > Duration::ZERO {
            self.retry_at = Some(now + AGAIN);
        }
    }
}
