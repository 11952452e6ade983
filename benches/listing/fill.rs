//! Fills a store with calls that are over, as the engine would have written them, in few transactions.
//!
//! The newest call is half a year's youngest: `newer` counts back from it, so that both stores end alike.

use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use revbridge::guardrails::Attempt;
use revbridge::model::*;
use rusqlite::{Connection, params};

use super::desk;

/// Between two calls.
const EVERY: Duration = Duration::from_secs(6);
/// When the newest was admitted: 1 November 2026.
const NEWEST_S: u64 = 1_793_491_200;
/// Rows in one transaction, and made beforehand.
const CHUNK: u64 = 50_000;
/// One call in so many belongs to somebody else.
const OTHERS: u64 = 5;

pub const RARE_USER: &str = "user-gone";
pub const RARE_FROM: &str = "+12125559999";
pub const RARE_TO: &str = "+13105559999";
/// None of this user's calls failed.
pub const LUCKY_USER: &str = "user-3";

/// One of the organization's numbers.
pub fn owned(n: u64) -> String {
    format!("+121255501{n:02}")
}

/// Of the call that so many are newer than.
pub fn created_at(newer: u64) -> Timestamp {
    Timestamp::from_millis(NEWEST_S * 1_000) - EVERY * u32::try_from(newer).unwrap_or(u32::MAX)
}

/// The day of the newest calls.
pub fn newest_day() -> Day {
    Day((NEWEST_S / 86_400 - 1) as i32)
}

/// The row of the call that so many are newer than.
pub fn row_id(count: u64, newer: u64) -> i64 {
    (count - newer) as i64
}

/// A row of `calls`.
struct Row {
    id: i64,
    organization: i64,
    record: CallRecord,
    json: String,
}

/// Writes `count` calls, oldest first.
pub fn fill(path: &Path, count: u64) {
    let mut db = Connection::open(path).expect("the engine's file");
    // Nothing here has to outlive a crash.
    db.execute_batch("PRAGMA journal_mode = off; PRAGMA synchronous = off; PRAGMA cache_size = -65536")
        .expect("settings");
    db.execute("INSERT INTO organization (name) VALUES ('other') ON CONFLICT DO NOTHING", []).expect("an organization");
    let number = |name: &str| {
        db.query_row("SELECT id FROM organization WHERE name = ?", [name], |row| row.get(0)).expect("its number")
    };
    let (acme, other) = (number("acme"), number("other"));
    // Texts are made by one thread and written by another.
    let (sender, rows) = sync_channel(2);
    let maker = std::thread::spawn(move || {
        let mut ids = Ids(0x2545_f491_4f6c_dd1d);
        for first in (1..=count).step_by(CHUNK as usize) {
            let chunk = first..(first + CHUNK).min(count + 1);
            let rows: Vec<Row> = chunk.map(|id| row(&mut ids, id, count, acme, other)).collect();
            if sender.send(rows).is_err() {
                return;
            }
        }
    });
    write(&mut db, &rows);
    maker.join().expect("every row was made");
    // As the writer would have, second by second.
    db.execute(
        "INSERT INTO spend (organization, day, user_id, path, calls, answered, billable_seconds, spent)
         SELECT organization, created_at / 86400000000, user_id, 'bridge', count(*), sum(status = 'completed'),
                61 * sum(status = 'completed'), 20400 * sum(status = 'completed')
         FROM calls GROUP BY 1, 2, 3",
        [],
    )
    .expect("the sums of each day");
    db.execute_batch("PRAGMA journal_mode = wal").expect("settings");
}

