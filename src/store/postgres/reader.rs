//! Reads of records and answers, beside the writer, on a few connections that cannot write.

use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::link::{Link, LinkError, bytes, parse};
use super::pool::Pool;
use super::server::Server;
use super::{answers, micros, timestamp, tokens};
use crate::events::FactKind;
use crate::model::{CallId, CallRecord, OrganizationId, Status, Timestamp, TokenDigest};
use crate::store::engine::{EXAMINED, StoreError};
use crate::store::{CallFilter, Event, Idempotency, Page, TokenState};

/// A call's id is drawn within this of its `created_at`.
const SLACK: Duration = Duration::from_secs(60);

/// Every read blocks.
pub(super) struct Reader(Pool);

impl Reader {
    pub fn new(server: Server) -> Self {
        Self(Pool::new(server, Server::reader))
    }

    pub fn read<T>(&self, query: impl Fn(&mut Link) -> Result<T, LinkError>) -> Result<T, StoreError> {
        self.0.read(query)
    }

    pub fn call(&self, organization: &OrganizationId, call: CallId) -> Result<Option<CallRecord>, StoreError> {
        self.read(|link| {
            let row = link.query_opt(
                "SELECT record FROM live JOIN organization ON organization.id = live.organization
                 WHERE call = $2 AND name = $1 AND record IS NOT NULL
                 UNION ALL
                 SELECT record FROM calls
                 WHERE organization = (SELECT id FROM organization WHERE name = $1) AND call = $2",
                &[&organization.as_str(), &call.to_bytes().as_slice()],
            )?;
            row.map(|row| parse(&row, 0)).transpose()
        })
    }

    pub fn list(&self, organization: &OrganizationId, query: &CallFilter) -> Result<Page, StoreError> {
        let filter = Filter::new(organization, query);
        self.read(|link| {
            // Two statements see one moment of the database; where everything is wanted, one is enough.
            let narrowed = filter.is_narrowed();
            if narrowed {
                link.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
            }
            let rows = link.query(&filter.found(), &filter.bound(filter.values.len()))?;
            let mut rows: Vec<(i64, CallRecord)> =
                rows.iter().map(|row| Ok((row.try_get(0)?, parse(row, 2)?))).collect::<Result<_, LinkError>>()?;
            let more = rows.len() > query.limit;
            rows.truncate(query.limit);
            let next = match rows.last() {
                Some((last, _)) if more => Some(*last),
                Some(_) | None if narrowed => filter.end(link)?,
                // What was not found is not there.
                Some(_) | None => None,
            };
            if narrowed {
                link.batch("COMMIT")?;
            }
            Ok(Page { records: rows.into_iter().map(|(_, record)| record).collect(), next })
        })
    }

    pub fn events(
        &self,
        organization: &OrganizationId,
        of: Option<CallId>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let call = of.map(|call| call.to_bytes().to_vec());
        let sql = format!(
            "SELECT id, call, kind, at, record FROM journal
             WHERE id > $2 AND record IS NOT NULL {}
               AND organization = (SELECT id FROM organization WHERE name = $1)
             ORDER BY id LIMIT $3",
            if call.is_some() { "AND call = $4" } else { "" }
        );
        self.read(|link| {
            let bound: &[&(dyn ToSql + Sync)] = &[&organization.as_str(), &after, &limit, &call];
            let rows = link.query(&sql, if call.is_some() { bound } else { &bound[..3] })?;
            rows.iter().filter_map(|row| event(row).transpose()).collect()
        })
    }

    pub fn newest_event(&self, organization: &OrganizationId) -> Result<u64, StoreError> {
        self.read(|link| {
            let row = link.query_opt(
                "SELECT id FROM journal
                 WHERE record IS NOT NULL AND organization = (SELECT id FROM organization WHERE name = $1)
                 ORDER BY id DESC LIMIT 1",
                &[&organization.as_str()],
            )?;
            Ok(row.map(|row| row.try_get::<_, i64>(0)).transpose()?.map_or(0, i64::unsigned_abs))
        })
    }

    pub fn find_answer(&self, key: &[u8; 32], now: Timestamp) -> Result<Option<Idempotency>, StoreError> {
        self.read(|link| answers::find(link, key, now))
    }

    pub fn find_token(&self, digest: TokenDigest) -> Result<Option<TokenState>, StoreError> {
        self.read(|link| tokens::find(link, digest))
    }
}

/// `None` for a kind of fact that only a newer release knows.
fn event(row: &Row) -> Result<Option<Event>, LinkError> {
    let Some(kind) = FactKind::parse(row.try_get(2)?) else { return Ok(None) };
    Ok(Some(Event {
        position: row.try_get::<_, i64>(0)?.unsigned_abs(),
        call: CallId::from_bytes(bytes(row, 1)?),
        kind,
        at: timestamp(row.try_get(3)?),
        record: parse(row, 4)?,
    }))
}

