//! Webhooks in the store: written with the commit, leased, in order, given up, replayed, cancelled, dropped.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use revbridge::events::{Fact, FactKind, KeyPrint, ReceiverId, SecretSeed, TryError};
use revbridge::guardrails::Attempt;
use revbridge::model::*;
use revbridge::store::{
    Claim, ClaimantId, Commit, Committed, DeliveryFilter, DeliveryState, Due, Next, Once, Replay, Step, Subscribed,
    Subscription, Tried,
};

use crate::desk::engine::{Engine, Hand, engine};
use crate::desk::*;

const KEY: KeyPrint = KeyPrint([1; 8]);
const NODE: ClaimantId = ClaimantId([1; 16]);
const OTHER_NODE: ClaimantId = ClaimantId([2; 16]);
const LEASE: Duration = Duration::from_secs(30);

fn acme() -> OrganizationId {
    OrganizationId("acme".into())
}

/// A subscription of the receiver and URL number `place`.
fn subscription(n: u8, kind: FactKind, place: i64) -> Subscription {
    Subscription {
        id: SubscriptionId::new(now(), [n; 16]),
        kind,
        url: format!("https://hooks{place}.example/"),
        created_at: now(),
        seed: SecretSeed([n; 32]),
        key: KEY,
        receiver: ReceiverId(place),
        lane: place,
    }
}

fn subscribe(desk: &Desk, n: u8, kind: FactKind, place: i64) -> SubscriptionId {
    let subscription = subscription(n, kind, place);
    let id = subscription.id;
    assert_eq!(desk.store.subscribe(&acme(), subscription, 100, None), Ok(Once::Done(Subscribed::Taken)));
    id
}

fn with_facts(attempt: &Attempt, kinds: &[FactKind]) -> Commit {
    let facts = kinds.iter().map(|kind| Fact { call: attempt.call, kind: *kind }).collect();
    Commit { facts, ..step(attempt, Step::Keep) }
}

fn claim_of(by: ClaimantId, now: Timestamp) -> Claim {
    Claim {
        by,
        now,
        until: now + LEASE,
        key: KEY,
        limit: 100,
        per_receiver: 100,
        places: BTreeMap::new(),
        after: ReceiverId(i64::MAX),
    }
}

fn claim(desk: &Desk, by: ClaimantId, now: Timestamp) -> Vec<Due> {
    desk.store.claim(&claim_of(by, now)).unwrap()
}

fn kinds(due: &[Due]) -> Vec<FactKind> {
    due.iter().map(|due| due.event.kind).collect()
}

fn tried(due: &Due, at: Timestamp, next: Next) -> Tried {
    let (status, error) = match next {
        Next::Delivered => (Some(200), None),
        Next::Gone => (Some(410), Some(TryError::Gone)),
        Next::Again(_) | Next::Dead => (Some(500), Some(TryError::Status)),
        Next::Untried => (None, None),
    };
    Tried { id: due.id, at, status, error, next }
}

fn settle_all(desk: &Desk, by: ClaimantId, due: &[Due], at: Timestamp, next: Next) {
    desk.store.settle(by, due.iter().map(|due| tried(due, at, next)).collect()).unwrap();
}

/// Pending and dead.
fn counts(desk: &Desk, id: SubscriptionId) -> (u64, u64) {
    let state = desk.store.subscription(&acme(), id).unwrap().unwrap();
    (state.pending, state.dead)
}

fn soon() -> Timestamp {
    now() + Duration::from_secs(1)
}

fn rows(path: &Path, table: &str) -> i64 {
    Hand::on(path).count(&format!("SELECT count(*) FROM {table}"))
}

