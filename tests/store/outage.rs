//! A PostgreSQL that goes away: no new call, the live ones go on, and what they owe is written when it is back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use revbridge::guardrails::Refusal;
use revbridge::model::{CallId, CommitId, Money, OrganizationId, Side, Status};
use revbridge::store::{Committed, Step, StoreDown};

use crate::desk::engine::postgres::{Hand, Postgres};
use crate::desk::*;

const CENT: Money = Money::from_micros(10_000);

fn acme() -> OrganizationId {
    OrganizationId("acme".into())
}

/// Waits until the engine has found its way back.
fn is_back(desk: &Desk) {
    let until = Instant::now() + Duration::from_secs(5);
    while desk.store.ping().is_err() {
        assert!(Instant::now() < until, "the engine does not come back");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn extend(amount: Money) -> Step {
    Step::Extend { amount }
}

#[test]
fn live_calls_go_on_without_a_database_and_what_they_owe_is_written_when_it_is_back() {
    let postgres = Postgres::start("away");
    let url = postgres.database("away");
    let mut desk = Desk::open_url(&url, "a", limits(100, 100, "0.10"), || ()).unwrap();
    let (live, ending) = (desk.admit(), desk.admit());
    postgres.crash();

    let began = Instant::now();
    let refused = desk.attempt();
    assert_eq!(desk.commit(admit(&refused)), Committed::Unavailable);
    assert_eq!(desk.commit(permit(&live, Side::Destination)), Committed::Unavailable);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    // Each period is granted at once, up to the limit that this node knows of.
    for _ in 0..5 {
        assert_eq!(desk.commit(step(&live, extend(CENT))), Committed::Extended);
    }
    assert!(matches!(desk.commit(step(&ending, extend(CENT.times(2)))), Committed::Refused(_)));
    assert_eq!(desk.commit(step(&ending, extend(CENT))), Committed::Extended);
    assert!(matches!(desk.commit(step(&live, extend(CENT))), Committed::Refused(Refusal::SpendLimitExceeded { .. })));
    // A call that ends asks again; a step that only has to be written waits.
    assert_eq!(desk.commit(settle(&ending, CENT.times(2))), Committed::Unavailable);
    desk.submit(step(&live, Step::Keep));
    assert!(desk.answers.recv_timeout(Duration::from_millis(300)).is_err(), "not durable, and not given up");
    assert!(desk.store.ping().is_err());
    assert_eq!(desk.store.get(&acme(), live.call), Err(StoreDown));
    assert!(matches!(desk.store.usage(&acme(), now()), Err(StoreDown)));

    postgres.up();
    assert_eq!(desk.wait(), Committed::Done);
    let usage = desk.store.usage(&acme(), now()).unwrap().unwrap();
    assert_eq!((usage.legs, usage.reserved), (4, CENT.times(10)));
    assert_eq!(desk.commit(settle(&ending, CENT.times(2))), Committed::Done);
    assert_eq!(desk.commit(settle(&live, CENT.times(7))), Committed::Done);
    let usage = desk.store.usage(&acme(), now()).unwrap().unwrap();
    assert_eq!((usage.legs, usage.reserved, usage.spent), (0, Money::ZERO, CENT.times(9)));
    assert_eq!(desk.store.get(&acme(), refused.call), Ok(None));
    let mut hand = Hand::connect(&url).unwrap();
    assert_eq!(hand.count("SELECT count(*) FROM ledger WHERE kind = 'extend'"), 2, "one per call, however long");
    assert_eq!(hand.count("SELECT sum(amount) FROM ledger WHERE kind = 'extend'"), 60_000);
}

#[test]
fn money_that_others_have_used_is_not_charged_twice() {
    let postgres = Postgres::start("used");
    let url = postgres.database("used");
    let open = |node| Desk::open_url(&url, node, limits(100, 100, "0.05"), || ()).unwrap();
    let (mut a, mut b) = (open("a"), open("b"));
    let live = a.admit();
    // Behind the back of a, which has no reason to look before the database goes away.
    b.admit();
    postgres.crash();
    let newer = Some(vec![9; 100].into());
    let asked = step(&live, extend(CENT.times(3)));
    assert_eq!(a.commit(revbridge::store::Commit { snapshot: newer, ..asked }), Committed::Extended);
    postgres.up();
    is_back(&a);
    let mut hand = Hand::connect(&url).unwrap();
    assert_eq!(hand.count("SELECT sum(reserved)::bigint FROM live"), 40_000, "the limit holds");
    assert_eq!(
        hand.count("SELECT count(*) FROM live WHERE octet_length(snapshot) = 100"),
        1,
        "where it stands is kept"
    );
    assert_eq!(a.commit(settle(&live, CENT.times(5))), Committed::Done);
    assert_eq!(a.store.get(&acme(), live.call).unwrap().unwrap().cost, CENT.times(3), "what the others have left");
}

#[test]
fn a_database_that_only_stands_still_is_given_up_within_three_seconds() {
    let postgres = Postgres::start("still");
    let url = postgres.database("still");
    let mut desk = Desk::open_url(&url, "a", wide(), || ()).unwrap();
    let live = desk.admit();
    postgres.freeze(true);
    let began = Instant::now();
    let refused = desk.attempt();
    assert_eq!(desk.commit(admit(&refused)), Committed::Unavailable);
    assert!(began.elapsed() < Duration::from_millis(3_200), "{:?}", began.elapsed());
    let began = Instant::now();
    assert_eq!(desk.commit(admit(&refused)), Committed::Unavailable);
    assert!(began.elapsed() < Duration::from_millis(100), "known to be away: {:?}", began.elapsed());
    postgres.freeze(false);
    is_back(&desk);
    assert!(matches!(desk.commit(permit(&live, Side::Destination)), Committed::Permitted(_)));
    assert_eq!(desk.store.get(&acme(), refused.call), Ok(None));
    assert!(matches!(desk.commit(admit(&refused)), Committed::Admitted { .. }));
}

/// What the test knows of a call.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Known {
    Asked,
    Admitted,
    Refused,
    Ended,
}

/// Two nodes go on without a pause while the database crashes again and again: what was answered is there, what
/// was refused is not, and nothing is there twice or by half.
#[test]
fn whatever_moment_the_database_crashes_at_every_answer_is_true() {
    let postgres = Postgres::start("random");
    let url = postgres.database("random");
    let mut seed = std::process::id().wrapping_mul(2_654_435_761);
    let mut draw = |up_to: u32| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) % up_to
    };
    // Both nodes are there before the first crash.
    let open = std::sync::Barrier::new(3);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let nodes: Vec<_> = ["a", "b"]
            .into_iter()
            .map(|node| {
                let (url, open, stop) = (&url, &open, &stop);
                scope.spawn(move || work(url, node, open, || stop.load(std::sync::atomic::Ordering::Relaxed)))
            })
            .collect();
        open.wait();
        std::thread::sleep(Duration::from_millis(300));
        for _ in 0..6 {
            std::thread::sleep(Duration::from_millis(u64::from(draw(120))));
            postgres.crash();
            std::thread::sleep(Duration::from_millis(u64::from(draw(60))));
            postgres.up();
            std::thread::sleep(Duration::from_millis(150));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let known: Vec<_> = nodes.into_iter().map(|node| node.join().unwrap()).collect();
        let mut hand = Hand::connect(&url).unwrap();
        check(&mut hand, &url, known);
    });
}

