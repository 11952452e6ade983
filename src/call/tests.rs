//! The machine alone, step by step, against the real guardrails.

mod browser;

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::guardrails::{Account, Allowlist, LegPrice, Limits, PriceTable, Rules};
use crate::leg::{Cause, Loss};
use crate::media::LegStats;
use crate::model::{EndReason, EndedBy, IdSource, Money};
use crate::sdp::{self, Codec, Description, Direction};
use crate::store::{Commit, apply};

const PRICE: LegPrice = LegPrice {
    per_minute: Money::from_micros(60_000),
    connect: Money::from_micros(1_000),
    first_seconds: 60,
    step_seconds: 6,
};

fn number(text: &str) -> E164 {
    E164::parse(text).unwrap()
}

fn account(limit: i64) -> Account {
    let limits = Limits {
        max_concurrent_legs: 4,
        max_calls_per_minute: 10,
        daily_spend_limit: Money::from_micros(limit),
        timezone: "UTC".into(),
        ..Limits::default()
    };
    let prices = Arc::new(PriceTable::new([("+1", PRICE)]).unwrap());
    Account::new(Rules::new(limits, Allowlist::parse(["+1"]).unwrap(), vec![number("+12025550100")], prices).unwrap())
}

fn plan(confirm: Confirm) -> Plan {
    let mut ids = IdSource::new([1; 32]);
    let mut leg = |port| LegPlan {
        local: Local { session_id: 7, version: 1, rtp: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), port) },
        port: Some(PortPair(port)),
        secret: ids.secret(),
    };
    let (user_leg, destination_leg) = (leg(20_000), leg(20_002));
    Plan {
        id: ids.call(Timestamp::from_millis(1_000)),
        organization: OrganizationId("acme".into()),
        user: UserId("alice".into()),
        from: number("+12025550100"),
        to: number("+13125550123"),
        connect: Connect::Phone(number("+14155550100")),
        confirm,
        ring_timeout: Duration::from_secs(45),
        max_duration: Duration::from_secs(3600),
        client_name: None,
        client_label: None,
        failure_tone: Duration::from_secs(4),
        confirm_timeout: Duration::from_secs(15),
        user_leg,
        destination_leg,
    }
}

/// A call with its account. Commits wait in a queue until the test lets them through.
struct Bench {
    now: Timestamp,
    call: Call,
    account: Account,
    commits: VecDeque<(StepKind, Commit)>,
    /// What left since it was last looked at, in words.
    said: Vec<String>,
    facts: Vec<FactKind>,
    forgotten: bool,
}

impl Bench {
    fn new(confirm: Confirm, limit: i64) -> Self {
        Self::start(plan(confirm), limit)
    }

    fn start(plan: Plan, limit: i64) -> Self {
        let now = Timestamp::from_millis(1_000);
        let mut out = Vec::new();
        let call = Call::start(now, plan, &mut out);
        let mut bench = Self {
            now,
            call,
            account: account(limit),
            commits: VecDeque::new(),
            said: Vec::new(),
            facts: Vec::new(),
            forgotten: false,
        };
        bench.take(out);
        bench
    }