#[test]
fn a_fact_is_owed_to_those_who_had_subscribed_to_it_before() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::open(&dir.path().join("db"), wide()).unwrap();
    let before = desk.admit();
    let new = subscribe(&desk, 1, FactKind::NewCall, 1);
    let completed = subscribe(&desk, 2, FactKind::CallCompleted, 2);
    let busy = subscribe(&desk, 3, FactKind::CallBusy, 3);
    let call = desk.admit();
    assert_eq!(desk.commit(settle(&call, Money::ZERO)), Committed::Done);
    desk.commit(settle(&before, Money::ZERO));
    assert_eq!([new, completed, busy].map(|id| counts(&desk, id)), [(1, 0), (2, 0), (0, 0)]);

    let due = claim(&desk, NODE, soon());
    let told: Vec<_> = due.iter().map(|due| (due.subscription, due.event.kind, due.event.call)).collect();
    assert_eq!(told.len(), 3);
    assert!(told.contains(&(new, FactKind::NewCall, call.call)), "{told:?}");
    assert!(told.contains(&(completed, FactKind::CallCompleted, call.call)), "{told:?}");
    assert!(told.contains(&(completed, FactKind::CallCompleted, before.call)), "{told:?}");
    // The event is the outbox's own, record and all.
    let outbox = desk.store.events(&acme(), None, 0, 100).unwrap();
    assert!(due.iter().all(|due| outbox.contains(&due.event)));
    assert_eq!(due[0].seed, SecretSeed([if due[0].subscription == new { 1 } else { 2 }; 32]));
}

#[test]
fn what_is_refused_or_told_twice_is_owed_to_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::open(&dir.path().join("db"), limits(2, 100, "100")).unwrap();
    let new = subscribe(&desk, 1, FactKind::NewCall, 1);
    let completed = subscribe(&desk, 2, FactKind::CallCompleted, 1);
    let call = desk.admit();
    let refused = desk.attempt();
    assert!(matches!(desk.commit(admit(&refused)), Committed::Refused(_)));
    desk.commit(settle(&call, Money::ZERO));
    desk.commit(settle(&call, Money::ZERO));
    assert_eq!((counts(&desk, new), counts(&desk, completed)), ((1, 0), (1, 0)));
}

#[test]
fn another_organization_knows_nothing_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::open(&dir.path().join("db"), wide()).unwrap();
    let id = subscribe(&desk, 1, FactKind::NewCall, 1);
    desk.admit();
    let stranger = OrganizationId("other".into());
    let filter = DeliveryFilter { state: DeliveryState::Pending, limit: 10, cursor: None };
    assert_eq!(desk.store.subscriptions(&stranger), Ok(vec![]));
    assert_eq!(desk.store.subscription(&stranger, id), Ok(None));
    assert_eq!(desk.store.deliveries(&stranger, id, &filter), Ok(None));
    assert_eq!(desk.store.replay(&stranger, id, &Replay::All, now()), Ok(None));
    assert_eq!(desk.store.unsubscribe(&stranger, id, now(), None), Ok(Once::Done(false)));
    assert_eq!(counts(&desk, id), (1, 0));
}

/// Several of one call come one after the other at one URL; other URLs and calls do not wait.
#[test]
fn the_next_of_a_call_at_a_url_waits_until_the_one_before_is_delivered_or_dead() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::open(&dir.path().join("db"), wide()).unwrap();
    for (n, kind) in [FactKind::NewCall, FactKind::CallAnswered, FactKind::CallCompleted].into_iter().enumerate() {
        subscribe(&desk, n as u8, kind, 1);
    }
    subscribe(&desk, 9, FactKind::CallAnswered, 2);
    let (slow, other) = (desk.admit(), desk.admit());
    desk.commit(with_facts(&slow, &[FactKind::CallAnswered]));
    desk.commit(settle(&slow, Money::ZERO));
    let t0 = soon();

    let first = claim(&desk, NODE, t0);
    let of_slow: Vec<_> = first.iter().filter(|due| due.event.call == slow.call).cloned().collect();
    let at_one: Vec<_> = of_slow.iter().filter(|due| due.receiver == ReceiverId(1)).cloned().collect();
    assert_eq!(kinds(&at_one), [FactKind::NewCall]);
    assert_eq!((of_slow.len(), first.len()), (2, 3), "the other URL and the other call do not wait");
    assert!(first.iter().any(|due| due.event.call == other.call));
    let others: Vec<_> = first.iter().filter(|due| due.id != at_one[0].id).cloned().collect();
    settle_all(&desk, NODE, &others, t0, Next::Delivered);
    assert_eq!(claim(&desk, OTHER_NODE, t0), [], "it is being tried");

    // It fails, and fails again: nothing overtakes it.
    let t1 = t0 + Duration::from_secs(5);
    settle_all(&desk, NODE, &at_one, t0, Next::Again(t1));
    assert_eq!(claim(&desk, NODE, t0 + Duration::from_secs(4)), []);
    let again = claim(&desk, NODE, t1);
    assert_eq!((kinds(&again), again[0].attempts, again[0].first_tried_at), (vec![FactKind::NewCall], 1, Some(t0)));
    assert_eq!(again[0].event, at_one[0].event);
    settle_all(&desk, NODE, &again, t1, Next::Dead);
    let second = claim(&desk, NODE, t1);
    assert_eq!(kinds(&second), [FactKind::CallAnswered], "dead is over");
    settle_all(&desk, NODE, &second, t1, Next::Delivered);
    assert_eq!(kinds(&claim(&desk, NODE, t1)), [FactKind::CallCompleted]);
}

