//! What the guardrails promise, over random calls, clocks, limits and interleavings: never one call too many in
//! any 60 s, never a leg above a cap, never a micro-unit above the limit, no call to a paused prefix, and nothing
//! left over.
//!
//! ```text
//! moves ─▶ store::apply on an Account ──▶ answers and writes ──▶ Books: counted once more, from lists alone
//! ```
//!
//! [`Books`] know nothing of how an account counts: they keep every grant, call, charge and end of a call, and
//! add them up anew each time. Clocks step back, as of two nodes that do not quite agree and as after a restart;
//! limits change at any moment, and what was granted under the old ones stays.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use revbridge::guardrails::{
    Account, Allowlist, Attempt, BreakerLimits, DestinationProblem, Lease, LegAttempt, Limits, Mark, PriceTable,
    Refusal, Rules, TripReason, decide_admission,
};
use revbridge::model::{
    CallRecord, Day, E164, EndReason, EndedBy, IdSource, Money, OrganizationId, Side, Status, Timestamp, UserId,
};
use revbridge::store::{Applied, Commit, Committed, EntryKind, Step, apply};

#[path = "store/desk.rs"]
#[allow(dead_code, clippy::disallowed_methods, clippy::disallowed_types)] // Shared with the store's tests.
mod desk;

const MINUTE: Duration = Duration::from_secs(60);

type Which = prop::sample::Index;

#[derive(Debug, Clone)]
enum Move {
    /// Time passes.
    Wait(Duration),
    /// The clock is set back.
    StepBack(Duration),
    /// To this long after three seconds before the organization's next midnight.
    NearMidnight(Duration),
    Admit {
        user: usize,
        to: usize,
        browser: bool,
    },
    PermitLeg(Which),
    Extend(Which, i64),
    Settle {
        which: Which,
        cost: i64,
        fate: Fate,
        told_late: Duration,
    },
    Declare(Terms),
    /// Another process takes over: the account is put together again from what was written.
    Restart,
}

/// How a call ends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Short,
    Talk,
    NoAnswer,
    /// Says nothing of its destination.
    Ours,
}

/// Limits without what is the same in all.
#[derive(Debug, Clone)]
struct Terms {
    legs: u32,
    per_minute: u32,
    spend: i64,
    per_user: Option<u32>,
    per_destination: Option<u32>,
    breakers: BreakerLimits,
}

fn terms() -> impl Strategy<Value = Terms> {
    let breakers =
        (60..600u32, 0..4u32, 0..=50u32, 2..6u32, 10..400u32).prop_map(|(window, short, percent, min, pause)| {
            BreakerLimits {
                window_seconds: window,
                short_answers: short,
                answer_percent: percent,
                min_calls: min,
                pause_seconds: pause,
            }
        });
    let breakers = prop_oneof![Just(BreakerLimits::OFF), breakers];
    let cap = |most| prop_oneof![Just(None), (0..=most).prop_map(Some)];
    let per_minute = prop_oneof![0..=6u32, Just(60)];
    let spend = prop_oneof![0..300_000i64, Just(5_000_000)];
    (0..=14u32, per_minute, spend, cap(6u32), cap(3u32), breakers).prop_map(
        |(legs, per_minute, spend, per_user, per_destination, breakers)| Terms {
            legs,
            per_minute,
            spend,
            per_user,
            per_destination,
            breakers,
        },
    )
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let wait = prop_oneof![0..30_000_000u64, Just(59_999_999), Just(60_000_000), Just(6 * 3_600_000_000)];
    let back = prop_oneof![0..2_000_000u64, 0..90_000_000u64];
    let call = any::<Which>;
    let fate =
        prop_oneof![2 => Just(Fate::Short), 1 => Just(Fate::Talk), 9 => Just(Fate::NoAnswer), 1 => Just(Fate::Ours)];
    let late = prop_oneof![4 => Just(0), 1 => 0..400u64];
    let one = prop_oneof![
        6 => wait.prop_map(|us| Move::Wait(Duration::from_micros(us))),
        2 => back.prop_map(|us| Move::StepBack(Duration::from_micros(us))),
        2 => (0..5_000_000u64).prop_map(|us| Move::NearMidnight(Duration::from_micros(us))),
        10 => (0..3usize, 0..3usize, any::<bool>()).prop_map(|(user, to, browser)| Move::Admit { user, to, browser }),
        2 => call().prop_map(Move::PermitLeg),
        4 => (call(), -100..30_000i64).prop_map(|(call, micros)| Move::Extend(call, micros)),
        9 => (call(), -5_000..90_000i64, fate, late).prop_map(|(which, cost, fate, late)| {
            Move::Settle { which, cost, fate, told_late: Duration::from_secs(late) }
        }),
        1 => terms().prop_map(Move::Declare),
        1 => Just(Move::Restart),
    ];
    prop::collection::vec(one, 1..250)
}