    fn take(&mut self, actions: Vec<CallAction>) {
        for action in actions {
            match action {
                CallAction::Commit { kind, step, facts } => {
                    self.said.push(format!("commit {kind:?}"));
                    let commit = Commit {
                        call: self.call.plan.id,
                        organization: self.call.plan.organization.clone(),
                        at: self.now,
                        step,
                        record: self.call.record().clone(),
                        snapshot: Some(serde_json::to_vec(&self.call.snapshot(kind)).unwrap().into()),
                        facts,
                        idempotency: None,
                        token: None,
                    };
                    self.commits.push_back((kind, commit));
                }
                CallAction::Leg(side, command) => {
                    let name = match command {
                        LegCommand::Invite { permit, offer } => {
                            format!("invite {:?} {:?}", permit.to(), offer.media[0].formats.len())
                        }
                        LegCommand::Ack => "ack".into(),
                        LegCommand::Answer(answer) => format!("answer {:?}", answer.media[0].direction),
                        LegCommand::RefuseOffer => "refuse".into(),
                        LegCommand::End(_) => "end".into(),
                        LegCommand::TakeDown { known } => format!("take down {known}"),
                    };
                    self.said.push(format!("{} {name}", side.letter()));
                }
                CallAction::Media(side, command) => match command {
                    MediaCommand::Play(source) => self.said.push(format!("{} hears {source:?}", side.letter())),
                    MediaCommand::Close => self.said.push(format!("{} close", side.letter())),
                    MediaCommand::Connect { .. } => self.said.push(format!("{} connect", side.letter())),
                    MediaCommand::Open { .. } | MediaCommand::Remote(_) => {}
                },
                CallAction::Offered(offered) => self.said.push(format!("offered {offered:?}")),
                CallAction::Tell(BrowserEvent::State { state, end: None, .. }) => {
                    self.said.push(format!("told {state:?}"));
                }
                CallAction::Tell(BrowserEvent::State { end: Some(end), .. }) => {
                    self.said.push(format!("told {:?} by {:?}: {:?}", end.reason, end.by, end.status));
                }
                CallAction::Tell(BrowserEvent::Peer { connected }) => self.said.push(format!("told peer {connected}")),
                CallAction::Tell(BrowserEvent::Quality(_)) => self.said.push("told quality".into()),
                CallAction::Reply(refused) => self.said.push(format!("reply {}", refused.is_none())),
                CallAction::Forget => self.forgotten = true,
                CallAction::Prepare(_) | CallAction::Notice(_) => {}
            }
        }
    }

    fn hear(&mut self, event: CallEvent) {
        let mut out = Vec::new();
        self.call.handle(self.now, event, &mut out);
        self.take(out);
    }

    fn leg(&mut self, side: Side, event: LegEvent) {
        self.hear(CallEvent::Leg(side, event));
    }

    /// The oldest commit becomes durable.
    fn durable(&mut self) {
        let (kind, commit) = self.commits.pop_front().expect("a commit");
        let applied = apply(&mut self.account, &commit);
        if applied.write.is_some() {
            self.facts.extend(commit.facts.iter().map(|fact| fact.kind));
        }
        self.hear(CallEvent::Committed(kind, applied.committed));
    }

    fn fails_to_commit(&mut self) {
        let (kind, _) = self.commits.pop_front().expect("a commit");
        self.hear(CallEvent::Committed(kind, Committed::Unavailable));
    }

    fn closed(&mut self) {
        for side in Side::BOTH {
            if self.call.party(side).media_open {
                self.hear(CallEvent::Media(side, MediaEvent::Closed(LegStats::default())));
            }
        }
    }

    fn at(&mut self, after: Duration) {
        let until = Timestamp::from_millis(1_000) + after;
        while let Some(next) = self.call.next_timeout().filter(|next| *next <= until && !self.forgotten) {
            self.now = self.now.max(next);
            self.hear(CallEvent::Timeout);
            while !self.commits.is_empty() {
                self.durable();
            }
        }
        self.now = until;
    }

    /// The audio closes and all that waits becomes durable.
    fn finish(&mut self) {
        self.closed();
        while !self.commits.is_empty() {
            self.durable();
        }
    }

    fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said)
    }

    fn answer(&self, side: Side, codecs: &[Codec]) -> Option<Description> {
        let offered = self.call.party(side).offered.as_deref()?;
        let rtp = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)), 40_000);
        sdp::answer_offer(offered, Local { session_id: 9, version: 1, rtp }, codecs).ok().map(|(answer, _)| answer)
    }

    fn answers(&mut self, side: Side) {
        let sdp = self.answer(side, &[Codec::Pcmu, Codec::Pcma, Codec::TelephoneEvent]);
        self.leg(side, LegEvent::Answered { early: None, sdp });
    }

    fn bridged(limit: i64) -> Self {
        let mut bench = Self::new(Confirm::None, limit);
        bench.durable();
        bench.answers(Side::User);
        bench.durable();
        bench.answers(Side::Destination);
        bench.durable();
        bench.said();
        bench
    }

    fn record(&self) -> &CallRecord {
        self.call.record()
    }
}

