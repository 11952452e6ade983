//! What the guardrails promise, over random calls, clocks and interleavings: never one call too many in
//! any 60 s, never a leg above the cap, never a micro-unit above the limit, and nothing left over.
//!
//! What is in use is counted here once more, from nothing but the ledger entries and the answers.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use revbridge::guardrails::{Account, Allowlist, Attempt, PriceTable, Rules};
use revbridge::model::{Day, IdSource, Money, Side, Timestamp};
use revbridge::store::{Applied, Commit, Committed, EntryKind, Step, apply};

#[path = "store/desk.rs"]
#[allow(dead_code, clippy::disallowed_methods, clippy::disallowed_types)] // Shared with the store's tests.
mod desk;

const CALLS_PER_MINUTE: u32 = 4;
const LEGS: u32 = 10;
const LIMIT: &str = "0.15";

#[derive(Debug, Clone)]
enum Move {
    /// Time passes.
    Wait(Duration),
    Admit,
    PermitLeg(prop::sample::Index),
    Extend(prop::sample::Index, i64),
    Settle(prop::sample::Index, i64),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let wait = prop_oneof![0..30_000_000u64, Just(59_999_999), Just(60_000_000), Just(6 * 3_600_000_000)];
    let call = any::<prop::sample::Index>;
    let one = prop_oneof![
        3 => wait.prop_map(|us| Move::Wait(Duration::from_micros(us))),
        4 => Just(Move::Admit),
        1 => call().prop_map(Move::PermitLeg),
        2 => (call(), 0..30_000i64).prop_map(|(call, micros)| Move::Extend(call, micros)),
        2 => (call(), -5_000..90_000i64).prop_map(|(call, micros)| Move::Settle(call, micros)),
    ];
    prop::collection::vec(one, 1..200)
}

/// The other count.
#[derive(Default)]
struct Books {
    admitted: Vec<Timestamp>,
    /// Calls that hold something, and what.
    live: BTreeMap<usize, Money>,
    reserved: BTreeMap<Day, Money>,
    spent: BTreeMap<Day, Money>,
    charges: BTreeMap<usize, u32>,
}

struct World {
    account: Account,
    ids: IdSource,
    now: Timestamp,
    calls: Vec<Attempt>,
    books: Books,
}

impl World {
    fn new() -> Self {
        let mut limits = desk::limits(LEGS, CALLS_PER_MINUTE, LIMIT);
        limits.timezone = "Europe/Berlin".into();
        let prices = desk::prices();
        let prices = PriceTable::new(prices.iter().map(|(prefix, price)| (prefix.as_str(), *price))).unwrap();
        let rules =
            Rules::new(limits, Allowlist::parse(["+1"]).unwrap(), vec![desk::number("+12125550100")], prices.into());
        Self {
            account: Account::new(rules.unwrap()),
            ids: IdSource::new([9; 32]),
            // Two days before Berlin's clocks go forward.
            now: Timestamp::parse_rfc3339("2026-03-27T22:59:00Z").unwrap(),
            calls: Vec::new(),
            books: Books::default(),
        }
    }