fn limits(terms: &Terms) -> Limits {
    Limits {
        max_concurrent_legs: terms.legs,
        max_calls_per_minute: terms.per_minute,
        daily_spend_limit: Money::from_micros(terms.spend),
        timezone: "Europe/Berlin".into(),
        max_legs_per_user: terms.per_user,
        max_legs_per_destination: terms.per_destination,
        breakers: terms.breakers,
    }
}

fn rules(limits: Limits) -> Rules {
    let prices = desk::prices();
    let prices = PriceTable::new(prices.iter().map(|(prefix, price)| (prefix.as_str(), *price))).unwrap();
    Rules::new(limits, Allowlist::parse(["+1"]).unwrap(), vec![desk::number("+12125550100")], prices.into()).unwrap()
}

/// Two in one area, one elsewhere.
fn destination(which: usize) -> E164 {
    desk::number(["+13105550100", "+13105550101", "+16175550100"][which])
}

/// By area, without the code under test.
fn area(number: E164) -> String {
    number.text()[..5].to_owned()
}

/// One call as it was granted.
struct Held {
    attempt: Attempt,
    live: bool,
    reserved: Money,
    day: Day,
    charges: u32,
}

/// The other count: nothing but lists.
#[derive(Default)]
struct Books {
    calls: Vec<Held>,
    /// By the clock of the admissions, which two nodes that disagree share through the store.
    granted: Vec<Timestamp>,
    spent: Vec<(Day, Money)>,
    marks: Vec<Mark>,
    /// What counts for a breaker since the last trip there: area, how it ended, when.
    ended: Vec<(String, Fate, Timestamp)>,
    trips: BTreeMap<String, (TripReason, Timestamp)>,
    /// What happened how often, to show that the moves lead everywhere.
    seen: BTreeMap<String, u32>,
}

impl Books {
    fn saw(&mut self, what: String) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn legs(&self, counts: impl Fn(&Attempt) -> bool, per_call: u32) -> u32 {
        self.calls.iter().filter(|held| held.live && counts(&held.attempt)).count() as u32 * per_call
    }

    fn used(&self, day: Day) -> Money {
        let reserved = self.calls.iter().filter(|held| held.day == day).map(|held| held.reserved);
        let spent = self.spent.iter().filter(|(of, _)| *of == day).map(|(_, spent)| *spent);
        reserved.chain(spent).sum()
    }

    fn within_caps(&self, attempt: &Attempt, limits: &Limits) {
        let legs = self.legs(|_| true, 2);
        assert!(legs <= limits.max_concurrent_legs, "{legs} legs");
        let of_user = self.legs(|held| held.user == attempt.user, 2);
        assert!(limits.max_legs_per_user.is_none_or(|cap| of_user <= cap), "{of_user} legs of one user");
        let to = self.legs(|held| held.to == attempt.to, 1);
        assert!(limits.max_legs_per_destination.is_none_or(|cap| to <= cap), "{to} legs to one destination");
    }

