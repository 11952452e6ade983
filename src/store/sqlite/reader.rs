//! Reads of records and answers, beside the writer.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, ToSql, named_params};

use super::books::micros;
use super::{StoreError, answers, schema, statements, tokens};
use crate::events::FactKind;
use crate::model::{CallId, CallRecord, Day, OrganizationId, Status, Timestamp, TokenDigest};
use crate::store::engine::EXAMINED;
use crate::store::{CallFilter, Event, Idempotency, Page, Statement, TokenState};

/// Connections kept open; more readers than this at once open their own.
const IDLE: usize = 2;

/// A call's id is drawn within this of its `created_at`.
const SLACK: Duration = Duration::from_secs(60);

/// Reads beside the writer, on connections that cannot write. Every read blocks.
pub(super) struct Reader {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Reader {
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), idle: Mutex::default() }
    }

    pub fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let idle = || self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let kept = idle().pop();
        let db = kept.map_or_else(|| schema::open_reader(&self.path), Ok)?;
        let read = query(&db)?;
        let mut idle = idle();
        if idle.len() < IDLE {
            idle.push(db);
        }
        Ok(read)
    }

    pub fn call(&self, organization: &OrganizationId, call: CallId) -> Result<Option<CallRecord>, StoreError> {
        self.read(|db| {
            let mut select = db.prepare_cached(
                "SELECT record FROM live JOIN organization ON organization.id = live.organization
                 WHERE call = :call AND name = :name AND record IS NOT NULL
                 UNION ALL
                 SELECT record FROM calls
                 WHERE organization = (SELECT id FROM organization WHERE name = :name) AND call = :call",
            )?;
            let named = named_params! { ":name": organization.as_str(), ":call": call.to_bytes() };
            select.query_row(named, |row| super::parse(row, 0)).optional()
        })
    }

    pub fn list(&self, organization: &OrganizationId, query: &CallFilter) -> Result<Page, StoreError> {
        let filter = Filter::new(organization, query);
        self.read(|db| {
            let mut select = db.prepare_cached(&filter.sql())?;
            let bound: Vec<(&str, &dyn ToSql)> = filter.values.iter().map(|(n, v)| (*n, v.as_ref())).collect();
            let (mut rows, mut page, mut last, mut examined) = (select.query(&*bound)?, Page::default(), None, 0);
            while let Some(row) = rows.next()? {
                let wanted = row.get("wanted")?;
                if examined == EXAMINED || wanted && page.records.len() == query.limit {
                    page.next = last;
                    break;
                }
                if wanted {
                    page.records.push(super::parse(row, 2)?);
                }
                last = Some(row.get(0)?);
                examined += 1;
            }
            Ok(page)
        })
    }

    pub fn events(
        &self,
        organization: &OrganizationId,
        of: Option<CallId>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        let (of_call, call) = match of {
            Some(call) => ("AND call = :call", Some(call.to_bytes())),
            None => ("", None),
        };
        let mut events = self.read(|db| {
            let mut select = db.prepare_cached(&format!(
                "SELECT id, call, kind, at, record FROM journal
                 WHERE id > :after AND record IS NOT NULL {of_call}
                   AND organization = (SELECT id FROM organization WHERE name = :name)
                 ORDER BY id LIMIT :limit"
            ))?;
            let after = i64::try_from(after).unwrap_or(i64::MAX);
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let bound: &[(&str, &dyn ToSql)] =
                &[(":after", &after), (":name", &organization.as_str()), (":limit", &limit), (":call", &call)];
            let bound = if call.is_some() { bound } else { &bound[..3] };
            select.query_map(bound, event)?.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        Ok(events.drain(..).flatten().collect())
    }

    pub fn newest_event(&self, organization: &OrganizationId) -> Result<u64, StoreError> {
        self.read(|db| {
            let mut select = db.prepare_cached(
                "SELECT id FROM journal
                 WHERE record IS NOT NULL AND organization = (SELECT id FROM organization WHERE name = ?)
                 ORDER BY id DESC LIMIT 1",
            )?;
            let newest = select.query_row([organization.as_str()], |row| row.get::<_, i64>(0)).optional()?;
            Ok(newest.map_or(0, i64::unsigned_abs))
        })
    }

    pub fn statement(&self, organization: &OrganizationId, from: Day, to: Day) -> Result<Statement, StoreError> {
        self.read(|db| statements::statement(db, organization, from, to))
    }

    pub fn find_answer(&self, key: &[u8; 32], now: Timestamp) -> Result<Option<Idempotency>, StoreError> {
        self.read(|db| answers::find(db, key, now))
    }

    pub fn find_token(&self, digest: TokenDigest) -> Result<Option<TokenState>, StoreError> {
        self.read(|db| tokens::find(db, digest))
    }
}

/// `None` for a kind of fact that only a newer release knows.
fn event(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Event>> {
    let kind: String = row.get(2)?;
    let Some(kind) = FactKind::parse(&kind) else { return Ok(None) };
    Ok(Some(Event {
        position: row.get::<_, i64>(0)?.unsigned_abs(),
        call: CallId::from_bytes(row.get(1)?),
        kind,
        at: Timestamp::from_micros(row.get::<_, i64>(3)?.unsigned_abs()),
        record: super::parse(row, 4)?,
    }))
}

/// The conditions of a list and the values bound to them.
///
/// What an index answers bounds the rows that are read; the rest is judged row by row, so that whoever reads
/// can tell how many were looked at.
struct Filter {
    bounds: String,
    wanted: String,
    /// Only calls that live can have the status that is asked for.
    is_live: bool,
    values: Vec<(&'static str, Box<dyn ToSql>)>,
}

impl Filter {
    fn new(organization: &OrganizationId, query: &CallFilter) -> Self {
        let is_live = query.status.is_some_and(|status| !status.is_terminal());
        let mut filter = Filter { bounds: String::new(), wanted: "TRUE".to_owned(), is_live, values: Vec::new() };
        filter.bind(":name", organization.as_str().to_owned());
        filter.within(
            "call < coalesce((SELECT call FROM live WHERE id = :cursor),
                                       (SELECT call FROM calls WHERE id = :cursor))",
            ":cursor",
            query.cursor,
        );
        filter.within("created_at >= :after", ":after", query.after.map(micros));
        filter.within("created_at < :before", ":before", query.before.map(micros));
        // Ids sort by time, so the index ends the search where the times would only skip row after row.
        filter.within("call >= :oldest", ":oldest", query.after.map(|at| id_at(at - SLACK)));
        filter.within("call < :newest", ":newest", query.before.map(|at| id_at(at + SLACK)));
        filter.want("status = :status", ":status", query.status.map(Status::as_str));
        filter.want("from_number = :from", ":from", query.from.map(|number| String::from(&*number.text())));
        filter.want("to_number = :to", ":to", query.to.map(|number| String::from(&*number.text())));
        filter.want("user_id = :user", ":user", query.user.as_ref().map(|user| user.as_str().to_owned()));
        filter
    }

    fn bind(&mut self, name: &'static str, value: impl ToSql + 'static) {
        self.values.push((name, Box::new(value)));
    }

    fn within(&mut self, condition: &str, name: &'static str, value: Option<impl ToSql + 'static>) {
        if let Some(value) = value {
            self.bounds.push_str(" AND ");
            self.bounds.push_str(condition);
            self.bind(name, value);
        }
    }

    fn want(&mut self, condition: &str, name: &'static str, value: Option<impl ToSql + 'static>) {
        if let Some(value) = value {
            self.wanted.push_str(" AND ");
            self.wanted.push_str(condition);
            self.bind(name, value);
        }
    }

    /// Each call is in exactly one of the two halves, and one statement sees one moment of the file. Newest
    /// first and without an end: the reader stops.
    fn sql(&self) -> String {
        let Self { bounds, wanted, .. } = self;
        let half = |table, condition| {
            format!(
                "SELECT id, call, record, {wanted} AS wanted FROM {table}
                 WHERE organization = (SELECT id FROM organization WHERE name = :name){condition}{bounds}"
            )
        };
        let live = half("live", " AND record IS NOT NULL");
        match self.is_live {
            true => format!("{live} ORDER BY call DESC"),
            false => format!("{live} UNION ALL {} ORDER BY call DESC", half("calls", "")),
        }
    }
}

/// The smallest call id of a moment.
fn id_at(at: Timestamp) -> [u8; 16] {
    (u128::from(at.as_millis()) << 80).to_be_bytes()
}
