//! Answers to requests with an `Idempotency-Key`, kept for 24 hours.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::books::micros;
use crate::model::Timestamp;
use crate::store::Idempotency;

/// How long a repetition gets the first answer.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// Rows dropped at a time, so that dropping delays no call. At one bite a second this is a day's worth
/// of 1,000 requests a second.
const BITE: i64 = 1_000;

/// The first use of `key`, if it is not past its time.
pub(super) fn find(db: &Connection, key: &[u8; 32], now: Timestamp) -> rusqlite::Result<Option<Idempotency>> {
    let mut select = db.prepare_cached("SELECT body, request_id, answer FROM answers WHERE key = ? AND at > ?")?;
    let first = select.query_row(params![key, micros(now - KEPT)], |row| {
        Ok(Idempotency {
            key: *key,
            body: row.get(0)?,
            request_id: row.get::<_, String>(1)?.into(),
            answer: super::parse(row, 2)?,
        })
    });
    first.optional()
}

/// Stores an answer; one under the same key that is past its time makes room.
pub(super) fn insert(tx: &Connection, used: &Idempotency, now: Timestamp) -> rusqlite::Result<()> {
    tx.prepare_cached("INSERT OR REPLACE INTO answers (key, body, request_id, answer, at) VALUES (?, ?, ?, ?, ?)")?
        .execute(params![used.key, used.body, &*used.request_id, super::json(&used.answer)?, micros(now)])
        .map(drop)
}

/// Drops some of the answers that are past their time, oldest first.
pub(super) fn purge(tx: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    // Answers lie in the order of their time, so the oldest tells whether there is anything to do.
    tx.prepare_cached(
        "DELETE FROM answers WHERE id IN
           (SELECT id FROM (SELECT id, at FROM answers ORDER BY id LIMIT ?) WHERE at <= ?)",
    )?
    .execute(params![BITE, micros(now - KEPT)])
    .map(drop)
}
