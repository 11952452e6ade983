//! The five guardrails, asked in their order.

use std::time::Duration;

use super::account::LEGS_PER_CALL;
use super::{Account, Attempt, DestinationProblem, Grant, Guardrail, LegAttempt, LegCap, OwnedNumber, Permit, Refusal};
use crate::model::{CallId, Day, E164, LegId, Money, Side, Timestamp};

/// One guardrail's word in a dry run.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    pub guardrail: Guardrail,
    /// Which one, when the guardrail has several.
    pub cap: Option<LegCap>,
    pub refusal: Option<Refusal>,
    /// In the guardrail's own unit: calls, legs, micro-units; `None` for the two that do not count.
    pub limit: Option<i64>,
    /// Before this call.
    pub used: Option<i64>,
}

/// All checks of a dry run, each asked even when an earlier one says no.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    pub checks: Vec<Check>,
    /// `None` when a number has no price.
    pub grant: Option<Grant>,
}

/// All five guardrails over a new call. Changes nothing. Grants the permit of leg A, unless it is a browser,
/// which nobody rings.
pub fn decide_admission(
    account: &Account,
    attempt: &Attempt,
    now: Timestamp,
) -> Result<(Grant, Option<Permit>), Refusal> {
    let shown = ownership(account, attempt)?;
    destination(account, attempt, now)?;
    let grant = price(account, attempt, now)?;
    rate(account, now)?;
    caps(account, attempt).try_for_each(|cap| cap.takes_another())?;
    spend(account, grant.day, grant.reserved, now)?;
    if account.lease(attempt.call).is_some() {
        return Err(Refusal::Unknown);
    }
    Ok((grant, permit(Side::User, attempt, shown)))
}

/// Everything but the rate, over one leg of an admitted call. The price was fixed by the admission and
/// the legs and the money are the call's already, so this finds what has changed since: a number taken
/// away, a destination blocked, a limit lowered.
///
/// [`Refusal::Unknown`] when the call is over, or asks for other numbers than it was admitted with.
pub fn decide_leg(account: &Account, attempt: &LegAttempt, now: Timestamp) -> Result<Permit, Refusal> {
    let LegAttempt { side, attempt } = attempt;
    let lease = account.lease(attempt.call).filter(|lease| lease.attempt == *attempt).ok_or(Refusal::Unknown)?;
    let shown = ownership(account, attempt)?;
    destination(account, attempt, now)?;
    caps(account, attempt).try_for_each(|cap| cap.holds())?;
    spend(account, lease.day, Money::ZERO, now)?;
    permit(*side, attempt, shown).ok_or(Refusal::Unknown)
}

/// May this call reserve `amount` more? [`Refusal::Unknown`] when it is over.
pub fn decide_extension(account: &Account, call: CallId, amount: Money, now: Timestamp) -> Result<(), Refusal> {
    let lease = account.lease(call).ok_or(Refusal::Unknown)?;
    spend(account, lease.day, amount, now)
}

/// What [`decide_admission`] would say, guardrail by guardrail.
pub fn preview(account: &Account, attempt: &Attempt, now: Timestamp) -> Preview {
    let limits = &account.rules.limits;
    let grant = price(account, attempt, now);
    let today = now.day(&account.rules.zone);
    let reserved = grant.map_or(Money::ZERO, |g| g.reserved);
    let check = |guardrail, said: Result<(), Refusal>, count: Option<(i64, i64)>| Check {
        guardrail,
        cap: None,
        refusal: said.err(),
        limit: count.map(|(limit, _)| limit),
        used: count.map(|(_, used)| used),
    };
    let admitted = i64::try_from(account.admitted_in_minute(now)).unwrap_or(i64::MAX);
    let money = (limits.daily_spend_limit.as_micros(), used(account, today).as_micros());
    let mut checks = vec![
        check(Guardrail::CallerId, ownership(account, attempt).map(drop), None),
        check(Guardrail::Destination, destination(account, attempt, now).and(grant.map(drop)), None),
        check(Guardrail::Rate, rate(account, now), Some((limits.max_calls_per_minute.into(), admitted))),
    ];
    checks.extend(caps(account, attempt).map(|cap| Check {
        cap: Some(cap.whose),
        ..check(Guardrail::Concurrency, cap.takes_another(), Some((cap.limit.into(), cap.used())))
    }));
    checks.push(check(Guardrail::Spend, spend(account, today, reserved, now), Some(money)));
    Preview { checks, grant: grant.ok() }
}

