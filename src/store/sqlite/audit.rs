//! The rows of a file for the audit: one moment of it, read beside the writer.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Row};

use super::{StoreError, schema};
use crate::events::FactKind;
use crate::model::{CallId, Day, Money, OrganizationId, Status, Timestamp};
use crate::store::audit::{
    Audited, Auditor, Balances, CallRow, DaySums, Difference, Finding, Gist, Part, Progress, Record,
};
use crate::store::{Answer, EntryKind};

/// What of a record the audit reads, as a list; null when the record is no JSON.
const GIST: &str = "CASE WHEN json_valid(record) THEN json_extract(record, '$.id', '$.organization_id', '$.status',
    '$.cost', '$.day', '$.answered_at', '$.billable_seconds') END";

/// Audits the file, which a server may be using: nothing is written and nobody waits. The log grows for as long as it
/// takes, since what is read stays readable. Tells each difference as it is found.
pub fn audit(path: &Path, tell: &mut dyn FnMut(Difference)) -> Result<Audited, StoreError> {
    if !path.exists() {
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(StoreError::File(path.to_owned(), missing));
    }
    let db = schema::open_reader(path)?;
    schema::is_current(&db)?;
    let tx = db.unchecked_transaction()?;
    Ok(read(&tx, tell)?)
}

fn read(db: &Connection, tell: &mut dyn FnMut(Difference)) -> rusqlite::Result<Audited> {
    let progress = db.query_row("SELECT summed, records_to, facts_to FROM alive, kept", [], |row| {
        Ok(Progress { summed: position(row, 0)?, records_to: time(row, 1)?, facts_to: position(row, 2)? })
    })?;
    let mut auditor = Auditor::new(progress, tell);
    calls(db, &mut auditor)?;
    days(db, &mut auditor)?;
    postings(db, &mut auditor)?;
    references(db, &mut auditor)?;
    Ok(auditor.finish())
}

/// Everything of every call. The order is made on the disk, so memory does not grow with the calls.
fn calls(db: &Connection, auditor: &mut Auditor<'_>) -> rusqlite::Result<()> {
    let mut select = db.prepare(&format!(
        "SELECT organization.name, part.* FROM (
             SELECT organization, call, 0 AS part, id, kind, amount, day, at, NULL, false FROM journal
             WHERE amount IS NOT NULL
             UNION ALL
             SELECT organization, call, 1, id, kind, NULL, NULL, at,
                    CASE kind WHEN 'call_completed' THEN {GIST} END, kind = 'call_completed' AND record IS NOT NULL
             FROM journal WHERE amount IS NULL
             UNION ALL
             SELECT organization, call, 2, id, status, reserved, day, created_at, {GIST}, record IS NOT NULL FROM live
             UNION ALL
             SELECT organization, call, 3, id, status, NULL, NULL, created_at, {GIST}, true FROM calls
         ) AS part LEFT JOIN organization ON organization.id = part.organization
         ORDER BY part.organization, part.call, part.part, part.id"
    ))?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        auditor.row(CallRow {
            organization: row.get::<_, Option<String>>(0)?.map(|name| OrganizationId(name.into())),
            call: CallId::from_bytes(row.get(2)?),
            part: part(row)?,
        });
    }
    Ok(())
}

fn part(row: &Row<'_>) -> rusqlite::Result<Part> {
    let word: String = row.get(5)?;
    let record = || Ok::<_, rusqlite::Error>(row.get::<_, bool>(10)?.then_some(gist(row, 9)?));
    Ok(match row.get::<_, i64>(3)? {
        0 => Part::Booking {
            position: position(row, 4)?,
            kind: EntryKind::parse(&word),
            amount: Money::from_micros(row.get(6)?),
            day: Day(row.get(7)?),
            at: time(row, 8)?,
        },
        1 => Part::Fact { position: position(row, 4)?, kind: FactKind::parse(&word), record: record()? },
        2 => Part::Live { reserved: Money::from_micros(row.get(6)?), day: Day(row.get(7)?), record: record()? },
        _ => Part::Final { record: gist(row, 9)?.filter(|record| record.status.as_str() == word) },
    })
}

fn gist(row: &Row<'_>, column: usize) -> rusqlite::Result<Gist> {
    type Fields = (CallId, OrganizationId, Status, Money, Day, Option<Timestamp>, u64);
    let text: Option<String> = row.get(column)?;
    let fields = text.and_then(|text| serde_json::from_str::<Fields>(&text).ok());
    Ok(fields.map(|(call, organization, status, cost, day, answered_at, billable_seconds)| Record {
        call,
        organization,
        status,
        cost,
        day,
        is_answered: answered_at.is_some(),
        billable_seconds,
    }))
}

