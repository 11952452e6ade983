//! Taking a person's number out of the database.
//!
//! ```text
//! refuse? ─▶ find ─▶ bites (transactions of their own) ─▶ find: nothing ─▶ last look, list ─▶ VACUUM
//! ```
//!
//! After this no statement finds the number. Its bytes may lie in free space of a page until that is written over,
//! and in the write-ahead log until that is recycled: what else a database keeps (archives, standbys, copies) is
//! its operator's to wipe.

use sha2::{Digest, Sha256};
use tokio_postgres::Row;

use super::link::{Link, LinkError, json, parse};
use super::{PostgresStore, micros};
use crate::model::CallRecord;
use crate::store::engine::StoreError;
use crate::store::{Answer, Erased, ErasedRows, Erasure, Retention, StoreDown, Upkeep};

use super::writer::Order;

/// Rows rewritten in one transaction.
const BITE: usize = 200;

/// A row that has something of the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Record(i64),
    Event(i64),
    Answer(i64),
    /// An entry of the audit log.
    Change(i64),
}

impl Upkeep for PostgresStore {
    fn keep(&self, retention: Retention) {
        self.order(Order::Keep(retention));
    }

    fn erase(&self, erasure: &Erasure) -> Result<Erased, StoreDown> {
        Ok(self.try_erase(erasure)?)
    }
}

impl PostgresStore {
    fn try_erase(&self, erasure: &Erasure) -> Result<Erased, StoreError> {
        if let Some(refused) = self.reader.read(|link| refusal(link, erasure))? {
            return Ok(refused);
        }
        let mut rows = ErasedRows::default();
        loop {
            let places = self.reader.read(|link| find(link, erasure))?;
            if places.is_empty() {
                break;
            }
            for bite in places.chunks(BITE) {
                let done = self.pool.write(|link| rewrite(link, erasure, bite))?;
                rows.records += done.records;
                rows.events += done.events;
                rows.answers += done.answers;
                rows.changes += done.changes;
            }
        }
        if let Some(refused) = self.pool.write(|link| note(link, erasure, rows))? {
            return Ok(refused);
        }
        // Each by itself: together they would be one transaction, which VACUUM does not run in.
        for table in ["calls", "journal", "answers", "change", "trace"] {
            self.pool.read(|link| link.batch(&format!("VACUUM {table}")))?;
        }
        Ok(Erased::Done(rows))
    }
}

/// Why the number cannot be erased now, if so.
fn refusal(link: &mut Link, erasure: &Erasure) -> Result<Option<Erased>, LinkError> {
    let number = erasure.number.text();
    let shown = "SELECT EXISTS (SELECT FROM live WHERE from_number = $1)
                     OR EXISTS (SELECT FROM calls WHERE from_number = $1)";
    if link.query_opt(shown, &[&&*number])?.map_or(Ok(false), |row| row.try_get(0))? {
        return Ok(Some(Erased::Owned));
    }
    let declared = "SELECT EXISTS (SELECT FROM tenant WHERE name = $1 OR strpos(coalesce(document, ''), $2) > 0
                                                        OR strpos(coalesce(declared, ''), $2) > 0)";
    let quoted = format!("\"{}\"", &*number);
    if link.query_opt(declared, &[&&*number, &quoted])?.map_or(Ok(false), |row| row.try_get(0))? {
        return Ok(Some(Erased::Declared { places: vec!["tenant".to_owned()] }));
    }
    in_use(link, erasure)
}

/// Calls that are not forgotten: their snapshots hold numbers, and each of their steps writes them anew.
fn in_use(link: &mut Link, erasure: &Erasure) -> Result<Option<Erased>, LinkError> {
    let number = erasure.number.text();
    let rows = link.query(
        "SELECT coalesce(live.record, calls.record),
                position($1::bytea IN coalesce(snapshot, ''::bytea)) > 0 OR live.to_number = $2
         FROM live LEFT JOIN calls ON calls.organization = live.organization AND calls.call = live.call",
        &[&number[1..].as_bytes(), &&*number],
    )?;
    let mut calls = 0;
    for row in &rows {
        let record: CallRecord = parse(row, 0)?;
        calls += u64::from(row.try_get(1)? || erasure.concerns(&record));
    }
    Ok((calls > 0).then_some(Erased::InUse { calls }))
}

