//! Rows of deliveries on their way: written with a fact, leased, settled, dropped.

use std::time::Duration;

use tokio_postgres::Row;

use super::super::link::{Link, LinkError, bytes, parse};
use super::super::{micros, timestamp};
use super::BITE;
use crate::events::{FactKind, KeyPrint, ReceiverId, SecretSeed, TryError};
use crate::model::{CallId, SubscriptionId, Timestamp};
use crate::store::{Backlog, Claim, ClaimantId, DeliveryId, DeliveryState, Due, Event, Next, Tried};

/// A delivered one is shown for so long.
const DELIVERED_KEPT: Duration = Duration::from_secs(24 * 3600);
/// One whose turn does not come for so long is given up: its receiver takes less than it asked for.
const TURN: Duration = Duration::from_secs(7 * 24 * 3600);
/// A dead one can be replayed for so long.
const DEAD_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// What follows `WITH told AS (INSERT INTO journal … RETURNING id, organization, call, kind, at)`: one delivery for
/// each subscription to each fact. What has to wait for one before it is looked at no sooner than that one.
pub const TELL: &str = "
    INSERT INTO delivery (subscription, receiver, lane, call, event, at, state, due, last_error, settled_at)
    SELECT s.id, s.receiver, s.lane, told.call, told.id, told.at, CASE WHEN s.disabled THEN 'dead' ELSE 'pending' END,
           greatest(told.at, (SELECT max(d.due) FROM delivery d
                              WHERE d.call = told.call AND d.lane = s.lane AND d.state = 'pending')),
           CASE WHEN s.disabled THEN 'gone' END, CASE WHEN s.disabled THEN told.at END
    FROM told JOIN subscription s ON s.organization = told.organization AND s.kind = told.kind
    WHERE s.cancelled_at IS NULL ORDER BY told.id, s.id
    RETURNING 1";

/// What a claim could take now, receiver after receiver, each with one step down an index: what waits for a
/// receiver that is down costs nothing while others are served. Looking locks nothing; [`lease`] looks at each again.
pub fn candidates(link: &mut Link, claim: &Claim) -> Result<Vec<i64>, LinkError> {
    let mut ids = Vec::new();
    for (first, last) in [(claim.after.0.saturating_add(1), i64::MAX), (i64::MIN, claim.after.0)] {
        let mut at = Some(first);
        while let Some(receiver) = next_receiver(link, at)?.filter(|receiver| *receiver <= last) {
            let places = claim.places.get(&ReceiverId(receiver)).copied().unwrap_or(claim.per_receiver);
            ids.extend(heads(link, claim, receiver, places.min(claim.limit - ids.len()))?);
            at = receiver.checked_add(1).filter(|_| ids.len() < claim.limit);
        }
    }
    Ok(ids)
}

/// The first receiver from `at` on for which anything is pending.
fn next_receiver(link: &mut Link, at: Option<i64>) -> Result<Option<i64>, LinkError> {
    let Some(at) = at else { return Ok(None) };
    let sql = "SELECT min(receiver) FROM delivery WHERE state = 'pending' AND receiver >= $1";
    Ok(link.query_opt(sql, &[&at])?.map_or(Ok(None), |row| row.try_get(0))?)
}

/// A delivery that may be tried: due, wanted, signed with this key, and none before it in its call's order. `$1` is
/// the time, `$2` the key.
const HEAD: &str = "delivery d JOIN subscription s ON s.id = d.subscription
     WHERE d.state = 'pending' AND d.due <= $1
       AND s.cancelled_at IS NULL AND NOT s.disabled AND s.key_print = $2
       AND NOT EXISTS (SELECT FROM delivery e JOIN subscription t ON t.id = e.subscription
                       WHERE e.call = d.call AND e.lane = d.lane AND e.id < d.id AND e.state = 'pending'
                         AND t.cancelled_at IS NULL AND NOT t.disabled)";

/// Deliveries that are due at a receiver and come first in their call's order.
fn heads(link: &mut Link, claim: &Claim, receiver: i64, limit: usize) -> Result<Vec<i64>, LinkError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = link.query(
        &format!("SELECT d.id FROM {HEAD} AND d.receiver = $3 ORDER BY d.due, d.id LIMIT $4"),
        &[&micros(claim.now), &claim.key.0.as_slice(), &receiver, &limit],
    )?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Leases those that can still be taken. What another node is taking is its own.
