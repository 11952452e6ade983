//! Tenants in the database: read as a whole, changed row by row, with an entry of the audit log for each.
//!
//! Every node remembers them with their version. A change locks the version; each group looks at it before it
//! decides, and the writer looks twice a second for the edge's sake, which lets nobody in on a key that
//! another node has revoked.

use std::sync::{Arc, mpsc};

use tokio_postgres::Row as Found;

use super::books::{Books, Failed};
use super::link::{Link, LinkError, Part};
use super::writer::{Order, Writer, known_alive};
use super::{PostgresStore, answers, batch, micros, recover, timestamp};
use crate::model::OrganizationId;
use crate::store::engine::{StoreError, wall_clock};
use crate::store::tenants::{Actor, Decided, Entry, Kind, ObjectId, Row, Tenants, Touched, Unreadable, Verb};
use crate::store::{ChangeFilter, ChangeKey, ChangeOrder, ChangePage, Changed, Idempotency, StoreDown, Tenancy};

impl Tenancy for PostgresStore {
    fn tenants(&self) -> Arc<Tenants> {
        self.directory.tenants()
    }

    fn change(&self, order: ChangeOrder) -> Result<Changed, StoreDown> {
        let (reply, changed) = mpsc::sync_channel(1);
        self.order(Order::Change(Box::new(order), Box::new(move |changed| drop(reply.send(changed)))));
        changed.recv().ok().flatten().ok_or_else(|| StoreError::Unwritable.into())
    }

    fn changes(&self, filter: &ChangeFilter) -> Result<ChangePage, StoreDown> {
        Ok(self.reader.read(|link| changes(link, filter))?)
    }
}

/// What follows from a change, inside a transaction that is open.
enum Outcome {
    Decided(Box<Decided>),
    /// Nothing was written.
    Other(Changed),
}

pub(super) const VERSION: &str = "SELECT version FROM directory";

impl Writer {
    /// One change, durable and in force on this node when this returns; `None` when it could not be written, or
    /// nobody knows.
    pub(super) fn change(&mut self, order: &ChangeOrder) -> Option<Changed> {
        let mut link = self.link.take().filter(|_| !self.fenced)?;
        self.number += 1;
        let number = self.number;
        let outcome = self.try_change(&mut link, number, order);
        self.link = Some(link);
        match outcome {
            Ok(Outcome::Decided(decided)) => Some(self.follow(*decided)),
            Ok(Outcome::Other(changed)) => Some(changed),
            Err(failed) => {
                self.not_changed(failed);
                None
            }
        }
    }

    fn try_change(&self, link: &mut Link, number: i64, order: &ChangeOrder) -> Result<Outcome, Failed> {
        let began = batch::begin(link, &self.node, number, known_alive(self.late, wall_clock()))
            .map_err(Failed::before_commit)?;
        if !began {
            return Err(Failed::Fenced);
        }
        let outcome = decide(link, &self.books.tenants, order).map_err(Failed::before_commit)?;
        // Nobody waits for it any more when this fails: what became of it shows in the version.
        link.batch("COMMIT").map_err(Failed::before_commit)?;
        Ok(outcome)
    }

    fn not_changed(&mut self, failed: Failed) {
        match failed {
            Failed::Fenced => self.fence(),
            Failed::Refused(error) => {
                tracing::error!(%error, "the store cannot be written");
                self.undo();
            }
            Failed::Lost(error) | Failed::InDoubt(error, _) => self.lose(&error),
        }
    }

    /// The change is durable: the next decision is by what follows from it.
    fn follow(&mut self, decided: Decided) -> Changed {
        let Decided { tenants, touched, skipped, .. } = decided;
        let tenants = Arc::new(tenants);
        self.books.declare(Arc::clone(&tenants), &touched);
        if !self.books.has_all()
            && let Some(link) = self.link.as_mut()
            && let Err(error) = recover::learn(link, &mut self.books)
        {
            self.lose(&error);
        }
        Changed::Done { tenants, skipped }
    }

    /// Takes over what other nodes have changed.
    pub(super) fn look(&mut self) {
        let Some(link) = self.link.as_mut() else { return };
        if let Err(error) = catch_up(link, &mut self.books) {
            self.lose(&error);
        }
    }
}