fn permit(side: Side, attempt: &Attempt, shown: OwnedNumber) -> Option<Permit> {
    let leg = LegId { call: attempt.call, side };
    number_of(side, attempt).map(|number| Permit::new(leg, number, shown))
}

/// `None` for a browser.
fn number_of(side: Side, attempt: &Attempt) -> Option<E164> {
    match side {
        Side::User => attempt.connect,
        Side::Destination => Some(attempt.to),
    }
}

fn ownership(account: &Account, attempt: &Attempt) -> Result<OwnedNumber, Refusal> {
    if account.rules.owns(attempt.from) {
        Ok(OwnedNumber::proven(attempt.from))
    } else {
        Err(Refusal::CallerIdNotVerified)
    }
}

fn destination(account: &Account, attempt: &Attempt, now: Timestamp) -> Result<(), Refusal> {
    let Attempt { from, to, connect, .. } = *attempt;
    if from == to || connect.is_some_and(|connect| [from, to].contains(&connect)) || account.rules.owns(to) {
        return Err(Refusal::DestinationNotAllowed(DestinationProblem::Loop));
    }
    for side in [Side::Destination, Side::User] {
        if let Some(number) = number_of(side, attempt) {
            account.rules.allowlist.judge(side, number).map_err(Refusal::DestinationNotAllowed)?;
        }
    }
    // Only the destination's: users' own phones may well lie in the same prefix.
    match account.pause_of(to, now) {
        None => Ok(()),
        Some(pause) => {
            let retry_after_us = micros(pause.until.since(now));
            Err(Refusal::DestinationNotAllowed(DestinationProblem::Paused { pause, retry_after_us }))
        }
    }
}

fn price(account: &Account, attempt: &Attempt, now: Timestamp) -> Result<Grant, Refusal> {
    let price = |side, number| {
        let price = account.rules.prices.price(number);
        price.ok_or(Refusal::DestinationNotAllowed(DestinationProblem::NoPrice(side)))
    };
    let destination_price = price(Side::Destination, attempt.to)?;
    let user_price = attempt.connect.map(|number| price(Side::User, number)).transpose()?;
    Ok(Grant {
        user_price,
        destination_price,
        reserved: user_price.map_or(Money::ZERO, |p| p.first_period()) + destination_price.first_period(),
        day: now.day(&account.rules.zone),
    })
}

fn rate(account: &Account, now: Timestamp) -> Result<(), Refusal> {
    match account.rate_wait(now) {
        Duration::ZERO => Ok(()),
        wait => Err(Refusal::RateLimited { retry_after_us: micros(wait) }),
    }
}

/// One cap of the concurrency guardrail, as it concerns one call.
struct Cap {
    whose: LegCap,
    limit: u32,
    legs: u64,
    /// Of this kind of legs, how many a call takes.
    per_call: u32,
}

impl Cap {
    fn used(&self) -> i64 {
        i64::try_from(self.legs).unwrap_or(i64::MAX)
    }

    fn takes_another(&self) -> Result<(), Refusal> {
        self.has_room_for(self.per_call)
    }

    /// Also for the calls under way, after a cap was lowered?
    fn holds(&self) -> Result<(), Refusal> {
        self.has_room_for(0)
    }

    fn has_room_for(&self, more: u32) -> Result<(), Refusal> {
        let fits = self.legs + u64::from(more) <= u64::from(self.limit);
        if fits { Ok(()) } else { Err(Refusal::ConcurrencyLimit(self.whose)) }
    }
}

