//! Rows of deliveries on their way: written with a fact, leased, settled, dropped.
//!
//! `CROSS JOIN` is SQLite's way to say from which table a search begins: from the few subscriptions, never from all
//! that is pending.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use super::super::books::micros;
use super::super::parse;
use super::{BITE, timestamp};
use crate::events::{FactKind, KeyPrint, ReceiverId, SecretSeed, TryError};
use crate::model::{CallId, SubscriptionId, Timestamp};
use crate::store::{Backlog, Claim, ClaimantId, DeliveryId, DeliveryState, Due, Event, Next, Tried};

/// A delivered one is shown for so long.
const DELIVERED_KEPT: Duration = Duration::from_secs(24 * 3600);
/// One whose turn does not come for so long is given up: its receiver takes less than it asked for.
const TURN: Duration = Duration::from_secs(7 * 24 * 3600);
/// A dead one can be replayed for so long.
const DEAD_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// Writes one delivery for each subscription to the fact in row `event` of the journal; says how many.
pub fn insert(
    tx: &Connection,
    organization: i64,
    event: i64,
    call: CallId,
    kind: FactKind,
    at: Timestamp,
) -> rusqlite::Result<usize> {
    // What has to wait for one before it is looked at no sooner than that one.
    tx.prepare_cached(
        "INSERT INTO delivery (subscription, receiver, lane, call, event, at, state, due, last_error, settled_at)
         SELECT s.id, s.receiver, s.lane, :call, :event, :at, iif(s.disabled, 'dead', 'pending'),
                max(:at, coalesce((SELECT max(d.due) FROM delivery d
                                   WHERE d.call = :call AND d.lane = s.lane AND d.state = 'pending'), 0)),
                iif(s.disabled, 'gone', NULL), iif(s.disabled, :at, NULL)
         FROM subscription s
         WHERE s.organization = :organization AND s.kind = :kind AND s.cancelled_at IS NULL ORDER BY s.id",
    )?
    .execute(named_params! {
        ":organization": organization,
        ":kind": kind.as_str(),
        ":call": call.to_bytes(),
        ":event": event,
        ":at": micros(at),
    })
}

/// What a claim could take now, receiver after receiver, each with one step down an index: what waits for a
/// receiver that is down costs nothing while others are served. Only a reader is asked, so that looking writes
/// nothing and delays nobody; [`lease`] looks at each again.
pub fn candidates(db: &Connection, claim: &Claim) -> rusqlite::Result<Vec<i64>> {
    let mut ids = Vec::new();
    for (first, last) in [(claim.after.0.saturating_add(1), i64::MAX), (i64::MIN, claim.after.0)] {
        let mut at = Some(first);
        while let Some(receiver) = next_receiver(db, at)?.filter(|receiver| *receiver <= last) {
            let places = claim.places.get(&ReceiverId(receiver)).copied().unwrap_or(claim.per_receiver);
            ids.extend(heads(db, claim, receiver, places.min(claim.limit - ids.len()))?);
            at = receiver.checked_add(1).filter(|_| ids.len() < claim.limit);
        }
    }
    Ok(ids)
}

/// The first receiver from `at` on for which anything is pending.
fn next_receiver(db: &Connection, at: Option<i64>) -> rusqlite::Result<Option<i64>> {
    let Some(at) = at else { return Ok(None) };
    let mut select =
        db.prepare_cached("SELECT min(receiver) FROM delivery WHERE state = 'pending' AND receiver >= ?")?;
    select.query_row([at], |row| row.get(0))
}

/// A delivery that may be tried: due, wanted, signed with this key, and none before it in its call's order.
const HEAD: &str = "delivery d JOIN subscription s ON s.id = d.subscription
     WHERE d.state = 'pending' AND d.due <= :now
       AND s.cancelled_at IS NULL AND NOT s.disabled AND s.key_print = :key
       AND NOT EXISTS (SELECT 1 FROM delivery e JOIN subscription t ON t.id = e.subscription
                       WHERE e.call = d.call AND e.lane = d.lane AND e.id < d.id AND e.state = 'pending'
                         AND t.cancelled_at IS NULL AND NOT t.disabled)";

