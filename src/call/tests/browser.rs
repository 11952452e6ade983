//! Leg A is a browser.

use super::*;
use crate::media::{BrowserOffer, OfferError, Quality};
use crate::model::TokenDigest;

const TTL: Duration = Duration::from_secs(120);
const GRACE: Duration = Duration::from_secs(30);

/// Of the page whose certificate begins with these digits.
fn offer(certificate: &str, codecs: &str) -> Box<BrowserOffer> {
    let text = format!(
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF {codecs}\r\n\
         c=IN IP4 0.0.0.0\r\na=ice-ufrag:Hx4T\r\na=ice-pwd:fC0bEJpR7yqjEsRMkGpP3uoS\r\n\
         a=fingerprint:sha-256 {certificate}{}\r\na=setup:actpass\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\n\
         a=rtpmap:126 telephone-event/8000\r\n",
        ":00".repeat(31)
    );
    Box::new(BrowserOffer::parse(&text).unwrap())
}

fn plan_of(path: Path) -> Plan {
    let expires_at = Timestamp::from_millis(1_000) + TTL;
    let connect = BrowserPlan { path, token: TokenDigest([1; 32]), expires_at, grace: GRACE };
    let mut plan = plan(Confirm::None);
    plan.connect = Connect::Browser(connect);
    plan.user_leg.port = None;
    plan
}

impl Bench {
    fn browser(path: Path) -> Self {
        let mut bench = Self::start(plan_of(path), 10_000_000);
        bench.durable();
        bench.said();
        bench
    }

    fn wants(&mut self, wish: BrowserWish) {
        self.hear(CallEvent::Browser(wish));
    }

    fn comes(&mut self) {
        let returning = TokenDigest([2; 32]);
        self.wants(BrowserWish::Connect { offer: offer("AA", "0 8 126"), returning });
    }

    fn comes_back(&mut self, certificate: &str, codecs: &str) {
        self.wants(BrowserWish::Reconnect { offer: offer(certificate, codecs) });
    }

    fn audio(&mut self, event: MediaEvent) {
        self.hear(CallEvent::Media(Side::User, event));
    }

    fn answers_offer(&mut self) {
        self.audio(MediaEvent::BrowserAnswer("sdp".into()));
    }

    fn connected(path: Path) -> Self {
        let mut bench = Self::browser(path);
        bench.comes();
        bench.answers_offer();
        bench.durable();
        bench
    }

    /// On the call with the destination.
    fn talking() -> Self {
        let mut bench = Self::connected(Path::Join);
        bench.audio(MediaEvent::BrowserUp);
        bench.durable();
        bench.answers(Side::Destination);
        bench.durable();
        bench.said();
        bench
    }

    fn ended(&self) -> (Status, Option<EndReason>, Option<EndedBy>) {
        let record = self.record();
        (record.status, record.end_reason, record.ended_by)
    }
}

