//! Rows of subscriptions, lists of their deliveries, and replays.

use std::collections::BTreeSet;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use super::super::books::micros;
use super::{BITE, timestamp};
use crate::events::{FactKind, TryError};
use crate::model::{CallId, EventId, SubscriptionId, Timestamp};
use crate::store::{
    Delivery, DeliveryCursor, DeliveryFilter, DeliveryId, DeliveryPage, DeliveryState, Replay, Subscribed,
    Subscription, SubscriptionState,
};

/// The organizations, by number, that have subscriptions.
pub fn subscribed(db: &Connection) -> rusqlite::Result<BTreeSet<i64>> {
    let mut select = db.prepare_cached("SELECT DISTINCT organization FROM subscription WHERE cancelled_at IS NULL")?;
    select.query_map([], |row| row.get(0))?.collect()
}

pub fn subscribe(
    tx: &Connection,
    organization: i64,
    subscription: &Subscription,
    most: usize,
) -> rusqlite::Result<Subscribed> {
    let mut count =
        tx.prepare_cached("SELECT count(*) FROM subscription WHERE organization = ? AND cancelled_at IS NULL")?;
    let there: i64 = count.query_row([organization], |row| row.get(0))?;
    if usize::try_from(there).unwrap_or(usize::MAX) >= most {
        return Ok(Subscribed::TooMany);
    }
    tx.prepare_cached(
        "INSERT INTO subscription (name, organization, kind, url, created_at, seed, key_print, receiver, lane)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        subscription.id.to_bytes(),
        organization,
        subscription.kind.as_str(),
        subscription.url,
        micros(subscription.created_at),
        subscription.seed.0,
        subscription.key.0,
        subscription.receiver.0,
        subscription.lane,
    ])?;
    Ok(Subscribed::Taken)
}

/// Whether there was one. What it would have been told is dropped a bite at a time.
pub fn unsubscribe(tx: &Connection, organization: i64, id: SubscriptionId, now: Timestamp) -> rusqlite::Result<bool> {
    let changed = tx
        .prepare_cached(
            "UPDATE subscription SET cancelled_at = ? WHERE name = ? AND organization = ? AND cancelled_at IS NULL",
        )?
        .execute(params![micros(now), id.to_bytes(), organization])?;
    Ok(changed == 1)
}

/// One of an organization, or all of them.
pub fn states(
    db: &Connection,
    organization: &str,
    id: Option<SubscriptionId>,
) -> rusqlite::Result<Vec<SubscriptionState>> {
    let mut select = db.prepare_cached(
        "SELECT name, kind, url, created_at, disabled,
                (SELECT count(*) FROM delivery d WHERE d.subscription = s.id AND d.state = 'pending'),
                (SELECT count(*) FROM delivery d WHERE d.subscription = s.id AND d.state = 'dead')
         FROM subscription s
         WHERE organization = (SELECT id FROM organization o WHERE o.name = :organization) AND cancelled_at IS NULL
           AND (:id IS NULL OR name = :id)
         ORDER BY name",
    )?;
    let named = named_params! { ":organization": organization, ":id": id.map(SubscriptionId::to_bytes) };
    let states = select.query_map(named, |row| {
        let kind: String = row.get(1)?;
        let Some(kind) = FactKind::parse(&kind) else { return Ok(None) };
        Ok(Some(SubscriptionState {
            id: SubscriptionId::from_bytes(row.get(0)?),
            kind,
            url: row.get(2)?,
            created_at: timestamp(row.get(3)?),
            disabled: row.get(4)?,
            pending: row.get::<_, i64>(5)?.unsigned_abs(),
            dead: row.get::<_, i64>(6)?.unsigned_abs(),
        }))
    })?;
    // A kind of fact that only a newer release knows is nobody's here.
    states.filter_map(Result::transpose).collect()
}

/// The number of a subscription, by which its deliveries are found, and what it is told of.
fn number(
    db: &Connection,
    organization: &str,
    id: SubscriptionId,
) -> rusqlite::Result<Option<(i64, Option<FactKind>)>> {
    let mut select = db.prepare_cached(
        "SELECT id, kind FROM subscription
         WHERE name = ? AND organization = (SELECT id FROM organization o WHERE o.name = ?) AND cancelled_at IS NULL",
    )?;
    let read = |row: &Row<'_>| Ok((row.get(0)?, FactKind::parse(&row.get::<_, String>(1)?)));
    select.query_row(params![id.to_bytes(), organization], read).optional()
}

