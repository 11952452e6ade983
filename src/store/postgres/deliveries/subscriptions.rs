//! Rows of subscriptions, lists of their deliveries, and replays.

use std::time::Duration;

use tokio_postgres::Row;

use super::super::link::{Link, LinkError, bytes};
use super::super::{micros, timestamp};
use super::BITE;
use crate::events::{FactKind, TryError};
use crate::model::{CallId, EventId, SubscriptionId, Timestamp};
use crate::store::{
    Delivery, DeliveryCursor, DeliveryFilter, DeliveryId, DeliveryPage, DeliveryState, Replay, Subscribed,
    Subscription, SubscriptionState,
};

pub fn subscribe(
    link: &mut Link,
    organization: i64,
    subscription: &Subscription,
    most: usize,
) -> Result<Subscribed, LinkError> {
    let sql = "SELECT count(*) FROM subscription WHERE organization = $1 AND cancelled_at IS NULL";
    let there = link.query_opt(sql, &[&organization])?.map_or(Ok(0), |row| row.try_get::<_, i64>(0))?;
    if usize::try_from(there).unwrap_or(usize::MAX) >= most {
        return Ok(Subscribed::TooMany);
    }
    link.execute(
        "INSERT INTO subscription (name, organization, kind, url, created_at, seed, key_print, receiver, lane)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        &[
            &subscription.id.to_bytes().as_slice(),
            &organization,
            &subscription.kind.as_str(),
            &subscription.url,
            &micros(subscription.created_at),
            &subscription.seed.0.as_slice(),
            &subscription.key.0.as_slice(),
            &subscription.receiver.0,
            &subscription.lane,
        ],
    )?;
    Ok(Subscribed::Taken)
}

/// Whether there was one. What it would have been told is dropped a bite at a time.
pub fn unsubscribe(link: &mut Link, organization: i64, id: SubscriptionId, now: Timestamp) -> Result<bool, LinkError> {
    let sql =
        "UPDATE subscription SET cancelled_at = $1 WHERE name = $2 AND organization = $3 AND cancelled_at IS NULL";
    Ok(link.execute(sql, &[&micros(now), &id.to_bytes().as_slice(), &organization])? == 1)
}

/// One of an organization, or all of them.
pub fn states(
    link: &mut Link,
    organization: &str,
    id: Option<SubscriptionId>,
) -> Result<Vec<SubscriptionState>, LinkError> {
    let rows = link.query(
        "SELECT name, kind, url, created_at, disabled,
                (SELECT count(*) FROM delivery d WHERE d.subscription = s.id AND d.state = 'pending'),
                (SELECT count(*) FROM delivery d WHERE d.subscription = s.id AND d.state = 'dead')
         FROM subscription s
         WHERE organization = (SELECT id FROM organization o WHERE o.name = $1) AND cancelled_at IS NULL
           AND ($2::bytea IS NULL OR name = $2)
         ORDER BY name",
        &[&organization, &id.map(|id| id.to_bytes().to_vec())],
    )?;
    // A kind of fact that only a newer release knows is nobody's here.
    rows.iter().filter_map(|row| state(row).transpose()).collect()
}

fn state(row: &Row) -> Result<Option<SubscriptionState>, LinkError> {
    let Some(kind) = FactKind::parse(row.try_get(1)?) else { return Ok(None) };
    Ok(Some(SubscriptionState {
        id: SubscriptionId::from_bytes(bytes(row, 0)?),
        kind,
        url: row.try_get(2)?,
        created_at: timestamp(row.try_get(3)?),
        disabled: row.try_get(4)?,
        pending: row.try_get::<_, i64>(5)?.unsigned_abs(),
        dead: row.try_get::<_, i64>(6)?.unsigned_abs(),
    }))
}

/// The number of a subscription, by which its deliveries are found, and what it is told of.
fn number(
    link: &mut Link,
    organization: &str,
    id: SubscriptionId,
) -> Result<Option<(i64, Option<FactKind>)>, LinkError> {
    let row = link.query_opt(
        "SELECT id, kind FROM subscription
         WHERE name = $1 AND organization = (SELECT id FROM organization o WHERE o.name = $2) AND cancelled_at IS NULL",
        &[&id.to_bytes().as_slice(), &organization],
    )?;
    row.map(|row| Ok((row.try_get(0)?, FactKind::parse(row.try_get(1)?)))).transpose()
}