#[test]
fn a_browser_that_dials_is_awaited_heard_and_then_the_destination_is_rung() {
    let mut b = Bench::start(plan_of(Path::Browser), 10_000_000);
    assert_eq!(b.said(), ["commit Barrier"]);
    b.durable();
    assert_eq!(b.said(), ["reply true"], "nobody is rung");
    assert_eq!((b.record().status, b.record().started_at), (Status::Queued, None));
    assert_eq!(b.account.legs_in_use(), 2);
    b.comes();
    assert_eq!(b.said(), ["A connect"]);
    b.answers_offer();
    assert_eq!(b.said(), ["commit Barrier"], "the answer waits for the token's use to be durable");
    b.durable();
    assert_eq!(b.said(), ["offered Answer(\"sdp\")", "told Connecting"]);
    b.audio(MediaEvent::BrowserUp);
    assert_eq!(b.said(), ["told peer true", "told Ready"], "it has not dialled");
    b.wants(BrowserWish::Dial);
    assert_eq!(b.said(), ["commit Barrier"]);
    b.wants(BrowserWish::Dial);
    assert_eq!(b.said(), Vec::<String>::new(), "once");
    b.durable();
    assert_eq!(b.said(), ["A hears Ringback(NorthAmerica)", "B invite +…23 3", "told Ringing"]);
    let sdp = b.answer(Side::Destination, &[Codec::Pcmu]);
    b.leg(Side::Destination, LegEvent::Progress { status: 183, early: 1, sdp });
    assert_eq!(b.said(), ["A hears Peer", "told EarlyMedia"]);
    b.answers(Side::Destination);
    b.durable();
    assert_eq!(b.said(), ["commit Barrier", "B ack", "A hears Peer", "B hears Peer", "told Answered"]);
    b.audio(MediaEvent::Quality(Quality::default()));
    assert_eq!(b.said(), ["told quality"]);
    b.now = b.now + Duration::from_secs(10);
    b.wants(BrowserWish::Hangup);
    assert_eq!(b.said(), ["A close", "B end", "B close"], "a browser has no dialog to end");
    b.closed();
    b.durable();
    assert_eq!(b.said(), ["commit Settle", "told Hangup by User: Completed"]);
    let record = b.record();
    assert_eq!((record.path, record.credential_type, record.connect_number), {
        (Path::Browser, crate::model::CredentialType::WebrtcToken, None)
    });
    let used = b.account.day_use(record.day);
    assert_eq!((used.spent, used.reserved), (PRICE.first_period(), Money::ZERO), "one leg costs, the browser nothing");
    assert_eq!(b.facts, [FactKind::NewCall, FactKind::CallAnswered, FactKind::CallCompleted]);
}

#[test]
fn a_browser_that_joins_needs_no_word() {
    let mut b = Bench::connected(Path::Join);
    b.said();
    b.audio(MediaEvent::BrowserUp);
    assert_eq!(b.said(), ["told peer true", "told Ready", "commit Barrier"]);
    b.durable();
    assert!(b.said().contains(&"B invite +…23 3".to_owned()));
}

#[test]
fn dial_before_the_audio_path_stands_waits_for_it() {
    let mut b = Bench::connected(Path::Browser);
    b.wants(BrowserWish::Dial);
    assert!(b.commits.is_empty());
    b.audio(MediaEvent::BrowserUp);
    assert_eq!(b.commits.len(), 1);
}

#[test]
fn the_destination_is_offered_only_the_browsers_codecs() {
    let mut b = Bench::browser(Path::Join);
    b.wants(BrowserWish::Connect { offer: offer("AA", "8"), returning: TokenDigest([2; 32]) });
    b.answers_offer();
    b.durable();
    b.audio(MediaEvent::BrowserUp);
    b.durable();
    let offered = b.call.destination.offered.as_ref().unwrap();
    assert_eq!(offered.media[0].formats.iter().map(|f| f.codec).collect::<Vec<_>>(), [Codec::Pcma]);
}

#[test]
fn an_unused_token_frees_what_it_held_and_leaves_a_record() {
    for path in [Path::Browser, Path::Join] {
        let mut b = Bench::browser(path);
        b.at(TTL);
        assert_eq!(b.said(), ["commit Settle", "told TokenExpired by Timeout: Canceled"]);
        assert_eq!(b.ended(), (Status::Canceled, Some(EndReason::TokenExpired), Some(EndedBy::Timeout)));
        assert_eq!((b.account.legs_in_use(), b.account.day_use(b.record().day).reserved), (0, Money::ZERO));
        b.comes();
        assert_eq!(b.said(), ["offered Over"]);
    }
}

#[test]
fn who_has_connected_and_never_dials_is_ended_with_the_token() {
    let mut b = Bench::connected(Path::Browser);
    b.audio(MediaEvent::BrowserUp);
    b.at(TTL);
    b.finish();
    assert_eq!(b.ended().1, Some(EndReason::TokenExpired));
    assert!(!b.said().iter().any(|s| s.starts_with("B invite")));
}

#[test]
fn an_offer_that_the_media_cannot_answer_costs_no_token() {
    let mut b = Bench::browser(Path::Browser);
    b.comes();
    b.audio(MediaEvent::BrowserRefused(OfferError::Unavailable));
    assert_eq!(b.said(), ["A connect", "offered Refused(Unavailable)"]);
    assert!(b.commits.is_empty());
    b.comes();
    b.answers_offer();
    b.durable();
    assert!(b.said().contains(&"offered Answer(\"sdp\")".to_owned()));
    b.comes();
    assert_eq!(b.said(), ["offered Spent"], "and once it is used it is used");
}

