//! hostile.md, "Races and money".

use revbridge::guardrails::{LegCap, Refusal};
use revbridge::model::{Money, Side};
use revbridge::store::{Committed, Step};

use crate::desk::*;

#[test]
fn two_hundred_requests_with_one_key_are_one_call() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::open(&dir.path().join("db"), wide()).unwrap();
    for n in 0..200 {
        let attempt = desk.attempt();
        let key = Some(idempotency(1, 1, &format!("req-{n}")));
        desk.submit(revbridge::store::Commit { idempotency: key, ..admit(&attempt) });
    }
    let answers: Vec<_> = (0..200).map(|_| desk.wait()).collect();
    let admitted = answers.iter().filter(|a| matches!(a, Committed::Admitted { .. })).count();
    let replayed = answers
        .iter()
        .filter(|a| matches!(a, Committed::Replayed(answer) if answer.body == "{\"request\":\"req-0\"}"))
        .count();
    assert_eq!((admitted, replayed), (1, 199));

    let attempt = desk.attempt();
    let other_body = Some(idempotency(1, 2, "other"));
    let conflict = desk.commit(revbridge::store::Commit { idempotency: other_body, ..admit(&attempt) });
    assert_eq!(conflict, Committed::Conflict { request_id: "req-0".into() });
    assert_eq!(desk.store.usage(&attempt.organization, now()).unwrap().unwrap().legs, 2);
}

#[test]
fn a_refusal_can_be_tried_again_with_the_same_key() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::open(&dir.path().join("db"), limits(2, 100, "100")).unwrap();
    let first = desk.admit();
    let attempt = desk.attempt();
    let keyed = |attempt| revbridge::store::Commit { idempotency: Some(idempotency(3, 3, "r")), ..admit(attempt) };
    assert_eq!(desk.commit(keyed(&attempt)), Committed::Refused(Refusal::ConcurrencyLimit(LegCap::Organization)));
    desk.commit(settle(&first, Money::ZERO));
    assert!(matches!(desk.commit(keyed(&attempt)), Committed::Admitted { .. }));
}

#[test]
fn a_budget_for_one_call_admits_one_of_a_hundred() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::open(&dir.path().join("db"), limits(1_000, 1_000, "0.039999")).unwrap();
    for _ in 0..100 {
        let attempt = desk.attempt();
        desk.submit(admit(&attempt));
    }
    let answers: Vec<_> = (0..100).map(|_| desk.wait()).collect();
    assert_eq!(answers.iter().filter(|a| matches!(a, Committed::Admitted { .. })).count(), 1);
    let refused = |a: &&Committed| matches!(a, Committed::Refused(Refusal::SpendLimitExceeded { .. }));
    assert_eq!(answers.iter().filter(refused).count(), 99);
}

#[test]
fn a_cap_holds_against_fifty_too_many_and_comes_back_to_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::open(&dir.path().join("db"), limits(20, 1_000, "100")).unwrap();
    let attempts: Vec<_> = (0..60).map(|_| desk.attempt()).collect();
    attempts.iter().for_each(|attempt| desk.submit(admit(attempt)));
    let admitted: Vec<_> = attempts.iter().filter(|_| matches!(desk.wait(), Committed::Admitted { .. })).collect();
    assert_eq!(admitted.len(), 10);
    for attempt in &admitted {
        assert!(matches!(desk.commit(permit(attempt, Side::Destination)), Committed::Permitted(_)));
        assert_eq!(desk.commit(settle(attempt, FIRST_PERIODS)), Committed::Done);
        // Settling twice changes nothing.
        assert_eq!(desk.commit(settle(attempt, FIRST_PERIODS)), Committed::Done);
        assert_eq!(desk.commit(permit(attempt, Side::Destination)), Committed::Refused(Refusal::Unknown));
    }
    let usage = desk.store.usage(&attempts[0].organization, now()).unwrap().unwrap();
    assert_eq!((usage.legs, usage.reserved, usage.spent), (0, Money::ZERO, FIRST_PERIODS.times(10)));
}

#[test]
fn a_limit_lowered_while_a_rings_holds_for_b_and_for_the_next_period() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::open(&dir.path().join("db"), wide()).unwrap();
    let (attempt, _another) = (desk.admit(), desk.admit());
    let cent = Money::from_micros(10_000);
    assert_eq!(desk.commit(step(&attempt, Step::Extend { amount: cent })), Committed::Extended);
    desk.declare(limits(2, 100, "0.05"));
    let b = permit(&attempt, Side::Destination);
    assert_eq!(desk.commit(b.clone()), Committed::Refused(Refusal::ConcurrencyLimit(LegCap::Organization)));
    desk.declare(limits(4, 100, "0.05"));
    assert!(matches!(desk.commit(b), Committed::Permitted(_)));
    let more = desk.commit(step(&attempt, Step::Extend { amount: Money::from_micros(1) }));
    assert!(matches!(more, Committed::Refused(Refusal::SpendLimitExceeded { .. })));
}

#[test]
fn an_unknown_organization_may_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::open(&dir.path().join("db"), wide()).unwrap();
    let mut commit = admit(&desk.attempt());
    commit.organization = revbridge::model::OrganizationId("nobody".into());
    assert_eq!(desk.commit(commit), Committed::Refused(Refusal::Unknown));
}

#[test]
fn an_answer_outside_a_call_is_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    let desk = Desk::open(&dir.path().join("db"), wide()).unwrap();
    let (first, second) = (idempotency(9, 9, "first"), idempotency(9, 9, "second"));
    assert_eq!(desk.store.find_answer(&[9; 32]).unwrap(), None);
    assert_eq!(desk.store.store_answer(first.clone(), now()).unwrap(), first);
    assert_eq!(desk.store.store_answer(second, now()).unwrap(), first);
    assert_eq!(desk.store.find_answer(&[9; 32]).unwrap(), Some(first.clone()));
    // After a day the key is free again.
    let day = std::time::Duration::from_secs(24 * 3600);
    let later = idempotency(9, 1, "later");
    assert_eq!(desk.store.store_answer(later.clone(), now() + day).unwrap(), later);
}
