//! From the INVITE to the end (RFC 3261 §13, §9, §15).

use revbridge::leg::{Cause, LegCommand, LegEvent};

use crate::peer::*;

#[test]
fn a_call_is_rung_answered_acknowledged_and_ended() {
    let mut w = World::new();
    let invite = w.invite();
    assert_eq!(request_uri(&invite), "sip:+14155550123@192.0.2.7:5070;user=phone");
    assert!(header(&invite, "From").starts_with("<sip:+12025550100@192.0.2.1>;tag="));
    assert_eq!(header(&invite, "To"), "<sip:+14155550123@192.0.2.7:5070;user=phone>");
    assert_eq!(header(&invite, "Contact"), "<sip:+12025550100@192.0.2.1:5060>");
    assert_eq!(header(&invite, "Max-Forwards"), "70");
    assert!(!has(&invite, "P-Asserted-Identity"));
    w.receive(&answer(&invite, 100, "", ""));
    w.no_event();
    w.receive(&answer(&invite, 180, "peer", ""));
    assert_eq!(w.event(), LegEvent::Progress { status: 180, early: 0, sdp: None });
    let ok = answer(&invite, 200, "peer", &with_sdp("Contact: <sip:bob@198.51.100.9:5090>\r\n"));
    w.receive(&ok);
    assert!(matches!(w.event(), LegEvent::Answered { sdp: Some(_), .. }));
    w.receive(&ok);
    w.silent();
    w.command(LegCommand::Ack);
    let ack = w.sent("ACK ");
    assert_eq!(request_uri(&ack), "sip:bob@198.51.100.9:5090");
    assert_eq!(header(&ack, "CSeq"), "1 ACK");
    assert_ne!(branch(&ack), branch(&invite));
    w.receive(&ok);
    assert_eq!(w.sent("ACK "), ack);
    w.no_event();

    w.end();
    let bye = w.sent("BYE ");
    assert_eq!(header(&bye, "CSeq"), "2 BYE");
    assert_eq!(header(&bye, "Reason"), "Q.850;cause=16");
    w.no_event();
    w.receive(&answer(&bye, 200, "", ""));
    assert_eq!(w.event(), LegEvent::Gone);
    w.pass(40 * SECOND);
    w.silent();
    w.no_event();
}

#[test]
fn the_peer_hangs_up() {
    let mut w = World::new();
    let invite = w.confirmed();
    let bye = ask(&invite, "BYE", 1, "peer", "Reason: SIP;cause=200, Q.850;cause=17;text=\"x\"\r\n");
    w.receive(&bye);
    assert!(w.sent("SIP/2.0 200 ").contains("CSeq: 1 BYE\r\n"));
    assert_eq!(w.event(), LegEvent::Hangup(Cause::USER_BUSY));
    w.receive(&bye);
    w.sent("SIP/2.0 200 ");
    w.no_event();
    w.end();
    w.silent();
    assert_eq!(w.event(), LegEvent::Gone);
}

#[test]
fn a_cancel_waits_for_a_provisional_response() {
    let mut w = World::new();
    let invite = w.invite();
    w.end();
    w.silent();
    w.receive(&answer(&invite, 100, "", ""));
    let cancel = w.sent("CANCEL ");
    assert_eq!(header(&cancel, "CSeq"), "1 CANCEL");
    assert_eq!(header(&cancel, "Via"), header(&invite, "Via"));
    w.receive(&answer(&cancel, 200, "peer", ""));
    w.no_event();
    w.receive(&answer(&invite, 487, "peer", ""));
    let ack = w.sent("ACK ");
    assert_eq!(branch(&ack), branch(&invite));
    assert_eq!(w.event(), LegEvent::Gone);
}

#[test]
fn an_answer_that_crosses_the_cancel_is_acknowledged_and_ended() {
    let mut w = World::new();
    let invite = w.invite();
    w.receive(&answer(&invite, 180, "peer", ""));
    w.event();
    w.end();
    let cancel = w.sent("CANCEL ");
    let ok = answer(&invite, 200, "peer", &with_sdp("Contact: <sip:bob@198.51.100.9>\r\n"));
    w.receive(&ok);
    w.sent("ACK ");
    let bye = w.sent("BYE ");
    w.receive(&ok);
    w.sent("ACK ");
    w.receive(&answer(&cancel, 200, "peer", ""));
    w.no_event();
    w.receive(&answer(&bye, 200, "", ""));
    assert_eq!(w.event(), LegEvent::Gone);
    w.silent();
}