/// Deliveries that are due at a receiver and come first in their call's order.
fn heads(db: &Connection, claim: &Claim, receiver: i64, limit: usize) -> rusqlite::Result<Vec<i64>> {
    let mut select = db.prepare_cached(&format!(
        "SELECT d.id FROM {HEAD} AND d.receiver = :receiver ORDER BY d.due, d.id LIMIT :limit"
    ))?;
    let named = named_params! {
        ":receiver": receiver,
        ":now": micros(claim.now),
        ":key": claim.key.0,
        ":limit": i64::try_from(limit).unwrap_or(i64::MAX),
    };
    select.query_map(named, |row| row.get(0))?.collect()
}

/// Leases those that can still be taken.
pub fn lease(tx: &Connection, claim: &Claim, ids: &[i64]) -> rusqlite::Result<Vec<Due>> {
    let mut free = tx.prepare_cached(&format!("SELECT 1 FROM {HEAD} AND d.id = :id"))?;
    let mut lease = tx.prepare_cached("UPDATE delivery SET claimed_by = ?, due = ? WHERE id = ?")?;
    let mut all = Vec::with_capacity(ids.len());
    for id in ids {
        if !free.exists(named_params! { ":now": micros(claim.now), ":key": claim.key.0, ":id": id })? {
            continue;
        }
        match due(tx, *id)? {
            Some(due) => {
                lease.execute(params![claim.by.0, micros(claim.until), id])?;
                all.push(due);
            }
            // Its event is older than what is kept: there is nothing left to tell.
            None => drop(tx.prepare_cached("DELETE FROM delivery WHERE id = ?")?.execute([id])?),
        }
    }
    Ok(all)
}

/// `None` when the event is not there any more.
fn due(tx: &Connection, id: i64) -> rusqlite::Result<Option<Due>> {
    let mut select = tx.prepare_cached(
        "SELECT s.name, s.url, s.seed, d.receiver, d.attempts, d.first_tried_at, d.event, d.call, s.kind, d.at, j.record
         FROM delivery d JOIN subscription s ON s.id = d.subscription JOIN journal j ON j.id = d.event
         WHERE d.id = ? AND j.record IS NOT NULL",
    )?;
    let read = |row: &Row<'_>| {
        let kind: String = row.get(8)?;
        let Some(kind) = FactKind::parse(&kind) else { return Ok(None) };
        Ok(Some(Due {
            id: DeliveryId(id),
            subscription: SubscriptionId::from_bytes(row.get(0)?),
            url: row.get(1)?,
            seed: SecretSeed(row.get(2)?),
            receiver: ReceiverId(row.get(3)?),
            attempts: row.get(4)?,
            first_tried_at: row.get::<_, Option<i64>>(5)?.map(timestamp),
            event: Event {
                position: row.get::<_, i64>(6)?.unsigned_abs(),
                call: CallId::from_bytes(row.get(7)?),
                kind,
                at: timestamp(row.get(9)?),
                record: parse(row, 10)?,
            },
        }))
    };
    Ok(select.query_row([id], read).optional()?.flatten())
}

/// Writes down what came of a claim that still stands; whether others of its order are due by that.
pub fn settle(tx: &Connection, by: ClaimantId, tried: &Tried) -> rusqlite::Result<bool> {
    let (state, due, counts) = match tried.next {
        Next::Delivered => ("delivered", tried.at, 1),
        Next::Dead | Next::Gone => ("dead", tried.at, 1),
        Next::Again(at) => ("pending", at, 1),
        Next::Untried => ("pending", tried.at, 0),
    };
    let changed = tx
        .prepare_cached(
            "UPDATE delivery SET state = :state, due = :due, claimed_by = NULL, attempts = attempts + :counts,
                    first_tried_at = iif(:counts, coalesce(first_tried_at, :at), first_tried_at),
                    last_tried_at = iif(:counts, :at, last_tried_at), last_status = iif(:counts, :status, last_status),
                    last_error = iif(:counts, :error, last_error), settled_at = iif(:state = 'pending', NULL, :at)
             WHERE id = :id AND claimed_by = :by AND state = 'pending'",
        )?
        .execute(named_params! {
            ":id": tried.id.0,
            ":by": by.0,
            ":state": state,
            ":due": micros(due),
            ":at": micros(tried.at),
            ":counts": counts,
            ":status": tried.status,
            ":error": tried.error.map(TryError::as_str),
        })?;
    if changed == 0 {
        return Ok(false);
    }
    if tried.next == Next::Gone {
        tx.prepare_cached(
            "UPDATE subscription SET disabled = 1 WHERE id = (SELECT subscription FROM delivery WHERE id = ?)",
        )?
        .execute([tried.id.0])?;
    }
    // Those that wait for it are looked at when it is over, and not before its next try.
    let moved = tx
        .prepare_cached(
            "UPDATE delivery SET due = :due
             WHERE state = 'pending' AND claimed_by IS NULL AND id > :id AND due <> :due
               AND (call, lane) = (SELECT call, lane FROM delivery WHERE id = :id)",
        )?
        .execute(named_params! { ":id": tried.id.0, ":due": micros(due) })?;
    Ok(moved > 0 && state != "pending")
}