#[test]
fn both_are_rung_joined_and_taken_down_in_this_order() {
    let mut b = Bench::new(Confirm::None, 10_000_000);
    assert_eq!(b.said(), ["commit Barrier"]);
    b.durable();
    assert_eq!(b.said(), ["reply true", "A invite +…00 3"]);
    b.answers(Side::User);
    assert_eq!(b.said(), ["commit Barrier"], "the answer is not acknowledged before it is durable");
    b.durable();
    assert_eq!(b.said(), ["A ack", "A hears Ringback(NorthAmerica)", "B invite +…23 3"]);
    b.answers(Side::Destination);
    assert_eq!(b.said(), ["commit Barrier"]);
    b.durable();
    assert_eq!(b.said(), ["B ack", "A hears Peer", "B hears Peer"]);
    b.now = b.now + Duration::from_secs(30);
    b.leg(Side::Destination, LegEvent::Hangup(Cause::NORMAL_CLEARING));
    assert_eq!(b.said(), ["A end", "A close", "B close"]);
    b.closed();
    assert_eq!(b.said(), ["commit Settle"]);
    b.durable();
    let record = b.record();
    assert_eq!((record.status, record.end_reason), (Status::Completed, Some(EndReason::Hangup)));
    assert_eq!((record.ended_by, record.billable_seconds), (Some(EndedBy::Destination), 60));
    assert_eq!(b.facts, [FactKind::NewCall, FactKind::CallAnswered, FactKind::CallCompleted]);
    assert_eq!(b.account.legs_in_use(), 0);
    b.at(Duration::from_secs(30 + 33));
    assert!(b.forgotten, "nothing is left after 64·T1");
}

#[test]
fn the_second_leg_is_offered_only_what_the_first_accepted() {
    let mut b = Bench::new(Confirm::None, 10_000_000);
    b.durable();
    let sdp = b.answer(Side::User, &[Codec::Pcma]);
    b.leg(Side::User, LegEvent::Answered { early: None, sdp });
    b.durable();
    let offered = b.call.destination.offered.as_ref().unwrap();
    assert_eq!(offered.media[0].formats.iter().map(|f| f.codec).collect::<Vec<_>>(), [Codec::Pcma]);
}

#[test]
fn a_busy_destination_is_heard_and_costs_only_the_first_leg() {
    let mut b = Bench::new(Confirm::None, 10_000_000);
    b.durable();
    b.answers(Side::User);
    b.durable();
    b.said();
    b.leg(Side::Destination, LegEvent::Refused { status: 486, q850: None });
    assert_eq!(b.said(), ["A hears Busy(NorthAmerica)"]);
    b.at(Duration::from_secs(4));
    assert_eq!(b.said(), ["A end", "A close", "B close"]);
    b.closed();
    b.durable();
    assert_eq!((b.record().status, b.record().sip_status), (Status::Busy, Some(486)));
    assert_eq!(b.account.day_use(b.record().day).spent, PRICE.first_period());
    assert_eq!(b.facts.last(), Some(&FactKind::CallBusy));
}

#[test]
fn a_hang_up_while_the_disk_is_slow_rings_nobody() {
    let mut b = Bench::new(Confirm::None, 10_000_000);
    b.durable();
    b.answers(Side::User);
    b.leg(Side::User, LegEvent::Hangup(Cause::NORMAL_CLEARING));
    b.said();
    b.durable();
    assert_eq!(b.said(), ["A close"], "no INVITE for B");
    b.closed();
    b.durable();
    assert_eq!((b.record().status, b.record().end_reason), (Status::Canceled, Some(EndReason::UserHangup)));
}