/// Makes the tenants in memory agree with the database, and the accounts with the tenants.
pub(super) fn catch_up(link: &mut Link, books: &mut Books) -> Result<(), LinkError> {
    if version(link)? != books.tenants.version() {
        let newer = Arc::new(load(link)?);
        books.declare(newer, &Touched::all());
    }
    if books.has_all() { Ok(()) } else { recover::learn(link, books) }
}

/// Decides and writes, in a transaction that no other change runs beside.
fn decide(link: &mut Link, known: &Tenants, order: &ChangeOrder) -> Result<Outcome, LinkError> {
    let locked = link.query_opt("SELECT version FROM directory FOR UPDATE", &[])?;
    let locked = locked.map_or(Ok(0), |row| row.try_get::<_, i64>(0))?.unsigned_abs();
    let key = order.idempotency.as_ref();
    if let Some(first) = key.map(|wanted| answers::find(link, &wanted.key, order.at)).transpose()?.flatten() {
        return Ok(Outcome::Other(match key.is_some_and(|wanted| wanted.body == first.body) {
            true => Changed::Replayed(first.answer),
            false => Changed::Conflict { request_id: first.request_id },
        }));
    }
    let newer = if locked == known.version() { None } else { Some(load(link)?) };
    let decided = match newer.as_ref().unwrap_or(known).decide(&order.change, &order.by, order.at) {
        // What another changed is new to this node as well.
        Ok(decided) if newer.is_some() => Decided { touched: Touched::all(), ..decided },
        Ok(decided) => decided,
        Err(refused) => return Ok(Outcome::Other(Changed::Refused(refused))),
    };
    if !decided.is_nothing() {
        write(link, &decided)?;
    }
    if let Some(ChangeKey { key, body, request_id, answer }) = key {
        let answer = answer(&decided.tenants);
        let kept = Idempotency { key: *key, body: *body, request_id: Arc::clone(request_id), answer };
        answers::insert(link, &kept, order.at)?;
    }
    Ok(Outcome::Decided(Box::new(decided)))
}

fn version(link: &mut Link) -> Result<u64, LinkError> {
    let row = link.query_opt(VERSION, &[])?;
    Ok(row.map_or(Ok(0), |row| row.try_get::<_, i64>(0))?.unsigned_abs())
}

/// The tenants as the database has them, at one moment: one statement reads the rows and their version.
pub(super) fn load(link: &mut Link) -> Result<Tenants, LinkError> {
    let rows = link.query(
        "SELECT directory.version, kind, organization, name, document, declared
         FROM directory LEFT JOIN tenant ON true",
        &[],
    )?;
    let version = rows.first().map_or(Ok(0), |row| row.try_get::<_, i64>(0))?.unsigned_abs();
    let all = rows.iter().filter_map(|row| tenant(row).transpose()).collect::<Result<Vec<_>, _>>()?;
    Tenants::load(version, all).map_err(unreadable)
}

/// `None` where there is no tenant at all.
fn tenant(row: &Found) -> Result<Option<Row>, LinkError> {
    let Some(kind) = row.try_get::<_, Option<&str>>(1)? else { return Ok(None) };
    let why = || unreadable(Unreadable { kind: kind.to_owned(), why: "its name is none".to_owned() });
    let id = ObjectId::of_columns(kind, row.try_get(2)?, row.try_get(3)?).ok_or_else(why)?;
    Ok(Some(Row { id, document: row.try_get(4)?, declared: row.try_get(5)? }))
}

fn unreadable(error: Unreadable) -> LinkError {
    LinkError::Row(error.to_string())
}

fn write(link: &mut Link, decided: &Decided) -> Result<(), LinkError> {
    let columns: Vec<_> = decided.rows.iter().map(|row| (row.id.columns(), &row.document, &row.declared)).collect();
    let kinds: Vec<_> = columns.iter().map(|((kind, _, _), _, _)| *kind).collect();
    let owners: Vec<_> = columns.iter().map(|((_, owner, _), _, _)| *owner).collect();
    let names: Vec<_> = columns.iter().map(|((_, _, name), _, _)| &**name).collect();
    let documents: Vec<_> = columns.iter().map(|(_, document, _)| document.as_deref()).collect();
    let declared: Vec<_> = columns.iter().map(|(_, _, declared)| declared.as_deref()).collect();
    let version = i64::try_from(decided.tenants.version()).unwrap_or(i64::MAX);
    link.together(&[
        Part::new(
            "DELETE FROM tenant USING unnest($1::text[], $2::text[], $3::text[]) AS gone (kind, organization, name)
             WHERE (tenant.kind, tenant.organization, tenant.name) = (gone.kind, gone.organization, gone.name)",
            &[&kinds, &owners, &names],
        ),
        Part::new(
            "INSERT INTO tenant (kind, organization, name, document, declared)
             SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
                           AS row (kind, organization, name, document, declared)
             WHERE document IS NOT NULL OR declared IS NOT NULL",
            &[&kinds, &owners, &names, &documents, &declared],
        ),
        Part::new("UPDATE directory SET version = $1", &[&version]),
    ])?;
    let organizations = decided.rows.iter().filter(|row| row.id.kind() == Kind::Organization);
    recover::enrol(link, organizations.filter_map(|row| row.id.organization().cloned()))?;
    append(link, &decided.entries)
}