#[test]
fn a_use_that_is_not_durable_is_undone_and_can_be_tried_again() {
    let mut b = Bench::browser(Path::Browser);
    b.comes();
    b.answers_offer();
    b.said();
    b.fails_to_commit();
    assert_eq!(b.said(), ["offered Unavailable", "A close"]);
    b.comes();
    assert_eq!(b.said(), ["offered Busy"], "the first attempt is not undone yet");
    b.closed();
    b.comes();
    b.answers_offer();
    b.durable();
    assert_eq!(b.said(), ["A connect", "commit Barrier", "offered Answer(\"sdp\")", "told Connecting"]);
}

#[test]
fn a_token_that_was_used_elsewhere_lets_nobody_in() {
    let mut b = Bench::browser(Path::Browser);
    b.comes();
    b.answers_offer();
    b.said();
    let (kind, _) = b.commits.pop_front().unwrap();
    b.hear(CallEvent::Committed(kind, Committed::Spent));
    assert_eq!(b.said(), ["offered Spent", "A close"]);
}

#[test]
fn a_browser_that_is_lost_has_its_time_to_come_back() {
    let mut b = Bench::talking();
    b.now = b.now + Duration::from_secs(5);
    b.audio(MediaEvent::BrowserDown);
    b.audio(MediaEvent::Silent);
    b.audio(MediaEvent::BrowserDown);
    assert_eq!(b.said(), ["told peer false"], "the destination waits");
    let lost = b.now;
    b.now = lost + Duration::from_secs(29);
    b.comes_back("BB", "0 8 126");
    b.answers_offer();
    assert_eq!(b.said(), ["A connect", "offered Answer(\"sdp\")"]);
    b.audio(MediaEvent::BrowserUp);
    assert_eq!(b.said(), ["told peer true"], "and nobody is rung again");
    b.at(Duration::from_secs(50));
    assert!(b.record().end_reason.is_none());

    b.audio(MediaEvent::BrowserDown);
    b.at(Duration::from_secs(50) + GRACE);
    b.finish();
    assert_eq!(b.ended(), (Status::Completed, Some(EndReason::BrowserGone), Some(EndedBy::Timeout)));
    assert!(b.said().contains(&"B end".to_owned()));
}

#[test]
fn an_answered_offer_gives_a_lost_browser_the_whole_time_again_and_no_more() {
    let mut b = Bench::talking();
    b.audio(MediaEvent::BrowserDown);
    b.at(Duration::from_secs(20));
    b.comes_back("AA", "0 8 126");
    b.answers_offer();
    b.at(Duration::from_secs(49));
    assert!(b.record().end_reason.is_none());
    b.at(Duration::from_secs(50));
    b.finish();
    assert_eq!(b.ended().1, Some(EndReason::BrowserGone));
}

#[test]
fn an_ice_restart_of_a_browser_that_is_there_starts_no_clock_and_a_reload_does() {
    let mut b = Bench::talking();
    b.comes_back("AA", "0 8 126");
    b.answers_offer();
    assert_eq!(b.said(), ["A connect", "offered Answer(\"sdp\")"]);
    b.at(Duration::from_secs(40));
    assert!(b.record().end_reason.is_none());
    b.comes_back("CC", "0 8 126");
    b.answers_offer();
    assert_eq!(b.said().last().unwrap(), "offered Answer(\"sdp\")");
    b.at(Duration::from_secs(71));
    b.finish();
    assert_eq!(b.ended().1, Some(EndReason::BrowserGone));
}