#[test]
fn an_answer_that_crosses_the_hang_up_is_not_billed_as_a_conversation() {
    let mut b = Bench::new(Confirm::None, 10_000_000);
    b.durable();
    b.answers(Side::User);
    b.durable();
    b.now = b.now + Duration::from_secs(3);
    b.answers(Side::Destination);
    b.leg(Side::User, LegEvent::Hangup(Cause::NORMAL_CLEARING));
    b.durable();
    b.closed();
    b.said();
    b.durable();
    assert_eq!(b.said(), ["B end"], "taken down once its answer is durable");
    assert_eq!((b.record().answered_at, b.record().status), (None, Status::Canceled));
    assert_eq!(b.account.day_use(b.record().day).spent, PRICE.first_period());
}

#[test]
fn confirmation_needs_the_one_and_only_the_one() {
    let mut b = Bench::new(Confirm::Press1, 10_000_000);
    b.durable();
    b.answers(Side::User);
    b.durable();
    b.said();
    b.hear(CallEvent::Media(Side::User, MediaEvent::Digit('2')));
    assert_eq!(b.said(), ["A hears Prompt"]);
    b.hear(CallEvent::Media(Side::User, MediaEvent::Digit('1')));
    b.durable();
    assert_eq!(b.said(), ["commit Barrier", "A hears Ringback(NorthAmerica)", "B invite +…23 3"]);

    let mut b = Bench::new(Confirm::Press1, 10_000_000);
    b.durable();
    b.answers(Side::User);
    b.durable();
    b.at(Duration::from_secs(31));
    b.finish();
    assert_eq!((b.record().status, b.record().end_reason), (Status::NoAnswer, Some(EndReason::NotConfirmed)));
    assert!(!b.said().iter().any(|s| s.starts_with("B invite")));
}

#[test]
fn a_limit_lowered_while_a_rings_holds_for_b() {
    let mut b = Bench::new(Confirm::None, 10_000_000);
    b.durable();
    b.account.rules.limits.daily_spend_limit = Money::ZERO;
    b.answers(Side::User);
    b.durable();
    assert_eq!(b.said().last().unwrap(), "commit Barrier", "A's answer becomes durable before A hears why");
    b.durable();
    assert_eq!(b.said(), ["A ack", "A hears Reorder(NorthAmerica)"]);
    b.at(Duration::from_secs(4));
    b.closed();
    b.durable();
    assert_eq!((b.record().status, b.record().ended_by), (Status::Rejected, Some(EndedBy::Guardrail)));
}

/// The store was lost while it committed the admission, and found again with it.
#[test]
fn an_admission_that_is_decided_too_late_rings_nobody() {
    for (seconds, rings) in [(14, true), (16, false)] {
        let mut b = Bench::new(Confirm::None, 10_000_000);
        b.now = b.now + Duration::from_secs(seconds);
        b.durable();
        let said = b.said();
        assert!(said.contains(&"reply true".to_owned()), "it is a call, whoever asks again: {said:?}");
        assert_eq!(said.iter().any(|word| word.starts_with("A invite")), rings, "{said:?}");
        if !rings {
            b.finish();
            assert_eq!(b.record().end_reason, Some(EndReason::StoreUnavailable));
            assert_eq!(b.record().cost, Money::ZERO);
        }
    }
}

