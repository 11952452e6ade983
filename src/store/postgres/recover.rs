//! Accounts put together from the database, and what a start takes up.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_postgres::Row;

use super::books::Books;
use super::link::{Link, LinkError, Part, bytes, parse};
use super::{micros, timestamp};
use crate::guardrails::{Account, Attempt, DestinationPrefix, LONGEST_MEMORY, Lease, Mark, MarkKind};
use crate::model::{CallId, Day, E164, Money, OrganizationId, Timestamp, UserId};
use crate::store::engine::wall_clock;
use crate::store::{Recovered, Unfinished};

/// Admissions read back for the rolling minute of one organization, at most.
const MINUTE_ROWS: i64 = 500_000;

/// Gives each organization its number, unless it has one.
pub(super) fn enrol(link: &mut Link, names: impl Iterator<Item = OrganizationId>) -> Result<(), LinkError> {
    let names: Vec<_> = names.map(|name| name.as_str().to_owned()).collect();
    link.execute(
        "INSERT INTO organization (name) SELECT name FROM unnest($1::text[]) AS declared (name)
         WHERE NOT EXISTS (SELECT FROM organization WHERE organization.name = declared.name)
         ORDER BY name ON CONFLICT DO NOTHING",
        &[&names],
    )
    .map(drop)
}

/// Makes room in memory for organizations that are new, and reads their accounts and those that may be old.
pub(super) fn learn(link: &mut Link, books: &mut Books) -> Result<(), LinkError> {
    for row in link.query("SELECT id, name FROM organization", &[])? {
        let (id, name) = (row.try_get(0)?, OrganizationId(row.try_get::<_, &str>(1)?.into()));
        books.meet(id, name);
    }
    let all: Vec<_> = books.accounts.keys().cloned().collect();
    refresh(link, books, &all, wall_clock())
}

/// Makes these accounts agree with the database, at one moment of it.
pub(super) fn refresh(
    link: &mut Link,
    books: &mut Books,
    organizations: &[OrganizationId],
    now: Timestamp,
) -> Result<(), LinkError> {
    link.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
    let ids = books.ids(organizations);
    let versions = link.query("SELECT id, version FROM organization WHERE id = ANY ($1)", &[&ids]);
    let read = versions.and_then(|versions| {
        let moved = books.moved(&versions)?;
        reload(link, books, &moved, now)
    });
    let ended = link.batch("COMMIT");
    read.and(ended)
}

/// Reads these accounts anew, inside a transaction that nobody writes to them beside. Each with its version.
pub(super) fn reload(
    link: &mut Link,
    books: &mut Books,
    moved: &BTreeMap<i64, i64>,
    now: Timestamp,
) -> Result<(), LinkError> {
    if moved.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = moved.keys().copied().collect();
    let from = micros(now - Duration::from_secs(60));
    let remembered = micros(now - LONGEST_MEMORY);
    let rows = link.together(&[
        Part::new(
            "SELECT organization, call, user_id, from_number, to_number, connect_number, reserved, day
             FROM live WHERE organization = ANY ($1) AND record IS NOT NULL",
            &[&ids],
        ),
        Part::new(
            "SELECT journal.organization, journal.at FROM unnest($1::bigint[]) AS wanted (organization),
                    LATERAL (SELECT organization, at, id FROM journal
                             WHERE organization = wanted.organization AND kind = 'reserve' AND at > $2
                             ORDER BY at DESC LIMIT $3) AS journal
             ORDER BY journal.at",
            &[&ids, &from, &MINUTE_ROWS],
        ),
        Part::new(
            "SELECT organization, day, sum(spent)::bigint FROM spend
             WHERE organization = ANY ($1) GROUP BY organization, day",
            &[&ids],
        ),
        Part::new(
            "SELECT organization, prefix, kind, at FROM breaker WHERE organization = ANY ($1) AND at > $2 ORDER BY id",
            &[&ids, &remembered],
        ),
    ])?;
    let [leases, admitted, spent, marks] = &*rows else { return Err(LinkError::Row("four results".to_owned())) };
    let (mut leases, mut admitted, mut spent) = (by(leases, lease)?, by(admitted, at)?, by(spent, day)?);
    let mut marks = by(marks, mark)?;
    for (name, owner) in &mut books.accounts {
        let Some(version) = moved.get(&owner.id) else { continue };
        let mut leases = leases.remove(&owner.id).unwrap_or_default();
        for lease in &mut leases {
            lease.attempt.organization = name.clone();
        }
        let yesterday = now.day(&owner.account.rules.zone).before();
        let oldest = leases.iter().map(|lease| lease.day).min().map_or(yesterday, |day| day.min(yesterday));
        let mut spent = spent.remove(&owner.id).unwrap_or_default();
        spent.retain(|(day, _)| *day >= oldest);
        // One that lies ahead of this node's clock counts as of now.
        let admitted = admitted.remove(&owner.id).unwrap_or_default();
        let admitted = admitted.into_iter().map(|at| at.min(now));
        let marks = marks.remove(&owner.id).unwrap_or_default().into_iter().flatten();
        let marks: Vec<_> = marks.map(|mark| mark.not_after(now)).collect();
        owner.account = Account::restored(owner.account.rules.clone(), admitted, leases, spent, marks);
        owner.version = Some(*version);
    }
    Ok(())
}