/// The caps that are set, in their order.
fn caps(account: &Account, attempt: &Attempt) -> impl Iterator<Item = Cap> {
    let limits = &account.rules.limits;
    let organization = Cap {
        whose: LegCap::Organization,
        limit: limits.max_concurrent_legs,
        legs: account.legs_in_use(),
        per_call: LEGS_PER_CALL,
    };
    let user = limits.max_legs_per_user.map(|limit| Cap {
        whose: LegCap::User,
        limit,
        legs: account.legs_of(&attempt.user),
        per_call: LEGS_PER_CALL,
    });
    let destination = limits.max_legs_per_destination.map(|limit| Cap {
        whose: LegCap::Destination,
        limit,
        legs: account.legs_to(attempt.to),
        per_call: 1,
    });
    [Some(organization), user, destination].into_iter().flatten()
}

/// Do `day`'s spend, its open reservations and `more` stay within the limit?
fn spend(account: &Account, day: Day, more: Money, now: Timestamp) -> Result<(), Refusal> {
    if used(account, day) + more <= account.rules.limits.daily_spend_limit {
        return Ok(());
    }
    let midnight = now.next_midnight(&account.rules.zone);
    Err(Refusal::SpendLimitExceeded { retry_after_us: micros(midnight.since(now)) })
}

fn used(account: &Account, day: Day) -> Money {
    let used = account.day_use(day);
    used.spent + used.reserved
}