#[test]
fn a_store_that_cannot_commit_rings_nobody_and_is_asked_again_for_the_record() {
    let mut b = Bench::new(Confirm::None, 10_000_000);
    b.fails_to_commit();
    assert_eq!(b.said().last().unwrap(), "reply false");
    assert!(b.forgotten);

    let mut b = Bench::new(Confirm::None, 10_000_000);
    b.durable();
    b.answers(Side::User);
    b.said();
    b.fails_to_commit();
    assert_eq!(b.said(), ["A close"], "the answer is neither acknowledged nor refused yet");
    b.closed();
    b.fails_to_commit();
    b.at(Duration::from_secs(2));
    assert_eq!(b.record().end_reason, Some(EndReason::StoreUnavailable));
    assert!(b.said().contains(&"A end".to_owned()));
}

/// What the call's settlement charged.
fn charged(b: &Bench) -> Money {
    b.account.day_use(b.record().day).spent
}

#[test]
fn an_answer_that_was_not_acknowledged_costs_nothing() {
    // Its answer could not be made durable.
    let mut b = Bench::new(Confirm::None, 10_000_000);
    b.durable();
    b.answers(Side::User);
    b.now = b.now + Duration::from_secs(3);
    b.fails_to_commit();
    b.finish();
    assert_eq!((b.record().end_reason, charged(&b)), (Some(EndReason::StoreUnavailable), Money::ZERO));

    // It was durable, and nobody wanted the call any more.
    let mut b = Bench::new(Confirm::None, 10_000_000);
    b.durable();
    b.answers(Side::User);
    b.hear(CallEvent::Hangup);
    b.durable();
    b.finish();
    assert_eq!((b.record().end_reason, charged(&b)), (Some(EndReason::ApiHangup), Money::ZERO));
}

/// Ends with its process so long after the last answer, in the commit that would have let its ACK go.
fn taken_up(sides: &[Side], alive_for: Duration) -> Bench {
    let mut b = Bench::new(Confirm::None, 10_000_000);
    b.durable();
    let mut last = None;
    for side in sides {
        b.answers(*side);
        last = b.commits.front().map(|(_, commit)| (commit.snapshot.clone().unwrap(), commit.record.clone()));
        b.durable();
    }
    let (snapshot, record) = last.unwrap();
    let mut out = Vec::new();
    let snapshot = serde_json::from_slice(&snapshot).unwrap();
    let last_alive = b.now + alive_for;
    b.now = last_alive + Duration::from_secs(2);
    b.call = Call::restore(b.now, last_alive, snapshot, record, &mut out);
    b.commits.clear();
    b.take(out);
    b.finish();
    b
}

#[test]
fn an_ack_that_may_not_have_left_costs_nothing_unless_the_process_lived_on() {
    let period = PRICE.first_period();
    for (sides, talked) in [(&[Side::User][..], 1), (&Side::BOTH[..], 2)] {
        let b = taken_up(sides, Duration::from_secs(10));
        assert_eq!(charged(&b), period.times(talked), "{sides:?}: it lived on");
        // A's ACK has left when B answers: its first period is owed whatever became of B's.
        let b = taken_up(sides, Duration::from_secs(4));
        assert_eq!(charged(&b), period.times(talked - 1), "{sides:?}: nobody knows");
        assert!(b.said.iter().any(|said| said == "A end"), "it is ended all the same");
        let b = taken_up(sides, Duration::ZERO);
        assert_eq!(charged(&b), Money::ZERO, "{sides:?}");
    }
}

#[test]
fn periods_are_reserved_ahead_and_the_last_one_is_the_end() {
    // Both first periods, and two steps of each leg.
    let limit = 2 * (PRICE.first_period().as_micros() + 2 * PRICE.step_cost().as_micros());
    let mut b = Bench::bridged(limit);
    b.at(Duration::from_secs(60));
    assert!(b.said().contains(&"commit Extend".to_owned()));
    b.at(Duration::from_secs(71));
    assert!(b.said().contains(&"A hears Warning".to_owned()), "the user is warned");
    b.at(Duration::from_secs(73));
    b.finish();
    let record = b.record();
    assert_eq!((record.status, record.end_reason), (Status::Completed, Some(EndReason::SpendLimit)));
    assert_eq!(record.ended_at.unwrap().since(record.answered_at.unwrap()), Duration::from_secs(72));
    let used = b.account.day_use(b.record().day);
    assert_eq!((used.spent.as_micros(), used.reserved), (limit, Money::ZERO));
}

