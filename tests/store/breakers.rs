//! What the breakers know, in the file: over restarts, failed transactions and files of older releases.

use std::time::Duration;

use revbridge::guardrails::{BreakerLimits, DestinationProblem, Limits, Refusal, TripReason};
use revbridge::model::{CallRecord, EndReason, EndedBy, Money, Side, Status, Timestamp};
use revbridge::store::{Commit, Committed, Step};

use crate::desk::engine::Hand;
use crate::desk::*;
use crate::schema::as_of_version;

fn touchy() -> Limits {
    let breakers = BreakerLimits { short_answers: 3, answer_percent: 50, min_calls: 3, ..BreakerLimits::default() };
    Limits { breakers, ..wide() }
}

/// Settles a call that was answered and over at once.
fn short(attempt: &revbridge::guardrails::Attempt, at: Timestamp) -> Commit {
    let commit = settle(attempt, Money::from_micros(100));
    let record = CallRecord {
        answered_at: Some(at - Duration::from_secs(1)),
        ended_at: Some(at),
        ended_by: Some(EndedBy::Destination),
        end_reason: Some(EndReason::Hangup),
        ..record(attempt, Status::Completed)
    };
    Commit { at, record, ..commit }
}

fn is_paused(committed: &Committed) -> bool {
    let refused = |reason| reason == TripReason::ShortAnswers;
    matches!(committed, Committed::Refused(Refusal::DestinationNotAllowed(DestinationProblem::Paused { pause, .. }))
        if refused(pause.reason))
}

#[test]
fn a_window_and_a_pause_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open(&path, touchy()).unwrap();
    let calls = [desk.admit(), desk.admit(), desk.admit(), desk.admit()];
    for call in &calls[..2] {
        assert_eq!(desk.commit(short(call, now())), Committed::Done);
    }
    drop(desk);
    let mut desk = Desk::open(&path, touchy()).unwrap();
    assert_eq!(desk.commit(short(&calls[2], now())), Committed::Tripped(TripReason::ShortAnswers));
    let pauses = |desk: &Desk| desk.store.usage(&calls[0].organization, now()).unwrap().unwrap().pauses;
    let paused = pauses(&desk);
    assert_eq!(paused.len(), 1);
    drop(desk);
    let mut desk = Desk::open(&path, touchy()).unwrap();
    assert_eq!(pauses(&desk), paused);
    let attempt = desk.attempt();
    assert!(is_paused(&desk.commit(admit(&attempt))));
    assert!(is_paused(&desk.commit(permit(&calls[3], Side::Destination))));
    desk.declare(wide());
    assert!(!is_paused(&desk.commit(admit(&attempt))) || wide().breakers.short_answers > 0);
    desk.declare(Limits { breakers: BreakerLimits::OFF, ..wide() });
    let attempt = desk.attempt();
    assert!(matches!(desk.commit(admit(&attempt)), Committed::Admitted { .. }));
}

#[test]
fn a_transaction_that_fails_takes_its_trip_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open(&path, touchy()).unwrap();
    let calls = [desk.admit(), desk.admit(), desk.admit()];
    for call in &calls[..2] {
        desk.commit(short(call, now()));
    }
    let mut other = Hand::on(&path);
    other.break_inserts("journal");
    assert_eq!(desk.commit(short(&calls[2], now())), Committed::Unavailable);
    assert_eq!(desk.store.usage(&calls[0].organization, now()).unwrap().unwrap().pauses, []);
    other.mend_inserts("journal");
    assert_eq!(desk.commit(short(&calls[2], now())), Committed::Tripped(TripReason::ShortAnswers));
}

#[test]
fn a_file_of_an_older_release_begins_with_a_fresh_window() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open_file(&path, touchy()).unwrap();
    let calls = [desk.admit(), desk.admit(), desk.admit()];
    desk.commit(short(&calls[0], now()));
    drop(desk);
    let mut desk = Desk::open_file(&as_of_version(4, &path), touchy()).unwrap();
    assert_eq!(desk.commit(short(&calls[1], now())), Committed::Done);
    assert_eq!(desk.commit(short(&calls[2], now())), Committed::Done, "the first is not known any more");
}

#[test]
fn what_says_nothing_any_more_is_dropped_from_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open(&path, touchy()).unwrap();
    let call = desk.admit();
    desk.commit(short(&call, now()));
    let mut by_hand = Hand::on(&path);
    let old = (now() - Duration::from_secs(3_601)).as_micros();
    by_hand.execute(&format!("UPDATE breaker SET at = {old}"));
    let mut marks = || by_hand.count("SELECT count(*) FROM breaker");
    assert_eq!(marks(), 1);
    let until = std::time::Instant::now() + Duration::from_secs(5);
    while marks() > 0 {
        assert!(std::time::Instant::now() < until, "it is never dropped");
        desk.admit();
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A store that was away: the call could reserve nothing while it went on.
#[test]
fn what_a_call_cost_beyond_its_reservation_is_reserved_and_charged_at_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open(&path, limits(8, 8, "0.05")).unwrap();
    let (first, second) = (desk.admit(), desk.admit());
    let micros = Money::from_micros;
    assert_eq!(desk.commit(settle(&first, micros(35_000))), Committed::Done);
    let cost = |desk: &Desk, call| desk.store.get(&first.organization, call).unwrap().unwrap().cost;
    assert_eq!(cost(&desk, first.call), micros(30_000), "as far as the limit has room");
    assert!(matches!(
        desk.commit(step(&second, Step::Extend { amount: micros(1) })),
        Committed::Refused(Refusal::SpendLimitExceeded { .. })
    ));
    assert_eq!(desk.commit(settle(&second, micros(20_000))), Committed::Done);
    let usage = desk.store.usage(&first.organization, now()).unwrap().unwrap();
    assert_eq!((usage.spent, usage.reserved), (micros(50_000), Money::ZERO));
    drop(desk);
    let mut hand = Hand::on(&path);
    let call = hand.blob(&first.call.to_bytes());
    let entries = hand.texts(&format!("SELECT kind || ' ' || amount FROM ledger WHERE call = {call} ORDER BY id"));
    assert_eq!(entries, ["reserve 20000", "extend 10000", "charge 30000"]);
}
