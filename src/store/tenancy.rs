//! Changing who may call, and reading who did: the part of a store that keeps [`Tenants`].

use std::sync::Arc;

use super::tenants::{Actor, Change, ChangeRefused, Declaration, Entry, Skipped, Tenants};
use super::{Answer, StoreDown};
use crate::model::{OrganizationId, Timestamp};

/// A change as it is handed to the store.
pub struct ChangeOrder {
    pub change: Change,
    pub by: Actor,
    pub at: Timestamp,
    /// Makes the request that asked for it happen once: written in the transaction of the change.
    pub idempotency: Option<ChangeKey>,
}

/// The idempotency key of a request for a change.
pub struct ChangeKey {
    /// SHA-256 over admin key, method, path and `Idempotency-Key`.
    pub key: [u8; 32],
    /// SHA-256 over the parsed body in canonical form.
    pub body: [u8; 32],
    pub request_id: Arc<str>,
    /// What a repetition is answered, of the tenants after the change. It may be asked more than once.
    pub answer: AnswerOf,
}

/// Makes an answer of the tenants after the change.
pub type AnswerOf = Box<dyn Fn(&Tenants) -> Answer + Send>;

/// What became of a change.
#[derive(Debug, Clone, PartialEq)]
pub enum Changed {
    /// Durable, and in force on this node: the next key that is judged and the next INVITE that is decided on are
    /// by the new rules.
    Done { tenants: Arc<Tenants>, skipped: Vec<Skipped> },
    /// Nothing was written.
    Refused(ChangeRefused),
    /// The idempotency key was used before with the same body: nothing was written.
    Replayed(Answer),
    /// The idempotency key was used before with another body, by this request.
    Conflict { request_id: Arc<str> },
}

/// Which entries of the audit log to list, newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChangeFilter {
    /// Entries at most.
    pub limit: usize,
    /// [`ChangePage::next`] of the page before.
    pub cursor: Option<i64>,
    pub organization: Option<OrganizationId>,
}

/// Part of the audit log: each entry with its place in the log, which grows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChangePage {
    pub entries: Vec<(i64, Entry)>,
    /// Where the next page begins; `None` after the last one.
    pub next: Option<i64>,
}

/// Tenants and their changes. All but the first function block.
pub trait Tenancy {
    /// As of the last change that this node knows of; from memory.
    fn tenants(&self) -> Arc<Tenants>;

    /// Decides, and makes durable what follows, in one transaction that no other change runs beside, on any node.
    fn change(&self, order: ChangeOrder) -> Result<Changed, StoreDown>;

    /// The audit log.
    fn changes(&self, filter: &ChangeFilter) -> Result<ChangePage, StoreDown>;

    /// Applies what the configuration file declares. What of it could not be.
    fn declare(&self, declaration: Declaration, at: Timestamp) -> Result<Vec<Skipped>, StoreDown> {
        let change = Change::Declare(Arc::new(declaration));
        match self.change(ChangeOrder { change, by: Actor::file(), at, idempotency: None })? {
            Changed::Done { skipped, .. } => Ok(skipped),
            // A declaration is never refused as a whole, and has no key to be a repetition by.
            Changed::Refused(_) | Changed::Replayed(_) | Changed::Conflict { .. } => Ok(Vec::new()),
        }
    }
}
