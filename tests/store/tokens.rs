//! Browsers' tokens: used once, by one of any number, and found again after a restart.

use std::time::Duration;

use revbridge::model::{Money, Path, Timestamp, TokenDigest};
use revbridge::store::{Commit, Committed, IssuedToken, Step};
use rusqlite::Connection;

use crate::desk::engine::Hand;
use crate::desk::*;
use crate::schema::as_of_version;

const TOKEN: TokenDigest = TokenDigest([1; 32]);
const RETURNING: TokenDigest = TokenDigest([2; 32]);
const VALID: Duration = Duration::from_secs(120);

fn issue(desk: &mut Desk) -> revbridge::guardrails::Attempt {
    let attempt = revbridge::guardrails::Attempt { connect: None, ..desk.attempt() };
    let token = IssuedToken { digest: TOKEN, path: Path::Join, expires_at: now() + VALID };
    let committed = desk.commit(Commit { token: Some(token), ..admit(&attempt) });
    let Committed::Admitted { permit, grant } = committed else { panic!("{committed:?}") };
    assert_eq!((permit, grant.user_price), (None, None), "nobody is rung, and a browser costs nothing");
    assert_eq!(grant.reserved, Money::from_micros(10_000), "the destination's first minute");
    attempt
}

fn connect(attempt: &revbridge::guardrails::Attempt, returning: TokenDigest, at: Timestamp) -> Commit {
    Commit { at, ..step(attempt, Step::Connect { token: TOKEN, returning }) }
}

#[test]
fn of_all_that_use_a_token_in_one_transaction_or_in_many_one_does() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::open(&dir.path().join("db"), wide()).unwrap();
    let attempt = issue(&mut desk);
    for n in 0..200u8 {
        desk.submit(connect(&attempt, TokenDigest([n; 32]), now()));
    }
    let all: Vec<_> = (0..200).map(|_| desk.wait()).collect();
    assert_eq!(all.iter().filter(|committed| **committed == Committed::Done).count(), 1);
    assert_eq!(all.iter().filter(|committed| **committed == Committed::Spent).count(), 199);
    assert_eq!(all[0], Committed::Done, "and it is the first");
    assert_eq!(desk.commit(connect(&attempt, RETURNING, now())), Committed::Spent);
    let state = desk.store.find_token(TOKEN).unwrap().unwrap();
    assert!(state.is_used);
    assert_eq!(desk.store.find_token(TokenDigest([0; 32])).unwrap(), Some(state), "also by the first one's secret");
    assert_eq!(desk.store.find_token(TokenDigest([199; 32])).unwrap(), None);
}

/// Two nodes on one file would carry out the same statement: it alone decides.
#[test]
fn the_statement_decides_also_between_two_writers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open(&path, wide()).unwrap();
    let attempt = issue(&mut desk);
    let mut other = Hand::on(&path);
    other.execute("UPDATE token SET used_at = 1 WHERE used_at IS NULL");
    assert_eq!(other.count("SELECT count(*) FROM token WHERE used_at = 1"), 1);
    assert_eq!(desk.commit(connect(&attempt, RETURNING, now())), Committed::Spent);
    let record = desk.store.get(&attempt.organization, attempt.call).unwrap().unwrap();
    assert_eq!(record.status, revbridge::model::Status::Queued, "what was to follow was not written");
}

#[test]
fn a_token_has_its_time_its_call_and_its_own_digest() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::open(&dir.path().join("db"), wide()).unwrap();
    let attempt = issue(&mut desk);
    let other = desk.admit();
    assert_eq!(desk.commit(connect(&other, RETURNING, now())), Committed::Spent, "not of this call");
    assert_eq!(desk.commit(connect(&attempt, RETURNING, now() + VALID * 2)), Committed::Spent, "too late");
    assert!(!desk.store.find_token(TOKEN).unwrap().unwrap().is_used);
    desk.commit(settle(&attempt, Money::ZERO));
    assert_eq!(desk.commit(connect(&attempt, RETURNING, now())), Committed::Spent, "its call is over");
    assert!(!desk.store.find_token(TOKEN).unwrap().unwrap().is_used);
    assert_eq!(desk.store.find_token(TokenDigest([9; 32])).unwrap(), None);
}

#[test]
fn a_restart_finds_tokens_used_and_unused_and_what_they_hold() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open(&path, limits(4, 100, "100")).unwrap();
    let attempt = issue(&mut desk);
    drop(desk);
    let mut desk = Desk::open(&path, limits(4, 100, "100")).unwrap();
    let usage = desk.store.usage(&attempt.organization, now()).unwrap().unwrap();
    assert_eq!((usage.legs, usage.reserved), (2, Money::from_micros(10_000)));
    let state = desk.store.find_token(TOKEN).unwrap().unwrap();
    assert_eq!((state.call, &state.organization, state.path), (attempt.call, &attempt.organization, Path::Join));
    assert!(!state.is_used && state.expires_at > now());
    // The call is the same one: its leg is judged by the attempt that the file gives back.
    assert!(matches!(desk.commit(permit(&attempt, revbridge::model::Side::Destination)), Committed::Permitted(_)));
    assert_eq!(desk.commit(connect(&attempt, RETURNING, now())), Committed::Done);
    drop(desk);
    let desk = Desk::open(&path, limits(4, 100, "100")).unwrap();
    assert!(desk.store.find_token(RETURNING).unwrap().unwrap().is_used);
}

#[test]
fn a_repetition_issues_no_second_token() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::open(&dir.path().join("db"), wide()).unwrap();
    let keyed = |attempt: &revbridge::guardrails::Attempt, digest| Commit {
        idempotency: Some(idempotency(1, 1, "first")),
        token: Some(IssuedToken { digest, path: Path::Browser, expires_at: now() + VALID }),
        ..admit(attempt)
    };
    let (first, second) = (desk.attempt(), desk.attempt());
    assert!(matches!(desk.commit(keyed(&first, TOKEN)), Committed::Admitted { .. }));
    assert!(matches!(desk.commit(keyed(&second, RETURNING)), Committed::Replayed(_)));
    assert_eq!(desk.store.find_token(RETURNING).unwrap(), None);
}

/// A file of the version before tokens: its calls are still there, and it can issue them.
#[test]
fn a_file_of_the_version_before_is_brought_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open_file(&path, wide()).unwrap();
    let live = desk.admit();
    drop(desk);
    let path = as_of_version(1, &path);
    let by_hand = Connection::open(&path).unwrap();
    // There is a number where there may be none now.
    let record: String = by_hand.query_row("SELECT record FROM live", [], |row| row.get(0)).unwrap();
    assert!(record.contains("\"connect_number\":\"+14155550100\""), "{record}");
    drop(by_hand);
    let mut desk = Desk::open_file(&path, wide()).unwrap();
    assert_eq!(desk.recovered.calls.len(), 1);
    assert!(matches!(desk.commit(permit(&live, revbridge::model::Side::Destination)), Committed::Permitted(_)));
    let attempt = issue(&mut desk);
    assert_eq!(desk.commit(connect(&attempt, RETURNING, now())), Committed::Done);
}