#[test]
fn a_snapshot_of_an_ending_call_is_settled_only_by_its_settlement() {
    for (kind, said) in [
        (StepKind::Settle, &["A end", "B end"][..]),
        (StepKind::Extend, &["A end", "B end", "commit Settle"]),
        (StepKind::TakeDown(Side::User), &["A end", "B end", "commit Settle"]),
    ] {
        let mut b = Bench::bridged(10_000_000);
        b.hear(CallEvent::Hangup);
        let snapshot = serde_json::to_vec(&b.call.snapshot(kind)).unwrap();
        let mut out = Vec::new();
        let snapshot = serde_json::from_slice(&snapshot).unwrap();
        b.call = Call::restore(b.now, b.now, snapshot, b.record().clone(), &mut out);
        b.said();
        b.take(out);
        let mut heard = b.said();
        heard.retain(|s| !s.contains("take down"));
        assert_eq!(heard, said, "{kind:?}");
    }
}

#[test]
fn nothing_is_reserved_by_the_timeout_that_ends_the_call() {
    let mut b = Bench::new(Confirm::None, 10_000_000);
    b.durable();
    b.answers(Side::User);
    b.durable();
    b.leg(Side::Destination, LegEvent::Refused { status: 486, q850: None });
    b.said();
    // The tone is over, and the next period would be reserved.
    b.now = b.now + Duration::from_secs(u64::from(PRICE.first_seconds) - 1);
    b.hear(CallEvent::Timeout);
    assert_eq!(b.said(), ["A end", "A close", "B close"]);
    b.finish();
    assert_eq!(b.record().status, Status::Busy);
}

#[test]
fn hold_moves_only_the_leg_that_asked_for_it() {
    let mut b = Bench::bridged(10_000_000);
    let mut offer = b.answer(Side::Destination, &[Codec::Pcmu]).unwrap();
    offer.media[0].direction = Direction::SendOnly;
    b.leg(Side::Destination, LegEvent::Offer { early: None, sdp: Some(offer.clone()) });
    assert_eq!(b.said(), ["B answer RecvOnly", "A hears Hold", "B hears Peer"]);
    offer.media[0].direction = Direction::SendRecv;
    b.leg(Side::Destination, LegEvent::Offer { early: None, sdp: Some(offer) });
    assert_eq!(b.said(), ["B answer SendRecv", "A hears Peer", "B hears Peer"]);
}

#[test]
fn early_media_of_the_last_dialog_to_describe_itself_replaces_the_ringback() {
    let mut b = Bench::new(Confirm::None, 10_000_000);
    b.durable();
    b.answers(Side::User);
    b.durable();
    b.said();
    b.leg(Side::Destination, LegEvent::Progress { status: 180, early: 0, sdp: None });
    assert!(b.said().is_empty(), "the ringback goes on");
    let sdp = b.answer(Side::Destination, &[Codec::Pcmu]);
    b.leg(Side::Destination, LegEvent::Progress { status: 183, early: 1, sdp: sdp.clone() });
    assert_eq!(b.said(), ["A hears Peer"]);
    b.leg(Side::Destination, LegEvent::Answered { early: Some(1), sdp: None });
    b.durable();
    assert_eq!(b.said(), ["commit Barrier", "B ack", "A hears Peer", "B hears Peer"], "the early answer counts");
}