fn append(link: &mut Link, entries: &[Entry]) -> Result<(), LinkError> {
    let at: Vec<_> = entries.iter().map(|entry| micros(entry.at)).collect();
    let actors: Vec<_> = entries.iter().map(|entry| &*entry.by.name).collect();
    let requests: Vec<_> = entries.iter().map(|entry| entry.by.request_id.as_deref()).collect();
    let verbs: Vec<_> = entries.iter().map(|entry| entry.verb.as_str()).collect();
    let kinds: Vec<_> = entries.iter().map(|entry| entry.kind.as_str()).collect();
    let owners: Vec<_> = entries.iter().map(|e| e.organization.as_ref().map(OrganizationId::as_str)).collect();
    let names: Vec<_> = entries.iter().map(|entry| &*entry.name).collect();
    let before: Vec<_> = entries.iter().map(|entry| entry.before.as_deref()).collect();
    let after: Vec<_> = entries.iter().map(|entry| entry.after.as_deref()).collect();
    link.execute(
        "INSERT INTO change (at, actor, request_id, verb, kind, organization, name, before, after)
         SELECT at, actor, request_id, verb, kind, organization, name, before, after
         FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                     $9::text[])
              WITH ORDINALITY AS entry (at, actor, request_id, verb, kind, organization, name, before, after, place)
         ORDER BY place",
        &[&at, &actors, &requests, &verbs, &kinds, &owners, &names, &before, &after],
    )
    .map(drop)
}

fn changes(link: &mut Link, filter: &ChangeFilter) -> Result<ChangePage, LinkError> {
    // One more than asked for tells whether there is a next page.
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX).saturating_add(1);
    let cursor = filter.cursor.unwrap_or(i64::MAX);
    let columns = "SELECT id, at, actor, request_id, verb, kind, organization, name, before, after FROM change";
    let rows = match &filter.organization {
        Some(organization) => link.query(
            &format!("{columns} WHERE id < $1 AND organization = $3 ORDER BY id DESC LIMIT $2"),
            &[&cursor, &limit, &organization.as_str()],
        )?,
        None => link.query(&format!("{columns} WHERE id < $1 ORDER BY id DESC LIMIT $2"), &[&cursor, &limit])?,
    };
    let more = rows.len() > filter.limit;
    let rows = &rows[..rows.len().min(filter.limit)];
    let next = rows.last().filter(|_| more).map(|row| row.try_get(0)).transpose()?;
    // An entry of a kind that only a newer release knows is left out.
    let entries = rows.iter().filter_map(|row| entry(row).transpose()).collect::<Result<_, _>>()?;
    Ok(ChangePage { entries, next })
}

fn entry(row: &Found) -> Result<Option<(i64, Entry)>, LinkError> {
    let (Some(verb), Some(kind)) = (Verb::parse(row.try_get(4)?), Kind::parse(row.try_get(5)?)) else {
        return Ok(None);
    };
    let entry = Entry {
        at: timestamp(row.try_get(1)?),
        by: Actor {
            name: row.try_get::<_, &str>(2)?.into(),
            request_id: row.try_get::<_, Option<&str>>(3)?.map(Arc::from),
        },
        verb,
        kind,
        organization: row.try_get::<_, Option<&str>>(6)?.map(|id| OrganizationId(id.into())),
        name: row.try_get(7)?,
        before: row.try_get(8)?,
        after: row.try_get(9)?,
    };
    Ok(Some((row.try_get(0)?, entry)))
}
