//! May this INVITE go out? Ownership, allowlist, rate, concurrency, spend, in this order.
//!
//! ```text
//! Attempt ──▶ decide_admission(&Account, …, now) ──▶ Ok((Grant, Permit)) ──▶ account.admit(…)
//!                                                 └▶ Err(Refusal)            (nothing has changed)
//! ```
//!
//! Pure: the store calls it inside its transaction, on the account that it holds locked, and writes
//! what was granted in that same transaction. A [`Permit`] comes from nowhere else, cannot be copied
//! and is used up by the INVITE that it allows, so an INVITE without a decision does not compile.
//!
//! What a number is by itself (an emergency code, premium, a country inside `+1`) is a table,
//! `data/number_classes.txt`; the allowlist and the prices must name such a range themselves.
//!
//! How calls end is looked at by breakers (`breaker`): a prefix where most answers are over at once, or where
//! nobody answers, is paused, which is the destination guardrail's word.
//!
//! Deliberately absent: counters that go up and down. What is in use is the set of calls that hold
//! something, so it cannot drift, go below zero, or survive its call. (A day's reservations are summed
//! as leases come and go, in the same three functions.)

mod account;
mod breaker;
mod classes;
mod decide;
mod destination_prefix;
mod leases;
mod permit;
mod prefix;
mod price;
mod rules;

pub use account::{Account, DayUse, LEGS_PER_CALL, Lease, Settlement};
pub use breaker::{BreakerLimits, LONGEST_MEMORY, Mark, MarkKind, Pause, TripReason};
pub use classes::NumberClass;
pub use decide::{Check, Preview, decide_admission, decide_extension, decide_leg, preview};
pub use destination_prefix::DestinationPrefix;
pub use permit::{Grant, OwnedNumber, Permit};
pub use prefix::{Prefix, PrefixError};
pub use price::{LegPrice, PriceTable};
pub use rules::{Allowlist, Limits, Rules, UnknownTimezone};

use serde::{Deserialize, Serialize};

use crate::model::{CallId, E164, OrganizationId, Side, UserId};

/// A request for a call, as the guardrails judge it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    pub call: CallId,
    pub organization: OrganizationId,
    pub user: UserId,
    /// The caller ID that leg B is to see.
    pub from: E164,
    /// Leg B's number.
    pub to: E164,
    /// Leg A's number; `None` when a browser takes the phone's place.
    pub connect: Option<E164>,
}

/// A request for one leg's INVITE of an admitted call: everything but the rate is judged again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LegAttempt {
    pub side: Side,
    pub attempt: Attempt,
}

/// The five guardrails, in the order in which they are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guardrail {
    CallerId,
    Destination,
    Rate,
    Concurrency,
    Spend,
}

impl Guardrail {
    pub const ALL: [Guardrail; 5] =
        [Guardrail::CallerId, Guardrail::Destination, Guardrail::Rate, Guardrail::Concurrency, Guardrail::Spend];

    pub fn as_str(self) -> &'static str {
        match self {
            Guardrail::CallerId => "caller_id",
            Guardrail::Destination => "destination",
            Guardrail::Rate => "rate",
            Guardrail::Concurrency => "concurrency",
            Guardrail::Spend => "spend",
        }
    }
}

/// Why an INVITE may not go out. The first guardrail that says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// `from` is not an active number of the organization.
    CallerIdNotVerified,
    DestinationNotAllowed(DestinationProblem),
    /// The rolling minute is full; the same attempt passes after `retry_after_us`, not before.
    RateLimited {
        retry_after_us: u64,
    },
    /// The legs in use and this call's exceed this cap.
    ConcurrencyLimit(LegCap),
    /// Spend, open reservations and this reservation exceed the daily limit. `retry_after_us` is the
    /// time to the organization's midnight.
    SpendLimitExceeded {
        retry_after_us: u64,
    },
    /// The organization does not exist or the call is not one of its own (any more).
    Unknown,
}

/// What is wrong with a number of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DestinationProblem {
    /// The allowlist does not name it, or blocks it.
    NotListed(Side),
    /// Emergency or short code: never dialled.
    NeverDialled(Side),
    /// Premium, satellite and the like: only when the allowlist names that range itself.
    Class(Side, NumberClass),
    /// Two of the call's numbers are one, or the destination is a number that the organization owns.
    Loop,
    NoPrice(Side),
    /// A breaker has paused the destination's prefix; the pause ends after `retry_after_us`.
    Paused {
        pause: Pause,
        retry_after_us: u64,
    },
}

/// Whose legs a cap of the concurrency guardrail counts, in the order in which they are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LegCap {
    Organization,
    /// Of the call's user.
    User,
    /// To the call's destination.
    Destination,
}

impl Refusal {
    pub fn guardrail(self) -> Guardrail {
        match self {
            Refusal::CallerIdNotVerified | Refusal::Unknown => Guardrail::CallerId,
            Refusal::DestinationNotAllowed(_) => Guardrail::Destination,
            Refusal::RateLimited { .. } => Guardrail::Rate,
            Refusal::ConcurrencyLimit(_) => Guardrail::Concurrency,
            Refusal::SpendLimitExceeded { .. } => Guardrail::Spend,
        }
    }
}
