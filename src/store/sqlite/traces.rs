//! Traces of calls that are over.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};

use super::SqliteStore;
use super::books::micros;
use crate::model::{CallId, Timestamp};
use crate::store::{StoreDown, Traces};

/// Rows dropped at a time: some 16 kB each, all of which is overwritten. Four million a day.
const BITE: i64 = 50;

impl Traces for SqliteStore {
    fn keep_traces(&self, traces: Vec<(CallId, Bytes)>, now: Timestamp) -> Result<(), StoreDown> {
        self.write(move |tx, _| {
            let mut insert = tx.prepare_cached(
                "INSERT INTO trace (call, at, messages) VALUES (?, ?, ?)
                 ON CONFLICT (call) DO UPDATE SET at = excluded.at, messages = excluded.messages
                 WHERE length(excluded.messages) > length(trace.messages)",
            )?;
            for (call, messages) in &traces {
                insert.execute(params![call.to_bytes(), micros(now), &messages[..]])?;
            }
            Ok(())
        })
    }

    fn trace(&self, call: CallId) -> Result<Option<Bytes>, StoreDown> {
        let read = self.reader.read(|db| {
            let mut select = db.prepare_cached("SELECT messages FROM trace WHERE call = ?")?;
            select.query_row([call.to_bytes()], |row| row.get::<_, Vec<u8>>(0)).optional()
        });
        Ok(read?.map(Bytes::from))
    }
}

/// Drops some of the oldest. Says whether more is waiting.
pub(super) fn purge(tx: &Connection, before: i64) -> rusqlite::Result<bool> {
    let dropped = tx
        .prepare_cached(
            "DELETE FROM trace WHERE id IN
               (SELECT id FROM (SELECT id, at FROM trace ORDER BY id LIMIT ?1) AS oldest WHERE at < ?2)",
        )?
        .execute(params![BITE, before])?;
    Ok(dropped as i64 == BITE)
}