#[test]
fn facts_of_one_commit_keep_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::open(&dir.path().join("db"), wide()).unwrap();
    subscribe(&desk, 1, FactKind::CallBusy, 1);
    subscribe(&desk, 2, FactKind::CallCompleted, 1);
    let call = desk.admit();
    let both = [FactKind::CallCompleted, FactKind::CallBusy];
    let facts = both.map(|kind| Fact { call: call.call, kind }).to_vec();
    desk.commit(Commit { facts, ..settle(&call, Money::ZERO) });
    let t = soon();
    for kind in both {
        let due = claim(&desk, NODE, t);
        assert_eq!(kinds(&due), [kind]);
        settle_all(&desk, NODE, &due, t, Next::Delivered);
    }
}

#[test]
fn a_claim_is_a_lease_and_a_late_word_of_its_old_holder_counts_for_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::open(&dir.path().join("db"), wide()).unwrap();
    let id = subscribe(&desk, 1, FactKind::NewCall, 1);
    desk.admit();
    let t0 = soon();
    let held = claim(&desk, NODE, t0);
    assert_eq!(held.len(), 1);
    assert_eq!(claim(&desk, OTHER_NODE, t0 + LEASE - Duration::from_micros(1)), []);
    let taken = claim(&desk, OTHER_NODE, t0 + LEASE);
    assert_eq!(taken[0].event, held[0].event, "the same event again");
    for late in [Next::Again(t0), Next::Dead, Next::Delivered, Next::Untried] {
        settle_all(&desk, NODE, &held, t0, late);
        assert_eq!(claim(&desk, NODE, t0 + LEASE), [], "{late:?}: it is the other's still");
        assert_eq!(counts(&desk, id), (1, 0), "{late:?}");
    }
    settle_all(&desk, OTHER_NODE, &taken, t0 + LEASE, Next::Delivered);
    assert_eq!(counts(&desk, id), (0, 0));
    assert_eq!(claim(&desk, NODE, t0 + LEASE * 200), []);
}

#[test]
fn many_claimants_at_once_get_each_delivery_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::open(&dir.path().join("db"), wide()).unwrap();
    subscribe(&desk, 1, FactKind::NewCall, 1);
    subscribe(&desk, 2, FactKind::NewCall, 2);
    (0..100).for_each(|_| drop(desk.admit()));
    let (store, t) = (&desk.store, soon());
    let mut claimed: Vec<_> = std::thread::scope(|scope| {
        let claimants: Vec<_> = (0..8)
            .map(|n| {
                scope.spawn(move || {
                    let claim = Claim { limit: 7, ..claim_of(ClaimantId([n; 16]), t) };
                    let mut all = Vec::new();
                    // Another may have taken all that this one saw: it looks again.
                    let mut empty = 0;
                    while empty < 3 {
                        let some = store.claim(&claim).unwrap();
                        assert!(some.len() <= 7);
                        empty = if some.is_empty() { empty + 1 } else { 0 };
                        all.extend(some.into_iter().map(|due| due.id));
                    }
                    all
                })
            })
            .collect();
        claimants.into_iter().flat_map(|claimant| claimant.join().unwrap()).collect()
    });
    let all = claimed.len();
    claimed.sort();
    claimed.dedup();
    assert_eq!((all, claimed.len()), (200, 200));
}

