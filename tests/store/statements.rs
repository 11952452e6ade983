//! Statements equal the sum of their calls at any moment, and what is booked stays booked.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use revbridge::events::FactKind;
use revbridge::model::{CallId, Day, Money, OrganizationId, Path, UserId};
use revbridge::store::{CallFilter, Committed, Step};

use crate::audit::is_right;
use crate::desk::engine::Hand;
use crate::desk::*;

fn around_today() -> (Day, Day) {
    let today = now().day(&TimeZone::UTC);
    (Day(today.0 - 1), Day(today.0 + 1))
}

fn acme() -> OrganizationId {
    OrganizationId("acme".into())
}

/// The costs of all calls that are over, page by page.
fn ended(desk: &Desk) -> BTreeMap<CallId, Money> {
    let mut query = CallFilter { limit: 100, ..CallFilter::default() };
    let mut costs = BTreeMap::new();
    loop {
        let page = desk.store.list(&acme(), &query).unwrap();
        let over = page.records.iter().filter(|record| record.status.is_terminal());
        costs.extend(over.map(|record| (record.id, record.cost)));
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return costs,
        }
    }
}

/// Calls that had ended by the time the ledger had come to `position`, by what subscribers were told.
fn ended_by(desk: &Desk, position: u64) -> BTreeMap<CallId, Money> {
    let (mut after, mut ended) = (0, BTreeMap::new());
    loop {
        let events = desk.store.events(&acme(), None, after, 1_000).unwrap();
        let until = events.iter().filter(|event| event.position <= position);
        ended.extend(
            until.filter(|event| event.kind == FactKind::CallCompleted).map(|event| (event.call, event.record.cost)),
        );
        match events.last() {
            Some(last) if last.position < position => after = last.position,
            Some(_) | None => return ended,
        }
    }
}

/// While commits are being written, a statement says up to which position it goes: it is the sum of the calls that
/// ended up to there, neither more nor less, and the pages of records say the same of each of them.
#[test]
fn a_statement_is_the_sum_of_its_calls_at_every_moment() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open(&path, wide()).unwrap();
    let (from, to) = around_today();
    let mut live = Vec::new();
    let (mut compared, mut moments) = (0, std::collections::BTreeSet::new());
    for round in 0..40u64 {
        // Handed over, not waited for: the writer is at it while we read.
        let ending: Vec<_> = live.drain(..live.len() / 2).collect();
        let starting: Vec<_> = (0..12).map(|_| desk.attempt()).collect();
        for (n, attempt) in ending.iter().enumerate() {
            desk.submit(step(attempt, Step::Extend { amount: Money::from_micros(700) }));
            desk.submit(settle(attempt, Money::from_micros(1_000 * n as i64 + round as i64)));
        }
        starting.iter().for_each(|attempt| desk.submit(admit(attempt)));
        for _ in 0..4 {
            let statement = desk.store.statement(&acme(), from, to).unwrap();
            let told = ended_by(&desk, statement.as_of);
            assert_eq!(statement.total.spent, told.values().copied().sum());
            assert_eq!(statement.total.calls - statement.total.live, told.len() as u64);
            let paged = ended(&desk);
            for (call, cost) in &told {
                assert_eq!(paged.get(call), Some(cost), "a page read later has every call of the statement");
            }
            moments.insert(statement.as_of);
            compared += told.len();
        }
        for _ in 0..ending.len() * 2 + starting.len() {
            assert!(!matches!(desk.wait(), Committed::Unavailable | Committed::Refused(_)));
        }
        desk.store.forget(ending.iter().map(|attempt| attempt.call).collect());
        live.extend(starting);
    }
    assert!(moments.len() > 20 && compared > 1_000, "{} moments, {compared} comparisons", moments.len());
    let statement = desk.store.statement(&acme(), from, to).unwrap();
    assert_eq!(statement.total.spent, ended(&desk).values().copied().sum());
    let usage = desk.store.usage(&acme(), now()).unwrap().unwrap();
    assert_eq!((statement.total.spent, statement.total.reserved), (usage.spent, usage.reserved));
    is_right(&path);
}

#[test]
fn a_statement_tells_users_paths_and_days_apart_and_ends_where_it_was_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open(&path, wide()).unwrap();
    let today = now().day(&TimeZone::UTC);
    let alice = desk.admit();
    let mut bob = desk.attempt();
    bob.user = UserId("bob".into());
    desk.commit(admit(&bob));
    let mut answered = settle(&bob, Money::from_micros(20_000));
    answered.record.answered_at = Some(now());
    answered.record.billable_seconds = 66;
    answered.record.path = Path::Join;
    desk.commit(answered);
    let check = |desk: &Desk| {
        let statement = desk.store.statement(&acme(), today, today).unwrap();
        let sums = |user: &str| statement.users[&UserId(user.into())];
        assert_eq!((sums("alice").calls, sums("alice").live, sums("alice").reserved), (1, 1, FIRST_PERIODS));
        assert_eq!((sums("bob").answered, sums("bob").billable_seconds), (1, 66));
        assert_eq!(statement.paths["join"].spent, Money::from_micros(20_000));
        assert_eq!(statement.days[&today], statement.total);
        let other = desk.store.statement(&acme(), Day(today.0 + 1), Day(today.0 + 1)).unwrap();
        assert_eq!((other.total, other.as_of), (Default::default(), statement.as_of));
        let foreign = desk.store.statement(&OrganizationId("other".into()), today, today).unwrap();
        assert_eq!(foreign.total, Default::default());
    };
    check(&desk);
    drop(desk);
    // A start sums up what was not summed up yet.
    check(&Desk::open(&path, wide()).unwrap());
    assert_eq!(alice.user, UserId("alice".into()));
    is_right(&path);
}

/// Nobody's statement, and nobody's by hand, changes a booking; a fact may go or lose its record.
#[test]
fn the_database_itself_refuses_to_change_a_booking() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open(&path, wide()).unwrap();
    let attempt = desk.admit();
    desk.commit(settle(&attempt, Money::from_micros(100)));
    let mut hand = Hand::on(&path);
    for refused in [
        "DELETE FROM journal",
        "DELETE FROM journal WHERE kind = 'release'",
        "UPDATE journal SET amount = 1 WHERE kind = 'charge'",
        "UPDATE journal SET day = 1 WHERE kind = 'charge'",
        "UPDATE journal SET amount = NULL, day = NULL, kind = 'new_call' WHERE kind = 'charge'",
        "UPDATE journal SET amount = 1, day = 1, kind = 'charge' WHERE kind = 'new_call'",
        "UPDATE journal SET kind = 'call_failed' WHERE kind = 'call_completed'",
        "UPDATE journal SET at = 1 WHERE kind = 'call_completed'",
    ] {
        hand.refused(refused);
    }
    let unbalanced = "SELECT count(*) FROM (SELECT 1 FROM postings GROUP BY booking HAVING sum(amount) <> 0) AS one";
    let mut postings = |sql: &str| hand.count(sql);
    assert_eq!((postings("SELECT count(*) FROM postings"), postings(unbalanced)), (6, 0));
    assert_eq!(postings("SELECT sum(amount) FROM postings WHERE account = 'spent'"), 100);
    assert_eq!(postings("SELECT sum(amount) FROM postings WHERE account = 'reserved'"), 0);
    hand.execute("UPDATE journal SET record = NULL WHERE kind = 'new_call'");
    hand.execute("DELETE FROM journal WHERE kind = 'new_call'");
}
