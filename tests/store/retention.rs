//! What is past its time goes, bite by bite; what calls came to stays, and the audit knows the difference.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use revbridge::guardrails::Attempt;
use revbridge::model::{Day, Money, Timestamp};
use revbridge::store::audit::Finding;
use revbridge::store::{Retention, Step};

use crate::audit::{audited, is_right};
use crate::desk::engine::Hand;
use crate::desk::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Calls of some days ago: admitted and settled then.
fn past(desk: &mut Desk, days: u32, calls: usize) -> Vec<Attempt> {
    let at = now() - DAY * days;
    let attempts: Vec<_> = (0..calls).map(|_| Attempt { call: desk.ids.call(at), ..desk.attempt() }).collect();
    for attempt in &attempts {
        for mut commit in [admit(attempt), settle(attempt, Money::from_micros(1_500))] {
            commit.at = at;
            commit.record.created_at = at;
            commit.record.billable_seconds = 6;
            commit.record.answered_at = Some(at);
            desk.submit(commit);
        }
    }
    (0..calls * 2).for_each(|_| drop(desk.wait()));
    desk.store.forget(attempts.iter().map(|attempt| attempt.call).collect());
    attempts
}

fn count(path: &Path, sql: &str) -> i64 {
    Hand::on(path).count(sql)
}

fn until(mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "it never came to that");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn all(at: Timestamp) -> (Day, Day) {
    let today = at.day(&TimeZone::UTC);
    (Day(today.0 - 100), today)
}

#[test]
fn records_and_events_past_their_time_go_and_the_statement_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open(&path, wide()).unwrap();
    // More than a bite of old ones.
    let old = past(&mut desk, 40, 620);
    let middle = past(&mut desk, 20, 1).remove(0);
    // It has lived for longer than anything is kept.
    let live = Attempt { call: desk.ids.call(now() - DAY * 50), ..desk.attempt() };
    let mut admitted = admit(&live);
    admitted.at = now() - DAY * 50;
    admitted.record.created_at = admitted.at;
    desk.commit(admitted);
    let (from, to) = all(now());
    let before = desk.store.statement(&live.organization, from, to).unwrap();
    assert_eq!(before.total.calls, 622);
    is_right(&path);

    desk.store.keep(Retention { records: Some(DAY * 30), events: Some(DAY * 10), ..Retention::default() });
    until(|| count(&path, "SELECT count(*) FROM calls") == 1);
    until(|| count(&path, "SELECT count(*) FROM journal WHERE record IS NOT NULL") == 0);
    assert!(old.iter().all(|one| desk.store.get(&one.organization, one.call).unwrap().is_none()));
    assert!(desk.store.get(&middle.organization, middle.call).unwrap().is_some());
    assert_eq!(desk.store.get(&live.organization, live.call).unwrap().unwrap().id, live.call, "it lives");
    let after = desk.store.statement(&live.organization, from, to).unwrap();
    assert_eq!((after.total, &after.days, &after.users), (before.total, &before.days, &before.users));
    assert_eq!(count(&path, "SELECT count(*) FROM ledger"), 621 * 3 + 1, "no booking went");
    is_right(&path);

    // Positions and ids are never given again.
    let newest = desk.store.newest_event(&live.organization).unwrap();
    let high = count(&path, "SELECT max(id) FROM journal");
    desk.commit(step(&live, Step::Extend { amount: Money::from_micros(5) }));
    let fresh = desk.admit();
    let told = desk.store.events(&fresh.organization, None, newest, 10).unwrap();
    assert!(told.iter().all(|event| event.position > high as u64) && told.len() == 1, "{told:?}");
    desk.commit(settle(&live, Money::from_micros(5)));
    desk.store.keep(Retention { records: Some(DAY), events: None, ..Retention::default() });
    std::thread::sleep(Duration::from_millis(1_200));
    assert!(desk.store.get(&live.organization, live.call).unwrap().is_some(), "its phones may still be told of it");
    desk.store.forget(vec![live.call]);
    until(|| count(&path, "SELECT count(*) FROM calls") == 0);
    let id: i64 = count(&path, "SELECT max(id) FROM live");
    drop(desk);
    let mut desk = Desk::open(&path, wide()).unwrap();
    desk.admit();
    assert_eq!(count(&path, "SELECT max(id) FROM live"), id + 1);
    drop(desk);
    is_right(&path);
}

/// What went in time is one thing, what went otherwise another.
#[test]
fn a_record_that_was_not_dropped_in_time_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open(&path, wide()).unwrap();
    past(&mut desk, 40, 3);
    past(&mut desk, 2, 1);
    desk.store.keep(Retention { records: Some(DAY * 50), events: None, ..Retention::default() });
    let mut young = Hand::on(&path);
    desk.store.keep(Retention { records: Some(DAY * 30), events: None, ..Retention::default() });
    until(|| count(&path, "SELECT count(*) FROM calls") == 1);
    drop(desk);
    is_right(&path);
    young.execute("UPDATE retired SET calls = calls - 1");
    assert_eq!(audited(&path).iter().map(|one| one.finding).collect::<Vec<_>>(), [Finding::RetiredCallsDiffer]);
    young.execute("UPDATE retired SET calls = calls + 1");
    young.execute("DELETE FROM calls");
    let found: Vec<_> = audited(&path).iter().map(|one| one.finding).collect();
    assert!(found.contains(&Finding::RecordMissing), "{found:?}");
}

#[test]
fn nothing_goes_unless_somebody_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open(&path, wide()).unwrap();
    past(&mut desk, 4_000, 1);
    desk.store.keep(Retention::default());
    desk.admit();
    std::thread::sleep(Duration::from_millis(1_200));
    desk.admit();
    assert_eq!(count(&path, "SELECT count(*) FROM calls"), 1);
    assert_eq!(count(&path, "SELECT count(*) FROM journal WHERE record IS NOT NULL"), 4);
}