#[test]
fn receivers_take_turns_and_have_their_places() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::open(&dir.path().join("db"), wide()).unwrap();
    (1..=4).for_each(|place| _ = subscribe(&desk, place as u8, FactKind::NewCall, place));
    (0..10).for_each(|_| drop(desk.admit()));
    let t = soon();
    let of = |due: &[Due]| {
        let mut count = BTreeMap::new();
        due.iter().for_each(|due| *count.entry(due.receiver.0).or_insert(0) += 1);
        count
    };
    let places = BTreeMap::from([(ReceiverId(2), 0), (ReceiverId(3), 5)]);
    let some = Claim { per_receiver: 2, places, ..claim_of(NODE, t) };
    assert_eq!(of(&desk.store.claim(&some).unwrap()), BTreeMap::from([(1, 2), (3, 5), (4, 2)]));
    let few = Claim { limit: 3, per_receiver: 2, after: ReceiverId(1), ..claim_of(NODE, t) };
    assert_eq!(of(&desk.store.claim(&few).unwrap()), BTreeMap::from([(2, 2), (3, 1)]), "those after the first");
    let few = Claim { limit: 3, per_receiver: 2, after: ReceiverId(3), ..claim_of(NODE, t) };
    assert_eq!(of(&desk.store.claim(&few).unwrap()), BTreeMap::from([(4, 2), (1, 1)]), "and around");
}

#[test]
fn whoever_has_another_key_is_given_nothing_to_sign() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::open(&dir.path().join("db"), wide()).unwrap();
    subscribe(&desk, 1, FactKind::NewCall, 1);
    desk.admit();
    let strange = KeyPrint([9; 8]);
    assert_eq!(desk.store.claim(&Claim { key: strange, ..claim_of(NODE, soon()) }), Ok(vec![]));
    let backlog = desk.store.backlog(strange).unwrap();
    assert_eq!((backlog.pending, backlog.of_other_keys), (1, 1));
    assert_eq!(desk.store.backlog(KEY).unwrap().of_other_keys, 0);
    assert_eq!(claim(&desk, NODE, soon()).len(), 1);
}

#[test]
fn a_cancelled_subscription_is_told_nothing_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open(&path, wide()).unwrap();
    let cancelled = subscribe(&desk, 1, FactKind::NewCall, 1);
    let stays = subscribe(&desk, 2, FactKind::CallAnswered, 1);
    let call = desk.admit();
    desk.commit(with_facts(&call, &[FactKind::CallAnswered]));
    assert_eq!(desk.store.unsubscribe(&acme(), cancelled, now(), None), Ok(Once::Done(true)));
    assert_eq!(desk.store.unsubscribe(&acme(), cancelled, now(), None), Ok(Once::Done(false)));
    desk.admit();
    assert_eq!(desk.store.subscription(&acme(), cancelled), Ok(None));
    assert_eq!(desk.store.subscriptions(&acme()).unwrap().len(), 1);
    let due = claim(&desk, NODE, soon());
    assert_eq!(due.iter().map(|due| due.subscription).collect::<Vec<_>>(), [stays], "and nothing waits behind it");
    let gone = within(Duration::from_secs(10), || {
        desk.admit();
        rows(&path, "subscription") == 1 && rows(&path, "delivery") == 1
    });
    assert!(gone, "{} subscriptions, {} deliveries", rows(&path, "subscription"), rows(&path, "delivery"));
}

