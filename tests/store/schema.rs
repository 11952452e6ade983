use std::path::{Path, PathBuf};

use revbridge::guardrails::Refusal;
use revbridge::model::{Money, Side};
use revbridge::store::engine::StoreError;
use revbridge::store::{Committed, Step};
use rusqlite::Connection;

use crate::desk::engine::Hand;
use crate::desk::*;

#[test]
fn an_empty_file_is_migrated_and_a_newer_or_foreign_one_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    drop(Desk::open_file(&path, wide()).unwrap());
    let db = Connection::open(&path).unwrap();
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert!(version > 0);
    db.pragma_update(None, "user_version", version + 1).unwrap();
    drop(db);
    assert!(matches!(Desk::open_file(&path, wide()), Err(StoreError::TooNew { known, .. }) if known == version));

    let foreign = dir.path().join("foreign");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE mine (x)").unwrap();
    assert!(matches!(Desk::open_file(&foreign, wide()), Err(StoreError::Foreign)));

    let garbage = dir.path().join("garbage");
    std::fs::write(&garbage, "this is not a database, whatever its name says".repeat(100)).unwrap();
    assert!(matches!(Desk::open_file(&garbage, wide()), Err(StoreError::Sqlite(_))));
}

#[test]
fn a_second_store_on_the_same_file_is_refused_while_the_first_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let first = Desk::open_file(&path, wide()).unwrap();
    assert!(matches!(Desk::open_file(&path, wide()), Err(StoreError::InUse(_))));
    drop(first);
    assert!(Desk::open_file(&path, wide()).is_ok());
}

#[test]
fn a_restart_finds_calls_legs_money_and_the_rolling_minute() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open(&path, limits(8, 3, "100")).unwrap();
    let (live, lingering, forgotten) = (desk.admit(), desk.admit(), desk.admit());
    let cent = Money::from_micros(10_000);
    desk.commit(step(&live, Step::Extend { amount: cent }));
    for attempt in [&lingering, &forgotten] {
        desk.commit(settle(attempt, cent));
    }
    desk.store.forget(vec![forgotten.call]);
    drop(desk);

    let mut desk = Desk::open(&path, limits(8, 3, "100")).unwrap();
    let found: Vec<_> = desk.recovered.calls.iter().map(|c| (c.call, c.record.status.is_terminal())).collect();
    assert_eq!(found, [(live.call, false), (lingering.call, true)]);
    assert!(desk.recovered.last_alive.is_some());
    assert_eq!(desk.recovered.calls[0].snapshot.len(), 2_000);
    let usage = desk.store.usage(&live.organization, now()).unwrap().unwrap();
    assert_eq!((usage.legs, usage.calls), (2, 3));
    assert_eq!((usage.spent, usage.reserved), (cent.times(2), FIRST_PERIODS + cent));
    assert!(matches!(desk.commit(admit(&live)), Committed::Refused(Refusal::RateLimited { .. })));
    assert!(matches!(desk.commit(permit(&live, Side::Destination)), Committed::Permitted(_)));
    desk.commit(settle(&live, FIRST_PERIODS));
    let record = desk.store.get(&live.organization, live.call).unwrap().unwrap();
    assert_eq!(record.cost, FIRST_PERIODS);
    assert_eq!(record.day, now().day(&jiff::tz::TimeZone::UTC));
}

#[test]
fn the_log_has_its_length_from_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::open_file(&dir.path().join("db"), wide()).unwrap();
    let length = || std::fs::metadata(dir.path().join("db-wal")).unwrap().len();
    let at_first = length();
    assert!(at_first > 16 << 20, "{at_first}");
    (0..20).for_each(|_| drop(desk.admit()));
    assert_eq!(length(), at_first);
}

#[test]
fn when_the_disk_takes_no_more_nothing_is_admitted_and_nothing_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open_file(&path, wide()).unwrap();
    let (before, over) = (desk.admit(), desk.admit());
    assert_eq!(desk.commit(settle(&over, Money::from_micros(100))), Committed::Done);
    // Somebody else's write lock stands in for a disk that refuses: every transaction fails.
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let attempts: Vec<_> = (0..5).map(|_| desk.attempt()).collect();
    attempts.iter().for_each(|attempt| desk.submit(admit(attempt)));
    desk.submit(settle(&before, Money::ZERO));
    assert!((0..6).all(|_| desk.wait() == Committed::Unavailable));
    assert!(desk.store.ping().is_err());
    let usage = desk.store.usage(&before.organization, now()).unwrap().unwrap();
    assert_eq!((usage.legs, usage.calls, usage.spent), (2, 2, Money::from_micros(100)));

    other.execute_batch("ROLLBACK").unwrap();
    assert!(desk.store.ping().is_ok());
    assert!(matches!(desk.commit(admit(&attempts[0])), Committed::Admitted { .. }));
    assert_eq!(desk.commit(settle(&before, Money::ZERO)), Committed::Done);
    // The accounts were read again: what was spent since the last summing up is not lost on the way.
    let usage = desk.store.usage(&before.organization, now()).unwrap().unwrap();
    assert_eq!((usage.legs, usage.spent), (2, Money::from_micros(100)));
}