    fn within_limit(&self, day: Day, limits: &Limits) {
        let (used, limit) = (self.used(day), limits.daily_spend_limit);
        assert!(used <= limit, "{used:?} of {limit:?}");
    }

    fn within_rate(&mut self, now: Timestamp, limits: &Limits) {
        let clock = self.granted.iter().copied().max().map_or(now, |last| last.max(now));
        self.granted.push(clock);
        let minute = self.granted.iter().filter(|at| clock.since(**at) < MINUTE).count();
        assert!(minute <= limits.max_calls_per_minute as usize, "{minute} calls in 60 s");
    }

    fn is_on(reason: TripReason, limits: &BreakerLimits) -> bool {
        match reason {
            TripReason::ShortAnswers => limits.short_answers > 0,
            TripReason::FewAnswers => limits.answer_percent > 0,
        }
    }

    /// The end of the last pause of this area, if there was one that still counts.
    fn paused_until(&self, area: &str, limits: &BreakerLimits) -> Option<Timestamp> {
        let (reason, at) = self.trips.get(area)?;
        Self::is_on(*reason, limits).then(|| *at + Duration::from_secs(limits.pause_seconds.into()))
    }

    /// Whether the end of this call must trip a breaker.
    fn trip(
        &mut self,
        area: &str,
        fate: Fate,
        at: Timestamp,
        limits: &BreakerLimits,
        now: Timestamp,
    ) -> Option<TripReason> {
        let window = Duration::from_secs(limits.window_seconds.into());
        let before = self.paused_until(area, limits).is_some_and(|until| at < until);
        if fate == Fate::Ours || before || now.since(at) >= window {
            return None;
        }
        self.ended.push((area.to_owned(), fate, at));
        let count = |fates: &[Fate]| {
            let in_window = |(other, fate, at): &&(String, Fate, Timestamp)| {
                other == area && fates.contains(fate) && now.since(*at) < window
            };
            self.ended.iter().filter(in_window).count() as u32
        };
        let (short, answers) = (count(&[Fate::Short]), count(&[Fate::Short, Fate::Talk]));
        let calls = count(&[Fate::Short, Fate::Talk, Fate::NoAnswer]);
        let reason = match fate {
            Fate::Short if limits.short_answers > 0 && short >= limits.short_answers && short * 2 >= answers => {
                TripReason::ShortAnswers
            }
            Fate::NoAnswer if calls >= limits.min_calls && answers * 100 < limits.answer_percent * calls => {
                TripReason::FewAnswers
            }
            Fate::Short | Fate::NoAnswer | Fate::Talk | Fate::Ours => return None,
        };
        self.ended.retain(|(other, ..)| other != area);
        self.trips.insert(area.to_owned(), (reason, now));
        Some(reason)
    }
}

struct World {
    account: Account,
    ids: IdSource,
    now: Timestamp,
    books: Books,
}

impl World {
    fn new(terms: &Terms, start: &str) -> Self {
        Self {
            account: Account::new(rules(limits(terms))),
            ids: IdSource::new([9; 32]),
            now: Timestamp::parse_rfc3339(start).unwrap(),
            books: Books::default(),
        }
    }

    fn limits(&self) -> Limits {
        self.account.rules.limits.clone()
    }

