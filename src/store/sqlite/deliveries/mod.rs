//! Subscriptions and deliveries: what the writer carries out in its transactions, and what readers see.
//!
//! ```text
//!  books: a fact ── insert ──▶ rows ◀── candidates ── reader ── ids ──▶ writer: lease ──▶ sender
//!                               ▲                                                         │
//!                               └──────────────────── writer: settle ◀────────────────────┘
//! ```
//!
//! One process holds the file, so what is claimed at its start was claimed by one that is gone, and is free.

mod queue;
mod subscriptions;

use rusqlite::Connection;

use super::SqliteStore;
use super::answers;
use crate::events::KeyPrint;
use crate::model::{OrganizationId, SubscriptionId, Timestamp};
use crate::store::{
    Backlog, Claim, ClaimantId, Deliveries, DeliveryFilter, DeliveryPage, Due, Idempotency, Once, Replay, StoreDown,
    Subscribed, Subscription, SubscriptionState, Tried,
};

pub(super) use queue::{bury, insert, purge, release};
pub(super) use subscriptions::subscribed;

/// Rows changed at a time, so that what is asked at one stroke delays no call.
const BITE: i64 = 1_000;

impl Deliveries for SqliteStore {
    fn subscribe(
        &self,
        organization: &OrganizationId,
        subscription: Subscription,
        most: usize,
        once: Option<Idempotency>,
    ) -> Result<Once<Subscribed>, StoreDown> {
        let organization = organization.clone();
        let now = subscription.created_at;
        let written = self.write(move |tx, books| {
            // An organization that is not here has no key, so nobody asks for it.
            let Some(number) = books.number(&organization) else { return Ok(None) };
            let done = once_only(tx, once, now, |tx| {
                let subscribed = subscriptions::subscribe(tx, number, &subscription, most)?;
                Ok((subscribed, subscribed == Subscribed::Taken))
            })?;
            books.subscribed = subscribed(tx)?;
            Ok(Some(done))
        });
        written?.ok_or(StoreDown)
    }

    fn subscriptions(&self, organization: &OrganizationId) -> Result<Vec<SubscriptionState>, StoreDown> {
        Ok(self.reader.read(|db| subscriptions::states(db, organization.as_str(), None))?)
    }

    fn subscription(
        &self,
        organization: &OrganizationId,
        id: SubscriptionId,
    ) -> Result<Option<SubscriptionState>, StoreDown> {
        Ok(self.reader.read(|db| subscriptions::states(db, organization.as_str(), Some(id)))?.pop())
    }

    fn unsubscribe(
        &self,
        organization: &OrganizationId,
        id: SubscriptionId,
        now: Timestamp,
        once: Option<Idempotency>,
    ) -> Result<Once<bool>, StoreDown> {
        let organization = organization.clone();
        self.write(move |tx, books| {
            let Some(number) = books.number(&organization) else { return Ok(Once::Done(false)) };
            let done = once_only(tx, once, now, |tx| {
                let was = subscriptions::unsubscribe(tx, number, id, now)?;
                Ok((was, was))
            })?;
            books.subscribed = subscribed(tx)?;
            // What waited behind its deliveries does no more.
            books.deliveries_due = true;
            Ok(done)
        })
    }

    fn deliveries(
        &self,
        organization: &OrganizationId,
        id: SubscriptionId,
        filter: &DeliveryFilter,
    ) -> Result<Option<DeliveryPage>, StoreDown> {
        Ok(self.reader.read(|db| subscriptions::page(db, organization.as_str(), id, filter))?)
    }

    fn replay(
        &self,
        organization: &OrganizationId,
        id: SubscriptionId,
        which: &Replay,
        now: Timestamp,
    ) -> Result<Option<u64>, StoreDown> {
        // What dies meanwhile is not replayed over and over.
        let dead = self.subscription(organization, id)?.map_or(0, |state| state.dead);
        let mut total = 0;
        loop {
            let (organization, which) = (organization.clone(), which.clone());
            let bite = self.write(move |tx, books| {
                books.deliveries_due = true;
                subscriptions::replay(tx, organization.as_str(), id, &which, now)
            })?;
            let Some(bite) = bite else { return Ok(None) };
            total += bite as u64;
            if (bite as i64) < BITE || total >= dead {
                return Ok(Some(total));
            }
        }
    }

    fn claim(&self, claim: &Claim) -> Result<Vec<Due>, StoreDown> {
        let ids = self.reader.read(|db| queue::candidates(db, claim))?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let claim = claim.clone();
        self.write(move |tx, _| queue::lease(tx, &claim, &ids))
    }

    fn settle(&self, by: ClaimantId, tried: Vec<Tried>) -> Result<(), StoreDown> {
        self.write(move |tx, books| {
            for one in &tried {
                books.deliveries_due |= queue::settle(tx, by, one)?;
            }
            Ok(())
        })
    }

    fn backlog(&self, key: KeyPrint) -> Result<Backlog, StoreDown> {
        Ok(self.reader.read(|db| queue::backlog(db, key))?)
    }

    fn on_deliveries(&self, wake: Box<dyn Fn() + Send + Sync>) {
        // Once, at the start: a second one is nobody's.
        let _ = self.wake.set(wake);
    }
}

/// Does it, unless the request was made before; its answer is kept when it did anything.
fn once_only<T>(
    tx: &Connection,
    once: Option<Idempotency>,
    now: Timestamp,
    work: impl FnOnce(&Connection) -> rusqlite::Result<(T, bool)>,
) -> rusqlite::Result<Once<T>> {
    if let Some(wanted) = &once
        && let Some(first) = answers::find(tx, &wanted.key, now)?
    {
        return Ok(match first.body == wanted.body {
            true => Once::Replayed(first.answer),
            false => Once::Conflict { request_id: first.request_id },
        });
    }
    let (done, keep) = work(tx)?;
    if let Some(wanted) = once.filter(|_| keep) {
        answers::insert(tx, &wanted, now)?;
    }
    Ok(Once::Done(done))
}

fn timestamp(micros: i64) -> Timestamp {
    Timestamp::from_micros(u64::try_from(micros).unwrap_or(0))
}