pub fn lease(link: &mut Link, claim: &Claim, ids: &[i64]) -> Result<Vec<Due>, LinkError> {
    let rows = link.query(
        &format!("SELECT d.id FROM {HEAD} AND d.id = ANY ($3) ORDER BY d.id FOR UPDATE OF d SKIP LOCKED"),
        &[&micros(claim.now), &claim.key.0.as_slice(), &ids],
    )?;
    let mut free = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i64>, _>>()?;
    let rows = link.query(
        "SELECT d.id, s.name, s.url, s.seed, d.receiver, d.attempts, d.first_tried_at, d.event, d.call, s.kind, d.at,
                j.record
         FROM delivery d JOIN subscription s ON s.id = d.subscription JOIN journal j ON j.id = d.event
         WHERE d.id = ANY ($1) AND j.record IS NOT NULL",
        &[&free],
    )?;
    let mut all = rows.iter().filter_map(|row| due(row).transpose()).collect::<Result<Vec<_>, _>>()?;
    // In the order in which they were found: receivers have taken turns.
    let place = |due: &Due| ids.iter().position(|id| *id == due.id.0);
    all.sort_by_key(place);
    let told: Vec<_> = all.iter().map(|due| due.id.0).collect();
    link.execute(
        "UPDATE delivery SET claimed_by = $1, due = $2 WHERE id = ANY ($3)",
        &[&claim.by.0.as_slice(), &micros(claim.until), &told],
    )?;
    // Their events are older than what is kept: there is nothing left to tell.
    free.retain(|id| !told.contains(id));
    if !free.is_empty() {
        link.execute("DELETE FROM delivery WHERE id = ANY ($1)", &[&free])?;
    }
    Ok(all)
}

/// `None` for a kind of fact that only a newer release knows.
fn due(row: &Row) -> Result<Option<Due>, LinkError> {
    let Some(kind) = FactKind::parse(row.try_get(9)?) else { return Ok(None) };
    Ok(Some(Due {
        id: DeliveryId(row.try_get(0)?),
        subscription: SubscriptionId::from_bytes(bytes(row, 1)?),
        url: row.try_get(2)?,
        seed: SecretSeed(bytes(row, 3)?),
        receiver: ReceiverId(row.try_get(4)?),
        attempts: u32::try_from(row.try_get::<_, i64>(5)?).unwrap_or(u32::MAX),
        first_tried_at: row.try_get::<_, Option<i64>>(6)?.map(timestamp),
        event: Event {
            position: row.try_get::<_, i64>(7)?.unsigned_abs(),
            call: CallId::from_bytes(bytes(row, 8)?),
            kind,
            at: timestamp(row.try_get(10)?),
            record: parse(row, 11)?,
        },
    }))
}