    fn make(&mut self, r#move: Move) {
        match r#move {
            Move::Wait(time) => self.now = self.now + time,
            Move::StepBack(time) => self.now = self.now - time,
            Move::NearMidnight(after) => {
                self.now = self.now.next_midnight(&self.account.rules.zone) - Duration::from_secs(3) + after;
            }
            Move::Declare(terms) => self.account.rules = rules(limits(&terms)),
            Move::Restart => self.restart(),
            Move::Admit { user, to, browser } => {
                let attempt = attempt(self.ids.call(self.now), user, to, browser);
                self.admit(attempt);
            }
            Move::PermitLeg(_) | Move::Extend(..) | Move::Settle { .. } if self.books.calls.is_empty() => {}
            Move::PermitLeg(which) => self.permit(which.index(self.books.calls.len())),
            Move::Extend(which, micros) => self.extend(which.index(self.books.calls.len()), micros),
            Move::Settle { which, cost, fate, told_late } => {
                self.settle(which.index(self.books.calls.len()), Money::from_micros(cost), fate, told_late);
            }
        }
        self.check();
    }

    /// What an engine does when it reads everything again.
    fn restart(&mut self) {
        let now = self.now;
        let books = &mut self.books;
        // What lies ahead of a clock that was set back counts as of now.
        books.granted.iter_mut().for_each(|at| *at = now.min(*at));
        books.marks.iter_mut().for_each(|mark| *mark = mark.not_after(now));
        books.ended.iter_mut().for_each(|(.., at)| *at = now.min(*at));
        books.trips.values_mut().for_each(|(_, at)| *at = now.min(*at));
        // What has left the window by this clock is not read again.
        books.granted.retain(|at| now.since(*at) <= MINUTE);
        books.granted.sort();
        let leases = books.calls.iter().filter(|held| held.live).map(|held| Lease {
            attempt: held.attempt.clone(),
            reserved: held.reserved,
            day: held.day,
        });
        let mut spent = BTreeMap::new();
        books.spent.iter().for_each(|(day, amount)| *spent.entry(*day).or_default() += *amount);
        let rules = self.account.rules.clone();
        self.account =
            Account::restored(rules, books.granted.iter().copied(), leases, spent, books.marks.iter().copied());
    }

    fn apply(&mut self, attempt: &Attempt, step: Step, record: Option<CallRecord>) -> Applied {
        let commit = desk::step(attempt, step);
        let record = record.unwrap_or_else(|| commit.record.clone());
        apply(&mut self.account, &Commit { at: self.now, record, ..commit })
    }

    fn admit(&mut self, attempt: Attempt) {
        let applied = self.apply(&attempt, Step::Admit(attempt.clone()), None);
        let (limits, now) = (self.limits(), self.now);
        let Committed::Admitted { grant, .. } = &applied.committed else {
            assert_eq!(applied.write, None);
            let Committed::Refused(refusal) = applied.committed else { panic!("{:?}", applied.committed) };
            return self.books.saw(said(refusal));
        };
        let paused = self.books.paused_until(&area(attempt.to), &limits.breakers);
        assert!(paused.is_none_or(|until| until <= now), "admitted to a paused prefix");
        let write = applied.write.unwrap();
        assert_eq!((write.reserved, write.entries[0].amount), (grant.reserved, grant.reserved));
        let (reserved, day) = (grant.reserved, grant.day);
        assert_eq!(day, now.day(&self.account.rules.zone));
        self.books.calls.push(Held { attempt: attempt.clone(), live: true, reserved, day, charges: 0 });
        self.books.within_rate(now, &limits);
        self.books.within_caps(&attempt, &limits);
        self.books.within_limit(day, &limits);
    }

    fn permit(&mut self, call: usize) {
        let attempt = self.books.calls[call].attempt.clone();
        let step = Step::PermitLeg(LegAttempt { side: Side::Destination, attempt: attempt.clone() });
        let applied = self.apply(&attempt, step, None);
        if let Committed::Permitted(_) = applied.committed {
            let limits = self.limits();
            let held = &self.books.calls[call];
            assert!(held.live, "a leg for a call that is over");
            self.books.within_caps(&attempt, &limits);
            self.books.within_limit(held.day, &limits);
            let paused = self.books.paused_until(&area(attempt.to), &limits.breakers);
            assert!(paused.is_none_or(|until| until <= self.now), "a leg to a paused prefix");
        }
    }

    fn extend(&mut self, call: usize, micros: i64) {
        let attempt = self.books.calls[call].attempt.clone();
        let applied = self.apply(&attempt, Step::Extend { amount: Money::from_micros(micros) }, None);
        if applied.committed == Committed::Extended {
            let limits = self.limits();
            let held = &mut self.books.calls[call];
            assert!(held.live, "money for a call that is over");
            held.reserved += applied.write.unwrap().entries[0].amount;
            let day = held.day;
            self.books.within_limit(day, &limits);
        }
    }

    fn settle(&mut self, call: usize, cost: Money, fate: Fate, told_late: Duration) {
        let attempt = self.books.calls[call].attempt.clone();
        let record = record(&attempt, fate, self.now - told_late);
        let applied = self.apply(&attempt, Step::Settle { cost }, Some(record));
        let (limits, now) = (self.limits(), self.now);
        let held = &mut self.books.calls[call];
        assert_eq!(applied.write.is_some(), held.live, "settled once");
        let Some(write) = applied.write else { return };
        let (before, day) = (held.reserved, held.day);
        let mut extended = Money::ZERO;
        for entry in &write.entries {
            assert!(entry.amount >= Money::ZERO && entry.day == day);
            match entry.kind {
                EntryKind::Extend => {
                    held.reserved += entry.amount;
                    extended += entry.amount;
                }
                EntryKind::Charge => {
                    held.reserved -= entry.amount;
                    held.charges += 1;
                    self.books.spent.push((day, entry.amount));
                    assert_eq!(write.record.cost, entry.amount);
                }
                EntryKind::Release => held.reserved -= entry.amount,
                EntryKind::Reserve => panic!("a settlement reserves nothing new"),
            }
        }
        held.live = false;
        assert_eq!((held.reserved, held.charges), (Money::ZERO, 1), "nothing left over, charged once");
        let charged = write.record.cost;
        if extended > Money::ZERO {
            assert_eq!(charged, before + extended, "no more is reserved than is owed");
            self.books.within_limit(day, &limits);
            self.books.saw("extended at the end".into());
        }
        if charged < cost {
            // What is not charged had no room.
            assert!(self.books.used(day) >= limits.daily_spend_limit, "{charged:?} of {cost:?}");
        } else {
            assert_eq!(charged, cost.max(Money::ZERO));
        }
        let ended_at = now - told_late;
        let trip = self.books.trip(&area(attempt.to), fate, ended_at, &limits.breakers, now);
        assert_eq!(applied.committed, trip.map_or(Committed::Done, Committed::Tripped));
        trip.into_iter().for_each(|reason| self.books.saw(reason.as_str().to_owned()));
        self.books.marks.extend(write.marks);
    }

    /// The account agrees with the lists.
    fn check(&self) {
        assert_eq!(self.account.legs_in_use(), u64::from(self.books.legs(|_| true, 2)));
        for held in &self.books.calls {
            assert!(held.reserved >= Money::ZERO);
            let of = |day| self.books.calls.iter().filter(move |held| held.day == day).map(|held| held.reserved);
            let reserved: Money = of(held.day).sum();
            assert_eq!(self.account.day_use(held.day).reserved, reserved);
            assert!(self.account.day_use(held.day).spent >= Money::ZERO);
        }
        let minute = self.account.admitted_in_minute(self.now);
        let clock = self.books.granted.iter().copied().max().map_or(self.now, |last| last.max(self.now));
        assert_eq!(minute, self.books.granted.iter().filter(|at| clock.since(**at) < MINUTE).count());
    }
}