#[test]
fn who_comes_back_must_speak_what_the_destination_settled_on() {
    let mut b = Bench::connected(Path::Join);
    b.audio(MediaEvent::BrowserUp);
    b.durable();
    b.said();
    b.comes_back("BB", "8");
    assert_eq!(b.said(), ["offered Refused(NoCommonCodec)"], "it rings, and may take the other one");
    let sdp = b.answer(Side::Destination, &[Codec::Pcma]);
    b.leg(Side::Destination, LegEvent::Answered { early: None, sdp });
    b.durable();
    b.said();
    b.comes_back("BB", "0 126");
    assert_eq!(b.said(), ["offered Refused(NoCommonCodec)"]);
    b.comes_back("BB", "8");
    assert_eq!(b.said(), ["A connect"]);
    b.comes_back("CC", "8");
    assert_eq!(b.said(), ["offered Busy"]);
    b.audio(MediaEvent::BrowserRefused(OfferError::Unavailable));
    assert_eq!(b.said(), ["offered Refused(Unavailable)"]);
    assert!(b.call.user.media_open, "the earlier browser lives on");
}

#[test]
fn a_browser_that_never_comes_to_be_heard_is_given_up() {
    let mut b = Bench::connected(Path::Join);
    b.at(GRACE);
    b.finish();
    assert_eq!(b.ended(), (Status::Canceled, Some(EndReason::BrowserGone), Some(EndedBy::Timeout)));
    assert!(!b.said().iter().any(|s| s.starts_with("B invite")));
}

#[test]
fn a_limit_lowered_after_the_issue_holds_before_the_invite() {
    let mut b = Bench::connected(Path::Join);
    b.account.rules.limits.daily_spend_limit = Money::ZERO;
    b.audio(MediaEvent::BrowserUp);
    b.said();
    b.durable();
    assert_eq!(b.said(), ["A hears Reorder(NorthAmerica)"]);
    b.at(Duration::from_secs(4));
    b.finish();
    assert_eq!(b.ended(), (Status::Rejected, Some(EndReason::SpendLimitExceeded), Some(EndedBy::Guardrail)));
}

#[test]
fn what_ends_the_call_while_an_offer_waits_is_told_to_who_offered() {
    for committing in [false, true] {
        let mut b = Bench::browser(Path::Browser);
        b.comes();
        if committing {
            b.answers_offer();
        }
        b.hear(CallEvent::Hangup);
        b.said();
        if committing {
            b.durable();
            assert_eq!(b.said(), ["A close", "offered Over"]);
        } else {
            b.answers_offer();
        }
        b.finish();
        assert_eq!(b.ended().1, Some(EndReason::ApiHangup));
        assert_eq!(b.account.legs_in_use(), 0);
    }
}

/// Each commit of a whole call, taken up as if the process had ended right after it.
#[test]
fn every_snapshot_can_be_taken_up_and_ends_what_there_was() {
    let mut b = Bench::start(plan_of(Path::Browser), 10_000_000);
    let mut snapshots = Vec::new();
    let mut keep = |b: &mut Bench| {
        let commit = &b.commits[0].1;
        snapshots.push((commit.snapshot.clone().unwrap(), commit.record.clone()));
        b.durable();
    };
    keep(&mut b);
    b.comes();
    b.answers_offer();
    keep(&mut b);
    b.audio(MediaEvent::BrowserUp);
    b.wants(BrowserWish::Dial);
    keep(&mut b);
    b.answers(Side::Destination);
    keep(&mut b);
    let expected = [
        (vec!["commit Settle"], Status::Failed),
        (vec!["commit Settle"], Status::Failed),
        (vec!["B end", "commit Settle"], Status::Failed),
        (vec!["B end", "commit Settle"], Status::Completed),
    ];
    for (number, ((snapshot, record), (said, status))) in snapshots.into_iter().zip(expected).enumerate() {
        for late in [false, true] {
            b.now = Timestamp::from_millis(1_500) + if late { TTL } else { Duration::ZERO };
            let mut out = Vec::new();
            let snapshot = serde_json::from_slice(&snapshot).unwrap();
            b.call = Call::restore(b.now, Timestamp::from_millis(1_500), snapshot, record.clone(), &mut out);
            b.said();
            b.commits.clear();
            b.take(out);
            let mut heard = b.said();
            heard.retain(|s| !s.contains("take down"));
            assert_eq!(heard, said);
            let expired = number == 0 && late;
            let (status, reason) = match expired {
                true => (Status::Canceled, EndReason::TokenExpired),
                false => (status, EndReason::ServerRestart),
            };
            assert_eq!((b.record().status, b.record().end_reason), (status, Some(reason)), "{number}");
        }
    }
}