/// Writes down what came of a claim that still stands; whether others of its order are due by that.
pub fn settle(link: &mut Link, by: ClaimantId, tried: &Tried) -> Result<bool, LinkError> {
    let (state, due, counts) = match tried.next {
        Next::Delivered => ("delivered", tried.at, 1_i64),
        Next::Dead | Next::Gone => ("dead", tried.at, 1),
        Next::Again(at) => ("pending", at, 1),
        Next::Untried => ("pending", tried.at, 0),
    };
    let rows = link.query(
        "UPDATE delivery SET state = $3, due = $4, claimed_by = NULL, attempts = attempts + $6,
                first_tried_at = CASE WHEN $6 > 0 THEN coalesce(first_tried_at, $5) ELSE first_tried_at END,
                last_tried_at = CASE WHEN $6 > 0 THEN $5 ELSE last_tried_at END,
                last_status = CASE WHEN $6 > 0 THEN $7 ELSE last_status END,
                last_error = CASE WHEN $6 > 0 THEN $8 ELSE last_error END,
                settled_at = CASE WHEN $3 = 'pending' THEN NULL ELSE $5 END
         WHERE id = $1 AND claimed_by = $2 AND state = 'pending' RETURNING subscription, call, lane",
        &[
            &tried.id.0,
            &by.0.as_slice(),
            &state,
            &micros(due),
            &micros(tried.at),
            &counts,
            &tried.status.map(i32::from),
            &tried.error.map(TryError::as_str),
        ],
    )?;
    let Some(row) = rows.first() else { return Ok(false) };
    let (subscription, call, lane): (i64, Vec<u8>, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    if tried.next == Next::Gone {
        link.execute("UPDATE subscription SET disabled = true WHERE id = $1", &[&subscription])?;
    }
    // Those that wait for it are looked at when it is over, and not before its next try.
    let moved = link.execute(
        "UPDATE delivery SET due = $1
         WHERE state = 'pending' AND claimed_by IS NULL AND id > $2 AND due <> $1 AND call = $3 AND lane = $4",
        &[&micros(due), &tried.id.0, &call, &lane],
    )?;
    Ok(moved > 0 && state != "pending")
}

/// Gives up what is pending for subscriptions that want nothing any more, and what has waited for its turn for too
/// long, a bite at a time.
fn bury(link: &mut Link, now: Timestamp) -> Result<(), LinkError> {
    link.execute(
        "UPDATE delivery SET state = 'dead', last_error = 'gone', settled_at = $1
         WHERE id IN (SELECT d.id FROM subscription s JOIN delivery d ON d.subscription = s.id
                      WHERE d.state = 'pending' AND s.disabled AND d.claimed_by IS NULL
                      LIMIT $2 FOR UPDATE OF d SKIP LOCKED)",
        &[&micros(now), &BITE],
    )?;
    link.execute(
        "UPDATE delivery SET state = 'dead', last_error = 'expired', settled_at = $1
         WHERE id IN (SELECT d.id FROM delivery d WHERE d.state = 'pending' AND d.due <= $2
                      LIMIT $3 FOR UPDATE SKIP LOCKED)",
        &[&micros(now), &micros(now - TURN), &BITE],
    )
    .map(drop)
}

pub fn backlog(link: &mut Link, key: KeyPrint) -> Result<Backlog, LinkError> {
    let row = link.query_opt(
        "SELECT (SELECT count(*) FROM delivery WHERE state = 'pending'),
                (SELECT count(*) FROM delivery WHERE state = 'dead' AND settled_at IS NOT NULL),
                (SELECT count(*) FROM subscription s JOIN delivery d ON d.subscription = s.id
                 WHERE d.state = 'pending' AND s.key_print <> $1 AND s.cancelled_at IS NULL)",
        &[&key.0.as_slice()],
    )?;
    let Some(row) = row else { return Ok(Backlog::default()) };
    let count = |column| Ok::<_, LinkError>(row.try_get::<_, i64>(column)?.unsigned_abs());
    Ok(Backlog { pending: count(0)?, dead: count(1)?, of_other_keys: count(2)? })
}

/// Gives up and drops some of what nobody asks for any more.
pub fn purge(link: &mut Link, now: Timestamp) -> Result<(), LinkError> {
    bury(link, now)?;
    let old = "DELETE FROM delivery WHERE id IN
                 (SELECT id FROM delivery WHERE state = $1 AND settled_at <= $2 LIMIT $3 FOR UPDATE SKIP LOCKED)";
    for (state, kept) in [(DeliveryState::Delivered, DELIVERED_KEPT), (DeliveryState::Dead, DEAD_KEPT)] {
        link.execute(old, &[&state.as_str(), &micros(now - kept), &BITE])?;
    }
    link.execute(
        "DELETE FROM delivery WHERE id IN
           (SELECT d.id FROM subscription s JOIN delivery d ON d.subscription = s.id
            WHERE s.cancelled_at IS NOT NULL LIMIT $1 FOR UPDATE OF d SKIP LOCKED)",
        &[&BITE],
    )?;
    link.execute(
        "DELETE FROM subscription WHERE cancelled_at IS NOT NULL
            AND NOT EXISTS (SELECT FROM delivery d WHERE d.subscription = subscription.id)",
        &[],
    )
    .map(drop)
}
