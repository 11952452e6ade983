//! What an organization has and uses now, and how a decision changes it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::{Attempt, Grant, Rules};
use crate::model::{CallId, Day, Money, Timestamp};

/// The window of the rate guardrail.
const MINUTE: Duration = Duration::from_secs(60);

/// Legs that one bridged call takes from its admission to its end.
pub const LEGS_PER_CALL: u32 = 2;

/// What one call holds from its admission to its settlement.
#[derive(Debug, Clone, PartialEq)]
pub struct Lease {
    /// What was judged; a leg may go nowhere else.
    pub attempt: Attempt,
    /// Set aside of the day's limit.
    pub reserved: Money,
    /// The day of the admission, to which the cost will belong.
    pub day: Day,
}

/// What one day's limit has been used for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DayUse {
    /// Charged to calls that are over.
    pub spent: Money,
    /// The sum of the reservations of that day's leases.
    pub reserved: Money,
}

/// One organization: its rules and what is in use.
///
/// Changed only by [`Account::admit`], [`Account::extend`] and [`Account::settle`], each after the
/// decision of the same name, and put together again from the store by [`Account::restored`].
#[derive(Debug, Clone)]
pub struct Account {
    pub rules: Rules,
    /// Admissions that may still lie in a rolling minute, oldest first.
    admitted: VecDeque<Timestamp>,
    leases: BTreeMap<CallId, Lease>,
    days: BTreeMap<Day, DayUse>,
}

/// What the end of a call came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settlement {
    pub day: Day,
    pub charged: Money,
    pub released: Money,
}

impl Account {
    pub fn new(rules: Rules) -> Self {
        Self::restored(rules, [], [], [])
    }

    /// The account of which the store knows these admissions (oldest first, none later than now), leases
    /// and sums charged per day.
    pub fn restored(
        rules: Rules,
        admitted: impl IntoIterator<Item = Timestamp>,
        leases: impl IntoIterator<Item = Lease>,
        spent: impl IntoIterator<Item = (Day, Money)>,
    ) -> Self {
        let mut days: BTreeMap<Day, DayUse> =
            spent.into_iter().map(|(day, spent)| (day, DayUse { spent, reserved: Money::ZERO })).collect();
        let leases: BTreeMap<_, _> = leases.into_iter().map(|lease| (lease.attempt.call, lease)).collect();
        for lease in leases.values() {
            days.entry(lease.day).or_default().reserved += lease.reserved;
        }
        Self { rules, admitted: admitted.into_iter().collect(), leases, days }
    }

    pub fn lease(&self, call: CallId) -> Option<&Lease> {
        self.leases.get(&call)
    }

    pub fn legs_in_use(&self) -> u64 {
        self.leases.len() as u64 * u64::from(LEGS_PER_CALL)
    }

    /// What `day`'s limit has been used for.
    pub fn day_use(&self, day: Day) -> DayUse {
        self.days.get(&day).copied().unwrap_or_default()
    }

    /// Admissions in the 60 s that end now, both ends of the window judged as `rate_wait` does.
    pub fn admitted_in_minute(&self, now: Timestamp) -> usize {
        let now = self.not_before_last(now);
        self.admitted.len() - self.admitted.partition_point(|at| now.since(*at) >= MINUTE)
    }

    /// How long until the rolling minute has room for one more; zero when it has now.
    pub(super) fn rate_wait(&self, now: Timestamp) -> Duration {
        let limit = self.rules.limits.max_calls_per_minute as usize;
        let now = self.not_before_last(now);
        // The window has room once the admission `limit` places from the newest has left it.
        match self.admitted.len().checked_sub(limit) {
            None => Duration::ZERO,
            Some(index) => self.admitted.get(index).map_or(MINUTE, |at| MINUTE.saturating_sub(now.since(*at))),
        }
    }

    /// Time as the rolling minute sees it: two shards may hand in their attempts out of order, and the
    /// later one has been decided on already.
    fn not_before_last(&self, now: Timestamp) -> Timestamp {
        self.admitted.back().map_or(now, |last| now.max(*last))
    }

    /// Takes what `grant` gave.
    pub fn admit(&mut self, attempt: &Attempt, grant: &Grant, now: Timestamp) {
        let now = self.not_before_last(now);
        let outside = self.admitted.partition_point(|at| now.since(*at) >= MINUTE);
        self.admitted.drain(..outside);
        self.admitted.push_back(now);
        // A day that is over and for which nothing is reserved is decided on no more.
        self.days.retain(|day, used| *day >= grant.day || used.reserved > Money::ZERO);
        self.days.entry(grant.day).or_default().reserved += grant.reserved;
        let lease = Lease { attempt: attempt.clone(), reserved: grant.reserved, day: grant.day };
        self.leases.insert(attempt.call, lease);
    }

    /// Sets `amount` more aside for the call. Nothing for a call without a lease.
    pub fn extend(&mut self, call: CallId, amount: Money) {
        if let Some(lease) = self.leases.get_mut(&call) {
            lease.reserved += amount;
            self.days.entry(lease.day).or_default().reserved += amount;
        }
    }

    /// Ends the call's lease and charges `cost`, but never more than was reserved, so that no end of a
    /// call can break the day's limit. `None` when the call holds nothing (any more).
    pub fn settle(&mut self, call: CallId, cost: Money) -> Option<Settlement> {
        let lease = self.leases.remove(&call)?;
        let charged = cost.clamp(Money::ZERO, lease.reserved);
        let day = self.days.entry(lease.day).or_default();
        day.reserved -= lease.reserved;
        day.spent += charged;
        Some(Settlement { day: lease.day, charged, released: lease.reserved - charged })
    }
}
