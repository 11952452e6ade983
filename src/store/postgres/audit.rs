//! The rows of a database for the audit: one moment of it, read beside the nodes that use it.

use serde::Deserialize;
use tokio_postgres::Row;

use super::link::{Link, LinkError, bytes, parse};
use super::server::Server;
use super::{StoreError, schema, timestamp};
use crate::config::PostgresUrl;
use crate::events::FactKind;
use crate::model::{CallId, Day, Money, OrganizationId, Status, Timestamp};
use crate::store::audit::{
    Audited, Auditor, Balances, CallRow, DaySums, Difference, Finding, Gist, Part, Progress, Record,
};
use crate::store::{Answer, EntryKind};

/// Rows of a cursor in memory at once.
const FETCH: &str = "FETCH 2000 FROM calls_of_all";

/// What of a record the audit reads. The database takes no record apart: one that is no JSON would end the audit
/// where it is to be named.
#[derive(Deserialize)]
struct Read {
    id: CallId,
    organization_id: OrganizationId,
    status: Status,
    cost: Money,
    day: Day,
    answered_at: Option<Timestamp>,
    billable_seconds: u64,
}

/// Audits the database, which nodes may be using: nothing is written and nobody waits. Tells each difference as it is
/// found.
pub fn audit(url: &PostgresUrl, tell: &mut dyn FnMut(Difference)) -> Result<Audited, StoreError> {
    let mut link = Server::new(url)?.migrator()?;
    schema::is_current(&mut link)?;
    link.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
    Ok(read(&mut link, tell)?)
}

fn read(link: &mut Link, tell: &mut dyn FnMut(Difference)) -> Result<Audited, LinkError> {
    let row = link.query_opt("SELECT records_to, facts_to FROM kept", &[])?;
    let row = row.ok_or_else(|| LinkError::Row("no word of what is kept".to_owned()))?;
    // A charge is summed in its own transaction.
    let progress = Progress { summed: u64::MAX, records_to: time(&row, 0)?, facts_to: position(&row, 1)? };
    let mut auditor = Auditor::new(progress, tell);
    calls(link, &mut auditor)?;
    days(link, &mut auditor)?;
    postings(link, &mut auditor)?;
    references(link, &mut auditor)?;
    Ok(auditor.finish())
}

/// Everything of every call. The order is made by the database, so memory does not grow with the calls.
fn calls(link: &mut Link, auditor: &mut Auditor<'_>) -> Result<(), LinkError> {
    link.batch(
        "DECLARE calls_of_all NO SCROLL CURSOR FOR
         SELECT organization.name, part.* FROM (
             SELECT organization, call, 0 AS part, id, kind, amount, day, at, NULL::text, false FROM journal
             WHERE amount IS NOT NULL
             UNION ALL
             SELECT organization, call, 1, id, kind, NULL, NULL, at,
                    CASE kind WHEN 'call_completed' THEN record END, kind = 'call_completed' AND record IS NOT NULL
             FROM journal WHERE amount IS NULL
             UNION ALL
             SELECT organization, call, 2, id, status, reserved, day, created_at, record, record IS NOT NULL FROM live
             UNION ALL
             SELECT organization, call, 3, id, status, NULL, NULL, created_at, record, true FROM calls
         ) AS part (organization, call, part, id, word, amount, day, at, gist, has_record)
              LEFT JOIN organization ON organization.id = part.organization
         ORDER BY part.organization, part.call, part.part, part.id",
    )?;
    loop {
        let rows = link.query(FETCH, &[])?;
        if rows.is_empty() {
            return link.batch("CLOSE calls_of_all");
        }
        for row in &rows {
            auditor.row(CallRow {
                organization: row.try_get::<_, Option<&str>>(0)?.map(|name| OrganizationId(name.into())),
                call: CallId::from_bytes(bytes(row, 2)?),
                part: part(row)?,
            });
        }
    }
}

fn part(row: &Row) -> Result<Part, LinkError> {
    let word: &str = row.try_get(5)?;
    let record = || Ok::<_, LinkError>(row.try_get::<_, bool>(10)?.then_some(gist(row, 9)?));
    Ok(match row.try_get::<_, i32>(3)? {
        0 => Part::Booking {
            position: position(row, 4)?,
            kind: EntryKind::parse(word),
            amount: Money::from_micros(row.try_get(6)?),
            day: Day(row.try_get(7)?),
            at: time(row, 8)?,
        },
        1 => Part::Fact { position: position(row, 4)?, kind: FactKind::parse(word), record: record()? },
        2 => Part::Live { reserved: Money::from_micros(row.try_get(6)?), day: Day(row.try_get(7)?), record: record()? },
        _ => Part::Final { record: gist(row, 9)?.filter(|record| record.status.as_str() == word) },
    })
}

