//! Tenants in the file: read as a whole, changed row by row, with an entry of the audit log for each.

use std::sync::{Arc, mpsc};

use rusqlite::{Connection, ToSql, named_params, params};

use super::books::micros;
use super::writer::Order;
use super::{SqliteStore, answers, recover};
use crate::model::{OrganizationId, Timestamp};
use crate::store::engine::StoreError;
use crate::store::tenants::{Actor, Decided, Entry, Kind, ObjectId, Row, Tenants, Touched, Unreadable, Verb};
use crate::store::{ChangeFilter, ChangeKey, ChangeOrder, ChangePage, Changed, Idempotency, StoreDown, Tenancy};

impl Tenancy for SqliteStore {
    fn tenants(&self) -> Arc<Tenants> {
        self.directory.tenants()
    }

    fn change(&self, order: ChangeOrder) -> Result<Changed, StoreDown> {
        let (reply, changed) = mpsc::sync_channel(1);
        self.order(Order::Change(Box::new(order), Box::new(move |changed| drop(reply.send(changed)))));
        changed.recv().ok().flatten().ok_or_else(|| StoreError::Unwritable.into())
    }

    fn changes(&self, filter: &ChangeFilter) -> Result<ChangePage, StoreDown> {
        Ok(self.reader.read(|db| changes(db, filter))?)
    }
}

/// What follows from a change, inside the transaction that `db` is in.
pub(super) enum Outcome {
    Decided(Box<Decided>),
    /// Nothing was written.
    Other(Changed),
}

/// Decides and writes, in a transaction that holds the file's write lock.
pub(super) fn change(db: &Connection, known: &Tenants, order: &ChangeOrder) -> Result<Outcome, StoreError> {
    let key = order.idempotency.as_ref();
    if let Some(first) = key.map(|wanted| answers::find(db, &wanted.key, order.at)).transpose()?.flatten() {
        return Ok(Outcome::Other(match key.is_some_and(|wanted| wanted.body == first.body) {
            true => Changed::Replayed(first.answer),
            false => Changed::Conflict { request_id: first.request_id },
        }));
    }
    let newer = match version(db)? {
        version if version == known.version() => None,
        _ => Some(load(db)?),
    };
    let decided = match newer.as_ref().unwrap_or(known).decide(&order.change, &order.by, order.at) {
        // What another changed is new to this node as well.
        Ok(decided) if newer.is_some() => Decided { touched: Touched::all(), ..decided },
        Ok(decided) => decided,
        Err(refused) => return Ok(Outcome::Other(Changed::Refused(refused))),
    };
    if !decided.is_nothing() {
        write(db, &decided)?;
    }
    if let Some(ChangeKey { key, body, request_id, answer }) = key {
        let answer = answer(&decided.tenants);
        let kept = Idempotency { key: *key, body: *body, request_id: Arc::clone(request_id), answer };
        answers::insert(db, &kept, order.at)?;
    }
    Ok(Outcome::Decided(Box::new(decided)))
}

fn version(db: &Connection) -> rusqlite::Result<u64> {
    let version = db.prepare_cached("SELECT version FROM directory")?.query_row([], |row| row.get::<_, i64>(0))?;
    Ok(version.unsigned_abs())
}

/// The tenants as the file has them.
pub(super) fn load(db: &Connection) -> Result<Tenants, StoreError> {
    let mut select = db.prepare("SELECT kind, organization, name, document, declared FROM tenant")?;
    let mut rows = select.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let (kind, organization, name): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let id = ObjectId::of_columns(&kind, &organization, &name);
        let id = id.ok_or_else(|| Unreadable { kind, why: "its name is none".to_owned() })?;
        all.push(Row { id, document: row.get(3)?, declared: row.get(4)? });
    }
    Ok(Tenants::load(version(db)?, all)?)
}

