//! The yardstick of the disk: one admission after the other, each with a commit of its own.
//!
//! The rows are those that the engine writes for an admission, in a file with the engine's schema and settings.
//! There is no queue, no other thread and no guardrail: whoever commits each by itself is not faster.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

use super::desk::{self, Desk};

/// Admissions per second.
pub fn rate(path: &Path, time: Duration) -> f64 {
    let mut desk = Desk::open_file(path, desk::wide()).expect("a new store");
    let attempts: Vec<_> = (0..20_000).map(|_| desk.attempt()).collect();
    drop(desk);
    let db = Connection::open(path).expect("the engine's file");
    db.pragma_update(None, "synchronous", "full").expect("a setting");
    db.pragma_update(None, "cache_size", -16_384).expect("a setting");
    db.pragma_update(None, "wal_autocheckpoint", 4_000).expect("a setting");
    db.set_prepared_statement_cache_capacity(16);
    let began = Instant::now();
    let mut done = 0;
    for attempt in attempts.iter().take_while(|_| began.elapsed() < time) {
        admit(&db, attempt).expect("an admission");
        done += 1;
    }
    f64::from(done) / began.elapsed().as_secs_f64()
}

fn admit(db: &Connection, attempt: &revbridge::guardrails::Attempt) -> rusqlite::Result<()> {
    let revbridge::store::Commit { record, snapshot, at, .. } = desk::admit(attempt);
    let (call, at) = (attempt.call.to_bytes(), at.as_micros() as i64);
    let text = serde_json::to_string(&record).expect("a record as text");
    let execute = |sql, values: &[&dyn rusqlite::ToSql]| db.prepare_cached(sql)?.execute(values).map(drop);
    execute("BEGIN IMMEDIATE", &[])?;
    execute(
        "INSERT INTO live (organization, call, reserved, day, status, user_id, from_number, to_number, created_at,
                           record, snapshot, room)
         VALUES (1, ?, 20000, 20000, ?, ?, ?, ?, ?, ?, ?, zeroblob(1200))",
        params![
            call,
            record.status.as_str(),
            record.user_id.as_str(),
            &*record.from_number.text(),
            record.to_number.map(|number| String::from(&*number.text())),
            at,
            text,
            snapshot.as_deref()
        ],
    )?;
    execute(
        "INSERT INTO journal (organization, call, kind, at, amount, day) VALUES (1, ?, 'reserve', ?, 20000, 20000)",
        params![call, at],
    )?;
    execute(
        "INSERT INTO journal (organization, call, kind, at, record) VALUES (1, ?, 'new_call', ?, ?)",
        params![call, at, text],
    )?;
    execute("COMMIT", &[])
}