/// Every row that has something of the number.
fn find(link: &mut Link, erasure: &Erasure) -> Result<Vec<Place>, LinkError> {
    let number = erasure.number.text();
    let mut places = Vec::new();
    // What can be excluded without reading a record is: most of the table.
    let suspicious = "(strpos(record, $1) > 0 OR strpos(record, '\"client_name\":\"') > 0
                       OR strpos(record, '\"client_label\":\"') > 0)";
    for (table, place) in [("calls", Place::Record as fn(i64) -> Place), ("journal", Place::Event)] {
        let sql = format!("SELECT id, record FROM {table} WHERE record IS NOT NULL AND {suspicious}");
        for row in link.query(&sql, &[&&number[1..]])? {
            if erasure.concerns(&parse(&row, 1)?) {
                places.push(place(row.try_get(0)?));
            }
        }
    }
    let quoted = format!("\"{}\"", &*number);
    for (sql, word, place) in [
        ("SELECT id FROM answers WHERE strpos(answer, $1) > 0", &*number, Place::Answer as fn(i64) -> Place),
        (
            "SELECT id FROM change
             WHERE strpos(coalesce(before, ''), $1) > 0 OR strpos(coalesce(after, ''), $1) > 0",
            &quoted,
            Place::Change,
        ),
    ] {
        for row in link.query(sql, &[&word])? {
            places.push(place(row.try_get(0)?));
        }
    }
    Ok(places)
}

/// Rewrites some rows. A row that is gone meanwhile needs nothing.
fn rewrite(link: &mut Link, erasure: &Erasure, places: &[Place]) -> Result<ErasedRows, LinkError> {
    let mut rows = ErasedRows::default();
    for place in places {
        match *place {
            Place::Record(id) => rows.records += record(link, erasure, id)?,
            Place::Event(id) => rows.events += event(link, erasure, id)?,
            Place::Answer(id) => rows.answers += answer(link, erasure, id)?,
            Place::Change(id) => rows.changes += change(link, erasure, id)?,
        }
    }
    Ok(rows)
}

fn erased(row: &Row, erasure: &Erasure) -> Result<CallRecord, LinkError> {
    let mut record: CallRecord = parse(row, 0)?;
    erasure.erase(&mut record);
    Ok(record)
}

fn record(link: &mut Link, erasure: &Erasure, id: i64) -> Result<u64, LinkError> {
    let Some(row) = link.query_opt("SELECT record FROM calls WHERE id = $1 FOR UPDATE", &[&id])? else { return Ok(0) };
    let record = erased(&row, erasure)?;
    let to = record.to_number.map(|to| to.text().to_string()).unwrap_or_default();
    // The marks in the trace would show nothing, but a peer may have written the number in a way of its own.
    link.execute("DELETE FROM trace WHERE call = (SELECT call FROM calls WHERE id = $1)", &[&id])?;
    link.execute("UPDATE calls SET record = $1, to_number = $2 WHERE id = $3", &[&json(&record)?, &to, &id])
}

fn event(link: &mut Link, erasure: &Erasure, id: i64) -> Result<u64, LinkError> {
    let sql = "SELECT record FROM journal WHERE id = $1 AND record IS NOT NULL FOR UPDATE";
    let Some(row) = link.query_opt(sql, &[&id])? else { return Ok(0) };
    let record = erased(&row, erasure)?;
    link.execute("UPDATE journal SET record = $1 WHERE id = $2", &[&json(&record)?, &id])
}

/// The answer stands without the number, so a repetition still makes no second call. One that cannot be taken apart
/// goes as a whole.
fn answer(link: &mut Link, erasure: &Erasure, id: i64) -> Result<u64, LinkError> {
    let Some(row) = link.query_opt("SELECT answer FROM answers WHERE id = $1 FOR UPDATE", &[&id])? else {
        return Ok(0);
    };
    let mut answer: Answer = parse(&row, 0)?;
    let number = erasure.number.text();
    answer.body = answer.body.replace(&format!("\"{}\"", &*number), "null");
    if answer.body.contains(&*number) {
        link.execute("DELETE FROM answers WHERE id = $1", &[&id])
    } else {
        link.execute("UPDATE answers SET answer = $1 WHERE id = $2", &[&json(&answer)?, &id])
    }
}

/// A user's phone, in what the audit log says was there before or after.
fn change(link: &mut Link, erasure: &Erasure, id: i64) -> Result<u64, LinkError> {
    let quoted = format!("\"{}\"", &*erasure.number.text());
    let sql =
        "UPDATE change SET before = replace(before, $1, 'null'), after = replace(after, $1, 'null') WHERE id = $2";
    link.execute(sql, &[&quoted, &id])
}

/// The last look, in the transaction that notes the erasure: `Some` when a call has come with the number meanwhile.
fn note(link: &mut Link, erasure: &Erasure, rows: ErasedRows) -> Result<Option<Erased>, LinkError> {
    let came = find(link, erasure)?.len() as u64;
    if let Some(refused) = in_use(link, erasure)?.or((came > 0).then_some(Erased::InUse { calls: came })) {
        return Ok(Some(refused));
    }
    let digest = Sha256::new().chain_update(erasure.salt).chain_update(erasure.number.text().as_bytes()).finalize();
    link.execute(
        "INSERT INTO erasure (at, asked_by, salt, digest, records, events, answers) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[
            &micros(erasure.at),
            &erasure.by,
            &erasure.salt.as_slice(),
            &digest.as_slice(),
            &rows.records.cast_signed(),
            &rows.events.cast_signed(),
            &rows.answers.cast_signed(),
        ],
    )?;
    Ok(None)
}