fn write(db: &Connection, decided: &Decided) -> rusqlite::Result<()> {
    for Row { id, document, declared } in &decided.rows {
        let (kind, organization, name) = id.columns();
        if document.is_none() && declared.is_none() {
            db.prepare_cached("DELETE FROM tenant WHERE kind = ? AND organization = ? AND name = ?")?
                .execute(params![kind, organization, name])?;
            continue;
        }
        db.prepare_cached(
            "INSERT INTO tenant (kind, organization, name, document, declared) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET document = excluded.document, declared = excluded.declared",
        )?
        .execute(params![kind, organization, name, document, declared])?;
    }
    let organizations = decided.rows.iter().filter(|row| row.id.kind() == Kind::Organization);
    recover::enrol(db, organizations.filter_map(|row| row.id.organization().cloned()))?;
    for entry in &decided.entries {
        append(db, entry)?;
    }
    let version = i64::try_from(decided.tenants.version()).unwrap_or(i64::MAX);
    db.prepare_cached("UPDATE directory SET version = ?")?.execute([version]).map(drop)
}

fn append(db: &Connection, entry: &Entry) -> rusqlite::Result<()> {
    let Entry { at, by: Actor { name: actor, request_id }, verb, kind, organization, name, before, after } = entry;
    db.prepare_cached(
        "INSERT INTO change (at, actor, request_id, verb, kind, organization, name, before, after)
         VALUES (:at, :actor, :request_id, :verb, :kind, :organization, :name, :before, :after)",
    )?
    .execute(named_params! {
        ":at": micros(*at),
        ":actor": &**actor,
        ":request_id": request_id.as_deref(),
        ":verb": verb.as_str(),
        ":kind": kind.as_str(),
        ":organization": organization.as_ref().map(OrganizationId::as_str),
        ":name": name,
        ":before": before,
        ":after": after,
    })
    .map(drop)
}

fn changes(db: &Connection, filter: &ChangeFilter) -> rusqlite::Result<ChangePage> {
    let narrowed = if filter.organization.is_some() { "AND organization = :organization" } else { "" };
    let mut select = db.prepare_cached(&format!(
        "SELECT id, at, actor, request_id, verb, kind, organization, name, before, after FROM change
         WHERE id < :cursor {narrowed} ORDER BY id DESC LIMIT :limit"
    ))?;
    let cursor = filter.cursor.unwrap_or(i64::MAX);
    // One more than asked for tells whether there is a next page.
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX).saturating_add(1);
    let organization = filter.organization.as_ref().map(OrganizationId::as_str);
    let bound: &[(&str, &dyn ToSql)] = &[(":cursor", &cursor), (":limit", &limit), (":organization", &organization)];
    let bound = if organization.is_some() { bound } else { &bound[..2] };
    let rows = select.query_map(bound, |row| Ok((row.get::<_, i64>(0)?, entry(row)?)))?;
    let mut rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let more = rows.len() > filter.limit;
    rows.truncate(filter.limit);
    let next = rows.last().filter(|_| more).map(|(id, _)| *id);
    // An entry of a kind that only a newer release knows is left out.
    let entries = rows.into_iter().filter_map(|(id, entry)| Some((id, entry?))).collect();
    Ok(ChangePage { entries, next })
}

fn entry(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Entry>> {
    let (verb, kind): (String, String) = (row.get(4)?, row.get(5)?);
    let (Some(verb), Some(kind)) = (Verb::parse(&verb), Kind::parse(&kind)) else { return Ok(None) };
    Ok(Some(Entry {
        at: Timestamp::from_micros(row.get::<_, i64>(1)?.unsigned_abs()),
        by: Actor {
            name: row.get::<_, String>(2)?.into(),
            request_id: row.get::<_, Option<String>>(3)?.map(Arc::from),
        },
        verb,
        kind,
        organization: row.get::<_, Option<String>>(6)?.map(|id| OrganizationId(id.into())),
        name: row.get(7)?,
        before: row.get(8)?,
        after: row.get(9)?,
    }))
}
