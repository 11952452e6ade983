//! What the edge needs of the others: one way to the switch, and the reads of the store.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::config::OrganizationConfig;
use crate::guardrails::{Attempt, Preview};
use crate::model::{CallId, CallRecord, E164, Money, OrganizationId, Status, Timestamp, TokenDigest, UserId};
use crate::store::{Idempotency, TokenState};
use crate::switch::{Command, Reply};

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
    /// With its limits and its defaults for calls.
    pub organization: Arc<OrganizationConfig>,
    pub user: UserId,
    /// The user's own phone.
    pub phone: Option<E164>,
    pub scopes: Arc<[String]>,
}

/// Which calls a list shows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ListFilter {
    /// 1–100.
    pub limit: usize,
    /// Where the last page ended.
    pub cursor: Option<i64>,
    pub status: Option<Status>,
    pub from: Option<E164>,
    pub to: Option<E164>,
    pub user: Option<UserId>,
    /// Of `created_at`; the first inclusive, the second exclusive.
    pub after: Option<Timestamp>,
    pub before: Option<Timestamp>,
}

/// One page, newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    pub calls: Vec<CallRecord>,
    /// `None` on the last page.
    pub next: Option<i64>,
}

/// What an organization may use and what it uses now.
#[derive(Debug, Clone)]
pub struct Usage {
    /// What is declared of it, limits and all.
    pub organization: Arc<OrganizationConfig>,
    pub legs: u64,
    /// In the last 60 s.
    pub calls: usize,
    pub spent_today: Money,
    /// Held by calls that live.
    pub reserved: Money,
}

/// What the edge reads and, for answers outside a call's transaction, writes. All but
/// [`Reads::authenticate`] may block on the disk.
pub trait Reads: Send + Sync + 'static {
    /// From memory, at once. `None` for a key that is unknown, revoked or of nobody.
    fn authenticate(&self, sha256: &[u8; 32]) -> Option<Caller>;
    /// `None` also for a call of another organization.
    fn get(&self, organization: &OrganizationId, call: CallId) -> Result<Option<CallRecord>, StoreDown>;
    fn list(&self, organization: &OrganizationId, filter: &ListFilter) -> Result<Page, StoreDown>;
    /// `None` for an unknown organization.
    fn preview(&self, attempt: Attempt, now: Timestamp) -> Result<Option<Preview>, StoreDown>;
    /// `None` for an unknown organization.
    fn usage(&self, organization: &OrganizationId, now: Timestamp) -> Result<Option<Usage>, StoreDown>;
    /// What became of a browser's token, or of the one whose browser comes back with this secret.
    fn find_token(&self, digest: TokenDigest) -> Result<Option<TokenState>, StoreDown>;
    fn find_answer(&self, key: &[u8; 32]) -> Result<Option<Idempotency>, StoreDown>;
    /// The answer that stands from now on: the given one, or the one that came first.
    fn store_answer(&self, answer: Idempotency, now: Timestamp) -> Result<Idempotency, StoreDown>;
    /// Whether the store can be reached.
    fn ping(&self) -> Result<(), StoreDown>;
}
