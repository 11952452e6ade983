//! Traces of calls that are over: kept beside them, for a time of their own, and gone with a number that is forgotten.

use std::time::{Duration, Instant};

use bytes::Bytes;
use revbridge::model::{CallId, Money};
use revbridge::store::{Erased, Erasure, Retention};

use crate::audit::is_right;
use crate::desk::engine::Hand;
use crate::desk::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn until(mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "it never came to that");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_trace_is_what_was_written_and_of_two_the_longer_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open(&path, wide()).unwrap();
    let (one, other) = (desk.attempt().call, desk.attempt().call);
    let long = Bytes::from(vec![b'm'; 300_000]);
    desk.store.keep_traces(vec![(one, long.clone()), (other, Bytes::from_static(b"\0\x01short"))], now()).unwrap();
    desk.store.keep_traces(vec![(one, Bytes::from_static(b"late"))], now()).unwrap();
    assert_eq!(desk.store.trace(one).unwrap(), Some(long.clone()));
    desk.store.keep_traces(vec![(other, long.clone())], now()).unwrap();
    assert_eq!(desk.store.trace(other).unwrap(), Some(long));
    assert_eq!(desk.store.trace(desk.ids.call(now())).unwrap(), None);
    drop(desk);
    is_right(&path);
}

#[test]
fn traces_past_their_time_go_and_their_records_stay() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open(&path, wide()).unwrap();
    let attempt = desk.admit();
    desk.commit(settle(&attempt, Money::from_micros(5)));
    // While a call lives the store tidies up each second.
    desk.admit();
    let trace = |call: CallId| (call, Bytes::from_static(b"messages"));
    // More than a bite.
    let old: Vec<_> = (0..120).map(|_| trace(desk.ids.call(now()))).collect();
    desk.store.keep_traces(old, now() - DAY * 8).unwrap();
    desk.store.keep_traces(vec![trace(attempt.call)], now() - DAY * 6).unwrap();
    desk.store.keep(Retention { traces: Some(DAY * 7), ..Retention::default() });
    let mut hand = Hand::on(&path);
    until(|| hand.count("SELECT count(*) FROM trace") == 1);
    assert!(desk.store.trace(attempt.call).unwrap().is_some());
    desk.store.keep(Retention { traces: Some(DAY * 5), ..Retention::default() });
    until(|| hand.count("SELECT count(*) FROM trace") == 0);
    assert!(desk.store.get(&attempt.organization, attempt.call).unwrap().is_some());
}

#[test]
fn whoever_is_forgotten_is_in_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open(&path, wide()).unwrap();
    let person = "+13105559876";
    let (mut hers, his) = (desk.attempt(), desk.attempt());
    hers.to = number(person);
    for attempt in [&hers, &his] {
        desk.commit(admit(attempt));
        desk.commit(settle(attempt, Money::from_micros(5)));
    }
    // As a peer writes it where no mark knows it.
    let words = Bytes::from_static(b"Subject: call 3105559876 or +13105559876");
    desk.store.keep_traces(vec![(hers.call, words), (his.call, Bytes::from_static(b"others"))], now()).unwrap();
    desk.store.forget(vec![hers.call, his.call]);
    let mut hand = Hand::on(&path);
    until(|| hand.count("SELECT count(*) FROM live") == 0);
    let erasure = Erasure { number: number(person), by: "operator".to_owned(), at: now(), salt: [9; 16] };
    assert!(matches!(desk.store.erase(&erasure).unwrap(), Erased::Done(rows) if rows.records == 1));
    assert_eq!(desk.store.trace(hers.call).unwrap(), None);
    assert!(desk.store.trace(his.call).unwrap().is_some());
    let all = crate::desk::engine::bytes(&path);
    assert!(memchr::memmem::find(&all, b"3105559876").is_none(), "no byte of it is left");
}