#[test]
fn an_answer_without_a_description_is_the_one_of_its_own_fork() {
    let mut b = Bench::new(Confirm::None, 10_000_000);
    b.durable();
    b.answers(Side::User);
    b.durable();
    let narrow = b.answer(Side::Destination, &[Codec::Pcma]);
    let wide = b.answer(Side::Destination, &[Codec::Pcmu]);
    b.leg(Side::Destination, LegEvent::Progress { status: 183, early: 0, sdp: narrow });
    b.leg(Side::Destination, LegEvent::Progress { status: 183, early: 1, sdp: wide });
    b.leg(Side::Destination, LegEvent::Answered { early: Some(0), sdp: None });
    assert_eq!(b.call.party(Side::Destination).codecs()[0], Codec::Pcma);
}

#[test]
fn a_phone_that_described_itself_while_it_rang_may_answer_without() {
    let mut b = Bench::new(Confirm::None, 10_000_000);
    b.durable();
    let sdp = b.answer(Side::User, &[Codec::Pcmu]);
    b.leg(Side::User, LegEvent::Progress { status: 183, early: 0, sdp });
    b.said();
    b.leg(Side::User, LegEvent::Answered { early: Some(0), sdp: None });
    assert_eq!(b.said(), ["commit Barrier"], "the destination is to be rung");
}

#[test]
fn a_destination_that_rings_may_move_its_early_media() {
    let mut b = Bench::new(Confirm::None, 10_000_000);
    b.durable();
    b.answers(Side::User);
    b.durable();
    b.said();
    let sdp = b.answer(Side::Destination, &[Codec::Pcmu]);
    b.leg(Side::Destination, LegEvent::Progress { status: 183, early: 0, sdp: sdp.clone() });
    assert_eq!(b.said(), ["A hears Peer"]);
    let mut moved = sdp.unwrap();
    moved.media[0].port += 2;
    b.leg(Side::Destination, LegEvent::Offer { early: Some(0), sdp: Some(moved.clone()) });
    assert_eq!(b.said(), ["B answer SendRecv", "A hears Peer"]);
    b.leg(Side::Destination, LegEvent::Answered { early: Some(0), sdp: None });
    let remote = b.call.party(Side::Destination).agreed.as_ref().and_then(|agreed| agreed.remote);
    assert_eq!(remote.map(|remote| remote.port()), Some(moved.media[0].port));
}

/// Or it would be durable without the news of it.
#[test]
fn nothing_else_is_committed_while_the_answer_is() {
    for lost in [false, true] {
        let mut b = Bench::new(Confirm::None, 10_000_000);
        b.durable();
        b.answers(Side::User);
        b.durable();
        b.answers(Side::Destination);
        b.leg(Side::Destination, LegEvent::Stray { known: 1 });
        b.leg(Side::User, LegEvent::Stray { known: 1 });
        assert_eq!(b.commits.len(), 1, "the answer alone");
        b.said();
        if lost {
            b.fails_to_commit();
            b.closed();
            assert_eq!(b.call.record().end_reason, Some(EndReason::StoreUnavailable));
            continue;
        }
        b.durable();
        let said = b.said();
        assert_eq!(said.iter().filter(|s| s.starts_with("commit TakeDown")).count(), 2, "{said:?}");
    }
}

#[test]
fn nothing_else_is_committed_while_a_leg_is_being_permitted() {
    let mut b = Bench::new(Confirm::None, 10_000_000);
    b.durable();
    b.answers(Side::User);
    b.leg(Side::User, LegEvent::Stray { known: 1 });
    assert_eq!(b.commits.len(), 1, "the permit alone: with it the snapshot has the destination's leg");
    b.durable();
    assert!(b.said().iter().any(|s| s.starts_with("commit TakeDown")));
}