/// Gives up what is pending for subscriptions that want nothing any more, and what has waited for its turn for too
/// long, a bite at a time.
pub fn bury(tx: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "UPDATE delivery SET state = 'dead', last_error = 'gone', settled_at = ?1
         WHERE id IN (SELECT d.id FROM subscription s CROSS JOIN delivery d
                      WHERE d.subscription = s.id AND d.state = 'pending' AND s.disabled AND d.claimed_by IS NULL
                      LIMIT ?2)",
    )?
    .execute(params![micros(now), BITE])?;
    tx.prepare_cached(
        "UPDATE delivery SET state = 'dead', last_error = 'expired', settled_at = ?1
         WHERE id IN (SELECT d.id FROM subscription s CROSS JOIN delivery d
                      WHERE d.receiver = s.receiver AND d.state = 'pending' AND d.due <= ?2 LIMIT ?3)",
    )?
    .execute(params![micros(now), micros(now - TURN), BITE])
    .map(drop)
}

/// Gives back what a process had claimed that is known to be gone.
pub fn release(tx: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "UPDATE delivery SET claimed_by = NULL, due = ? WHERE state = 'pending' AND claimed_by IS NOT NULL",
    )?
    .execute([micros(now)])
    .map(drop)
}

pub fn backlog(db: &Connection, key: KeyPrint) -> rusqlite::Result<Backlog> {
    let count = |sql: &str| -> rusqlite::Result<u64> {
        Ok(db.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0))?.unsigned_abs())
    };
    let mut others = db.prepare_cached(
        "SELECT count(*) FROM subscription s CROSS JOIN delivery d
         WHERE d.subscription = s.id AND d.state = 'pending' AND s.key_print <> ? AND s.cancelled_at IS NULL",
    )?;
    Ok(Backlog {
        pending: count("SELECT count(*) FROM delivery INDEXED BY delivery_due WHERE state = 'pending'")?,
        dead: count("SELECT count(*) FROM delivery WHERE state = 'dead' AND settled_at IS NOT NULL")?,
        of_other_keys: others.query_row([key.0], |row| row.get::<_, i64>(0))?.unsigned_abs(),
    })
}

/// Drops some of what nobody asks for any more.
pub fn purge(tx: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    let old = "DELETE FROM delivery WHERE id IN
                 (SELECT id FROM delivery WHERE state = ? AND settled_at IS NOT NULL AND settled_at <= ? LIMIT ?)";
    for (state, kept) in [(DeliveryState::Delivered, DELIVERED_KEPT), (DeliveryState::Dead, DEAD_KEPT)] {
        tx.prepare_cached(old)?.execute(params![state.as_str(), micros(now - kept), BITE])?;
    }
    tx.prepare_cached(
        "DELETE FROM delivery WHERE id IN
           (SELECT d.id FROM subscription s JOIN delivery d ON d.subscription = s.id
            WHERE s.cancelled_at IS NOT NULL LIMIT ?)",
    )?
    .execute([BITE])?;
    tx.prepare_cached(
        "DELETE FROM subscription
         WHERE cancelled_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.subscription = subscription.id)",
    )?
    .execute([])
    .map(drop)
}
