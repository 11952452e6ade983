//! Dropping what is past its time: small bites in the writer's beat, so that none delays a call.
//!
//! Records and events go; what their calls came to stays in the ledger and in the sums of days, and `retired` says
//! how much of a day's sums no record speaks for any more.

use std::time::Duration;

use rusqlite::{Connection, params};

use super::books::micros;
use super::{answers, breaker, tokens, traces};
use crate::model::Timestamp;
use crate::store::Retention;

/// Rows looked at in a bite. With one bite of each kind a second: 40 million records a day.
const BITE: i64 = 500;

/// Carries out one bite of each kind. Says whether more is waiting.
pub(super) fn purge(tx: &Connection, retention: &Retention, now: Timestamp) -> rusqlite::Result<bool> {
    answers::purge(tx, now)?;
    tokens::purge(tx, now)?;
    breaker::purge(tx, now)?;
    let cut = |kept: Option<Duration>| kept.map(|kept| micros(now - kept));
    let mut more = false;
    if let Some(before) = cut(retention.records) {
        more |= records(tx, before)?;
    }
    if let Some(before) = cut(retention.events) {
        more |= events(tx, before)?;
    }
    if let Some(before) = cut(retention.traces) {
        more |= traces::purge(tx, before)?;
    }
    Ok(more)
}

/// The oldest records, in the order of admission. A call that is over and not forgotten keeps its record: a start
/// takes it up.
fn records(tx: &Connection, before: i64) -> rusqlite::Result<bool> {
    let oldest = "SELECT * FROM (SELECT * FROM calls ORDER BY id LIMIT ?1) AS calls
                  WHERE created_at < ?2 AND NOT EXISTS (SELECT 1 FROM live WHERE live.id = calls.id)";
    tx.prepare_cached(&format!(
        "INSERT INTO retired (organization, day, calls, answered, billable_seconds, spent)
         SELECT organization, json_extract(record, '$.day'), count(*), count(json_extract(record, '$.answered_at')),
                sum(json_extract(record, '$.billable_seconds')),
                sum(CAST(replace(json_extract(record, '$.cost'), '.', '') AS INTEGER))
         FROM ({oldest}) WHERE true GROUP BY 1, 2
         ON CONFLICT DO UPDATE SET calls = calls + excluded.calls, answered = answered + excluded.answered,
             billable_seconds = billable_seconds + excluded.billable_seconds, spent = spent + excluded.spent"
    ))?
    .execute(params![BITE, before])?;
    tx.prepare_cached(&format!(
        "UPDATE kept SET records_to = max(records_to, coalesce((SELECT max(created_at) FROM ({oldest})), 0)),
                         last_call = max(last_call, coalesce((SELECT max(id) FROM ({oldest})), 0))"
    ))?
    .execute(params![BITE, before])?;
    let dropped = tx
        .prepare_cached(&format!("DELETE FROM calls WHERE id IN (SELECT id FROM ({oldest}))"))?
        .execute(params![BITE, before])?;
    Ok(dropped as i64 == BITE)
}

/// The facts among the oldest rows of the journal that were not looked at before. The newest row of all keeps its
/// place, for its id must never be given again, and only loses what it holds.
fn events(tx: &Connection, before: i64) -> rusqlite::Result<bool> {
    let (from, newest): (i64, i64) = tx
        .prepare_cached("SELECT facts_to, (SELECT coalesce(max(id), 0) FROM journal) FROM kept")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    // Up to the first row that is young enough to stay.
    let to: Option<i64> = tx
        .prepare_cached(
            "WITH bite AS (SELECT id, at FROM journal WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT ?3)
             SELECT max(id) FROM bite WHERE id < coalesce((SELECT min(id) FROM bite WHERE at >= ?4), ?2)",
        )?
        .query_row(params![from, newest, BITE, before], |row| row.get(0))?;
    let at_newest = "id = ?1 AND at < ?2 AND amount IS NULL AND record IS NOT NULL";
    tx.prepare_cached(&format!("UPDATE journal SET record = NULL WHERE {at_newest}"))?
        .execute(params![newest, before])?;
    let Some(to) = to else { return Ok(false) };
    tx.prepare_cached("DELETE FROM journal WHERE id > ? AND id <= ? AND amount IS NULL")?.execute([from, to])?;
    tx.prepare_cached("UPDATE kept SET facts_to = ?")?.execute([to])?;
    Ok(to - from >= BITE)
}
