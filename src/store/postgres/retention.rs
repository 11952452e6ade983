//! Dropping what is past its time: small bites in the writer's beat, so that none delays a call. Whichever node
//! comes first takes a bite; another one skips what it holds.
//!
//! Records and events go; what their calls came to stays in the ledger and in the sums of days, and `retired` says
//! how much of a day's sums no record speaks for any more.

use std::time::Duration;

use super::deliveries;
use super::link::{Link, LinkError};
use super::{answers, micros, tokens, traces};
use crate::guardrails::LONGEST_MEMORY;
use crate::model::Timestamp;
use crate::store::Retention;

/// Rows looked at in a bite. With one bite of each kind a second: 40 million records a day.
const BITE: i64 = 500;

/// Marks of breakers dropped at a beat, at most: more than calls end in a second.
const MARKS: i64 = 5_000;

/// Carries out one bite of each kind, each in a transaction of its own.
pub(super) fn purge(link: &mut Link, retention: &Retention, now: Timestamp) -> Result<(), LinkError> {
    answers::purge(link, now)?;
    tokens::purge(link, now)?;
    link.execute(
        "DELETE FROM breaker WHERE id IN
           (SELECT id FROM (SELECT id, at FROM breaker ORDER BY id LIMIT $1) AS oldest WHERE at <= $2)",
        &[&MARKS, &micros(now - LONGEST_MEMORY)],
    )?;
    deliveries::purge(link, now)?;
    let cut = |kept: Option<Duration>| kept.map(|kept| micros(now - kept));
    if let Some(before) = cut(retention.records) {
        records(link, before)?;
    }
    if let Some(before) = cut(retention.events) {
        events(link, before)?;
    }
    if let Some(before) = cut(retention.traces) {
        traces::purge(link, before)?;
    }
    Ok(())
}

/// The oldest records, in the order of admission. A call that is over and not forgotten keeps its record: a start
/// takes it up.
fn records(link: &mut Link, before: i64) -> Result<(), LinkError> {
    link.execute(
        "WITH gone AS (
             DELETE FROM calls WHERE id IN (
                 SELECT id FROM (SELECT id, created_at FROM calls ORDER BY id LIMIT $1) AS oldest
                 WHERE created_at < $2 AND NOT EXISTS (SELECT FROM live WHERE live.id = oldest.id))
             RETURNING organization, created_at, record::json AS record),
         noted AS (
             INSERT INTO retired (organization, day, calls, answered, billable_seconds, spent)
             SELECT organization, (record ->> 'day')::int, count(*), count(record ->> 'answered_at'),
                    coalesce(sum((record ->> 'billable_seconds')::bigint), 0),
                    coalesce(sum(replace(record ->> 'cost', '.', '')::bigint), 0)
             FROM gone GROUP BY 1, 2
             ON CONFLICT (organization, day) DO UPDATE
                SET calls = retired.calls + excluded.calls, answered = retired.answered + excluded.answered,
                    billable_seconds = retired.billable_seconds + excluded.billable_seconds,
                    spent = retired.spent + excluded.spent)
         UPDATE kept SET records_to = greatest(records_to, (SELECT max(created_at) FROM gone))
         WHERE EXISTS (SELECT FROM gone)",
        &[&BITE, &before],
    )
    .map(drop)
}

/// The facts among the oldest rows of the journal that were not looked at before.
fn events(link: &mut Link, before: i64) -> Result<(), LinkError> {
    link.execute(
        "WITH seen AS (SELECT facts_to FROM kept FOR UPDATE SKIP LOCKED),
         bite AS (SELECT journal.id, at, amount FROM journal, seen WHERE journal.id > facts_to
                  ORDER BY journal.id LIMIT $1),
         reached AS (SELECT max(id) AS id FROM bite
                     WHERE id < coalesce((SELECT min(id) FROM bite WHERE at >= $2), 9223372036854775807)),
         gone AS (DELETE FROM journal WHERE id IN (SELECT bite.id FROM bite, reached
                                                   WHERE bite.id <= reached.id AND bite.amount IS NULL))
         UPDATE kept SET facts_to = reached.id FROM reached WHERE reached.id IS NOT NULL",
        &[&BITE, &before],
    )
    .map(drop)
}
