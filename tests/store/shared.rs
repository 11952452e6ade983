//! Several nodes on one PostgreSQL, whatever engine the other tests run on.

use std::time::{Duration, Instant};

use revbridge::guardrails::{Attempt, LegCap, Limits, Refusal};
use revbridge::model::{Money, Path, Side, TokenDigest, UserId};
use revbridge::store::engine::StoreError;
use revbridge::store::tenants::{Actor, Change};
use revbridge::store::{ChangeOrder, Changed, Commit, Committed, IssuedToken, Step};

use crate::desk::engine::postgres::{Hand, server};
use crate::desk::*;

/// Nodes of these names on a new database.
fn nodes<const N: usize>(name: &str, limits: &Limits, names: [&str; N]) -> ([Desk; N], Hand) {
    let url = server().database(name);
    let desks = names.map(|node| Desk::open_url(&url, node, limits.clone(), || ()).unwrap());
    (desks, Hand::connect(&url).unwrap())
}

/// Hands each node the same number of admissions at once, and counts what was let in.
fn storm<const N: usize>(desks: &mut [Desk; N], each: usize) -> Vec<Attempt> {
    let mut asked: [Vec<Attempt>; N] = std::array::from_fn(|_| Vec::new());
    for _ in 0..each {
        for (desk, asked) in desks.iter_mut().zip(&mut asked) {
            let attempt = desk.attempt();
            desk.submit(admit(&attempt));
            asked.push(attempt);
        }
    }
    let each = desks.iter().zip(asked).flat_map(|(desk, asked)| {
        asked.into_iter().filter(|_| matches!(desk.wait(), Committed::Admitted { .. })).collect::<Vec<_>>()
    });
    each.collect()
}

fn is_balanced(hand: &mut Hand) {
    let moved = "SELECT coalesce(sum(CASE WHEN kind IN ('reserve', 'extend') THEN amount ELSE -amount END), 0)";
    assert_eq!(
        hand.count(&format!("{moved} FROM ledger")),
        hand.count("SELECT coalesce(sum(reserved), 0)::bigint FROM live")
    );
    let charged = "SELECT coalesce(sum(amount), 0) FROM ledger WHERE kind = 'charge'";
    assert_eq!(hand.count(charged), hand.count("SELECT coalesce(sum(spent), 0) FROM spend"));
    for kind in ["reserve", "charge"] {
        let twice = format!("SELECT call FROM ledger WHERE kind = '{kind}' GROUP BY call HAVING count(*) > 1");
        assert_eq!(hand.count(&format!("SELECT count(*) FROM ({twice}) AS twice")), 0, "{kind} twice");
    }
    let open = "SELECT count(*) FROM live WHERE record IS NOT NULL";
    let begun = hand.count("SELECT count(*) FROM ledger WHERE kind = 'reserve'");
    assert_eq!(begun, hand.count(open) + hand.count("SELECT count(*) FROM calls"));
}

#[test]
fn three_nodes_let_no_more_in_than_one_would() {
    for (name, limits, expected) in [
        ("cap", limits(20, 1_000, "100"), 10),
        ("rate", limits(1_000, 13, "100"), 13),
        ("money", limits(1_000, 1_000, "0.15"), 7),
    ] {
        let (mut desks, mut hand) = nodes(name, &limits, ["a", "b", "c"]);
        let admitted = storm(&mut desks, 40);
        assert_eq!(admitted.len(), expected, "{name}");
        assert_eq!(hand.count("SELECT count(*) FROM live"), expected as i64, "{name}");
        for desk in &desks {
            let usage = desk.store.usage(&admitted[0].organization, now()).unwrap().unwrap();
            assert_eq!((usage.legs, usage.reserved), (2 * expected as u64, FIRST_PERIODS.times(expected as u64)));
        }
        is_balanced(&mut hand);
    }
}

#[test]
fn what_one_node_gives_back_another_can_take() {
    let (mut desks, mut hand) = nodes("back", &limits(4, 1_000, "100"), ["a", "b"]);
    let first = storm(&mut desks, 5);
    assert_eq!(first.len(), 2);
    let [a, b] = &mut desks;
    // The call is settled by the one that knows it, whichever that is.
    assert_eq!(a.commit(settle(&first[0], Money::from_micros(100))), Committed::Done);
    b.admit();
    let attempt = a.attempt();
    assert_eq!(a.commit(admit(&attempt)), Committed::Refused(Refusal::ConcurrencyLimit(LegCap::Organization)));
    is_balanced(&mut hand);
}