fn write(db: &mut Connection, chunks: &Receiver<Vec<Row>>) {
    for chunk in chunks {
        let tx = db.transaction().expect("a transaction");
        let mut insert = tx
            .prepare_cached(
                "INSERT INTO calls (id, organization, call, status, user_id, from_number, to_number, created_at, record)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )
            .expect("the table of final records");
        for Row { id, organization, record, json } in chunk {
            let row = params![
                id,
                organization,
                record.id.to_bytes(),
                record.status.as_str(),
                record.user_id.as_str(),
                &*record.from_number.text(),
                record.to_number.map(|number| String::from(&*number.text())),
                record.created_at.as_micros() as i64,
                json
            ];
            insert.execute(row).expect("a row");
        }
        drop(insert);
        tx.commit().expect("a commit");
    }
}

fn row(ids: &mut Ids, id: u64, count: u64, acme: i64, other: i64) -> Row {
    let record = record(ids, id, count);
    let organization = if id.is_multiple_of(OTHERS) { other } else { acme };
    let json = serde_json::to_string(&record).expect("a record as text");
    Row { id: id as i64, organization, record, json }
}

/// The call with this row: ended somehow, dialled by somebody, to hardly any number twice.
fn record(ids: &mut Ids, id: u64, count: u64) -> CallRecord {
    let created_at = created_at(count - id);
    let bits = ids.draw();
    // Four calls (one of five is somebody else's) at a hundredth of the store, for whoever looks for what is long ago.
    let rare = (count / 100..count / 100 + 5).contains(&id);
    let user = if rare { RARE_USER.to_owned() } else { format!("user-{}", bits % 50) };
    let from = if rare { RARE_FROM.to_owned() } else { owned((bits >> 8) % 20) };
    let to = if rare { RARE_TO.to_owned() } else { format!("+1310{:07}", (bits >> 16) % 10_000_000) };
    let (status, end_reason) = ending(bits >> 44, user == LUCKY_USER);
    let attempt = Attempt {
        call: ids.call(created_at),
        organization: OrganizationId("acme".into()),
        user: UserId(user.into()),
        from: desk::number(&from),
        to: desk::number(&to),
        connect: Some(desk::number("+14155550100")),
    };
    let after = |ms| Some(created_at + Duration::from_millis(ms));
    let talked = status == Status::Completed;
    let leg = || LegRecord {
        ring_ms: Some(bits % 20_000),
        codec: talked.then(|| "PCMU".to_owned()),
        packets: if talked { 3_000 + bits % 5_000 } else { 0 },
        lost: bits % 3,
        jitter_ms: (bits % 100) as f64 / 8.0,
        mos: talked.then_some(4.25),
    };
    CallRecord {
        created_at,
        client_label: Some("autumn campaign".into()),
        started_at: after(4),
        answered_at: after(9_000).filter(|_| talked),
        ended_at: after(70_000),
        billable_seconds: if talked { 61 } else { 0 },
        cost: Money::from_micros(if talked { 20_400 } else { 0 }),
        ended_by: Some(EndedBy::Destination),
        end_reason: Some(end_reason),
        sip_status: (!talked).then_some(486),
        user_leg: leg(),
        destination_leg: leg(),
        ..desk::record(&attempt, status)
    }
}

/// How calls end, in thousands.
fn ending(bits: u64, lucky: bool) -> (Status, EndReason) {
    match bits % 1_000 {
        0 => (Status::Rejected, EndReason::SpendLimitExceeded),
        1..=50 if !lucky => (Status::Failed, EndReason::DestinationFailed),
        51..=130 => (Status::Busy, EndReason::DestinationBusy),
        131..=180 => (Status::Canceled, EndReason::ApiHangup),
        181..=400 => (Status::NoAnswer, EndReason::DestinationNoAnswer),
        _ => (Status::Completed, EndReason::Hangup),
    }
}

/// Draws, the same in every run.
struct Ids(u64);

impl Ids {
    fn draw(&mut self) -> u64 {
        // splitmix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn call(&mut self, at: Timestamp) -> CallId {
        let random = (u128::from(self.draw()) << 64 | u128::from(self.draw())) >> 48;
        CallId::from_bytes(((u128::from(at.as_millis()) << 80) | random).to_be_bytes())
    }
}
