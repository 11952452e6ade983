//! Answers to requests with an `Idempotency-Key`, kept for 24 hours.
//!
//! A commit's key belongs to one organization, whose account is locked while it is looked for and written. The
//! unique index has the last word all the same, and the only one over answers that belong to no commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Row;

use super::link::{Link, LinkError, Part, bytes, json, parse};
use super::micros;
use crate::model::Timestamp;
use crate::store::Idempotency;

/// How long a repetition gets the first answer.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// Rows dropped at a time, so that dropping delays no call. At one bite a second this is a day's worth
/// of 1,000 requests a second.
const BITE: i64 = 1_000;

pub(super) const FIND: &str = "SELECT key, body, request_id, answer, at FROM answers WHERE key = ANY ($1)";

/// The answers that a group asks for, and those that it adds.
#[derive(Default)]
pub(super) struct Answers {
    found: BTreeMap<[u8; 32], (Idempotency, i64)>,
    /// By key, so that two nodes write them in one order.
    added: BTreeMap<[u8; 32], (Idempotency, i64)>,
}

impl Answers {
    pub fn found(rows: &[Row]) -> Result<Self, LinkError> {
        let found = rows.iter().map(|row| Ok((bytes(row, 0)?, (read(row)?, row.try_get(4)?))));
        Ok(Self { found: found.collect::<Result<_, LinkError>>()?, added: BTreeMap::new() })
    }

    /// The first use of `key`, if it is not past its time.
    pub fn first(&self, key: &[u8; 32], now: Timestamp) -> Option<&Idempotency> {
        let (first, at) = self.added.get(key).or_else(|| self.found.get(key))?;
        (*at > micros(now - KEPT)).then_some(first)
    }

    /// Stores an answer; one under the same key that is past its time makes room.
    pub fn add(&mut self, used: &Idempotency, now: Timestamp) {
        self.added.insert(used.key, (used.clone(), micros(now)));
    }

    pub fn columns(&self) -> Result<Columns, LinkError> {
        let all = || self.added.values();
        Ok(Columns {
            keys: all().map(|(used, _)| used.key.to_vec()).collect(),
            bodies: all().map(|(used, _)| used.body.to_vec()).collect(),
            requests: all().map(|(used, _)| Arc::clone(&used.request_id)).map(|id| id.to_string()).collect(),
            answers: all().map(|(used, _)| json(&used.answer)).collect::<Result<_, _>>()?,
            times: all().map(|(_, at)| *at).collect(),
            past: self.added.keys().filter(|key| self.found.contains_key(*key)).map(|key| key.to_vec()).collect(),
        })
    }
}

pub(super) struct Columns {
    keys: Vec<Vec<u8>>,
    bodies: Vec<Vec<u8>>,
    requests: Vec<String>,
    answers: Vec<String>,
    times: Vec<i64>,
    /// Those whose first use is past its time.
    past: Vec<Vec<u8>>,
}

impl Columns {
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let drop =
            (!self.past.is_empty()).then(|| Part::new("DELETE FROM answers WHERE key = ANY ($1)", &[&self.past]));
        let add = (!self.keys.is_empty()).then(|| {
            Part::new(
                "INSERT INTO answers (key, body, request_id, answer, at)
                 SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::text[], $4::text[], $5::bigint[])",
                &[&self.keys, &self.bodies, &self.requests, &self.answers, &self.times],
            )
        });
        drop.into_iter().chain(add)
    }
}

/// The first use of `key`, if it is not past its time.
pub(super) fn find(link: &mut Link, key: &[u8; 32], now: Timestamp) -> Result<Option<Idempotency>, LinkError> {
    let rows = link.query(FIND, &[&[key.to_vec()].as_slice()])?;
    Ok(Answers::found(&rows)?.first(key, now).cloned())
}

/// Stores an answer; one under the same key that is past its time makes room.
pub(super) fn insert(link: &mut Link, used: &Idempotency, now: Timestamp) -> Result<(), LinkError> {
    let mut answers = Answers::found(&link.query(FIND, &[&[used.key.to_vec()].as_slice()])?)?;
    answers.add(used, now);
    let columns = answers.columns()?;
    let parts: Vec<_> = columns.parts().collect();
    link.together(&parts).map(drop)
}

fn read(row: &Row) -> Result<Idempotency, LinkError> {
    Ok(Idempotency {
        key: bytes(row, 0)?,
        body: bytes(row, 1)?,
        request_id: row.try_get::<_, &str>(2)?.into(),
        answer: parse(row, 3)?,
    })
}

/// Drops some of the answers that are past their time, oldest first. What another node is dropping is left to it.
pub(super) fn purge(link: &mut Link, now: Timestamp) -> Result<(), LinkError> {
    // Answers lie in the order of their time, so the oldest tells whether there is anything to do.
    link.execute(
        "DELETE FROM answers WHERE id IN
           (SELECT id FROM answers WHERE at <= $2 AND id <= (SELECT max(id) FROM
              (SELECT id FROM answers ORDER BY id LIMIT $1) AS oldest) FOR UPDATE SKIP LOCKED)",
        &[&BITE, &micros(now - KEPT)],
    )
    .map(drop)
}