/// A statement that fails in the middle leaves the transaction open in SQLite: it must not stay so.
#[test]
fn a_transaction_that_fails_halfway_leaves_nothing_and_the_next_one_works() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open(&path, wide()).unwrap();
    desk.admit();
    let mut by_hand = Hand::on(&path);
    by_hand.break_inserts("journal");
    let refused = desk.attempt();
    assert_eq!(desk.commit(admit(&refused)), Committed::Unavailable);
    by_hand.mend_inserts("journal");
    assert!(matches!(desk.commit(admit(&refused)), Committed::Admitted { .. }));
    assert_eq!(by_hand.count("SELECT count(*) FROM live"), 2, "the one before and the one that was asked for again");
}

/// Every older version there is: what it wrote is read, its books are right, and it goes on.
#[test]
fn a_file_of_each_older_version_is_brought_up_to_date_with_all_that_is_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open_file(&path, wide()).unwrap();
    let (live, first, second) = (desk.admit(), desk.admit(), desk.admit());
    desk.commit(step(&live, Step::Extend { amount: Money::from_micros(2_000) }));
    for attempt in [&first, &second] {
        desk.commit(settle(attempt, Money::from_micros(12_345)));
    }
    desk.store.store_answer(idempotency(1, 1, "first"), now()).unwrap();
    drop(desk);
    let today = now().day(&jiff::tz::TimeZone::UTC);
    for version in 1..STEPS.len() {
        let old = as_of_version(version, &path);
        let mut desk = Desk::open_file(&old, wide()).unwrap();
        assert_eq!(desk.recovered.calls.len(), 3, "version {version}: the live one and two that linger");
        let statement = desk.store.statement(&live.organization, today, today).unwrap();
        assert_eq!((statement.total.calls, statement.total.live), (3, 1), "version {version}");
        assert_eq!(statement.total.spent, Money::from_micros(24_690), "version {version}");
        assert_eq!(statement.total.reserved, FIRST_PERIODS + Money::from_micros(2_000), "version {version}");
        let usage = desk.store.usage(&live.organization, now()).unwrap().unwrap();
        assert_eq!((usage.spent, usage.reserved), (statement.total.spent, statement.total.reserved));
        for attempt in [&live, &first, &second] {
            let record = desk.store.get(&live.organization, attempt.call).unwrap().unwrap();
            assert_eq!(record.to_number, Some(attempt.to), "version {version}");
        }
        assert!(desk.store.find_answer(&[1; 32]).unwrap().is_some(), "version {version}");
        assert_eq!(desk.commit(settle(&live, FIRST_PERIODS)), Committed::Done);
        assert!(matches!(desk.commit(permit(&live, Side::User)), Committed::Refused(_)));
        desk.admit();
        drop(desk);
        crate::audit::file_is_right(&old);
    }
}

/// The steps of the schema, as the engine takes them.
const STEPS: [&str; 7] = [
    include_str!("../../src/store/sqlite/0001_calls.sql"),
    include_str!("../../src/store/sqlite/0002_tokens.sql"),
    include_str!("../../src/store/sqlite/0003_events.sql"),
    include_str!("../../src/store/sqlite/0004_tenants.sql"),
    include_str!("../../src/store/sqlite/0005_books.sql"),
    include_str!("../../src/store/sqlite/0006_breaker.sql"),
    include_str!("../../src/store/sqlite/0007_webhooks.sql"),
];

/// A file beside this one as a release of that version would have written it: its schema by its own steps, and
/// of each of its tables all that the newer file has in those columns. `spend` had a row for a day then.
pub fn as_of_version(version: usize, file: &Path) -> PathBuf {
    let old = file.with_extension(format!("v{version}"));
    let db = Connection::open(&old).unwrap();
    STEPS[..version].iter().for_each(|step| db.execute_batch(step).unwrap());
    db.execute("ATTACH ? AS newer", [file.to_str().unwrap()]).unwrap();
    let names = |sql: &str| -> Vec<String> {
        db.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    for table in names("SELECT name FROM main.sqlite_schema WHERE type = 'table'") {
        let columns = names(&format!("SELECT name FROM pragma_table_info('{table}', 'main')")).join(", ");
        let copy = format!("INSERT OR REPLACE INTO main.{table} ({columns}) SELECT {columns} FROM newer.{table}");
        if table == "spend" && version < 4 {
            let sums = "SELECT organization, day, sum(spent) FROM newer.spend GROUP BY organization, day";
            db.execute(&format!("INSERT INTO main.spend {sums}"), []).unwrap();
        } else {
            db.execute(&copy, []).unwrap();
        }
    }
    db.execute_batch(&format!("PRAGMA application_id = 0x72766272; PRAGMA user_version = {version}")).unwrap();
    old
}