#[test]
fn dead_ones_are_listed_page_by_page_and_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::open(&dir.path().join("db"), wide()).unwrap();
    let id = subscribe(&desk, 1, FactKind::NewCall, 1);
    let calls: Vec<_> = (0..25).map(|_| desk.admit().call).collect();
    let t = soon();
    let due = claim(&desk, NODE, t);
    settle_all(&desk, NODE, &due, t, Next::Dead);
    assert_eq!(counts(&desk, id), (0, 25));
    let mut filter = DeliveryFilter { state: DeliveryState::Dead, limit: 10, cursor: None };
    let mut seen = Vec::new();
    loop {
        let page = desk.store.deliveries(&acme(), id, &filter).unwrap().unwrap();
        seen.extend(page.deliveries);
        match page.next {
            Some(next) => filter.cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(seen.iter().map(|one| one.call).collect::<Vec<_>>(), calls.into_iter().rev().collect::<Vec<_>>());
    let one = &seen[7];
    let told = due.iter().find(|due| due.id == one.id).unwrap();
    assert_eq!(one.event, EventId::of(one.call, told.event.position, told.event.at));
    assert_eq!((one.attempts, one.last_status, one.last_error), (1, Some(500), Some(TryError::Status)));
    assert_eq!((one.last_tried_at, one.next_try_at, one.state), (Some(t), None, DeliveryState::Dead));

    let replay = |which: Replay| desk.store.replay(&acme(), id, &which, t).unwrap();
    let unknown = EventId::of(one.call, u64::MAX, one.at);
    assert_eq!(replay(Replay::Events(vec![one.event, unknown, one.event])), Some(1));
    let again = claim(&desk, NODE, t);
    assert_eq!((again.len(), again[0].id, again[0].attempts, again[0].first_tried_at), (1, one.id, 0, None));
    assert_eq!(again[0].event, told.event, "the same event, by the same name");
    assert_eq!(replay(Replay::Since(seen[3].at)), Some(4));
    assert_eq!(replay(Replay::All), Some(20));
    assert_eq!(replay(Replay::All), Some(0));
    assert_eq!(counts(&desk, id), (25, 0));
}

#[test]
fn after_a_410_what_comes_is_dead_until_it_is_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::open(&dir.path().join("db"), wide()).unwrap();
    let id = subscribe(&desk, 1, FactKind::NewCall, 1);
    (0..3).for_each(|_| drop(desk.admit()));
    let t = soon();
    let due = claim(&desk, NODE, t);
    desk.store.settle(NODE, vec![tried(&due[0], t, Next::Gone)]).unwrap();
    assert!(desk.store.subscription(&acme(), id).unwrap().unwrap().disabled);
    settle_all(&desk, NODE, &due[1..], t, Next::Again(t));
    assert_eq!(claim(&desk, NODE, t), [], "nothing is sent any more");
    let buried = within(Duration::from_secs(10), || {
        desk.admit();
        counts(&desk, id).0 == 0
    });
    assert!(buried, "{:?}", counts(&desk, id));
    let dead = counts(&desk, id).1;
    assert!(dead > 3, "what came since is kept: {dead}");
    assert_eq!(desk.store.replay(&acme(), id, &Replay::All, t), Ok(Some(dead)));
    assert!(!desk.store.subscription(&acme(), id).unwrap().unwrap().disabled);
    let later = soon() + Duration::from_secs(10);
    assert_eq!(claim(&desk, NODE, later).len() as u64, dead);
}

#[test]
fn what_a_dead_process_had_claimed_is_free_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open(&path, wide()).unwrap();
    subscribe(&desk, 1, FactKind::NewCall, 1);
    desk.admit();
    let held = claim(&desk, NODE, soon());
    drop(desk);
    let desk = Desk::open(&path, wide()).unwrap();
    // A file was one process's. Of a database somebody else may still be sending: what he has is his until his time
    // is over.
    let free = match engine() {
        Engine::Sqlite => soon(),
        Engine::Postgres => {
            assert_eq!(claim(&desk, OTHER_NODE, soon()), []);
            soon() + LEASE
        }
    };
    let again = claim(&desk, OTHER_NODE, free);
    assert_eq!(again[0].event, held[0].event);
    // The subscription is known to the new process too.
    let mut desk = desk;
    desk.admit();
    assert_eq!(claim(&desk, OTHER_NODE, soon()).len(), 1);
}

#[test]
fn whoever_sends_is_woken_by_what_is_owed_and_by_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::open(&dir.path().join("db"), wide()).unwrap();
    let woken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&woken);
    desk.store.on_deliveries(Box::new(move || _ = count.fetch_add(1, Ordering::SeqCst)));
    let call = desk.admit();
    subscribe(&desk, 1, FactKind::CallCompleted, 1);
    desk.admit();
    desk.commit(step(&call, Step::Keep));
    assert_eq!(woken.load(Ordering::SeqCst), 0);
    desk.commit(settle(&call, Money::ZERO));
    assert!(within(Duration::from_secs(5), || woken.load(Ordering::SeqCst) == 1));
}