fn micros(wait: Duration) -> u64 {
    u64::try_from(wait.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guardrails::{
        Allowlist, DestinationPrefix, LegPrice, Limits, Mark, MarkKind, PriceTable, Rules, TripReason,
    };
    use crate::model::{IdSource, OrganizationId, UserId};

    const NOON: &str = "2026-05-01T12:00:00Z";

    fn number(text: &str) -> E164 {
        E164::parse(text).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    fn account(limit: &str) -> Account {
        let limits = Limits {
            max_concurrent_legs: 4,
            max_calls_per_minute: 3,
            daily_spend_limit: limit.parse().unwrap(),
            timezone: "America/New_York".into(),
            ..Limits::default()
        };
        let cent = LegPrice {
            per_minute: Money::from_micros(10_000),
            connect: Money::ZERO,
            first_seconds: 60,
            step_seconds: 6,
        };
        let prices = PriceTable::new([("+1", cent), ("+1876", cent)]).unwrap();
        let allowlist = Allowlist::parse(["+1", "+44", "!+1202555"]).unwrap();
        let numbers = vec![number("+12025550101"), number("+12125550100")];
        Account::new(Rules::new(limits, allowlist, numbers, prices.into()).unwrap())
    }

    fn attempt(ids: &mut IdSource) -> Attempt {
        Attempt {
            call: ids.call(at(NOON)),
            organization: OrganizationId("acme".into()),
            user: UserId("alice".into()),
            from: number("+12125550100"),
            to: number("+13105550100"),
            connect: Some(number("+14155550100")),
        }
    }

    fn admit(account: &mut Account, attempt: &Attempt, now: Timestamp) -> Result<Grant, Refusal> {
        let (grant, permit) = decide_admission(account, attempt, now)?;
        let shown = permit.map(|permit| (permit.to(), permit.shown().number()));
        assert_eq!(shown, attempt.connect.map(|number| (number, attempt.from)));
        account.admit(attempt, &grant, now);
        Ok(grant)
    }

    #[test]
    fn the_first_guardrail_that_says_no_is_the_answer() {
        let mut ids = IdSource::new([1; 32]);
        let good = attempt(&mut ids);
        let problem = |p| Err(Refusal::DestinationNotAllowed(p));
        let say = |attempt: &Attempt| decide_admission(&account("0"), attempt, at(NOON)).map(drop);

        let foreign = Attempt { from: number("+13105550199"), to: number("+911"), ..good.clone() };
        assert_eq!(say(&foreign), Err(Refusal::CallerIdNotVerified));
        for (to, connect) in [
            ("+12125550100", "+14155550100"),
            ("+13105550100", "+13105550100"),
            ("+13105550100", "+12125550100"),
            ("+12025550101", "+14155550100"),
        ] {
            let looped = Attempt { to: number(to), connect: Some(number(connect)), ..good.clone() };
            assert_eq!(say(&looped), problem(DestinationProblem::Loop));
        }
        let unlisted = DestinationProblem::NotListed(Side::User);
        assert_eq!(say(&Attempt { connect: Some(number("+33123456789")), ..good.clone() }), problem(unlisted));
        let unpriced = DestinationProblem::NoPrice(Side::Destination);
        assert_eq!(say(&Attempt { to: number("+442079460000"), ..good.clone() }), problem(unpriced));
        assert!(matches!(say(&good), Err(Refusal::SpendLimitExceeded { .. })));
    }

    #[test]
    fn a_browser_is_one_leg_that_costs_nothing_and_is_rung_by_nobody() {
        let mut ids = IdSource::new([8; 32]);
        let mut account = account("0.01");
        let call = Attempt { connect: None, ..attempt(&mut ids) };
        let grant = admit(&mut account, &call, at(NOON)).unwrap();
        assert_eq!((grant.user_price, grant.reserved), (None, Money::from_micros(10_000)));
        assert_eq!(account.legs_in_use(), 2);
        let leg = |side| LegAttempt { side, attempt: call.clone() };
        assert_eq!(decide_leg(&account, &leg(Side::Destination), at(NOON)).unwrap().to(), call.to);
        assert_eq!(decide_leg(&account, &leg(Side::User), at(NOON)), Err(Refusal::Unknown), "there is nobody to ring");
        let phone = LegAttempt { side: Side::User, attempt: attempt(&mut ids) };
        assert_eq!(decide_leg(&account, &phone, at(NOON)), Err(Refusal::Unknown));
        for (from, to) in [("+12125550100", "+12125550100"), ("+12125550100", "+12025550101")] {
            let looped = Attempt { from: number(from), to: number(to), connect: None, ..attempt(&mut ids) };
            let refused = decide_admission(&account, &looped, at(NOON)).map(drop);
            assert_eq!(refused, Err(Refusal::DestinationNotAllowed(DestinationProblem::Loop)));
        }
    }

    #[test]
    fn the_minute_rolls_and_the_wait_is_the_true_moment() {
        let mut ids = IdSource::new([2; 32]);
        let mut account = account("50");
        account.rules.limits.max_concurrent_legs = 100;
        let start = at(NOON);
        for second in [0, 50, 59] {
            admit(&mut account, &attempt(&mut ids), start + Duration::from_secs(second)).unwrap();
        }
        let now = start + Duration::from_secs(59);
        let Err(Refusal::RateLimited { retry_after_us }) = admit(&mut account, &attempt(&mut ids), now) else {
            panic!("a fourth call in the minute")
        };
        assert_eq!(retry_after_us, 1_000_000);
        let moment = now + Duration::from_micros(retry_after_us);
        assert!(decide_admission(&account, &attempt(&mut ids), moment - Duration::from_micros(1)).is_err());
        admit(&mut account, &attempt(&mut ids), moment).unwrap();
        // A fixed window would have room for two more at the turn of the minute.
        assert!(admit(&mut account, &attempt(&mut ids), start + Duration::from_secs(109)).is_err());
        admit(&mut account, &attempt(&mut ids), start + Duration::from_secs(110)).unwrap();
    }

    #[test]
    fn a_limit_of_no_calls_lets_none_pass() {
        let mut account = account("50");
        account.rules.limits.max_calls_per_minute = 0;
        let refused = decide_admission(&account, &attempt(&mut IdSource::new([3; 32])), at(NOON));
        assert_eq!(refused.unwrap_err(), Refusal::RateLimited { retry_after_us: 60_000_000 });
    }

    #[test]
    fn legs_come_back_when_their_call_is_settled() {
        let mut ids = IdSource::new([4; 32]);
        let mut account = account("50");
        let calls = [attempt(&mut ids), attempt(&mut ids), attempt(&mut ids)];
        admit(&mut account, &calls[0], at(NOON)).unwrap();
        admit(&mut account, &calls[1], at(NOON)).unwrap();
        assert_eq!(admit(&mut account, &calls[2], at(NOON)), Err(Refusal::ConcurrencyLimit(LegCap::Organization)));
        assert!(account.settle(calls[0].call, Money::ZERO).is_some());
        assert_eq!(account.settle(calls[0].call, Money::ZERO), None);
        admit(&mut account, &calls[2], at(NOON)).unwrap();
    }

    #[test]
    fn leg_b_is_judged_by_the_rules_of_now_and_may_go_nowhere_else() {
        let mut ids = IdSource::new([5; 32]);
        let mut account = account("50");
        let call = attempt(&mut ids);
        let leg = |attempt: &Attempt| LegAttempt { side: Side::Destination, attempt: attempt.clone() };
        assert_eq!(decide_leg(&account, &leg(&call), at(NOON)), Err(Refusal::Unknown));
        admit(&mut account, &call, at(NOON)).unwrap();

        let permit = decide_leg(&account, &leg(&call), at(NOON)).unwrap();
        assert_eq!((permit.leg().side, permit.to()), (Side::Destination, call.to));
        let elsewhere = Attempt { to: number("+13105550177"), ..call.clone() };
        assert_eq!(decide_leg(&account, &leg(&elsewhere), at(NOON)), Err(Refusal::Unknown));

        let mut stricter = account.clone();
        stricter.rules.limits.max_concurrent_legs = 1;
        assert_eq!(decide_leg(&stricter, &leg(&call), at(NOON)), Err(Refusal::ConcurrencyLimit(LegCap::Organization)));
        let mut poorer = account.clone();
        poorer.rules.limits.daily_spend_limit = Money::from_micros(19_999);
        assert!(matches!(decide_leg(&poorer, &leg(&call), at(NOON)), Err(Refusal::SpendLimitExceeded { .. })));
        let mut robbed = account.clone();
        robbed.rules.numbers.clear();
        assert_eq!(decide_leg(&robbed, &leg(&call), at(NOON)), Err(Refusal::CallerIdNotVerified));
        // The price was fixed by the admission.
        account.rules.prices = PriceTable::default().into();
        assert!(decide_leg(&account, &leg(&call), at(NOON)).is_ok());
    }

    #[test]
    fn a_call_belongs_to_the_day_of_its_admission() {
        let mut ids = IdSource::new([6; 32]);
        let mut account = account("0.03");
        // Midnight in New York is four in the morning in UTC; two cents of three are reserved.
        let late = at("2026-05-02T03:59:59Z");
        let call = attempt(&mut ids);
        let grant = admit(&mut account, &call, late).unwrap();
        let Err(Refusal::SpendLimitExceeded { retry_after_us }) = admit(&mut account, &attempt(&mut ids), late) else {
            panic!("four cents of three")
        };
        assert_eq!(retry_after_us, 1_000_000);
        let next_day = late + Duration::from_secs(1);
        admit(&mut account, &attempt(&mut ids), next_day).unwrap();
        // The first call's extension is of the old day, whose last cent it takes.
        let cent = Money::from_micros(10_000);
        assert_eq!(decide_extension(&account, call.call, cent, next_day), Ok(()));
        account.extend(call.call, cent);
        assert!(decide_extension(&account, call.call, Money::from_micros(1), next_day).is_err());
        assert_eq!(account.settle(call.call, Money::from_micros(25_000)).unwrap().day, grant.day);
    }

    #[test]
    fn yesterdays_limit_is_not_spent_twice_by_a_clock_that_is_behind() {
        let mut ids = IdSource::new([12; 32]);
        let mut account = account("0.03");
        let midnight = at("2026-05-02T04:00:00Z");
        let before = midnight - Duration::from_secs(1);
        let yesterday = attempt(&mut ids);
        admit(&mut account, &yesterday, before).unwrap();
        account.settle(yesterday.call, Money::from_micros(20_000)).unwrap();
        admit(&mut account, &attempt(&mut ids), midnight).unwrap();
        let refused = decide_admission(&account, &attempt(&mut ids), before).map(drop);
        assert_eq!(refused, Err(Refusal::SpendLimitExceeded { retry_after_us: 1_000_000 }));
    }

    #[test]
    fn days_have_23_or_25_hours_when_the_clocks_change() {
        let mut ids = IdSource::new([7; 32]);
        let account = account("0");
        for (midnight, hours) in [("2026-03-08T05:00:00Z", 23), ("2026-11-01T04:00:00Z", 25)] {
            let refused = decide_admission(&account, &attempt(&mut ids), at(midnight)).unwrap_err();
            assert_eq!(refused, Refusal::SpendLimitExceeded { retry_after_us: hours * 3_600_000_000 });
        }
    }

    #[test]
    fn a_user_and_a_destination_may_have_caps_of_their_own() {
        let mut ids = IdSource::new([9; 32]);
        let mut account = account("50");
        account.rules.limits.max_concurrent_legs = 8;
        account.rules.limits.max_calls_per_minute = 100;
        account.rules.limits.max_legs_per_user = Some(4);
        account.rules.limits.max_legs_per_destination = Some(1);
        let call = |ids: &mut IdSource, user: &str, to: &str| Attempt {
            user: UserId(user.into()),
            to: number(to),
            ..attempt(ids)
        };
        let first = call(&mut ids, "alice", "+13105550100");
        admit(&mut account, &first, at(NOON)).unwrap();
        let same = call(&mut ids, "bob", "+13105550100");
        let full = |cap| Err(Refusal::ConcurrencyLimit(cap));
        assert_eq!(admit(&mut account, &same, at(NOON)), full(LegCap::Destination));
        admit(&mut account, &call(&mut ids, "alice", "+13105550101"), at(NOON)).unwrap();
        let third = call(&mut ids, "alice", "+13105550102");
        assert_eq!(admit(&mut account, &third, at(NOON)), full(LegCap::User));
        let both = call(&mut ids, "alice", "+13105550100");
        assert_eq!(admit(&mut account, &both, at(NOON)), full(LegCap::User), "asked before the destination's");
        let caps: Vec<_> = preview(&account, &both, at(NOON))
            .checks
            .iter()
            .map(|c| (c.cap, c.limit, c.used))
            .skip(3)
            .take(3)
            .collect();
        let shown = |cap, limit, used| (Some(cap), Some(limit), Some(used));
        let [organization, user, destination] = [LegCap::Organization, LegCap::User, LegCap::Destination];
        assert_eq!(caps, [shown(organization, 8, 4), shown(user, 4, 4), shown(destination, 1, 1)]);

        // A cap that is lowered holds for the next INVITE of the calls under way.
        let leg = LegAttempt { side: Side::Destination, attempt: first.clone() };
        assert!(decide_leg(&account, &leg, at(NOON)).is_ok());
        let mut stricter = account.clone();
        stricter.rules.limits.max_legs_per_user = Some(2);
        assert_eq!(decide_leg(&stricter, &leg, at(NOON)).unwrap_err(), Refusal::ConcurrencyLimit(LegCap::User));

        account.settle(first.call, Money::ZERO).unwrap();
        assert_eq!((account.legs_of(&first.user), account.legs_to(first.to)), (2, 0));
        admit(&mut account, &both, at(NOON)).unwrap();
    }

    #[test]
    fn what_could_not_be_reserved_in_time_is_reserved_with_the_end_as_far_as_the_limit_allows() {
        let mut ids = IdSource::new([10; 32]);
        let mut account = account("0.05");
        let (first, second) = (attempt(&mut ids), attempt(&mut ids));
        admit(&mut account, &first, at(NOON)).unwrap();
        let day = admit(&mut account, &second, at(NOON)).unwrap().day;
        let micros = Money::from_micros;
        // Four cents of five are reserved; the call ran up three and a half of its two.
        let settled = account.settle(first.call, micros(35_000)).unwrap();
        let (extended, charged, released) = (settled.extended, settled.charged, settled.released);
        assert_eq!((extended, charged, released), (micros(10_000), micros(30_000), Money::ZERO));
        let used = account.day_use(day);
        assert_eq!((used.spent, used.reserved), (micros(30_000), micros(20_000)));
        // Nothing is left of the limit: no more is charged than is reserved.
        let settled = account.settle(second.call, micros(90_000)).unwrap();
        assert_eq!((settled.extended, settled.charged), (Money::ZERO, micros(20_000)));
        // A limit that was lowered below what is used gives no room, and takes nothing back.
        let third = attempt(&mut ids);
        account.rules.limits.daily_spend_limit = micros(70_000);
        admit(&mut account, &third, at(NOON)).unwrap();
        account.rules.limits.daily_spend_limit = micros(1);
        let settled = account.settle(third.call, micros(25_000)).unwrap();
        assert_eq!((settled.extended, settled.charged, settled.released), (Money::ZERO, micros(20_000), Money::ZERO));
    }

    #[test]
    fn a_paused_prefix_is_refused_also_to_leg_b_and_users_in_it_still_ring() {
        let mut ids = IdSource::new([11; 32]);
        let mut account = account("50");
        let call = attempt(&mut ids);
        admit(&mut account, &call, at(NOON)).unwrap();
        let mut account = Account::restored(
            account.rules.clone(),
            [],
            [account.lease(call.call).unwrap().clone()],
            [],
            [Mark {
                prefix: DestinationPrefix::of(call.to),
                kind: MarkKind::Tripped(TripReason::FewAnswers),
                at: at(NOON),
            }],
        );
        let now = at(NOON) + Duration::from_secs(899);
        let paused = |said: Refusal| match said {
            Refusal::DestinationNotAllowed(DestinationProblem::Paused { pause, retry_after_us }) => {
                (pause.reason, pause.until, retry_after_us)
            }
            other => panic!("{other:?}"),
        };
        let expected = (TripReason::FewAnswers, now + Duration::from_secs(1), 1_000_000);
        assert_eq!(paused(decide_admission(&account, &attempt(&mut ids), now).unwrap_err()), expected);
        let leg = LegAttempt { side: Side::Destination, attempt: call.clone() };
        assert_eq!(paused(decide_leg(&account, &leg, now).unwrap_err()), expected);
        let check = &preview(&account, &attempt(&mut ids), now).checks[1];
        assert_eq!(paused(check.refusal.unwrap()), expected);
        let swapped = Attempt { to: number("+14155550100"), connect: Some(call.to), ..attempt(&mut ids) };
        assert!(decide_admission(&account, &swapped, now).is_ok());
        assert!(decide_admission(&account, &attempt(&mut ids), now + Duration::from_secs(1)).is_ok());
        account.rules.limits.breakers.answer_percent = 0;
        assert!(decide_admission(&account, &attempt(&mut ids), now).is_ok(), "turned off");
    }

    #[test]
    fn a_dry_run_asks_every_guardrail() {
        let mut ids = IdSource::new([8; 32]);
        let mut account = account("0.03");
        admit(&mut account, &attempt(&mut ids), at(NOON)).unwrap();
        let foreign = Attempt { from: number("+13105550199"), ..attempt(&mut ids) };
        let preview = preview(&account, &foreign, at(NOON));
        let refused: Vec<_> = preview.checks.iter().map(|c| c.refusal.is_some()).collect();
        assert_eq!(refused, [true, false, false, false, true]);
        let counts: Vec<_> = preview.checks.iter().map(|c| (c.limit, c.used)).collect();
        assert_eq!(counts[2..], [(Some(3), Some(1)), (Some(4), Some(2)), (Some(30_000), Some(20_000))]);
        assert_eq!(preview.grant.unwrap().reserved, Money::from_micros(20_000));
    }
}
