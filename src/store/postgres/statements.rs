//! Statements: the sums of days and what lives, of one moment of the database.

use tokio_postgres::Row;

use super::PostgresStore;
use super::link::{Link, LinkError};
use crate::model::{Day, Money, OrganizationId, Path, UserId};
use crate::store::{Line, Statement, Statements, StoreDown, Sums};

/// What is charged, and what is not over. Each call is in exactly one of them, for it is charged and leaves the
/// live ones in one transaction.
const LINES: &str = "
    SELECT day, user_id, path, calls, 0::bigint, answered, billable_seconds, spent, 0::bigint
    FROM spend WHERE organization = $1 AND day BETWEEN $2 AND $3
    UNION ALL
    SELECT day, user_id, record::json ->> 'path', 1::bigint, 1::bigint,
           (record::json ->> 'answered_at' IS NOT NULL)::int::bigint, 0::bigint, 0::bigint, reserved
    FROM live WHERE organization = $1 AND record IS NOT NULL AND day BETWEEN $2 AND $3";

impl Statements for PostgresStore {
    fn statement(&self, organization: &OrganizationId, from: Day, to: Day) -> Result<Statement, StoreDown> {
        Ok(self.reader.read(|link| statement(link, organization, from, to))?)
    }
}

fn statement(link: &mut Link, organization: &OrganizationId, from: Day, to: Day) -> Result<Statement, LinkError> {
    // One transaction sees one moment of the database.
    link.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
    let newest = "SELECT organization.id, coalesce((SELECT max(journal.id) FROM journal
                         WHERE journal.organization = organization.id), 0)
                  FROM organization WHERE name = $1";
    let row = link.query_opt(newest, &[&organization.as_str()])?;
    let (id, as_of): (i64, i64) =
        row.map_or(Ok((0, 0)), |row| Ok::<_, LinkError>((row.try_get(0)?, row.try_get::<_, i64>(1)?)))?;
    let rows = link.query(LINES, &[&id, &from.0, &to.0])?;
    link.batch("COMMIT")?;
    Ok(Statement::new(as_of.unsigned_abs(), rows.iter().map(line).collect::<Result<Vec<_>, _>>()?))
}

fn line(row: &Row) -> Result<Line, LinkError> {
    let count = |column| Ok::<_, LinkError>(row.try_get::<_, i64>(column)?.unsigned_abs());
    Ok(Line {
        day: Day(row.try_get(0)?),
        user: UserId(row.try_get::<_, &str>(1)?.into()),
        path: row.try_get::<_, Option<&str>>(2)?.and_then(Path::parse).unwrap_or(Path::Bridge),
        sums: Sums {
            calls: count(3)?,
            live: count(4)?,
            answered: count(5)?,
            billable_seconds: count(6)?,
            spent: Money::from_micros(row.try_get(7)?),
            reserved: Money::from_micros(row.try_get(8)?),
        },
    })
}