#[test]
fn a_request_with_a_key_takes_one_subscription() {
    let dir = tempfile::tempdir().unwrap();
    let desk = Desk::open(&dir.path().join("db"), wide()).unwrap();
    let once = |key, body, id: &str| Some(idempotency(key, body, id));
    let take = |n, once| desk.store.subscribe(&acme(), subscription(n, FactKind::NewCall, 1), 3, once).unwrap();
    assert_eq!(take(1, once(1, 1, "first")), Once::Done(Subscribed::Taken));
    let Once::Replayed(answer) = take(2, once(1, 1, "second")) else { panic!("made before") };
    assert!(answer.body.contains("first"));
    assert_eq!(take(3, once(1, 2, "third")), Once::Conflict { request_id: "first".into() });
    assert_eq!(take(4, None), Once::Done(Subscribed::Taken));
    assert_eq!(take(5, None), Once::Done(Subscribed::Taken));
    assert_eq!(take(6, once(2, 1, "too many")), Once::Done(Subscribed::TooMany));
    assert_eq!(take(7, once(2, 2, "a refusal leaves the key free")), Once::Done(Subscribed::TooMany));
    let all = desk.store.subscriptions(&acme()).unwrap();
    assert_eq!(all.len(), 3);
    let gone = |once| desk.store.unsubscribe(&acme(), all[0].id, now(), once).unwrap();
    assert_eq!(gone(once(3, 1, "delete")), Once::Done(true));
    assert!(matches!(gone(once(3, 1, "delete again")), Once::Replayed(_)));
    assert_eq!(gone(None), Once::Done(false));
}

/// What lies for too long is dropped, and what is still owed is not, however old.
#[test]
fn old_deliveries_are_dropped_and_what_is_owed_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open(&path, wide()).unwrap();
    let id = subscribe(&desk, 1, FactKind::NewCall, 1);
    (0..4).for_each(|_| drop(desk.admit()));
    let t = soon();
    let due = claim(&desk, NODE, t);
    let day = Duration::from_secs(24 * 3600);
    for (one, at, next) in [
        (&due[0], t - day * 2, Next::Delivered),
        (&due[1], t - day * 2, Next::Dead),
        (&due[2], t - day * 31, Next::Dead),
        (&due[3], t - day * 6, Next::Again(t - day * 6)),
    ] {
        desk.store.settle(NODE, vec![tried(one, at, next)]).unwrap();
    }
    let listed = |state| {
        let filter = DeliveryFilter { state, limit: 10, cursor: None };
        let page = desk.store.deliveries(&acme(), id, &filter).unwrap().unwrap();
        page.deliveries.into_iter().map(|one| one.id).collect::<Vec<_>>()
    };
    let mut left = (vec![], vec![], vec![]);
    let dropped = within(Duration::from_secs(10), || {
        // Any transaction of the next second: a replay of nothing.
        let _ = desk.store.replay(&acme(), id, &Replay::Events(vec![]), now());
        left = (listed(DeliveryState::Delivered), listed(DeliveryState::Dead), listed(DeliveryState::Pending));
        left.0.is_empty() && left.1 == [due[1].id]
    });
    assert!(dropped && left.2 == [due[3].id], "{left:?}");
    // A receiver that never gets to it in a week is told no more.
    assert_eq!(claim(&desk, NODE, t)[0].id, due[3].id);
    desk.store.settle(NODE, vec![tried(&due[3], t, Next::Again(t - day * 8))]).unwrap();
    let expired = within(Duration::from_secs(10), || {
        let _ = desk.store.replay(&acme(), id, &Replay::Events(vec![]), now());
        listed(DeliveryState::Pending).is_empty()
    });
    assert!(expired && listed(DeliveryState::Dead).contains(&due[3].id));
}

#[test]
fn a_failed_transaction_owes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open(&path, wide()).unwrap();
    let id = subscribe(&desk, 1, FactKind::NewCall, 1);
    let mut by_hand = Hand::on(&path);
    by_hand.break_inserts("delivery");
    let attempt = desk.attempt();
    assert_eq!(desk.commit(admit(&attempt)), Committed::Unavailable, "the fact is not true without what it owes");
    assert_eq!(rows(&path, "live"), 0);
    by_hand.mend_inserts("delivery");
    assert!(matches!(desk.commit(admit(&attempt)), Committed::Admitted { .. }));
    assert_eq!(counts(&desk, id), (1, 0));
}

/// A file of the release before has calls whose facts nobody had subscribed to.
#[test]
fn a_file_without_webhooks_gets_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut desk = Desk::open_file(&path, wide()).unwrap();
    let call = desk.admit();
    drop(desk);
    let old = crate::schema::as_of_version(5, &path);
    let mut desk = Desk::open_file(&old, wide()).unwrap();
    let id = subscribe(&desk, 1, FactKind::CallCompleted, 1);
    assert_eq!(desk.commit(settle(&call, Money::ZERO)), Committed::Done);
    assert_eq!(counts(&desk, id), (1, 0));
    assert_eq!(kinds(&claim(&desk, NODE, soon())), [FactKind::CallCompleted]);
}