/// The conditions of a list and the values bound to them.
///
/// What an index answers bounds the rows that are looked at, and so does [`EXAMINED`]; the rest is judged row by
/// row among those.
struct Filter {
    bounds: String,
    wanted: String,
    /// Only calls that live can have the status that is asked for.
    is_live: bool,
    /// Those of the bounds, and then the limit and those of what is wanted.
    values: Vec<Box<dyn ToSql + Sync>>,
    limit_at: usize,
}

impl Filter {
    fn new(organization: &OrganizationId, query: &CallFilter) -> Self {
        let is_live = query.status.is_some_and(|status| !status.is_terminal());
        let values: Vec<Box<dyn ToSql + Sync>> = vec![Box::new(organization.as_str().to_owned())];
        let mut filter = Filter { bounds: String::new(), wanted: "TRUE".to_owned(), is_live, values, limit_at: 0 };
        filter.within(
            "call < coalesce((SELECT call FROM live WHERE id = $), (SELECT call FROM calls WHERE id = $))",
            query.cursor,
        );
        filter.within("created_at >= $", query.after.map(micros));
        filter.within("created_at < $", query.before.map(micros));
        // Ids sort by time, so the index ends the search where the times would only skip row after row.
        filter.within("call >= $", query.after.map(|at| id_at(at - SLACK)));
        filter.within("call < $", query.before.map(|at| id_at(at + SLACK)));
        filter.limit_at = filter.values.len();
        // One more than asked for tells whether there is a next page.
        filter.values.push(Box::new(i64::try_from(query.limit).unwrap_or(i64::MAX).saturating_add(1)));
        filter.want("status = $", query.status.map(Status::as_str));
        filter.want("from_number = $", query.from.map(|number| String::from(&*number.text())));
        filter.want("to_number = $", query.to.map(|number| String::from(&*number.text())));
        filter.want("user_id = $", query.user.as_ref().map(|user| user.as_str().to_owned()));
        filter
    }

    fn is_narrowed(&self) -> bool {
        self.values.len() > self.limit_at + 1
    }

    fn bound(&self, so_many: usize) -> Vec<&(dyn ToSql + Sync)> {
        self.values.iter().take(so_many).map(|value| value.as_ref() as _).collect()
    }

    fn within(&mut self, condition: &str, value: Option<impl ToSql + Sync + 'static>) {
        if let Some(condition) = self.bind(condition, value) {
            self.bounds.push_str(&condition);
        }
    }

    fn want(&mut self, condition: &str, value: Option<impl ToSql + Sync + 'static>) {
        if let Some(condition) = self.bind(condition, value) {
            self.wanted.push_str(&condition);
        }
    }

    /// `$` stands for the value.
    fn bind(&mut self, condition: &str, value: Option<impl ToSql + Sync + 'static>) -> Option<String> {
        self.values.push(Box::new(value?));
        let place = format!("${}", self.values.len());
        Some(format!(" AND {}", condition.replace('$', &place)))
    }

    /// The calls that are looked at, newest first. Each is in exactly one of the two halves, and each half has an
    /// order of its own, so that neither is read further than the whole is.
    fn looked_at(&self) -> String {
        let half = |table: &str, and: &str| {
            format!(
                "(SELECT id, call, record, status, from_number, to_number, user_id FROM {table}
                  WHERE organization = (SELECT id FROM organization WHERE name = $1){and}{}
                  ORDER BY call DESC)",
                self.bounds
            )
        };
        let live = half("live", " AND record IS NOT NULL");
        match self.is_live {
            true => live,
            false => format!("{live} UNION ALL {}", half("calls", "")),
        }
    }

    /// What is found among them. The inner limit is an end to the search, the outer one ends it sooner.
    fn found(&self) -> String {
        format!(
            "SELECT id, call, record
             FROM (SELECT * FROM ({}) AS both_halves ORDER BY call DESC LIMIT {EXAMINED}) AS looked_at
             WHERE {} ORDER BY call DESC LIMIT ${}",
            self.looked_at(),
            self.wanted,
            self.limit_at + 1
        )
    }

    /// The last call that is looked at, if there are more behind it.
    fn end(&self, link: &mut Link) -> Result<Option<i64>, LinkError> {
        let looked_at = self.looked_at();
        let last = EXAMINED - 1;
        let sql = format!("SELECT id FROM ({looked_at}) AS both_halves ORDER BY call DESC OFFSET {last} LIMIT 2");
        match &*link.query(&sql, &self.bound(self.limit_at))? {
            [last, _] => Ok(Some(last.try_get(0)?)),
            [] | [_] | [_, _, ..] => Ok(None),
        }
    }
}

/// The smallest call id of a moment.
fn id_at(at: Timestamp) -> Vec<u8> {
    (u128::from(at.as_millis()) << 80).to_be_bytes().to_vec()
}