    fn make(&mut self, r#move: Move) {
        let (call, step) = match r#move {
            Move::Wait(time) => {
                self.now = self.now + time;
                return;
            }
            Move::Admit => {
                let mut attempt = attempt();
                attempt.call = self.ids.call(self.now);
                self.calls.push(attempt.clone());
                (self.calls.len() - 1, Step::Admit(attempt))
            }
            Move::PermitLeg(_) | Move::Extend(..) | Move::Settle(..) if self.calls.is_empty() => return,
            Move::PermitLeg(which) => {
                let call = which.index(self.calls.len());
                let attempt = self.calls[call].clone();
                (call, Step::PermitLeg(revbridge::guardrails::LegAttempt { side: Side::Destination, attempt }))
            }
            Move::Extend(which, micros) => {
                (which.index(self.calls.len()), Step::Extend { amount: Money::from_micros(micros) })
            }
            Move::Settle(which, micros) => {
                (which.index(self.calls.len()), Step::Settle { cost: Money::from_micros(micros) })
            }
        };
        let commit = Commit { at: self.now, ..desk::step(&self.calls[call], step) };
        let applied = apply(&mut self.account, &commit);
        self.note(call, &commit.step, applied);
    }

    fn note(&mut self, call: usize, step: &Step, applied: Applied) {
        let live = self.books.live.contains_key(&call);
        match (&applied.committed, step) {
            (Committed::Admitted { .. }, _) => self.books.admitted.push(self.now),
            (Committed::Permitted(_) | Committed::Extended, _) => {
                assert!(live, "a leg or money for a call that is over")
            }
            (Committed::Refused(_), _) => assert_eq!(applied.write, None),
            (_, Step::Settle { .. }) => assert_eq!(applied.write.is_some(), live, "settled once"),
            (other, _) => panic!("{other:?}"),
        }
        for entry in applied.write.into_iter().flat_map(|write| write.entries) {
            let reserved = self.books.reserved.entry(entry.day).or_default();
            let held = self.books.live.entry(call).or_default();
            match entry.kind {
                EntryKind::Reserve | EntryKind::Extend => {
                    *reserved += entry.amount;
                    *held += entry.amount;
                }
                EntryKind::Charge | EntryKind::Release => {
                    *reserved -= entry.amount;
                    *held -= entry.amount;
                }
            }
            if entry.kind == EntryKind::Charge {
                *self.books.spent.entry(entry.day).or_default() += entry.amount;
                *self.books.charges.entry(call).or_default() += 1;
            }
        }
        if matches!(step, Step::Settle { .. }) {
            assert_eq!(self.books.live.remove(&call).unwrap_or_default(), Money::ZERO, "nothing left over");
        }
    }

    fn check(&self) {
        let minute = Duration::from_secs(60);
        for window in self.books.admitted.windows(CALLS_PER_MINUTE as usize + 1) {
            assert!(window[CALLS_PER_MINUTE as usize].since(window[0]) >= minute, "one call too many in 60 s");
        }
        assert!(self.account.legs_in_use() <= u64::from(LEGS));
        assert_eq!(self.account.legs_in_use(), 2 * self.books.live.len() as u64);
        let limit: Money = LIMIT.parse().unwrap();
        for (day, reserved) in &self.books.reserved {
            let spent = self.books.spent.get(day).copied().unwrap_or_default();
            assert!(spent + *reserved <= limit, "{spent:?} and {reserved:?} of {limit:?}");
            assert_eq!(self.account.day_use(*day).reserved, *reserved);
        }
        assert!(self.books.charges.values().all(|charges| *charges == 1));
    }
}

fn attempt() -> Attempt {
    Attempt {
        call: IdSource::new([0; 32]).call(Timestamp::default()),
        organization: revbridge::model::OrganizationId("acme".into()),
        user: revbridge::model::UserId("alice".into()),
        from: desk::number("+12125550100"),
        to: desk::number("+13105550100"),
        connect: Some(desk::number("+14155550100")),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_limit_is_passed_and_nothing_is_left_over(moves in moves()) {
        let mut world = World::new();
        for one in moves {
            world.make(one);
            world.check();
        }
        for call in 0..world.calls.len() {
            let commit = Commit { at: world.now, ..desk::step(&world.calls[call], Step::Settle { cost: Money::ZERO }) };
            let applied = apply(&mut world.account, &commit);
            world.note(call, &commit.step, applied);
        }
        prop_assert_eq!(world.account.legs_in_use(), 0);
        prop_assert!(world.books.reserved.values().all(|reserved| *reserved == Money::ZERO));
        world.check();
    }

    #[test]
    fn a_refused_call_passes_at_the_moment_that_was_named_and_not_before(waits in prop::collection::vec(0..20_000_000u64, 1..60)) {
        let mut world = World::new();
        world.account.rules.limits.max_concurrent_legs = u32::MAX;
        world.account.rules.limits.daily_spend_limit = Money::MAX;
        for wait in waits {
            world.now = world.now + Duration::from_micros(wait);
            let mut attempt = attempt();
            attempt.call = world.ids.call(world.now);
            let decide = |at| revbridge::guardrails::decide_admission(&world.account, &attempt, at);
            if let Err(revbridge::guardrails::Refusal::RateLimited { retry_after_us }) = decide(world.now) {
                let moment = world.now + Duration::from_micros(retry_after_us);
                prop_assert!(decide(moment).is_ok());
                prop_assert!(decide(moment - Duration::from_micros(1)).is_err());
                world.now = moment;
            }
            world.make(Move::Admit);
        }
    }
}
