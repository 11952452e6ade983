//! The SQLite engine as the edge sees it.

use super::{Caller, ListFilter, Page, Reads, StoreDown, Usage};
use crate::guardrails::{Attempt, Preview};
use crate::model::{CallId, CallRecord, OrganizationId, Timestamp, TokenDigest};
use crate::store::sqlite::{KeyInfo, ListQuery, SqliteStore, StoreError};
use crate::store::{Idempotency, TokenState};

impl From<StoreError> for StoreDown {
    /// Clients are told that it is down; operators why.
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the store cannot be read");
        StoreDown
    }
}

impl Reads for SqliteStore {
    fn authenticate(&self, sha256: &[u8; 32]) -> Option<Caller> {
        let info = SqliteStore::authenticate(self, sha256)?;
        let KeyInfo { sha256: key, user, scopes, phone, organization } = (*info).clone();
        Some(Caller { key, organization, user, phone, scopes })
    }

    fn get(&self, organization: &OrganizationId, call: CallId) -> Result<Option<CallRecord>, StoreDown> {
        Ok(SqliteStore::get(self, organization, call)?)
    }

    fn list(&self, organization: &OrganizationId, filter: &ListFilter) -> Result<Page, StoreDown> {
        let filter = filter.clone();
        let query = ListQuery {
            limit: filter.limit,
            cursor: filter.cursor,
            status: filter.status,
            from: filter.from,
            to: filter.to,
            user: filter.user,
            after: filter.after,
            before: filter.before,
        };
        let page = SqliteStore::list(self, organization, &query)?;
        Ok(Page { calls: page.records, next: page.next })
    }

    fn preview(&self, attempt: Attempt, now: Timestamp) -> Result<Option<Preview>, StoreDown> {
        Ok(SqliteStore::preview(self, attempt, now)?)
    }

    fn usage(&self, organization: &OrganizationId, now: Timestamp) -> Result<Option<Usage>, StoreDown> {
        let usage = SqliteStore::usage(self, organization, now)?;
        Ok(usage.map(|usage| Usage {
            organization: usage.organization,
            legs: usage.legs,
            calls: usage.calls,
            spent_today: usage.spent,
            reserved: usage.reserved,
        }))
    }

    fn find_token(&self, digest: TokenDigest) -> Result<Option<TokenState>, StoreDown> {
        Ok(SqliteStore::find_token(self, digest)?)
    }

    fn find_answer(&self, key: &[u8; 32]) -> Result<Option<Idempotency>, StoreDown> {
        Ok(SqliteStore::find_answer(self, key)?)
    }

    fn store_answer(&self, answer: Idempotency, now: Timestamp) -> Result<Idempotency, StoreDown> {
        Ok(SqliteStore::store_answer(self, answer, now)?)
    }

    fn ping(&self) -> Result<(), StoreDown> {
        Ok(SqliteStore::ping(self)?)
    }
}
