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
use crate::store::engine::StoreError;
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
        let mut rows: Vec<(i64, CallRecord)> = self.read(|link| {
            let bound: Vec<&(dyn ToSql + Sync)> = filter.values.iter().map(|value| value.as_ref() as _).collect();
            let rows = link.query(&filter.sql(), &bound)?;
            rows.iter().map(|row| Ok((row.try_get(0)?, parse(row, 2)?))).collect()
        })?;
        let more = rows.len() > query.limit;
        rows.truncate(query.limit);
        let next = rows.last().filter(|_| more).map(|(id, _)| *id);
        Ok(Page { records: rows.into_iter().map(|(_, record)| record).collect(), next })
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
struct Filter {
    conditions: String,
    values: Vec<Box<dyn ToSql + Sync>>,
}

impl Filter {
    fn new(organization: &OrganizationId, query: &CallFilter) -> Self {
        // One more than asked for tells whether there is a next page.
        let limit = i64::try_from(query.limit).unwrap_or(i64::MAX).saturating_add(1);
        let values: Vec<Box<dyn ToSql + Sync>> = vec![Box::new(organization.as_str().to_owned()), Box::new(limit)];
        let mut filter = Filter { conditions: String::new(), values };
        filter.narrow(
            "call < coalesce((SELECT call FROM live WHERE id = $), (SELECT call FROM calls WHERE id = $))",
            query.cursor,
        );
        filter.narrow("status = $", query.status.map(Status::as_str));
        filter.narrow("from_number = $", query.from.map(|number| String::from(&*number.text())));
        filter.narrow("to_number = $", query.to.map(|number| String::from(&*number.text())));
        filter.narrow("user_id = $", query.user.as_ref().map(|user| user.as_str().to_owned()));
        filter.narrow("created_at >= $", query.after.map(micros));
        filter.narrow("created_at < $", query.before.map(micros));
        // Ids sort by time, so the index ends the search where the times would only skip row after row.
        filter.narrow("call >= $", query.after.map(|at| id_at(at - SLACK)));
        filter.narrow("call < $", query.before.map(|at| id_at(at + SLACK)));
        filter
    }

    /// `$` stands for the value.
    fn narrow(&mut self, condition: &str, value: Option<impl ToSql + Sync + 'static>) {
        if let Some(value) = value {
            self.values.push(Box::new(value));
            let place = format!("${}", self.values.len());
            self.conditions.push_str(" AND ");
            self.conditions.push_str(&condition.replace('$', &place));
        }
    }

    /// Each call is in exactly one of the two halves, and one statement sees one moment of the database. Each
    /// half is no longer than the whole, so that neither is read to its end.
    fn sql(&self) -> String {
        let conditions = &self.conditions;
        let half = |table: &str, and: &str| {
            format!(
                "(SELECT id, call, record FROM {table}
                  WHERE organization = (SELECT id FROM organization WHERE name = $1){and}{conditions}
                  ORDER BY call DESC LIMIT $2)"
            )
        };
        let (live, over) = (half("live", " AND record IS NOT NULL"), half("calls", ""));
        format!("{live} UNION ALL {over} ORDER BY call DESC LIMIT $2")
    }
}

/// The smallest call id of a moment.
fn id_at(at: Timestamp) -> Vec<u8> {
    (u128::from(at.as_millis()) << 80).to_be_bytes().to_vec()
}