#[test]
fn one_request_on_two_nodes_at_once_is_one_call() {
    let (mut desks, mut hand) = nodes("once", &wide(), ["a", "b"]);
    for n in 0..60 {
        for desk in &mut desks {
            let attempt = desk.attempt();
            let key = Some(idempotency(1, 1, &format!("req-{n}")));
            desk.submit(Commit { idempotency: key, ..admit(&attempt) });
        }
    }
    let all: Vec<_> = desks.iter().flat_map(|desk| (0..60).map(|_| desk.wait()).collect::<Vec<_>>()).collect();
    assert_eq!(all.iter().filter(|committed| matches!(committed, Committed::Admitted { .. })).count(), 1);
    let mut replayed: Vec<_> =
        all.iter().filter_map(|c| if let Committed::Replayed(a) = c { Some(a) } else { None }).collect();
    assert_eq!(replayed.len(), 119);
    replayed.dedup();
    assert_eq!(replayed.len(), 1, "all are told the same");
    // The same outside of calls.
    let answers = [idempotency(2, 2, "a"), idempotency(2, 2, "b")];
    let stand: Vec<_> = std::thread::scope(|scope| {
        let both = desks.iter().zip(&answers).map(|(desk, answer)| {
            let store = std::sync::Arc::clone(&desk.store);
            scope.spawn(move || store.store_answer(answer.clone(), now()).unwrap())
        });
        both.collect::<Vec<_>>().into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(stand[0], stand[1]);
    assert_eq!(hand.count("SELECT count(*) FROM answers"), 2);
}

#[test]
fn a_token_is_used_on_one_node() {
    let (mut desks, _) = nodes("token", &wide(), ["a", "b"]);
    let [a, b] = &mut desks;
    let attempt = Attempt { connect: None, ..a.attempt() };
    let token = TokenDigest([7; 32]);
    let issued = IssuedToken { digest: token, path: Path::Join, expires_at: now() + Duration::from_secs(60) };
    assert!(matches!(a.commit(Commit { token: Some(issued), ..admit(&attempt) }), Committed::Admitted { .. }));
    for (n, desk) in [&mut *a, &mut *b].into_iter().enumerate() {
        for m in 0..20 {
            let returning = TokenDigest([100 * n as u8 + m; 32]);
            desk.submit(step(&attempt, Step::Connect { token, returning }));
        }
    }
    let all: Vec<_> = [&*a, &*b].into_iter().flat_map(|d| (0..20).map(|_| d.wait()).collect::<Vec<_>>()).collect();
    assert_eq!(all.iter().filter(|committed| **committed == Committed::Done).count(), 1);
    assert_eq!(all.iter().filter(|committed| **committed == Committed::Spent).count(), 39);
}

fn change(desk: &Desk, change: Change) {
    let order =
        ChangeOrder { change, by: Actor { name: "admin".into(), request_id: None }, at: now(), idempotency: None };
    assert!(matches!(desk.store.change(order), Ok(Changed::Done { .. })));
}

#[test]
fn what_an_administrator_changes_on_one_node_holds_on_the_other() {
    let (mut desks, _) = nodes("change", &wide(), ["a", "b"]);
    let [a, b] = &mut desks;
    let attempt = b.admit();
    let organization = attempt.organization.clone();
    change(a, Change::CreateUser { organization: organization.clone(), id: UserId("bob".into()), phone: None });
    change(a, Change::RemoveNumber { organization, number: attempt.from });
    // The next INVITE, without any waiting.
    assert_eq!(b.commit(permit(&attempt, Side::Destination)), Committed::Refused(Refusal::CallerIdNotVerified));
    // And what nobody commits anything for, within a second.
    let began = Instant::now();
    change(a, Change::CreateUser { organization: attempt.organization.clone(), id: UserId("eve".into()), phone: None });
    while b.store.tenants().user(&attempt.organization, &UserId("eve".into())).is_none() {
        assert!(began.elapsed() < Duration::from_secs(1), "the other node does not know");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_name_belongs_to_one_process_and_who_loses_it_writes_no_more() {
    let url = server().database("name");
    let mut first = Desk::open_url(&url, "a", wide(), || ()).unwrap();
    let live = first.admit();
    assert!(matches!(Desk::open_url(&url, "a", wide(), || ()), Err(StoreError::NameTaken(name)) if name == "a"));
    // As another node does that takes the first for dead.
    Hand::connect(&url).unwrap().execute("UPDATE node SET epoch = epoch + 1 WHERE id = 'a'");
    let attempt = first.attempt();
    let cent = Money::from_micros(10_000);
    for commit in [
        admit(&attempt),
        permit(&live, Side::Destination),
        step(&live, Step::Keep),
        step(&live, Step::Extend { amount: cent }),
        settle(&live, cent),
    ] {
        assert_eq!(first.commit(commit), Committed::Unavailable);
    }
    assert!(first.store.ping().is_err());
    let mut second = Desk::open_url(&url, "b", wide(), || ()).unwrap();
    assert_eq!(second.recovered.calls, [], "the first one's calls are not the second one's");
    let usage = second.store.usage(&live.organization, now()).unwrap().unwrap();
    assert_eq!((usage.legs, usage.reserved), (2, FIRST_PERIODS), "but they count");
    second.admit();
}

#[test]
fn a_database_of_somebody_else_or_of_a_newer_release_is_left_alone() {
    let url = server().database("stranger");
    let mut hand = Hand::connect(&url).unwrap();
    hand.execute("CREATE TABLE public.mine (x int)");
    drop(Desk::open_url(&url, "a", wide(), || ()).unwrap());
    assert_eq!(hand.texts("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"), ["mine"]);
    hand.execute("UPDATE schema_version SET version = version + 1");
    assert!(matches!(Desk::open_url(&url, "a", wide(), || ()), Err(StoreError::TooNew { .. })));
    let url = server().database("alien");
    let mut hand = Hand::connect(&url).unwrap();
    hand.execute("CREATE SCHEMA revbridge; CREATE TABLE revbridge.theirs (x int)");
    assert!(matches!(Desk::open_url(&url, "a", wide(), || ()), Err(StoreError::Foreign)));
    assert_eq!(hand.texts("SELECT tablename FROM pg_tables WHERE schemaname = 'revbridge'"), ["theirs"]);
}

#[test]
fn nodes_that_start_at_once_migrate_once() {
    let url = server().database("together");
    let opened: Vec<_> = std::thread::scope(|scope| {
        let url = &url;
        let all: Vec<_> =
            (0..4).map(|n| scope.spawn(move || Desk::open_url(url, &format!("n{n}"), wide(), || ()).is_ok())).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(opened, [true; 4]);
}
