//! What the edge needs of the others: one way to the switch, and the reads of the store.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::guardrails::{Attempt, Limits, Preview};
use crate::model::{CallId, CallRecord, Confirm, E164, Money, OrganizationId, Status, Timestamp, UserId};
use crate::store::{Answer, Idempotency};
use crate::switch::{Command, IdempotencyKey, Reply};

/// The way to the switch: a bounded queue.
pub trait Ask: Send + Sync + 'static {
    /// Hands a command over; the reply comes by `reply`, exactly once, unless the process ends first.
    fn ask(&self, command: Command, reply: oneshot::Sender<Reply>) -> Result<(), Busy>;
}

/// The queue is full: nothing was handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

/// The store cannot be read now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreDown;

/// Whose key a request carries.
#[derive(Debug, Clone)]
pub struct Caller {
    /// SHA-256 of the key.
    pub key: [u8; 32],
    pub organization: OrganizationId,
    pub user: UserId,
    /// The user's own phone.
    pub phone: Option<E164>,
    pub scopes: Arc<[String]>,
    /// The organization's own.
    pub confirm: Confirm,
    pub max_duration: Duration,
}

/// Which calls a list shows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ListFilter {
    /// 1–100.
    pub limit: usize,
    /// Where the last page ended.
    pub cursor: Option<CallId>,
    pub status: Option<Status>,
    pub from: Option<E164>,
    pub to: Option<E164>,
    pub user: Option<UserId>,
    /// By the time at which the first INVITE left; the first inclusive, the second exclusive.
    pub after: Option<Timestamp>,
    pub before: Option<Timestamp>,
}

/// One page, newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    pub calls: Vec<CallRecord>,
    /// `None` on the last page.
    pub next: Option<CallId>,
}

/// What an organization may use and what it uses now.
#[derive(Debug, Clone, PartialEq)]
pub struct Usage {
    pub limits: Limits,
    pub legs: u32,
    /// In the last 60 s.
    pub calls: u32,
    pub spent_today: Money,
    /// Held by calls that live.
    pub reserved: Money,
    /// `+1`, `!+1900`.
    pub allowed_destinations: Vec<String>,
    pub numbers: Vec<E164>,
}

/// An earlier request with the same `Idempotency-Key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Earlier {
    /// With the same body.
    Answered(Answer),
    /// With another body, by this request.
    Differs { request_id: Arc<str> },
}

/// What the edge reads and, for answers outside a call's transaction, writes. All but
/// [`Reads::authenticate`] may block on the disk.
pub trait Reads: Send + Sync + 'static {
    /// From memory, at once. `None` for a key that is unknown, revoked or of nobody.
    fn authenticate(&self, sha256: &[u8; 32]) -> Option<Caller>;
    /// `None` also for a call of another organization.
    fn get(&self, organization: &OrganizationId, call: CallId) -> Result<Option<CallRecord>, StoreDown>;
    fn list(&self, organization: &OrganizationId, filter: &ListFilter) -> Result<Page, StoreDown>;
    fn preview(&self, attempt: &Attempt, now: Timestamp) -> Result<Preview, StoreDown>;
    fn usage(&self, organization: &OrganizationId, now: Timestamp) -> Result<Usage, StoreDown>;
    /// What became of an earlier request with this key, if its answer is still kept.
    fn find_answer(&self, key: &IdempotencyKey, now: Timestamp) -> Result<Option<Earlier>, StoreDown>;
    /// Keeps a success for repetitions; one that is kept already stays.
    fn store_answer(&self, answer: Idempotency, now: Timestamp) -> Result<(), StoreDown>;
    /// Whether the store can be reached.
    fn ping(&self) -> Result<(), StoreDown>;
}
