//! Statements: the sums of days, what came after them, and what lives, of one moment of the file.

use rusqlite::{Connection, Row, named_params};

use crate::model::{Day, Money, OrganizationId, Path, UserId};
use crate::store::{Line, Statement, Sums};

/// The three parts of a day: what is summed up, what was charged since, and what is not over. Each call is in
/// exactly one of them.
const LINES: &str = "
    SELECT day, user_id, path, calls, 0, answered, billable_seconds, spent, 0
    FROM spend WHERE organization = :organization AND day BETWEEN :from AND :to
    UNION ALL
    SELECT journal.day, coalesce(calls.user_id, ''), coalesce(json_extract(calls.record, '$.path'), 'bridge'), 1, 0,
           json_extract(calls.record, '$.answered_at') IS NOT NULL,
           coalesce(json_extract(calls.record, '$.billable_seconds'), 0), journal.amount, 0
    FROM journal LEFT JOIN calls ON calls.organization = journal.organization AND calls.call = journal.call
    WHERE journal.id > (SELECT summed FROM alive) AND journal.kind = 'charge'
      AND journal.organization = :organization AND journal.day BETWEEN :from AND :to
    UNION ALL
    SELECT day, user_id, json_extract(record, '$.path'), 1, 1, json_extract(record, '$.answered_at') IS NOT NULL, 0, 0,
           reserved
    FROM live WHERE organization = :organization AND record IS NOT NULL AND day BETWEEN :from AND :to";

pub(super) fn statement(
    db: &Connection,
    organization: &OrganizationId,
    from: Day,
    to: Day,
) -> rusqlite::Result<Statement> {
    // One transaction sees one moment of the file.
    let tx = db.unchecked_transaction()?;
    let as_of: i64 = tx.prepare_cached("SELECT coalesce(max(id), 0) FROM journal")?.query_row([], |row| row.get(0))?;
    let id: Option<i64> = tx
        .prepare_cached("SELECT max(id) FROM organization WHERE name = ?")?
        .query_row([organization.as_str()], |row| row.get(0))?;
    let mut select = tx.prepare_cached(LINES)?;
    let lines = select.query_map(named_params! { ":organization": id, ":from": from.0, ":to": to.0 }, line)?;
    let statement = Statement::new(as_of.unsigned_abs(), lines.collect::<Result<Vec<_>, _>>()?);
    Ok(statement)
}

fn line(row: &Row<'_>) -> rusqlite::Result<Line> {
    let path: String = row.get(2)?;
    let count = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
    Ok(Line {
        day: Day(row.get(0)?),
        user: UserId(row.get::<_, String>(1)?.into()),
        path: Path::parse(&path).unwrap_or(Path::Bridge),
        sums: Sums {
            calls: count(3)?,
            live: count(4)?,
            answered: count(5)?,
            billable_seconds: count(6)?,
            spent: Money::from_micros(row.get(7)?),
            reserved: Money::from_micros(row.get(8)?),
        },
    })
}

/// Adds the charges since the last time to the sums by day.
pub(super) fn sum_up(tx: &Connection) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO spend (organization, day, user_id, path, calls, answered, billable_seconds, spent)
         SELECT journal.organization, journal.day, coalesce(calls.user_id, ''),
                coalesce(json_extract(calls.record, '$.path'), 'bridge'), count(*),
                count(json_extract(calls.record, '$.answered_at')),
                coalesce(sum(json_extract(calls.record, '$.billable_seconds')), 0), sum(journal.amount)
         FROM journal LEFT JOIN calls ON calls.organization = journal.organization AND calls.call = journal.call
         WHERE journal.id > (SELECT summed FROM alive) AND journal.kind = 'charge' GROUP BY 1, 2, 3, 4
         ON CONFLICT DO UPDATE SET calls = calls + excluded.calls, answered = answered + excluded.answered,
             billable_seconds = billable_seconds + excluded.billable_seconds, spent = spent + excluded.spent",
    )?
    .execute([])?;
    tx.prepare_cached("UPDATE alive SET summed = (SELECT coalesce(max(id), 0) FROM journal)")?.execute([]).map(drop)
}