/// Which refusal, without its numbers.
fn said(refusal: Refusal) -> String {
    match refusal {
        Refusal::ConcurrencyLimit(cap) => format!("{cap:?}"),
        Refusal::DestinationNotAllowed(DestinationProblem::Paused { pause, .. }) => {
            format!("paused: {:?}", pause.reason)
        }
        other => other.guardrail().as_str().to_owned(),
    }
}

fn attempt(call: revbridge::model::CallId, user: usize, to: usize, browser: bool) -> Attempt {
    Attempt {
        call,
        organization: OrganizationId("acme".into()),
        user: UserId(["alice", "bob", "carol"][user].into()),
        from: desk::number("+12125550100"),
        to: destination(to),
        connect: (!browser).then(|| desk::number("+14155550100")),
    }
}

fn record(attempt: &Attempt, fate: Fate, ended_at: Timestamp) -> CallRecord {
    let (talk, reason, by, sip_status) = match fate {
        Fate::Short => (Some(Duration::from_millis(5_999)), EndReason::Hangup, EndedBy::Destination, None),
        Fate::Talk => (Some(Duration::from_secs(6)), EndReason::Hangup, EndedBy::User, None),
        Fate::NoAnswer => (None, EndReason::DestinationBusy, EndedBy::Destination, Some(486)),
        Fate::Ours => (None, EndReason::UserBusy, EndedBy::User, Some(486)),
    };
    CallRecord {
        answered_at: talk.map(|talk| ended_at - talk),
        ended_at: Some(ended_at),
        end_reason: Some(reason),
        ended_by: Some(by),
        sip_status,
        ..desk::record(attempt, Status::Completed)
    }
}

