//! Traces of calls that are over.

use bytes::Bytes;

use super::link::{Link, LinkError};
use super::{PostgresStore, micros};
use crate::model::{CallId, Timestamp};
use crate::store::{StoreDown, Traces};

/// Rows dropped at a time: some 16 kB each. Four million a day.
const BITE: i64 = 50;

impl Traces for PostgresStore {
    fn keep_traces(&self, traces: Vec<(CallId, Bytes)>, now: Timestamp) -> Result<(), StoreDown> {
        let calls: Vec<Vec<u8>> = traces.iter().map(|(call, _)| call.to_bytes().to_vec()).collect();
        let messages: Vec<&[u8]> = traces.iter().map(|(_, messages)| &messages[..]).collect();
        let written = self.pool.write(|link| {
            link.execute(
                "INSERT INTO trace (call, at, messages)
                 SELECT call, $2, messages FROM unnest($1::bytea[], $3::bytea[]) AS new (call, messages)
                 ON CONFLICT (call) DO UPDATE SET at = excluded.at, messages = excluded.messages
                 WHERE length(excluded.messages) > length(trace.messages)",
                &[&calls, &micros(now), &messages],
            )
        });
        Ok(written.map(drop)?)
    }

    fn trace(&self, call: CallId) -> Result<Option<Bytes>, StoreDown> {
        let call = call.to_bytes();
        let read = self.reader.read(|link| {
            let row = link.query_opt("SELECT messages FROM trace WHERE call = $1", &[&call.as_slice()])?;
            Ok(row.map(|row| row.try_get::<_, Vec<u8>>(0)).transpose()?)
        });
        Ok(read?.map(Bytes::from))
    }
}

/// Drops some of the oldest.
pub(super) fn purge(link: &mut Link, before: i64) -> Result<(), LinkError> {
    link.execute(
        "DELETE FROM trace WHERE id IN
           (SELECT id FROM (SELECT id, at FROM trace ORDER BY id LIMIT $1) AS oldest WHERE at < $2)",
        &[&BITE, &before],
    )
    .map(drop)
}