fn gist(row: &Row, column: usize) -> Result<Gist, LinkError> {
    let text: Option<&str> = row.try_get(column)?;
    let read = text.and_then(|text| serde_json::from_str::<Read>(text).ok());
    Ok(read.map(|read| Record {
        call: read.id,
        organization: read.organization_id,
        status: read.status,
        cost: read.cost,
        day: read.day,
        is_answered: read.answered_at.is_some(),
        billable_seconds: read.billable_seconds,
    }))
}

/// The sums of days: of the charges, and of the records that were dropped.
fn days(link: &mut Link, auditor: &mut Auditor<'_>) -> Result<(), LinkError> {
    for (table, take) in [("spend", Auditor::spend as fn(&mut _, _, _, _)), ("retired", Auditor::retired)] {
        let rows = link.query(
            &format!(
                "SELECT coalesce(name, ''), day, calls, answered, billable_seconds, spent
                 FROM {table} LEFT JOIN organization ON organization.id = {table}.organization"
            ),
            &[],
        )?;
        for row in &rows {
            let sums = DaySums {
                calls: position(row, 2)?,
                answered: position(row, 3)?,
                billable_seconds: position(row, 4)?,
                spent: Money::from_micros(row.try_get(5)?),
            };
            take(auditor, OrganizationId(row.try_get::<_, &str>(0)?.into()), Day(row.try_get(1)?), sums);
        }
    }
    Ok(())
}

/// What the accounts hold by the postings.
fn postings(link: &mut Link, auditor: &mut Auditor<'_>) -> Result<(), LinkError> {
    let rows = link.query(
        "SELECT name, day, (sum(amount) FILTER (WHERE account = 'available'))::bigint,
                (sum(amount) FILTER (WHERE account = 'reserved'))::bigint,
                (sum(amount) FILTER (WHERE account = 'spent'))::bigint
         FROM postings JOIN organization ON organization.id = postings.organization GROUP BY name, day",
        &[],
    )?;
    for row in &rows {
        let sum = |column| Ok::<_, LinkError>(Money::from_micros(row.try_get::<_, Option<i64>>(column)?.unwrap_or(0)));
        let balances = Balances { available: sum(2)?, reserved: sum(3)?, spent: sum(4)? };
        auditor.balances(OrganizationId(row.try_get::<_, &str>(0)?.into()), Day(row.try_get(1)?), balances);
    }
    let unbalanced = "SELECT call, sum(amount)::bigint FROM postings GROUP BY booking, call HAVING sum(amount) <> 0";
    for row in &link.query(unbalanced, &[])? {
        auditor.unbalanced_booking(CallId::from_bytes(bytes(row, 0)?), Money::from_micros(row.try_get(1)?));
    }
    Ok(())
}

/// Answers and tokens are younger than any record that is dropped, so their calls are there.
fn references(link: &mut Link, auditor: &mut Auditor<'_>) -> Result<(), LinkError> {
    let mut refer = |link: &mut Link, finding: Finding, call: CallId| -> Result<(), LinkError> {
        let there = "SELECT 1 FROM live WHERE call = $1
             UNION ALL
             SELECT 1 FROM organization JOIN calls ON calls.organization = organization.id AND calls.call = $1";
        let is_there = link.query_opt(there, &[&call.to_bytes().as_slice()])?.is_some();
        auditor.reference(finding, call, is_there);
        Ok(())
    };
    for row in &link.query("SELECT answer FROM answers", &[])? {
        let answer: Answer = parse(row, 0)?;
        let named = answer.location.as_deref().and_then(|path| path.strip_prefix("/v1/calls/")?.parse().ok());
        if let Some(call) = named {
            refer(link, Finding::AnswerOfNoCall, call)?;
        }
    }
    for row in &link.query("SELECT call FROM token", &[])? {
        refer(link, Finding::TokenOfNoCall, CallId::from_bytes(bytes(row, 0)?))?;
    }
    let deliveries = "SELECT call FROM delivery
         WHERE NOT EXISTS (SELECT FROM subscription WHERE subscription.id = delivery.subscription)
            OR state = 'pending' AND event > (SELECT facts_to FROM kept)
               AND NOT EXISTS (SELECT FROM journal WHERE journal.id = delivery.event AND amount IS NULL)";
    for row in &link.query(deliveries, &[])? {
        auditor.reference(Finding::DeliveryOfNothing, CallId::from_bytes(bytes(row, 0)?), false);
    }
    Ok(())
}

fn position(row: &Row, column: usize) -> Result<u64, LinkError> {
    Ok(row.try_get::<_, i64>(column)?.unsigned_abs())
}

fn time(row: &Row, column: usize) -> Result<Timestamp, LinkError> {
    Ok(timestamp(row.try_get(column)?))
}
