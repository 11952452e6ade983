//! Taking a person's number out of the file.
//!
//! ```text
//! refuse? ─▶ find (beside the writer) ─▶ bites (its transactions) ─▶ find: nothing ─▶ last look, list ─▶ wipe the log
//!                  ▲                             │                                                          │
//!                  └─────────────────────────────┘            the bytes are searched; once more VACUUM ◀────┘
//! ```
//!
//! `secure_delete` overwrites what a row leaves behind in its page; the log is cut to nothing and made anew. What
//! SQLite moved between pages in its lifetime may still lie in a gap: so the bytes of the file are searched at the
//! end, and a file that still has the number is written anew as a whole.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rusqlite::{Connection, params};

use super::books::micros;
use super::{json, parse};
use crate::model::{CallRecord, E164};
use crate::store::{Answer, Erased, ErasedRows, Erasure};

use sha2::{Digest, Sha256};

/// Rows rewritten in one transaction.
pub(super) const BITE: usize = 200;

/// Tables whose rows an erasure rewrites itself.
const OWN: [&str; 6] = ["live", "calls", "journal", "answers", "change", "trace"];

/// A row that has something of the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Record(i64),
    Event(i64),
    Answer(i64),
    /// An entry of the audit log.
    Change(i64),
}

/// Why the number cannot be erased now, if so.
pub(super) fn refusal(db: &Connection, erasure: &Erasure) -> rusqlite::Result<Option<Erased>> {
    let shown = "SELECT EXISTS (SELECT 1 FROM live WHERE from_number = ?1)
                     OR EXISTS (SELECT 1 FROM calls WHERE from_number = ?1)";
    if db.query_row(shown, [&*erasure.number.text()], |row| row.get(0))? {
        return Ok(Some(Erased::Owned));
    }
    let places = declared(db, erasure.number)?;
    if !places.is_empty() {
        return Ok(Some(Erased::Declared { places }));
    }
    in_use(db, erasure)
}

/// Calls that are not forgotten: their snapshots hold numbers, and each of their steps writes them anew.
fn in_use(db: &Connection, erasure: &Erasure) -> rusqlite::Result<Option<Erased>> {
    let mut select = db.prepare(
        "SELECT coalesce(live.record, calls.record),
                instr(coalesce(snapshot, x''), CAST(?1 AS BLOB)) > 0 OR live.to_number = ?2
         FROM live LEFT JOIN calls ON calls.organization = live.organization AND calls.call = live.call",
    )?;
    let number = erasure.number.text();
    let mut rows = select.query(params![&number[1..], &*number])?;
    let mut calls = 0;
    while let Some(row) = rows.next()? {
        let record: CallRecord = parse(row, 0)?;
        calls += u64::from(row.get(1)? || erasure.concerns(&record));
    }
    Ok((calls > 0).then_some(Erased::InUse { calls }))
}

/// Tables of others that name the number: who put it there takes it out there.
fn declared(db: &Connection, number: E164) -> rusqlite::Result<Vec<String>> {
    let names = |sql: &str, of: &str| -> rusqlite::Result<Vec<String>> {
        db.prepare(sql)?.query_map([of], |row| row.get(0))?.collect()
    };
    let tables = names("SELECT name FROM sqlite_schema WHERE type = ? AND name NOT LIKE 'sqlite_%'", "table")?;
    let mut places = Vec::new();
    for table in tables.into_iter().filter(|table| !OWN.contains(&table.as_str())) {
        for column in names("SELECT name FROM pragma_table_info(?)", &table)? {
            let text = number.text();
            let sql = format!(
                "SELECT CAST(\"{column}\" AS BLOB) FROM \"{table}\" WHERE instr(CAST(\"{column}\" AS BLOB), ?)"
            );
            let mut select = db.prepare(&sql)?;
            let mut rows = select.query([text.as_bytes()])?;
            while let Some(row) = rows.next()? {
                if holds(row.get_ref(0)?.as_blob()?, text.as_bytes()) {
                    places.push(table.clone());
                    break;
                }
            }
        }
    }
    places.dedup();
    Ok(places)
}

/// Every row that has something of the number, and the newest position at that moment.
pub(super) fn find(db: &Connection, erasure: &Erasure) -> rusqlite::Result<(Vec<Place>, i64)> {
    let tx = db.unchecked_transaction()?;
    let newest = tx.query_row("SELECT coalesce(max(id), 0) FROM journal", [], |row| row.get(0))?;
    let number = erasure.number.text();
    let mut places = Vec::new();
    // What can be excluded without reading a record is: most of the table.
    let suspicious =
        "(instr(record, ?1) OR instr(record, '\"client_name\":\"') OR instr(record, '\"client_label\":\"'))";
    for (table, place) in [("calls", Place::Record as fn(i64) -> Place), ("journal", Place::Event)] {
        let mut select =
            tx.prepare(&format!("SELECT id, record FROM {table} WHERE record IS NOT NULL AND {suspicious}"))?;
        let mut rows = select.query([&number[1..]])?;
        while let Some(row) = rows.next()? {
            if erasure.concerns(&parse(row, 1)?) {
                places.push(place(row.get(0)?));
            }
        }
    }
    let quoted = format!("\"{}\"", &*number);
    for (sql, word, place) in [
        ("SELECT id FROM answers WHERE instr(answer, ?)", &*number, Place::Answer as fn(i64) -> Place),
        ("SELECT id FROM change WHERE instr(before, ?1) OR instr(after, ?1)", &quoted, Place::Change),
    ] {
        let mut select = tx.prepare(sql)?;
        let mut rows = select.query([word])?;
        while let Some(row) = rows.next()? {
            places.push(place(row.get(0)?));
        }
    }
    Ok((places, newest))
}