pub fn page(
    link: &mut Link,
    organization: &str,
    id: SubscriptionId,
    filter: &DeliveryFilter,
) -> Result<Option<DeliveryPage>, LinkError> {
    let Some((subscription, Some(kind))) = number(link, organization, id)? else { return Ok(None) };
    let cursor = filter.cursor.map_or((i64::MAX, i64::MAX), |cursor| (micros(cursor.at), cursor.id.0));
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX).saturating_add(1);
    let rows = link.query(
        "SELECT id, event, call, at, attempts, last_tried_at, last_status, last_error, due, claimed_by IS NOT NULL
         FROM delivery WHERE subscription = $1 AND state = $2 AND (at, id) < ($3, $4)
         ORDER BY at DESC, id DESC LIMIT $5",
        &[&subscription, &filter.state.as_str(), &cursor.0, &cursor.1, &limit],
    )?;
    let mut deliveries = rows.iter().map(|row| delivery(row, kind, filter.state)).collect::<Result<Vec<_>, _>>()?;
    let more = deliveries.len() > filter.limit;
    deliveries.truncate(filter.limit);
    let next = deliveries.last().filter(|_| more).map(|last| DeliveryCursor { at: last.at, id: last.id });
    Ok(Some(DeliveryPage { deliveries, next }))
}

fn delivery(row: &Row, kind: FactKind, state: DeliveryState) -> Result<Delivery, LinkError> {
    let (call, at) = (CallId::from_bytes(bytes(row, 2)?), timestamp(row.try_get(3)?));
    let (due, claimed): (i64, bool) = (row.try_get(8)?, row.try_get(9)?);
    Ok(Delivery {
        id: DeliveryId(row.try_get(0)?),
        event: EventId::of(call, row.try_get::<_, i64>(1)?.unsigned_abs(), at),
        kind,
        call,
        at,
        state,
        attempts: u32::try_from(row.try_get::<_, i64>(4)?).unwrap_or(u32::MAX),
        last_tried_at: row.try_get::<_, Option<i64>>(5)?.map(timestamp),
        last_status: row.try_get::<_, Option<i32>>(6)?.and_then(|status| u16::try_from(status).ok()),
        last_error: row.try_get::<_, Option<&str>>(7)?.and_then(TryError::parse),
        next_try_at: (state == DeliveryState::Pending && !claimed).then(|| timestamp(due)),
    })
}

/// Makes up to a bite of dead deliveries pending; `None` when there is no such subscription.
pub fn replay(
    link: &mut Link,
    organization: &str,
    id: SubscriptionId,
    which: &Replay,
    now: Timestamp,
) -> Result<Option<u64>, LinkError> {
    let Some((subscription, _)) = number(link, organization, id)? else { return Ok(None) };
    link.execute("UPDATE subscription SET disabled = false WHERE id = $1 AND disabled", &[&subscription])?;
    let mut ids = Vec::new();
    match which {
        Replay::All => ids.extend(dead(link, subscription, Timestamp::default(), None)?),
        Replay::Since(at) => ids.extend(dead(link, subscription, *at, None)?),
        Replay::Events(events) => {
            for event in events {
                // An event's name has its millisecond.
                let from = Timestamp::from_millis(event.millis());
                let there = dead(link, subscription, from, Some(from + Duration::from_millis(1)))?;
                ids.extend(there.into_iter().filter(|(_, found)| found == event));
            }
        }
    }
    let ids: Vec<i64> = ids.into_iter().map(|(id, _)| id).collect();
    let revived = link.execute(
        "UPDATE delivery SET state = 'pending', due = $1, claimed_by = NULL, attempts = 0, first_tried_at = NULL,
                             settled_at = NULL
         WHERE id = ANY ($2) AND state = 'dead'",
        &[&micros(now), &ids],
    )?;
    Ok(Some(revived))
}

/// Dead deliveries of events from `from` to before `to`, oldest first.
fn dead(
    link: &mut Link,
    subscription: i64,
    from: Timestamp,
    to: Option<Timestamp>,
) -> Result<Vec<(i64, EventId)>, LinkError> {
    let to = to.map_or(i64::MAX, micros);
    let rows = link.query(
        "SELECT id, event, call, at FROM delivery
         WHERE subscription = $1 AND state = 'dead' AND at >= $2 AND at < $3 ORDER BY at, id LIMIT $4",
        &[&subscription, &micros(from), &to, &BITE],
    )?;
    let read = |row: &Row| {
        let call = CallId::from_bytes(bytes(row, 2)?);
        let event = row.try_get::<_, i64>(1)?.unsigned_abs();
        Ok((row.try_get(0)?, EventId::of(call, event, timestamp(row.try_get(3)?))))
    };
    rows.iter().map(read).collect()
}
