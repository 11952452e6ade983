//! re-INVITE and UPDATE from the peer (RFC 3261 §14.2, RFC 3311).

use revbridge::leg::{LegCommand, LegEvent, Loss};

use crate::peer::*;

fn ack(invite: &str, cseq: u32, rest: &str) -> String {
    ask(invite, "ACK", cseq, "peer", rest)
}

#[test]
fn an_offer_is_answered_until_its_ack() {
    let mut w = World::new();
    let invite = w.confirmed();
    let reinvite = ask(&invite, "INVITE", 1, "peer", &with_sdp("Contact: <sip:moved@198.51.100.10>\r\n"));
    w.receive(&reinvite);
    assert!(matches!(w.event(), LegEvent::Offer { early: None, sdp: Some(_) }));
    w.silent();
    w.command(LegCommand::Answer(session(2)));
    let ok = w.sent("SIP/2.0 200 ");
    assert!(ok.contains("o=- 7 2 IN IP4 192.0.2.1"));
    assert!(has(&ok, "Contact"));
    // Our 200 was lost: it is sent again by us, whatever the peer repeats.
    w.receive(&reinvite);
    w.silent();
    w.pass(500 * MS);
    assert_eq!(w.sent("SIP/2.0 200 "), ok);
    w.receive(&ack(&invite, 1, ""));
    w.pass(60 * SECOND);
    w.silent();
    w.no_event();
    // A target refresh.
    w.end();
    assert_eq!(request_uri(&w.sent("BYE ")), "sip:moved@198.51.100.10");
}

#[test]
fn an_answer_that_is_never_acknowledged_ends_the_leg() {
    let mut w = World::new();
    let invite = w.confirmed();
    w.receive(&ask(&invite, "INVITE", 1, "peer", &with_sdp("")));
    w.event();
    w.command(LegCommand::Answer(session(2)));
    w.pass(31_999 * MS);
    w.no_event();
    assert_eq!(w.wire.len(), 11);
    w.overlook();
    w.pass(MS);
    assert_eq!(w.event(), LegEvent::Lost(Loss::NoAck));
    w.sent("BYE ");
}

#[test]
fn a_refused_offer_is_488_until_its_ack() {
    let mut w = World::new();
    let invite = w.confirmed();
    let reinvite = ask(&invite, "INVITE", 1, "peer", &with_sdp(""));
    w.receive(&reinvite);
    w.event();
    w.command(LegCommand::RefuseOffer);
    let refusal = w.sent("SIP/2.0 488 ");
    w.receive(&reinvite);
    assert_eq!(w.sent("SIP/2.0 488 "), refusal);
    w.receive(&ack(&invite, 1, "").replace("peer1ACK", "peer1INVITE"));
    w.pass(60 * SECOND);
    w.silent();
    w.no_event();
}

#[test]
fn without_an_offer_ours_goes_in_the_200_and_the_answer_comes_in_the_ack() {
    let mut w = World::new();
    let invite = w.confirmed();
    w.receive(&ask(&invite, "INVITE", 1, "peer", ""));
    assert_eq!(w.event(), LegEvent::Offer { early: None, sdp: None });
    w.command(LegCommand::Answer(session(2)));
    assert!(w.sent("SIP/2.0 200 ").contains("m=audio"));
    w.receive(&ack(&invite, 1, &with_sdp("")));
    assert!(matches!(w.event(), LegEvent::LateAnswer(_)));
}

#[test]
fn an_update_is_answered_once() {
    let mut w = World::new();
    let invite = w.confirmed();
    w.receive(&ask(&invite, "UPDATE", 1, "peer", ""));
    w.sent("SIP/2.0 200 ");
    w.no_event();
    let update = ask(&invite, "UPDATE", 2, "peer", &with_sdp(""));
    w.receive(&update);
    assert!(matches!(w.event(), LegEvent::Offer { early: None, sdp: Some(_) }));
    w.command(LegCommand::Answer(session(2)));
    let ok = w.sent("SIP/2.0 200 ");
    w.receive(&update);
    assert_eq!(w.sent("SIP/2.0 200 "), ok);
    w.pass(60 * SECOND);
    w.silent();
    w.no_event();
}

#[test]
fn glare_and_overlap() {
    let mut w = World::new();
    let invite = w.invite();
    w.receive(&answer(&invite, 200, "peer", &with_sdp("")));
    w.event();
    // Our own INVITE is not acknowledged yet.
    w.receive(&ask(&invite, "INVITE", 1, "peer", &with_sdp("")));
    w.sent("SIP/2.0 491 ");
    w.command(LegCommand::Ack);
    w.sent("ACK ");
    w.receive(&ack(&invite, 1, "").replace("peer1ACK", "peer1INVITE"));
    // The first has no final response yet.
    w.receive(&ask(&invite, "INVITE", 2, "peer", &with_sdp("")));
    w.event();
    w.receive(&ask(&invite, "INVITE", 3, "peer", &with_sdp("")));
    assert!(has(&w.sent("SIP/2.0 500 "), "Retry-After"));
    w.no_event();
    w.command(LegCommand::Answer(session(2)));
    assert_eq!(header(&w.sent("SIP/2.0 200 "), "CSeq"), "2 INVITE");
    // The answer to the second is not acknowledged yet.
    w.receive(&ask(&invite, "UPDATE", 4, "peer", &with_sdp("")));
    w.sent("SIP/2.0 491 ");
    w.no_event();
}

#[test]
fn a_call_that_thinks_for_long_has_100_sent_and_may_be_cancelled() {
    let mut w = World::new();
    let invite = w.confirmed();
    let reinvite = ask(&invite, "INVITE", 1, "peer", &with_sdp(""));
    w.receive(&reinvite);
    w.event();
    w.pass(200 * MS);
    w.sent("SIP/2.0 100 ");
    w.receive(&ask(&invite, "CANCEL", 1, "peer", "").replace("peer1CANCEL", "peer1INVITE"));
    w.sent("SIP/2.0 200 ");
    w.sent("SIP/2.0 487 ");
    w.command(LegCommand::Answer(session(2)));
    w.silent();
    w.receive(&ask(&invite, "CANCEL", 9, "peer", ""));
    w.sent("SIP/2.0 481 ");
}

#[test]
fn an_end_answers_what_is_open() {
    let mut w = World::new();
    let invite = w.confirmed();
    w.receive(&ask(&invite, "INVITE", 1, "peer", &with_sdp("")));
    w.event();
    w.end();
    w.sent("SIP/2.0 487 ");
    w.sent("BYE ");
}
