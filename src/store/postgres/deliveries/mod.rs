//! Subscriptions and deliveries: written with their facts by the writer's own statement, claimed and settled in
//! transactions beside it.
//!
//! ```text
//!  batch: facts ─▶ journal ─▶ delivery ◀── claim (FOR UPDATE SKIP LOCKED) ── sender of any node
//!                                      ◀── settle ───────────────────────────┘
//! ```
//!
//! A lease that a node took ends with its time, whatever became of the node.

mod queue;
mod subscriptions;

use super::link::{Link, LinkError};
use super::{PostgresStore, answers};
use crate::events::KeyPrint;
use crate::model::{OrganizationId, SubscriptionId, Timestamp};
use crate::store::{
    Backlog, Claim, ClaimantId, Deliveries, DeliveryFilter, DeliveryPage, Due, Idempotency, Once, Replay, StoreDown,
    Subscribed, Subscription, SubscriptionState, Tried,
};

pub(super) use queue::{TELL, purge};

/// Rows changed at a time, so that what is asked at one stroke delays nobody.
const BITE: i64 = 1_000;

impl Deliveries for PostgresStore {
    fn subscribe(
        &self,
        organization: &OrganizationId,
        subscription: Subscription,
        most: usize,
        once: Option<Idempotency>,
    ) -> Result<Once<Subscribed>, StoreDown> {
        let done = self.pool.write(|link| {
            // An organization that is not here has no key, so nobody asks for it.
            let Some(number) = hold(link, organization)? else { return Ok(None) };
            let done = once_only(link, once.as_ref(), subscription.created_at, |link| {
                let subscribed = subscriptions::subscribe(link, number, &subscription, most)?;
                Ok((subscribed, subscribed == Subscribed::Taken))
            });
            done.map(Some)
        })?;
        done.ok_or(StoreDown)
    }

    fn subscriptions(&self, organization: &OrganizationId) -> Result<Vec<SubscriptionState>, StoreDown> {
        Ok(self.reader.read(|link| subscriptions::states(link, organization.as_str(), None))?)
    }

    fn subscription(
        &self,
        organization: &OrganizationId,
        id: SubscriptionId,
    ) -> Result<Option<SubscriptionState>, StoreDown> {
        Ok(self.reader.read(|link| subscriptions::states(link, organization.as_str(), Some(id)))?.pop())
    }

    fn unsubscribe(
        &self,
        organization: &OrganizationId,
        id: SubscriptionId,
        now: Timestamp,
        once: Option<Idempotency>,
    ) -> Result<Once<bool>, StoreDown> {
        let done = self.pool.write(|link| {
            let Some(number) = hold(link, organization)? else { return Ok(Once::Done(false)) };
            once_only(link, once.as_ref(), now, |link| {
                let was = subscriptions::unsubscribe(link, number, id, now)?;
                Ok((was, was))
            })
        })?;
        // What waited behind its deliveries does no more.
        self.wake_sender();
        Ok(done)
    }

    fn deliveries(
        &self,
        organization: &OrganizationId,
        id: SubscriptionId,
        filter: &DeliveryFilter,
    ) -> Result<Option<DeliveryPage>, StoreDown> {
        Ok(self.reader.read(|link| subscriptions::page(link, organization.as_str(), id, filter))?)
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
            let bite = self.pool.write(|link| subscriptions::replay(link, organization.as_str(), id, which, now))?;
            let Some(bite) = bite else { return Ok(None) };
            self.wake_sender();
            total += bite;
            if bite.cast_signed() < BITE || total >= dead {
                return Ok(Some(total));
            }
        }
    }

    fn claim(&self, claim: &Claim) -> Result<Vec<Due>, StoreDown> {
        let ids = self.reader.read(|link| queue::candidates(link, claim))?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.pool.write(|link| queue::lease(link, claim, &ids))?)
    }

    fn settle(&self, by: ClaimantId, tried: Vec<Tried>) -> Result<(), StoreDown> {
        let due = self.pool.write(|link| {
            let mut due = false;
            for one in &tried {
                due |= queue::settle(link, by, one)?;
            }
            Ok(due)
        })?;
        if due {
            self.wake_sender();
        }
        Ok(())
    }

    fn backlog(&self, key: KeyPrint) -> Result<Backlog, StoreDown> {
        Ok(self.reader.read(|link| queue::backlog(link, key))?)
    }

    fn on_deliveries(&self, wake: Box<dyn Fn() + Send + Sync>) {
        // Once, at the start: a second one is nobody's.
        let _ = self.wake.set(wake);
    }
}

impl PostgresStore {
    fn wake_sender(&self) {
        if let Some(wake) = self.wake.get() {
            wake();
        }
    }
}

/// The organization's number. Until the transaction ends nobody else decides for it.
fn hold(link: &mut Link, organization: &OrganizationId) -> Result<Option<i64>, LinkError> {
    let sql = "SELECT id FROM organization WHERE name = $1 FOR NO KEY UPDATE";
    Ok(link.query_opt(sql, &[&organization.as_str()])?.map(|row| row.try_get(0)).transpose()?)
}

/// Does it, unless the request was made before; its answer is kept when it did anything.
fn once_only<T>(
    link: &mut Link,
    once: Option<&Idempotency>,
    now: Timestamp,
    work: impl FnOnce(&mut Link) -> Result<(T, bool), LinkError>,
) -> Result<Once<T>, LinkError> {
    if let Some(wanted) = once
        && let Some(first) = answers::find(link, &wanted.key, now)?
    {
        return Ok(match first.body == wanted.body {
            true => Once::Replayed(first.answer),
            false => Once::Conflict { request_id: first.request_id },
        });
    }
    let (done, keep) = work(link)?;
    if let Some(wanted) = once.filter(|_| keep) {
        answers::insert(link, wanted, now)?;
    }
    Ok(Once::Done(done))
}