#[test]
fn whatever_ends_it_each_leg_is_ended_once_and_settled_once() {
    type End = (&'static str, fn(&mut Bench), EndReason);
    let ends: [End; 6] = [
        ("api", |b| b.hear(CallEvent::Hangup), EndReason::ApiHangup),
        ("drain", |b| b.hear(CallEvent::Drain), EndReason::Drained),
        ("silent", |b| b.hear(CallEvent::Media(Side::User, MediaEvent::Silent)), EndReason::MediaTimeout),
        ("lost", |b| b.leg(Side::User, LegEvent::Lost(Loss::Dialog)), EndReason::LegLost),
        ("guard", |b| b.leg(Side::Destination, LegEvent::Lost(Loss::MaskingGuard)), EndReason::MaskingGuard),
        ("long", |b| b.at(Duration::from_secs(3601)), EndReason::MaxDuration),
    ];
    for (name, end, reason) in ends {
        let mut b = Bench::bridged(1_000_000_000);
        end(&mut b);
        b.leg(Side::User, LegEvent::Hangup(Cause::NORMAL_CLEARING));
        b.hear(CallEvent::Hangup);
        b.finish();
        let said = b.said();
        assert_eq!(b.record().end_reason, Some(reason), "{name}");
        assert!(said.iter().filter(|s| *s == "A end").count() <= 1, "{name}");
        assert!(said.iter().filter(|s| *s == "B end").count() <= 1, "{name}");
        assert_eq!(b.facts.iter().filter(|f| **f == FactKind::CallCompleted).count(), 1, "{name}");
        assert_eq!(b.account.legs_in_use(), 0, "{name}");
    }
}

#[test]
fn a_stray_answer_is_durable_before_it_is_taken_down() {
    let mut b = Bench::bridged(10_000_000);
    b.leg(Side::Destination, LegEvent::Stray { known: 1 });
    b.leg(Side::Destination, LegEvent::Stray { known: 1 });
    assert_eq!(b.said(), ["commit TakeDown(Destination)"], "once, however often its phone repeats it");
    b.fails_to_commit();
    assert!(b.said().is_empty(), "not durable: left alone until it is repeated");
    b.leg(Side::Destination, LegEvent::Stray { known: 1 });
    b.durable();
    assert_eq!(b.said(), ["commit TakeDown(Destination)", "B take down 1"]);
}

/// Each commit of a whole call, taken up as if the process had ended right after it.
#[test]
fn every_snapshot_can_be_taken_up_and_ends_both_legs() {
    let mut b = Bench::new(Confirm::Press1, 10_000_000);
    let mut snapshots = Vec::new();
    let mut keep = |b: &mut Bench| {
        let commit = &b.commits[0].1;
        snapshots.push((commit.snapshot.clone().unwrap(), commit.record.clone()));
        b.durable();
    };
    keep(&mut b);
    b.answers(Side::User);
    keep(&mut b);
    b.hear(CallEvent::Media(Side::User, MediaEvent::Digit('1')));
    keep(&mut b);
    b.answers(Side::Destination);
    keep(&mut b);
    b.hear(CallEvent::Hangup);
    b.closed();
    keep(&mut b);

    let expected = [
        (vec!["A end", "commit Settle"], EndReason::ServerRestart, Status::Failed),
        (vec!["A end", "commit Settle"], EndReason::ServerRestart, Status::Failed),
        (vec!["A end", "B end", "commit Settle"], EndReason::ServerRestart, Status::Failed),
        (vec!["A end", "B end", "commit Settle"], EndReason::ServerRestart, Status::Completed),
        (vec!["A end", "B end"], EndReason::ApiHangup, Status::Completed),
    ];
    assert_eq!(snapshots.len(), expected.len());
    for ((snapshot, record), (said, reason, status)) in snapshots.into_iter().zip(expected) {
        let mut out = Vec::new();
        let snapshot = serde_json::from_slice(&snapshot).unwrap();
        b.now = Timestamp::from_millis(60_000);
        b.call = Call::restore(b.now, Timestamp::from_millis(1_500), snapshot, record, &mut out);
        b.said();
        b.commits.clear();
        b.take(out);
        let mut heard = b.said();
        heard.retain(|s| !s.contains("take down"));
        assert_eq!(heard, said);
        assert_eq!((b.record().end_reason, b.record().status), (Some(reason), status));
    }
}