pub fn page(
    db: &Connection,
    organization: &str,
    id: SubscriptionId,
    filter: &DeliveryFilter,
) -> rusqlite::Result<Option<DeliveryPage>> {
    let Some((subscription, Some(kind))) = number(db, organization, id)? else { return Ok(None) };
    let mut select = db.prepare_cached(
        "SELECT id, event, call, at, attempts, last_tried_at, last_status, last_error, due, claimed_by IS NOT NULL
         FROM delivery
         WHERE subscription = :subscription AND state = :state AND (at, id) < (:at, :id)
         ORDER BY at DESC, id DESC LIMIT :limit",
    )?;
    let cursor = filter.cursor.map_or((i64::MAX, i64::MAX), |cursor| (micros(cursor.at), cursor.id.0));
    let named = named_params! {
        ":subscription": subscription,
        ":state": filter.state.as_str(),
        ":at": cursor.0,
        ":id": cursor.1,
        ":limit": i64::try_from(filter.limit).unwrap_or(i64::MAX).saturating_add(1),
    };
    let rows = select.query_map(named, |row| delivery(row, kind, filter.state))?;
    let mut deliveries = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let more = deliveries.len() > filter.limit;
    deliveries.truncate(filter.limit);
    let next = deliveries.last().filter(|_| more).map(|last| DeliveryCursor { at: last.at, id: last.id });
    Ok(Some(DeliveryPage { deliveries, next }))
}

fn delivery(row: &Row<'_>, kind: FactKind, state: DeliveryState) -> rusqlite::Result<Delivery> {
    let (call, at) = (CallId::from_bytes(row.get(2)?), timestamp(row.get(3)?));
    let (due, claimed): (i64, bool) = (row.get(8)?, row.get(9)?);
    Ok(Delivery {
        id: DeliveryId(row.get(0)?),
        event: EventId::of(call, row.get::<_, i64>(1)?.unsigned_abs(), at),
        kind,
        call,
        at,
        state,
        attempts: row.get(4)?,
        last_tried_at: row.get::<_, Option<i64>>(5)?.map(timestamp),
        last_status: row.get(6)?,
        last_error: row.get::<_, Option<String>>(7)?.and_then(|word| TryError::parse(&word)),
        next_try_at: (state == DeliveryState::Pending && !claimed).then(|| timestamp(due)),
    })
}

/// Makes up to a bite of dead deliveries pending; `None` when there is no such subscription.
pub fn replay(
    tx: &Connection,
    organization: &str,
    id: SubscriptionId,
    which: &Replay,
    now: Timestamp,
) -> rusqlite::Result<Option<usize>> {
    let Some((subscription, _)) = number(tx, organization, id)? else { return Ok(None) };
    tx.prepare_cached("UPDATE subscription SET disabled = 0 WHERE id = ? AND disabled")?.execute([subscription])?;
    let (from, to) = match which {
        Replay::All => (Timestamp::default(), None),
        Replay::Since(at) => (*at, None),
        Replay::Events(events) => return replay_events(tx, subscription, events, now).map(Some),
    };
    let dead = dead(tx, subscription, from, to)?;
    let ids: Vec<i64> = dead.into_iter().map(|(id, _)| id).collect();
    revive(tx, &ids, now).map(Some)
}

fn replay_events(tx: &Connection, subscription: i64, events: &[EventId], now: Timestamp) -> rusqlite::Result<usize> {
    let mut ids = Vec::new();
    for event in events {
        // An event's name has its millisecond.
        let from = Timestamp::from_millis(event.millis());
        let there = dead(tx, subscription, from, Some(from + Duration::from_millis(1)))?;
        ids.extend(there.into_iter().filter(|(_, found)| found == event).map(|(id, _)| id));
    }
    ids.sort_unstable();
    ids.dedup();
    revive(tx, &ids, now)
}

/// Dead deliveries of events from `from` to before `to`, oldest first.
fn dead(
    tx: &Connection,
    subscription: i64,
    from: Timestamp,
    to: Option<Timestamp>,
) -> rusqlite::Result<Vec<(i64, EventId)>> {
    let mut select = tx.prepare_cached(
        "SELECT id, event, call, at FROM delivery
         WHERE subscription = ? AND state = 'dead' AND at >= ? AND at < ? ORDER BY at, id LIMIT ?",
    )?;
    let to = to.map_or(i64::MAX, micros);
    let rows = select.query_map(params![subscription, micros(from), to, BITE], |row| {
        let call = CallId::from_bytes(row.get(2)?);
        Ok((row.get(0)?, EventId::of(call, row.get::<_, i64>(1)?.unsigned_abs(), timestamp(row.get(3)?))))
    })?;
    rows.collect()
}

fn revive(tx: &Connection, ids: &[i64], now: Timestamp) -> rusqlite::Result<usize> {
    let mut update = tx.prepare_cached(
        "UPDATE delivery SET state = 'pending', due = ?, claimed_by = NULL, attempts = 0, first_tried_at = NULL,
                             settled_at = NULL
         WHERE id = ?",
    )?;
    ids.iter().try_fold(0, |done, id| Ok(done + update.execute(params![micros(now), id])?))
}