/// One node's calls, several at a time: each is admitted, extended, and ended with what it was extended by.
fn work(url: &str, node: &str, open: &std::sync::Barrier, stop: impl Fn() -> bool) -> BTreeMap<CallId, Known> {
    let mut desk = Desk::open_url(url, node, wide(), || ()).unwrap();
    open.wait();
    let mut known = BTreeMap::new();
    let mut waiting = BTreeMap::new();
    let mut next = 0;
    let submit = |desk: &mut Desk, waiting: &mut BTreeMap<CommitId, _>, next: &mut u64, attempt, commit| {
        *next += 1;
        desk.submit(commit);
        waiting.insert(CommitId(*next), attempt);
    };
    loop {
        while !stop() && waiting.len() < 12 {
            let attempt = desk.attempt();
            known.insert(attempt.call, Known::Asked);
            let commit = admit(&attempt);
            submit(&mut desk, &mut waiting, &mut next, attempt, commit);
        }
        if waiting.is_empty() {
            return known;
        }
        let (id, committed) = desk.answers.recv_timeout(Duration::from_secs(20)).expect("every step is answered");
        let attempt: revbridge::guardrails::Attempt = waiting.remove(&id).expect("once");
        let follows = match (&committed, known[&attempt.call]) {
            (Committed::Admitted { .. }, Known::Asked) => {
                known.insert(attempt.call, Known::Admitted);
                step(&attempt, extend(CENT))
            }
            (Committed::Unavailable, Known::Asked) => {
                known.insert(attempt.call, Known::Refused);
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            (Committed::Extended, Known::Admitted) => settle(&attempt, CENT.times(3)),
            (Committed::Unavailable, Known::Admitted) => {
                // As a call does, though it waits for longer.
                std::thread::sleep(Duration::from_millis(5));
                settle(&attempt, CENT.times(3))
            }
            (Committed::Done, Known::Admitted) => {
                known.insert(attempt.call, Known::Ended);
                continue;
            }
            other => panic!("{other:?}"),
        };
        submit(&mut desk, &mut waiting, &mut next, attempt, follows);
    }
}

fn check(hand: &mut Hand, url: &str, known: Vec<BTreeMap<CallId, Known>>) {
    let desk = Desk::open_url(url, "c", wide(), || ()).unwrap();
    let all: BTreeMap<_, _> = known.into_iter().flatten().collect();
    let of = |state| all.values().filter(|known| **known == state).count() as i64;
    for (call, known) in &all {
        let record = desk.store.get(&acme(), *call).unwrap();
        match known {
            Known::Ended => {
                let record = record.unwrap_or_else(|| panic!("{call} was answered"));
                assert_eq!((record.status, record.cost), (Status::Completed, CENT.times(3)), "{call}");
            }
            Known::Refused => assert_eq!(record, None, "{call} was refused"),
            Known::Asked | Known::Admitted => panic!("{call} was never answered"),
        }
    }
    // How many are refused is for the machine to say; that calls went on between the crashes is not.
    assert!(of(Known::Ended) > 10, "{} and {}", of(Known::Ended), of(Known::Refused));
    println!("database crashes: {} calls, {} refused", of(Known::Ended), of(Known::Refused));
    assert_eq!(hand.count("SELECT count(*) FROM calls"), of(Known::Ended));
    assert_eq!(hand.count("SELECT count(*) FROM live WHERE record IS NOT NULL"), 0);
    assert_eq!(hand.count("SELECT coalesce(sum(reserved), 0)::bigint FROM live"), 0);
    for (kind, amount) in [("reserve", 20_000), ("extend", 10_000), ("charge", 30_000)] {
        let sum = format!("SELECT sum(amount) FROM ledger WHERE kind = '{kind}'");
        assert_eq!(hand.count(&sum), of(Known::Ended) * amount, "{kind}");
    }
    assert_eq!(hand.count("SELECT sum(spent) FROM spend"), of(Known::Ended) * 30_000);
    for kind in ["new_call", "call_completed"] {
        let told = format!("SELECT count(*) FROM outbox WHERE kind = '{kind}'");
        assert_eq!(hand.count(&told), of(Known::Ended), "{kind}");
    }
}

/// Whoever takes a call up believes that what was durable seconds before the process died was acknowledged. What was
/// answered late was durable for as long as that, and heard by nobody.
#[test]
fn what_was_answered_late_says_nothing_of_how_long_the_process_lived_with_it() {
    let postgres = Postgres::start("late");
    let url = postgres.database("late");
    let mut desk = Desk::open_url(&url, "a", wide(), || ()).unwrap();
    let call = desk.admit();
    postgres.crash();
    let asked = now();
    desk.submit(step(&call, Step::Keep));
    std::thread::sleep(Duration::from_secs(3));
    postgres.up();
    assert_eq!(desk.wait(), Committed::Done);
    // Beats and further commits move nothing yet.
    std::thread::sleep(Duration::from_millis(1_500));
    desk.admit();
    drop(desk);
    let desk = Desk::open_url(&url, "a", wide(), || ()).unwrap();
    let found = desk.recovered.calls.iter().find(|found| found.call == call.call).expect("it is found");
    let late = found.last_alive.map(|at| at.since(asked));
    assert!(late.is_some_and(|late| late < Duration::from_millis(500)), "{late:?}");
}