/// The sums of days: of the charges, and of the records that were dropped.
fn days(db: &Connection, auditor: &mut Auditor<'_>) -> rusqlite::Result<()> {
    for (table, take) in [("spend", Auditor::spend as fn(&mut _, _, _, _)), ("retired", Auditor::retired)] {
        let mut select = db.prepare(&format!(
            "SELECT coalesce(name, ''), day, calls, answered, billable_seconds, spent
             FROM {table} LEFT JOIN organization ON organization.id = {table}.organization"
        ))?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let sums = DaySums {
                calls: position(row, 2)?,
                answered: position(row, 3)?,
                billable_seconds: position(row, 4)?,
                spent: Money::from_micros(row.get(5)?),
            };
            take(auditor, OrganizationId(row.get::<_, String>(0)?.into()), Day(row.get(1)?), sums);
        }
    }
    Ok(())
}

/// What the accounts hold by the postings.
fn postings(db: &Connection, auditor: &mut Auditor<'_>) -> rusqlite::Result<()> {
    let mut select = db.prepare(
        "SELECT name, day, sum(amount) FILTER (WHERE account = 'available'),
                sum(amount) FILTER (WHERE account = 'reserved'), sum(amount) FILTER (WHERE account = 'spent')
         FROM postings JOIN organization ON organization.id = postings.organization GROUP BY name, day",
    )?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let sum = |column| row.get::<_, Option<i64>>(column).map(|sum| Money::from_micros(sum.unwrap_or(0)));
        let balances = Balances { available: sum(2)?, reserved: sum(3)?, spent: sum(4)? };
        auditor.balances(OrganizationId(row.get::<_, String>(0)?.into()), Day(row.get(1)?), balances);
    }
    let mut select = db.prepare("SELECT call, sum(amount) FROM postings GROUP BY booking HAVING sum(amount) <> 0")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        auditor.unbalanced_booking(CallId::from_bytes(row.get(0)?), Money::from_micros(row.get(1)?));
    }
    Ok(())
}

/// Answers and tokens are younger than any record that is dropped, so their calls are there.
fn references(db: &Connection, auditor: &mut Auditor<'_>) -> rusqlite::Result<()> {
    let mut there = db.prepare(
        "SELECT 1 FROM live WHERE call = ?1
         UNION ALL
         SELECT 1 FROM organization JOIN calls ON calls.organization = organization.id AND calls.call = ?1",
    )?;
    let mut is_there =
        |call: CallId| Ok::<_, rusqlite::Error>(there.query_row([call.to_bytes()], |_| Ok(())).optional()?.is_some());
    let mut answers = db.prepare("SELECT answer FROM answers")?;
    let mut rows = answers.query([])?;
    while let Some(row) = rows.next()? {
        let answer: Answer = super::parse(row, 0)?;
        let named = answer.location.as_deref().and_then(|path| path.strip_prefix("/v1/calls/")?.parse().ok());
        if let Some(call) = named {
            auditor.reference(Finding::AnswerOfNoCall, call, is_there(call)?);
        }
    }
    let mut tokens = db.prepare("SELECT call FROM token")?;
    let mut rows = tokens.query([])?;
    while let Some(row) = rows.next()? {
        let call = CallId::from_bytes(row.get(0)?);
        auditor.reference(Finding::TokenOfNoCall, call, is_there(call)?);
    }
    // What is settled may outlive its event.
    let mut deliveries = db.prepare(
        "SELECT call FROM delivery
         WHERE NOT EXISTS (SELECT 1 FROM subscription WHERE subscription.id = delivery.subscription)
            OR state = 'pending' AND event > (SELECT facts_to FROM kept)
               AND NOT EXISTS (SELECT 1 FROM journal WHERE journal.id = delivery.event AND amount IS NULL)",
    )?;
    let mut rows = deliveries.query([])?;
    while let Some(row) = rows.next()? {
        auditor.reference(Finding::DeliveryOfNothing, CallId::from_bytes(row.get(0)?), false);
    }
    Ok(())
}

fn position(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::unsigned_abs)
}

fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get::<_, i64>(column).map(|micros| Timestamp::from_micros(u64::try_from(micros).unwrap_or(0)))
}
