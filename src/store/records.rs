//! What is read of the store: records, answers, tokens.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::tenants::Organization;
use super::{Idempotency, TokenState};
use crate::guardrails::{Account, Pause};
use crate::model::{CallId, CallRecord, E164, Money, OrganizationId, Status, Timestamp, TokenDigest, UserId};

/// The store cannot be used now; its engine has told the operators why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreDown;

/// Which calls to list, newest first. Every field that is `Some` narrows the list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CallFilter {
    /// Records at most.
    pub limit: usize,
    /// [`Page::next`] of the page before.
    pub cursor: Option<i64>,
    pub status: Option<Status>,
    pub from: Option<E164>,
    pub to: Option<E164>,
    pub user: Option<UserId>,
    /// Of `created_at`; inclusive.
    pub after: Option<Timestamp>,
    /// Of `created_at`; exclusive.
    pub before: Option<Timestamp>,
}

/// Part of a list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// Fewer than asked for, and none even, may come before the last page: one page looks at so many calls only.
    pub records: Vec<CallRecord>,
    /// Where the next page begins; `None` after the last one.
    pub next: Option<i64>,
}

/// Whose key it is and what it may do.
#[derive(Debug, Clone)]
pub struct KeyInfo {
    /// SHA-256 of the key.
    pub sha256: [u8; 32],
    pub user: UserId,
    pub scopes: Arc<[String]>,
    /// The user's own phone.
    pub phone: Option<E164>,
    /// With its limits and its defaults for calls.
    pub organization: Arc<Organization>,
}

/// What an organization uses now.
#[derive(Debug, Clone)]
pub struct Usage {
    /// With its limits.
    pub organization: Arc<Organization>,
    /// Active ones that it owns, sorted.
    pub numbers: Vec<E164>,
    pub legs: u64,
    /// Admitted in the last 60 s.
    pub calls: usize,
    /// Of today, in the organization's timezone.
    pub spent: Money,
    /// By live calls that today's limit has to carry.
    pub reserved: Money,
    /// For the caps of their own: of each user who calls, and to the number that is called most.
    pub legs_by_user: BTreeMap<UserId, u64>,
    pub most_legs_to_one: u64,
    /// What breakers have paused.
    pub pauses: Vec<Pause>,
}

impl Usage {
    pub fn of(organization: Arc<Organization>, account: &Account, now: Timestamp) -> Self {
        let today = account.day_use(now.day(&account.rules.zone));
        let (mut legs_by_user, mut legs_to) = (BTreeMap::new(), BTreeMap::new());
        for (user, destination) in account.parties() {
            legs_by_user.entry(user).or_insert_with(|| account.legs_of(user));
            legs_to.entry(destination).or_insert_with(|| account.legs_to(destination));
        }
        Self {
            organization,
            numbers: account.rules.numbers.clone(),
            legs: account.legs_in_use(),
            calls: account.admitted_in_minute(now),
            spent: today.spent,
            reserved: today.reserved,
            legs_by_user: legs_by_user.into_iter().map(|(user, legs)| (user.clone(), legs)).collect(),
            most_legs_to_one: legs_to.into_values().max().unwrap_or_default(),
            pauses: account.pauses(now),
        }
    }
}

/// Reads beside the commits, and answers that belong to none. All of it blocks on the disk or the network.
pub trait Records {
    /// One call's record; `None` also for a call of another organization.
    fn get(&self, organization: &OrganizationId, call: CallId) -> Result<Option<CallRecord>, StoreDown>;

    /// Calls, newest first: from page to page, each that existed when the first was read exactly once.
    fn list(&self, organization: &OrganizationId, filter: &CallFilter) -> Result<Page, StoreDown>;

    /// The first answer under this key in the last 24 hours.
    fn find_answer(&self, key: &[u8; 32]) -> Result<Option<Idempotency>, StoreDown>;

    /// Stores an answer that belongs to no commit, unless there is one under its key. Returns the one
    /// that stands.
    fn store_answer(&self, answer: Idempotency, now: Timestamp) -> Result<Idempotency, StoreDown>;

    /// What became of a browser's token, issued in the last 24 hours, or of the one whose browser comes back
    /// with a secret of this digest.
    fn find_token(&self, digest: TokenDigest) -> Result<Option<TokenState>, StoreDown>;
}