/// Rewrites some rows. A row that is gone meanwhile needs nothing.
pub(super) fn bite(
    tx: &Connection,
    erasure: &Erasure,
    places: &[Place],
    rows: &mut ErasedRows,
) -> rusqlite::Result<()> {
    for place in places {
        match *place {
            Place::Record(id) => rows.records += rewrite(tx, erasure, "calls", id)?,
            Place::Event(id) => rows.events += rewrite(tx, erasure, "journal", id)?,
            Place::Answer(id) => rows.answers += rewrite_answer(tx, erasure, id)?,
            Place::Change(id) => rows.changes += rewrite_change(tx, erasure, id)?,
        }
    }
    Ok(())
}

fn rewrite(tx: &Connection, erasure: &Erasure, table: &str, id: i64) -> rusqlite::Result<u64> {
    let mut select = tx.prepare_cached(&format!("SELECT record FROM {table} WHERE id = ? AND record IS NOT NULL"))?;
    let mut rows = select.query([id])?;
    let Some(row) = rows.next()? else { return Ok(0) };
    let mut record: CallRecord = parse(row, 0)?;
    erasure.erase(&mut record);
    let text = json(&record)?;
    if table == "calls" {
        let to = record.to_number.map(|to| to.text().to_string()).unwrap_or_default();
        // The marks in the trace would show nothing, but a peer may have written the number in a way of its own.
        tx.prepare_cached("DELETE FROM trace WHERE call = (SELECT call FROM calls WHERE id = ?)")?.execute([id])?;
        tx.prepare_cached("UPDATE calls SET record = ?, to_number = ? WHERE id = ?")?.execute(params![text, to, id])?;
    } else {
        tx.prepare_cached("UPDATE journal SET record = ? WHERE id = ?")?.execute(params![text, id])?;
    }
    Ok(1)
}

/// The answer stands without the number, so a repetition still makes no second call. One that cannot be taken apart
/// goes as a whole.
fn rewrite_answer(tx: &Connection, erasure: &Erasure, id: i64) -> rusqlite::Result<u64> {
    let mut select = tx.prepare_cached("SELECT answer FROM answers WHERE id = ?")?;
    let mut rows = select.query([id])?;
    let Some(row) = rows.next()? else { return Ok(0) };
    let mut answer: Answer = parse(row, 0)?;
    let number = erasure.number.text();
    answer.body = answer.body.replace(&format!("\"{}\"", &*number), "null");
    if holds(answer.body.as_bytes(), number.as_bytes()) {
        tx.prepare_cached("DELETE FROM answers WHERE id = ?")?.execute([id])?;
    } else {
        tx.prepare_cached("UPDATE answers SET answer = ? WHERE id = ?")?.execute(params![json(&answer)?, id])?;
    }
    Ok(1)
}

/// A user's phone, in what the audit log says was there before or after.
fn rewrite_change(tx: &Connection, erasure: &Erasure, id: i64) -> rusqlite::Result<u64> {
    let quoted = format!("\"{}\"", &*erasure.number.text());
    let sql =
        "UPDATE change SET before = replace(before, ?1, 'null'), after = replace(after, ?1, 'null') WHERE id = ?2";
    tx.prepare_cached(sql)?.execute(params![quoted, id]).map(|rows| rows as u64)
}

/// The last look, in the transaction that notes the erasure: `Some` when the number has come back since `newest`, or
/// a call has.
pub(super) fn note(
    tx: &Connection,
    erasure: &Erasure,
    newest: i64,
    rows: ErasedRows,
) -> rusqlite::Result<Option<Erased>> {
    let mut select = tx.prepare("SELECT record FROM journal WHERE id > ? AND record IS NOT NULL")?;
    let mut since = select.query([newest])?;
    let mut calls = 0;
    while let Some(row) = since.next()? {
        calls += u64::from(erasure.concerns(&parse(row, 0)?));
    }
    if let Some(refused) = in_use(tx, erasure)?.or((calls > 0).then_some(Erased::InUse { calls })) {
        return Ok(Some(refused));
    }
    let digest = Sha256::new().chain_update(erasure.salt).chain_update(erasure.number.text().as_bytes()).finalize();
    tx.execute(
        "INSERT INTO erasure (at, asked_by, salt, digest, records, events, answers) VALUES (?, ?, ?, ?, ?, ?, ?)",
        params![
            micros(erasure.at),
            erasure.by,
            erasure.salt,
            <[u8; 32]>::from(digest),
            rows.records as i64,
            rows.events as i64,
            rows.answers as i64
        ],
    )?;
    Ok(None)
}

/// Whether the bytes of a file hold the number.
pub(super) fn is_in_file(path: &Path, number: E164) -> io::Result<bool> {
    const BLOCK: usize = 1 << 20;
    let number = number.text();
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    let mut bytes = Vec::with_capacity(BLOCK + number.len());
    loop {
        let kept = bytes.len();
        file.by_ref().take(BLOCK as u64).read_to_end(&mut bytes)?;
        if holds(&bytes, number.as_bytes()) {
            return Ok(true);
        }
        if bytes.len() == kept {
            return Ok(false);
        }
        // It may lie across two blocks.
        bytes.drain(..bytes.len().saturating_sub(number.len()));
    }
}

/// Whether the number stands there, and not only the beginning of a longer one.
fn holds(bytes: &[u8], number: &[u8]) -> bool {
    memchr::memmem::find_iter(bytes, number)
        .any(|at| bytes.get(at + number.len()).is_none_or(|next| !next.is_ascii_digit()))
}
