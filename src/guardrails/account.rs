//! What an organization has and uses now, and how a decision changes it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::breaker::Breaker;
use super::leases::Leases;
use super::{Attempt, DestinationPrefix, Grant, Mark, Pause, Rules};
use crate::model::{CallId, CallRecord, Day, E164, Money, Timestamp, UserId};

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
/// decision of the same name, by [`Account::watch`] with the record of a call that was settled, and put together
/// again from the store by [`Account::restored`].
///
/// Invariants, whatever the order of these and of changes of the rules: a day's reservations are the sum of its
/// leases'; nothing is negative; an admission or an extension, that of a settlement too, leaves spend and
/// reservations of its day within the limit of that moment.
#[derive(Debug, Clone)]
pub struct Account {
    pub rules: Rules,
    /// Admissions that may still lie in a rolling minute, oldest first.
    admitted: VecDeque<Timestamp>,
    leases: Leases,
    days: BTreeMap<Day, DayUse>,
    breaker: Breaker,
}

/// What the end of a call came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settlement {
    pub day: Day,
    /// Set aside only now, because the call cost more than it had been able to reserve.
    pub extended: Money,
    pub charged: Money,
    pub released: Money,
}

impl Account {
    pub fn new(rules: Rules) -> Self {
        Self::restored(rules, [], [], [], [])
    }

    /// The account of which the store knows these admissions (oldest first, none later than now), leases,
    /// sums charged per day (yesterday's and later, and those of the leases' days), and marks of its breakers (in the order in which they were written, none later than
    /// now, none missing of the last [`LONGEST_MEMORY`](super::LONGEST_MEMORY)).
    pub fn restored(
        rules: Rules,
        admitted: impl IntoIterator<Item = Timestamp>,
        leases: impl IntoIterator<Item = Lease>,
        spent: impl IntoIterator<Item = (Day, Money)>,
        marks: impl IntoIterator<Item = Mark>,
    ) -> Self {
        let mut days: BTreeMap<Day, DayUse> =
            spent.into_iter().map(|(day, spent)| (day, DayUse { spent, reserved: Money::ZERO })).collect();
        let mut held = Leases::default();
        leases.into_iter().for_each(|lease| held.insert(lease));
        for lease in held.iter() {
            days.entry(lease.day).or_default().reserved += lease.reserved;
        }
        let admitted = admitted.into_iter().collect();
        Self { rules, admitted, leases: held, days, breaker: Breaker::restored(marks) }
    }

    pub fn lease(&self, call: CallId) -> Option<&Lease> {
        self.leases.get(call)
    }

    pub fn legs_in_use(&self) -> u64 {
        self.leases.calls() * u64::from(LEGS_PER_CALL)
    }

    /// Both legs of each call of this user.
    pub fn legs_of(&self, user: &UserId) -> u64 {
        self.leases.calls_of(user) * u64::from(LEGS_PER_CALL)
    }

    /// Each call to a number has one leg there.
    pub fn legs_to(&self, destination: E164) -> u64 {
        self.leases.calls_to(destination)
    }

    /// Of the calls that hold something: who calls, and whom.
    pub fn parties(&self) -> impl Iterator<Item = (&UserId, E164)> {
        self.leases.iter().map(|lease| (&lease.attempt.user, lease.attempt.to))
    }

    /// Is the prefix of this number paused?
    pub fn pause_of(&self, number: E164, now: Timestamp) -> Option<Pause> {
        self.breaker.pause(DestinationPrefix::of(number), &self.rules.limits.breakers, now)
    }

    /// The paused prefixes.
    pub fn pauses(&self, now: Timestamp) -> Vec<Pause> {
        self.breaker.pauses(&self.rules.limits.breakers, now)
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
        // A day that is over and for which nothing is reserved is decided on no more; but yesterday may come back
        // for those whose clock is behind.
        self.days.retain(|day, used| *day >= grant.day.before() || used.reserved > Money::ZERO);
        self.days.entry(grant.day).or_default().reserved += grant.reserved;
        let lease = Lease { attempt: attempt.clone(), reserved: grant.reserved, day: grant.day };
        self.leases.insert(lease);
    }

    /// Sets `amount` more aside for the call. Nothing for a call without a lease.
    pub fn extend(&mut self, call: CallId, amount: Money) {
        if let Some(lease) = self.leases.extend(call, amount) {
            self.days.entry(lease.day).or_default().reserved += amount;
        }
    }

    /// Ends the call's lease and charges `cost`. What the call could not reserve while it went on, because the
    /// store was away, is reserved now as far as the day's limit has room, and no more than is reserved is
    /// charged: no end of a call can break the day's limit. `None` when the call holds nothing (any more).
    pub fn settle(&mut self, call: CallId, cost: Money) -> Option<Settlement> {
        let lease = self.leases.remove(call)?;
        let used = self.day_use(lease.day);
        let room = self.rules.limits.daily_spend_limit.saturating_sub_to_zero(used.spent + used.reserved);
        let extended = cost.saturating_sub_to_zero(lease.reserved).min(room);
        let reserved = lease.reserved + extended;
        let charged = cost.clamp(Money::ZERO, reserved);
        let day = self.days.entry(lease.day).or_default();
        day.reserved -= lease.reserved;
        day.spent += charged;
        Some(Settlement { day: lease.day, extended, charged, released: reserved - charged })
    }

    /// Takes in how a settled call ended, and returns what the store has to keep of it. A trip among that is
    /// news.
    pub fn watch(&mut self, record: &CallRecord, now: Timestamp) -> Vec<Mark> {
        let mark = Mark::of(record);
        mark.map_or_else(Vec::new, |mark| self.breaker.watch(mark, &self.rules.limits.breakers, now))
    }
}
