//! What outlives the process: one transaction per step of a call.
//!
//! ```text
//! switch ── Commit ──▶ engine: begin; guardrails decide; record + snapshot + ledger + outbox; fsync
//!        ◀─ Committed ─┘
//! ```
//!
//! A [`Commit`] is everything that must become durable together. The engine runs the guardrails inside
//! the same transaction on the account that it holds, so a decision and what it took are one. Answers
//! leave after the data is on disk, in the order of the commits of each call.
//!
//! Deliberately absent: reads on the path of a call. The switch keeps live calls in memory; the store
//! gives snapshots back once, at start.

mod apply;
pub mod audit;
pub mod cluster;
mod deliveries;
pub mod engine;
pub mod open;
mod outbox;
pub mod postgres;
mod records;
pub mod sqlite;
mod statements;
mod tenancy;
pub mod tenants;
mod traces;
mod upkeep;

pub use apply::{Applied, Entry, EntryKind, Phase, Write, apply};
pub use cluster::Cluster;
pub use deliveries::{
    Backlog, Claim, ClaimantId, Deliveries, Delivery, DeliveryCursor, DeliveryFilter, DeliveryId, DeliveryPage,
    DeliveryState, Due, Next, Once, Replay, Subscribed, Subscription, SubscriptionState, Tried,
};
pub use outbox::{Event, Outbox};
pub use records::{CallFilter, KeyInfo, Page, Records, StoreDown, Usage};
pub use statements::{Line, Statement, Statements, Sums};
pub use tenancy::{AnswerOf, ChangeFilter, ChangeKey, ChangeOrder, ChangePage, Changed, Tenancy};
pub use traces::Traces;
pub use upkeep::{Erased, ErasedRows, Erasure, Retention, Upkeep};

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::events::Fact;
use crate::guardrails::{Attempt, Grant, LegAttempt, Permit, Preview, Refusal, TripReason};
use crate::model::{CallId, CallRecord, CommitId, Money, OrganizationId, Path, Timestamp, TokenDigest};

/// An open store, whichever engine keeps it. Each part of it that has a subject of its own is a trait of its
/// own.
pub trait Store:
    Records + Outbox + Deliveries + Statements + Tenancy + Traces + Upkeep + Send + Sync + 'static
{
    /// Hands a commit over and returns at once. What became of it is told by the function that the engine was
    /// opened with: each once, in the order of the commits of each call.
    fn submit(&self, id: CommitId, commit: Box<Commit>);

    /// Drops what is kept of calls that are over, within about two seconds. A crash before that only makes
    /// the next start take them up once more.
    fn forget(&self, calls: Vec<CallId>);

    /// Whose key this is; from memory. `None` for a key that is unknown, expired or revoked.
    fn authenticate(&self, sha256: &[u8; 32]) -> Option<Arc<KeyInfo>>;

    /// What the guardrails would say; `None` for an unknown organization. Blocks, as do the two below.
    fn preview(&self, attempt: Attempt, now: Timestamp) -> Result<Option<Preview>, StoreDown>;

    /// `None` for an unknown organization.
    fn usage(&self, organization: &OrganizationId, now: Timestamp) -> Result<Option<Usage>, StoreDown>;

    /// Can it be written? Tries it when the last transaction failed.
    fn ping(&self) -> Result<(), StoreDown>;

    /// Where several nodes share the store.
    fn cluster(&self) -> Option<&dyn Cluster> {
        None
    }
}

/// One step of one call, durable as a whole or not at all.
#[derive(Debug, Clone)]
pub struct Commit {
    pub call: CallId,
    pub organization: OrganizationId,
    /// When the switch decided on the step; the guardrails' time.
    pub at: Timestamp,
    pub step: Step,
    /// The whole record as of this step. Money and times that the step itself decides (`day`, `cost`)
    /// are filled in by the engine for `Admit` and `Settle`.
    pub record: CallRecord,
    /// How to take the call up again; `None` leaves the last snapshot as it is.
    pub snapshot: Option<Bytes>,
    /// Written to the outbox in order.
    pub facts: Vec<Fact>,
    /// With `Admit`: makes the request that asked for it happen once.
    pub idempotency: Option<Idempotency>,
    /// With `Admit`: what lets a browser into the call.
    pub token: Option<IssuedToken>,
}

