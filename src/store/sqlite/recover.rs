//! What a start finds in the file, and the accounts put together from it.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::{Connection, params};

use super::books::{Books, Owner, micros};
use super::{breaker, deliveries, statements};
use crate::guardrails::{Account, Attempt, Lease, Rules};
use crate::model::{CallId, CallRecord, Day, Money, OrganizationId, Timestamp};
use crate::store::tenants::Tenants;
use crate::store::{Recovered, Unfinished};

/// Entries of the ledger read back for the rolling minute, at most: a clock that was set back by hours
/// makes the last minute as long.
const LEDGER_TAIL: i64 = 500_000;

/// The accounts as the file has them, under the rules that these tenants have.
pub(super) fn books(db: &Connection, tenants: &Tenants, now: Timestamp) -> rusqlite::Result<Books> {
    let mut leases = leases(db)?;
    let mut admitted = admitted(db, now)?;
    let mut marks = breaker::marks(db, now)?;
    let mut accounts = BTreeMap::new();
    let mut select = db.prepare_cached("SELECT id, name FROM organization")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (id, name) = (row.get(0)?, OrganizationId(row.get::<_, String>(1)?.into()));
        let rules = tenants.rules(&name).unwrap_or_else(Rules::closed);
        let leases = leases.remove(&id).unwrap_or_default();
        let yesterday = now.day(&rules.zone).before();
        let oldest = leases.iter().map(|lease| lease.day).min().map_or(yesterday, |day| day.min(yesterday));
        let spent = spent(db, id, oldest)?;
        let admitted = admitted.remove(&id).unwrap_or_default();
        let marks = marks.remove(&id).unwrap_or_default();
        accounts.insert(name, Owner { id, account: Account::restored(rules, admitted, leases, spent, marks) });
    }
    let next_id = db.query_row(
        "SELECT 1 + max((SELECT coalesce(max(id), 0) FROM live), (SELECT coalesce(max(id), 0) FROM calls),
                        (SELECT last_call FROM kept))",
        [],
        |row| row.get(0),
    )?;
    Ok(Books { accounts, next_id, subscribed: deliveries::subscribed(db)?, deliveries_due: false })
}

/// Gives each organization its number, unless it has one.
pub(super) fn enrol(db: &Connection, names: impl Iterator<Item = OrganizationId>) -> rusqlite::Result<()> {
    let mut insert = db.prepare_cached("INSERT INTO organization (name) VALUES (?) ON CONFLICT DO NOTHING")?;
    for name in names {
        insert.execute([name.as_str()])?;
    }
    Ok(())
}

/// Adds up what the previous process had not yet.
pub(super) fn sum_up(db: &mut Connection) -> rusqlite::Result<()> {
    let tx = db.transaction()?;
    statements::sum_up(&tx)?;
    tx.commit()
}

fn leases(db: &Connection) -> rusqlite::Result<BTreeMap<i64, Vec<Lease>>> {
    let mut leases: BTreeMap<i64, Vec<Lease>> = BTreeMap::new();
    let mut select =
        db.prepare_cached("SELECT organization, reserved, day, record FROM live WHERE record IS NOT NULL")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let record: CallRecord = super::parse(row, 3)?;
        let attempt = Attempt {
            call: record.id,
            organization: record.organization_id,
            user: record.user_id,
            from: record.from_number,
            to: record.to_number.ok_or_else(erased)?,
            connect: record.connect_number,
        };
        let lease = Lease { attempt, reserved: Money::from_micros(row.get(1)?), day: Day(row.get(2)?) };
        leases.entry(row.get(0)?).or_default().push(lease);
    }
    Ok(leases)
}

fn spent(db: &Connection, organization: i64, oldest: Day) -> rusqlite::Result<Vec<(Day, Money)>> {
    let mut select = db.prepare_cached(
        "SELECT day, sum(spent) FROM (
             SELECT day, spent FROM spend WHERE organization = ?1
             UNION ALL
             SELECT day, amount FROM journal
             WHERE id > (SELECT summed FROM alive) AND kind = 'charge' AND organization = ?1)
         WHERE day >= ?2 GROUP BY day",
    )?;
    let days = select
        .query_map(params![organization, oldest.0], |row| Ok((Day(row.get(0)?), Money::from_micros(row.get(1)?))))?;
    days.collect()
}

/// Admissions of the last minute by organization, oldest first. One that the clock now says lies ahead,
/// because the clock was set back, counts as of now.
fn admitted(db: &Connection, now: Timestamp) -> rusqlite::Result<BTreeMap<i64, Vec<Timestamp>>> {
    let mut admitted: BTreeMap<i64, Vec<Timestamp>> = BTreeMap::new();
    let from = micros(now - Duration::from_secs(60));
    let mut select =
        db.prepare_cached("SELECT organization, at, kind = 'reserve' FROM journal ORDER BY id DESC LIMIT ?")?;
    let mut rows = select.query([LEDGER_TAIL])?;
    while let Some(row) = rows.next()? {
        let at: i64 = row.get(1)?;
        if at < from {
            break;
        }
        if row.get(2)? {
            admitted.entry(row.get(0)?).or_default().push(timestamp(at).min(now));
        }
    }
    admitted.values_mut().for_each(|times| times.sort());
    Ok(admitted)
}

/// The calls to take up.
pub(super) fn recovered(db: &Connection) -> rusqlite::Result<Recovered> {
    db.execute(
        "UPDATE live SET left_at = coalesce((SELECT at FROM alive), 0) WHERE record IS NOT NULL AND left_at IS NULL",
        [],
    )?;
    let last_alive = db.query_row("SELECT at FROM alive", [], |row| row.get::<_, Option<i64>>(0))?.map(timestamp);
    let mut select = db.prepare(
        "SELECT live.call, organization.name, coalesce(live.record, calls.record), live.snapshot, live.left_at
         FROM live JOIN organization ON organization.id = live.organization
              LEFT JOIN calls ON calls.organization = live.organization AND calls.call = live.call
         ORDER BY live.call",
    )?;
    let calls = select.query_map([], |row| {
        Ok(Unfinished {
            call: CallId::from_bytes(row.get(0)?),
            organization: OrganizationId(row.get::<_, String>(1)?.into()),
            record: super::parse(row, 2)?,
            snapshot: row.get::<_, Option<Vec<u8>>>(3)?.unwrap_or_default().into(),
            last_alive: row.get::<_, Option<i64>>(4)?.map(timestamp),
        })
    })?;
    Ok(Recovered { calls: calls.collect::<Result<_, _>>()?, last_alive })
}

/// A call that lives has its number: nothing of it is erased before it is over.
fn erased() -> rusqlite::Error {
    rusqlite::Error::InvalidColumnType(3, "to_number".to_owned(), rusqlite::types::Type::Null)
}

fn timestamp(micros: i64) -> Timestamp {
    Timestamp::from_micros(u64::try_from(micros).unwrap_or(0))
}