/// Rows by the number of the organization, which each begins with.
fn by<T>(rows: &[Row], read: fn(&Row) -> Result<T, LinkError>) -> Result<BTreeMap<i64, Vec<T>>, LinkError> {
    let mut all: BTreeMap<i64, Vec<T>> = BTreeMap::new();
    for row in rows {
        all.entry(row.try_get(0)?).or_default().push(read(row)?);
    }
    Ok(all)
}

fn lease(row: &Row) -> Result<Lease, LinkError> {
    let number = |text: &str| E164::parse(text).map_err(|_| LinkError::Row("a number is none".to_owned()));
    let attempt = Attempt {
        call: CallId::from_bytes(bytes(row, 1)?),
        organization: OrganizationId("".into()),
        user: UserId(row.try_get::<_, &str>(2)?.into()),
        from: number(row.try_get(3)?)?,
        to: number(row.try_get(4)?)?,
        connect: row.try_get::<_, Option<&str>>(5)?.map(number).transpose()?,
    };
    Ok(Lease { attempt, reserved: Money::from_micros(row.try_get(6)?), day: Day(row.try_get(7)?) })
}

fn at(row: &Row) -> Result<Timestamp, LinkError> {
    Ok(timestamp(row.try_get(1)?))
}

fn day(row: &Row) -> Result<(Day, Money), LinkError> {
    Ok((Day(row.try_get(1)?), Money::from_micros(row.try_get(2)?)))
}

/// `None` for a mark that only a newer release knows.
fn mark(row: &Row) -> Result<Option<Mark>, LinkError> {
    let (prefix, kind) = (DestinationPrefix::parse(row.try_get(1)?), MarkKind::parse(row.try_get(2)?));
    let at = timestamp(row.try_get(3)?);
    Ok(prefix.zip(kind).map(|(prefix, kind)| Mark { prefix, kind, at }))
}

/// The calls of a node that are not forgotten.
pub(super) fn recovered(link: &mut Link, node: &str, last_alive: Option<Timestamp>) -> Result<Recovered, LinkError> {
    let left_at = last_alive.map_or(0, micros);
    link.execute(
        "UPDATE live SET left_at = $2 WHERE node = $1 AND record IS NOT NULL AND left_at IS NULL",
        &[&node, &left_at],
    )?;
    let rows = link.query(
        "SELECT live.call, organization.name, coalesce(live.record, calls.record), live.snapshot, live.left_at
         FROM live JOIN organization ON organization.id = live.organization
              LEFT JOIN calls ON calls.organization = live.organization AND calls.call = live.call
         WHERE live.node = $1 ORDER BY live.call",
        &[&node],
    )?;
    let calls = rows.iter().map(|row| {
        Ok(Unfinished {
            call: CallId::from_bytes(bytes(row, 0)?),
            organization: OrganizationId(row.try_get::<_, &str>(1)?.into()),
            record: parse(row, 2)?,
            snapshot: row.try_get::<_, Option<Vec<u8>>>(3)?.unwrap_or_default().into(),
            last_alive: row.try_get::<_, Option<i64>>(4)?.map(timestamp),
        })
    });
    Ok(Recovered { calls: calls.collect::<Result<_, LinkError>>()?, last_alive })
}