/// Before a midnight of 23 hours' day, of 25 hours' day, and an ordinary one, in Berlin.
const STARTS: [&str; 3] = ["2026-03-28T22:30:00Z", "2026-10-24T21:30:00Z", "2026-05-01T21:59:00Z"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_limit_is_passed_and_nothing_is_left_over(terms in terms(), start in 0..STARTS.len(), moves in moves()) {
        let mut world = World::new(&terms, STARTS[start]);
        for one in moves {
            world.make(one);
        }
        for call in 0..world.books.calls.len() {
            world.settle(call, Money::ZERO, Fate::Ours, Duration::ZERO);
        }
        world.check();
        prop_assert_eq!(world.account.legs_in_use(), 0);
        prop_assert_eq!(world.account.parties().count(), 0);
        for held in &world.books.calls {
            prop_assert_eq!(world.account.day_use(held.day).reserved, Money::ZERO);
            prop_assert_eq!(held.charges, 1);
            let (user, to) = (world.account.legs_of(&held.attempt.user), world.account.legs_to(held.attempt.to));
            prop_assert_eq!((user, to), (0, 0));
        }
    }

    #[test]
    fn a_refused_call_passes_at_the_moment_that_was_named_and_not_before(waits in prop::collection::vec(0..20_000_000u64, 1..60)) {
        let free = Terms {
            legs: u32::MAX,
            per_minute: 4,
            spend: Money::MAX.as_micros(),
            per_user: None,
            per_destination: None,
            breakers: BreakerLimits::OFF,
        };
        let mut world = World::new(&free, STARTS[0]);
        for wait in waits {
            world.now = world.now + Duration::from_micros(wait);
            let attempt = attempt(world.ids.call(world.now), 0, 0, false);
            let decide = |at| decide_admission(&world.account, &attempt, at);
            if let Err(Refusal::RateLimited { retry_after_us }) = decide(world.now) {
                let moment = world.now + Duration::from_micros(retry_after_us);
                prop_assert!(decide(moment).is_ok());
                prop_assert!(decide(moment - Duration::from_micros(1)).is_err());
                world.now = moment;
            }
            world.make(Move::Admit { user: 0, to: 0, browser: false });
        }
    }
}

/// The moves do get into every corner that the property is about.
#[test]
fn the_moves_find_every_refusal_and_every_trip() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::{Config, TestRunner};
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..150 {
        let (terms, moves) = (terms(), moves()).new_tree(&mut runner).unwrap().current();
        let mut world = World::new(&terms, STARTS[0]);
        moves.into_iter().for_each(|one| world.make(one));
        world.books.seen.into_iter().for_each(|(what, times)| *seen.entry(what).or_default() += times);
    }
    for what in [
        "rate",
        "Organization",
        "User",
        "Destination",
        "spend",
        "short_answers",
        "few_answers",
        "paused: ShortAnswers",
        "paused: FewAnswers",
        "extended at the end",
    ] {
        assert!(seen.get(what).is_some_and(|times| *times >= 5), "{what} in {seen:?}");
    }
}
