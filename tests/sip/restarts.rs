//! A process that dies, and the next that takes its legs up. Nothing may ring anew, and no peer may be
//! left up.

use revbridge::config::Trunk;
use revbridge::leg::{LegCommand, LegEvent};

use crate::peer::*;

/// Of one INVITE at most: no challenge, and no session that could be too short.
fn plain() -> World {
    World::with(Trunk { session_expires: None, ..trunk("192.0.2.7:5070") })
}

#[test]
fn an_invite_that_may_have_left_is_cancelled_and_not_sent() {
    let mut w = plain();
    let snapshot = w.snapshot();
    let invite = w.invite();
    w.restart(snapshot);
    let permit = permit(w.leg, w.now);
    w.command(LegCommand::Invite { permit, offer: session(1) });
    w.silent();
    w.end();
    let cancel = w.sent("CANCEL ");
    assert_eq!(header(&cancel, "Via"), header(&invite, "Via"));
    for name in ["From", "To", "Call-ID"] {
        assert_eq!(header(&cancel, name), header(&invite, name));
    }
    assert_eq!(request_uri(&cancel), request_uri(&invite));
    w.receive(&answer(&cancel, 200, "x", ""));
    w.receive(&answer(&invite, 487, "x", ""));
    w.sent("ACK ");
    assert_eq!(w.event(), LegEvent::Gone);
}

#[test]
fn an_invite_that_never_left_is_gone_with_481() {
    let mut w = plain();
    w.restart(w.snapshot());
    w.end();
    let cancel = w.sent("CANCEL ");
    w.receive(&answer(&cancel, 481, "x", ""));
    assert_eq!(w.event(), LegEvent::Gone);
    w.pass(40 * SECOND);
    w.silent();
}

/// Challenges make further INVITEs, and so does a peer that wants a longer session (422).
#[test]
fn every_invite_that_may_have_been_made_is_cancelled() {
    let mut w = World::with(Trunk { credentials: Some(credentials()), ..trunk("192.0.2.7:5070") });
    w.restart(w.snapshot());
    w.end();
    for cseq in ["1 CANCEL", "2 CANCEL", "3 CANCEL", "4 CANCEL"] {
        let cancel = w.sent("CANCEL ");
        assert_eq!(header(&cancel, "CSeq"), cseq);
        w.receive(&answer(&cancel, 481, "x", ""));
    }
    assert_eq!(w.event(), LegEvent::Gone);
}

#[test]
fn an_answer_to_the_lost_invite_is_taken_down_whenever_it_comes() {
    for (ended, wait) in [(true, 0), (true, 33), (false, 0)] {
        let mut w = World::new();
        let snapshot = w.snapshot();
        let invite = w.invite();
        w.restart(snapshot);
        if ended {
            w.end();
        }
        w.pass(wait * SECOND);
        w.overlook();
        let ok = answer(&invite, 200, "late", &with_sdp("Contact: <sip:bob@198.51.100.9>\r\n"));
        w.receive(&ok);
        if !ended {
            assert!(matches!(w.event(), LegEvent::Answered { .. }));
            w.end();
        }
        w.sent("ACK ");
        let bye = w.sent("BYE ");
        assert_eq!(header(&bye, "CSeq"), "101 BYE");
        w.receive(&answer(&bye, 200, "", ""));
        w.pass(40 * SECOND);
        assert_eq!(w.event(), LegEvent::Gone);
        w.no_event();
    }
}

#[test]
fn a_ringing_leg_is_cancelled() {
    let mut w = plain();
    let invite = w.invite();
    w.receive(&answer(&invite, 180, "peer", ""));
    w.restart(w.snapshot());
    w.end();
    w.sent("CANCEL ");
    w.silent();
    w.receive(&answer(&invite, 487, "peer", ""));
    w.sent("ACK ");
}

#[test]
fn an_answered_leg_gets_its_ack_and_bye() {
    let mut w = World::new();
    let invite = w.invite();
    let ok = answer(&invite, 200, "peer", &with_sdp("Contact: <sip:bob@198.51.100.9>\r\n"));
    w.receive(&ok);
    w.restart(w.snapshot());
    w.receive(&ok);
    w.silent();
    w.end();
    assert_eq!(request_uri(&w.sent("ACK ")), "sip:bob@198.51.100.9");
    w.sent("BYE ");
}

#[test]
fn a_confirmed_leg_goes_on_and_ends_beyond_its_cseq_block() {
    let mut w = World::new();
    let invite = w.confirmed();
    w.receive(&ask(&invite, "OPTIONS", 5, "peer", ""));
    w.restart(w.snapshot());
    w.receive(&ask(&invite, "OPTIONS", 4, "peer", ""));
    w.sent("SIP/2.0 500 ");
    w.receive(&ask(&invite, "INFO", 6, "peer", ""));
    w.sent("SIP/2.0 200 ");
    // The peer did not get our ACK.
    w.receive(&answer(&invite, 200, "peer", ""));
    w.sent("ACK ");
    w.end();
    let bye = w.sent("BYE ");
    assert_eq!(header(&bye, "CSeq"), "102 BYE");
    w.receive(&answer(&bye, 200, "", ""));
    assert_eq!(w.event(), LegEvent::Gone);
}

#[test]
fn an_end_that_was_under_way_is_done_again() {
    let mut w = World::new();
    w.confirmed();
    w.end();
    w.sent("BYE ");
    w.restart(w.snapshot());
    w.end();
    let bye = w.sent("BYE ");
    w.receive(&answer(&bye, 481, "", ""));
    assert_eq!(w.event(), LegEvent::Gone);
}