/// A browser's token as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IssuedToken {
    pub digest: TokenDigest,
    /// [`Path::Browser`] or [`Path::Join`].
    pub path: Path,
    pub expires_at: Timestamp,
}

/// What became of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenState {
    pub call: CallId,
    pub organization: OrganizationId,
    pub path: Path,
    pub expires_at: Timestamp,
    pub is_used: bool,
}

/// What a commit asks the guardrails and the ledger for.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// A new call: all five guardrails; takes a place in the rolling minute, two legs, and the first
    /// periods of its phones. Grants the permit of leg A, unless that is a browser.
    Admit(Attempt),
    /// The INVITE of a leg of an admitted call: everything but the rate, again.
    PermitLeg(LegAttempt),
    /// A browser takes the place of leg A: uses its token up, if nobody has before and its time is not over.
    /// `returning` is the digest of the secret with which it may come back.
    Connect { token: TokenDigest, returning: TokenDigest },
    /// Reserve `amount` more.
    Extend { amount: Money },
    /// The call is over: charge `cost`, release the rest and the legs. Once per call; a second one
    /// changes nothing.
    Settle { cost: Money },
    /// Only record, snapshot and facts.
    Keep,
}

/// The idempotency key of a request, with the answer that its repetition gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// SHA-256 over API key, method, path and `Idempotency-Key`.
    pub key: [u8; 32],
    /// SHA-256 over the parsed body in canonical form.
    pub body: [u8; 32],
    pub request_id: Arc<str>,
    /// The success answer: status and JSON body.
    pub answer: Answer,
}

/// A stored HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub status: u16,
    pub location: Option<String>,
    pub body: String,
}

/// How a commit went.
#[derive(Debug, PartialEq)]
pub enum Committed {
    /// Durable.
    Done,
    /// Durable, a `Settle`, with which a breaker paused the prefix of the call's destination.
    Tripped(TripReason),
    /// Durable; leg A may ring, or its browser may come: then there is no permit.
    Admitted { permit: Option<Permit>, grant: Grant },
    /// Durable; this leg may ring.
    Permitted(Permit),
    /// Durable; `amount` more is reserved.
    Extended,
    /// A guardrail said no to `Admit`, `PermitLeg` or `Extend`. For `Admit` nothing was written; for the
    /// others record, snapshot and facts were **not** written either.
    Refused(Refusal),
    /// The idempotency key was used before with the same body: nothing was written.
    Replayed(Answer),
    /// The idempotency key was used before with another body, by this request.
    Conflict { request_id: Arc<str> },
    /// The token of `Connect` was used before, or its time or its call is over: nothing was written.
    Spent,
    /// Nothing was written and nobody knows when it can be again.
    Unavailable,
}

impl Committed {
    /// Whether it is written now.
    pub fn is_durable(&self) -> bool {
        match self {
            Committed::Done
            | Committed::Tripped(_)
            | Committed::Admitted { .. }
            | Committed::Permitted(_)
            | Committed::Extended => true,
            Committed::Refused(_)
            | Committed::Replayed(_)
            | Committed::Conflict { .. }
            | Committed::Spent
            | Committed::Unavailable => false,
        }
    }
}

/// A call that was not forgotten when the process ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Unfinished {
    pub call: CallId,
    pub organization: OrganizationId,
    pub record: CallRecord,
    pub snapshot: Bytes,
    /// The last moment at which the process is known to have lived that had it: not one that took it up and died before
    /// it had settled it.
    pub last_alive: Option<Timestamp>,
}

/// All that a start finds: the calls to take up, and the last moment at which the store knows that
/// the previous process lived.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recovered {
    pub calls: Vec<Unfinished>,
    pub last_alive: Option<Timestamp>,
}
