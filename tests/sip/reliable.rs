//! Reliable provisional responses, and what a peer may ask in an early dialog (RFC 3262, RFC 3311).

use revbridge::config::Trunk;
use revbridge::leg::{LegCommand, LegEvent};

use crate::peer::*;

const CONTACT: &str = "Contact: <sip:bob@198.51.100.9:5090>\r\nRecord-Route: <sip:p1;lr>\r\n";

fn reliable(rseq: u32) -> String {
    format!("{CONTACT}Require: 100rel\r\nRSeq: {rseq}\r\n")
}

/// An INVITE that rings reliably with a description, and whose PRACK is answered.
fn described(w: &mut World) -> String {
    let invite = w.invite();
    w.receive(&answer(&invite, 183, "peer", &with_sdp(&reliable(1))));
    let prack = w.sent("PRACK ");
    w.receive(&answer(&prack, 200, "", ""));
    assert!(matches!(w.event(), LegEvent::Progress { status: 183, early: 0, sdp: Some(_) }));
    invite
}

#[test]
fn a_reliable_response_is_acknowledged_once_however_often_it_comes() {
    let mut w = World::new();
    let invite = w.invite();
    assert!(header(&invite, "Supported").contains("100rel"));
    let ringing = answer(&invite, 180, "peer", &reliable(4_711));
    w.receive(&ringing);
    let prack = w.sent("PRACK ");
    assert_eq!(request_uri(&prack), "sip:bob@198.51.100.9:5090");
    assert_eq!(header(&prack, "Route"), "<sip:p1;lr>");
    assert_eq!((header(&prack, "RAck"), header(&prack, "CSeq")), ("4711 1 INVITE", "2 PRACK"));
    assert!(header(&prack, "To").ends_with(";tag=peer"));
    w.receive(&ringing);
    w.silent();
    assert!(matches!(w.event(), LegEvent::Progress { status: 180, early: 0, sdp: None }));
    w.no_event();
    // Lost: sent again by itself, until it is answered.
    w.pass(500 * MS);
    assert_eq!(w.sent("PRACK "), prack);
    w.receive(&answer(&prack, 200, "", ""));
    w.pass(40 * SECOND);
    w.silent();
}

#[test]
fn responses_are_taken_in_their_order() {
    let mut w = World::new();
    let invite = w.invite();
    w.receive(&answer(&invite, 180, "peer", &reliable(10)));
    let first = w.sent("PRACK ");
    w.event();
    // 11 is on its way still.
    w.receive(&answer(&invite, 183, "peer", &reliable(12)));
    w.silent();
    w.no_event();
    w.receive(&answer(&invite, 182, "peer", &reliable(11)));
    assert_eq!(header(&w.sent("PRACK "), "RAck"), "11 1 INVITE");
    assert!(matches!(w.event(), LegEvent::Progress { status: 182, .. }));
    w.receive(&answer(&invite, 183, "peer", &reliable(12)));
    assert_eq!(header(&w.sent("PRACK "), "RAck"), "12 1 INVITE");
    // Another fork counts for itself, and what is not reliable does not count.
    w.event();
    w.receive(&answer(&invite, 180, "other", &reliable(900)));
    let other = w.sent("PRACK ");
    assert!(header(&other, "To").ends_with(";tag=other") && header(&first, "To").ends_with(";tag=peer"));
    assert!(matches!(w.event(), LegEvent::Progress { early: 1, .. }));
    w.receive(&answer(&invite, 181, "peer", CONTACT));
    w.silent();
    assert!(matches!(w.event(), LegEvent::Progress { status: 181, early: 0, .. }));
}

#[test]
fn a_response_without_a_number_or_a_demand_is_not_reliable() {
    let mut w = World::new();
    let invite = w.invite();
    for headers in ["Require: 100rel\r\n", "RSeq: 1\r\n", "Require: 100rel\r\nRSeq: x\r\n", "Supported: 100rel\r\n"] {
        w.receive(&answer(&invite, 180, "peer", headers));
        w.silent();
        assert!(matches!(w.event(), LegEvent::Progress { status: 180, .. }), "{headers}");
    }
}

#[test]
fn a_peer_that_does_not_wait_is_held_back() {
    let mut w = World::new();
    let invite = w.invite();
    for rseq in 1..=100 {
        w.receive(&answer(&invite, 180, "peer", &reliable(rseq)));
    }
    assert_eq!(w.wire.len(), 8);
    w.overlook();
}

#[test]
fn a_challenged_prack_is_sent_again_with_credentials() {
    let mut w = World::with(Trunk { credentials: Some(credentials()), ..trunk("192.0.2.7:5070") });
    let invite = w.invite();
    w.receive(&answer(&invite, 180, "peer", &reliable(1)));
    let prack = w.sent("PRACK ");
    let challenge =
        "WWW-Authenticate: Digest realm=\"carrier.example\", nonce=\"n1\", algorithm=SHA-256, qop=\"auth\"\r\n";
    w.receive(&answer(&prack, 401, "", challenge));
    let again = w.sent("PRACK ");
    assert!(has(&again, "Authorization"));
    assert_eq!((header(&again, "RAck"), header(&again, "CSeq")), ("1 1 INVITE", "3 PRACK"));
    w.receive(&answer(&again, 481, "", ""));
    w.silent();
    // The call is not hurt by it.
    w.event();
    w.no_event();
}

#[test]
fn the_first_reliable_description_is_the_answer() {
    let mut w = World::new();
    let invite = described(&mut w);
    w.receive(&answer(&invite, 180, "peer", &with_sdp(CONTACT)));
    assert!(matches!(w.event(), LegEvent::Progress { status: 180, sdp: None, .. }));
    w.receive(&answer(&invite, 200, "peer", &with_sdp(CONTACT)));
    assert_eq!(w.event(), LegEvent::Answered { early: Some(0), sdp: None });
    w.command(LegCommand::Ack);
    assert_eq!(header(&w.sent("ACK "), "CSeq"), "1 ACK");
    w.end();
    assert_eq!(header(&w.sent("BYE "), "CSeq"), "3 BYE");
}

#[test]
fn the_answer_of_one_fork_is_not_that_of_another() {
    let mut w = World::new();
    let invite = described(&mut w);
    w.receive(&answer(&invite, 200, "other", &with_sdp(CONTACT)));
    assert!(matches!(w.event(), LegEvent::Answered { early: None, sdp: Some(_) }));
}

#[test]
fn a_peer_that_rings_may_change_its_session_once_it_has_answered() {
    let mut w = World::new();
    let invite = w.invite();
    w.receive(&answer(&invite, 180, "peer", CONTACT));
    w.event();
    // Our offer has no answer yet (RFC 3311 §5.2); what offers nothing is welcome.
    w.receive(&ask(&invite, "UPDATE", 1, "peer", &with_sdp("")));
    w.sent("SIP/2.0 491 ");
    w.receive(&ask(&invite, "UPDATE", 2, "peer", ""));
    w.sent("SIP/2.0 200 ");
    w.receive(&answer(&invite, 183, "peer", &with_sdp(&reliable(1))));
    w.sent("PRACK ");
    w.event();
    w.receive(&ask(&invite, "UPDATE", 3, "peer", &with_sdp("Contact: <sip:moved@198.51.100.10>\r\n")));
    assert!(matches!(w.event(), LegEvent::Offer { early: Some(0), sdp: Some(_) }));
    w.command(LegCommand::Answer(session(2)));
    assert!(w.sent("SIP/2.0 200 ").contains("o=- 7 2 IN IP4 192.0.2.1"));
    // Our INVITE is under way (RFC 3261 §14.2).
    w.receive(&ask(&invite, "INVITE", 4, "peer", &with_sdp("")));
    w.sent("SIP/2.0 491 ");
    w.receive(&ask(&invite, "INVITE", 4, "peer", "").replace("INVITE sip", "ACK sip").replace("4 INVITE", "4 ACK"));
    w.receive(&ask(&invite, "OPTIONS", 5, "peer", ""));
    w.sent("SIP/2.0 200 ");
    // The dialog goes on with its numbers.
    w.receive(&answer(&invite, 200, "peer", CONTACT));
    assert_eq!(w.event(), LegEvent::Answered { early: Some(0), sdp: None });
    w.command(LegCommand::Ack);
    w.sent("ACK ");
    w.receive(&ask(&invite, "UPDATE", 5, "peer", ""));
    w.sent("SIP/2.0 500 ");
    w.receive(&ask(&invite, "UPDATE", 6, "peer", ""));
    w.sent("SIP/2.0 200 ");
}

#[test]
fn an_update_that_crosses_the_answer_is_taken() {
    let mut w = World::new();
    let invite = described(&mut w);
    w.receive(&answer(&invite, 200, "peer", CONTACT));
    w.event();
    // Its ACK waits for the disk.
    w.receive(&ask(&invite, "UPDATE", 1, "peer", &with_sdp("")));
    assert!(matches!(w.event(), LegEvent::Offer { early: None, sdp: Some(_) }));
    w.command(LegCommand::Answer(session(2)));
    w.sent("SIP/2.0 200 ");
    w.receive(&ask(&invite, "INVITE", 2, "peer", &with_sdp("")));
    w.sent("SIP/2.0 491 ");
}

#[test]
fn the_numbers_of_an_early_dialog_go_on_in_an_answer_that_nobody_wants() {
    // The call was cancelled, or another phone has answered before.
    for answered_elsewhere in [false, true] {
        let mut w = World::new();
        let invite = described(&mut w);
        w.receive(&ask(&invite, "UPDATE", 1_001, "peer", ""));
        w.sent("SIP/2.0 200 ");
        if answered_elsewhere {
            w.receive(&answer(&invite, 200, "other", &with_sdp(CONTACT)));
            w.event();
        } else {
            w.end();
            w.sent("CANCEL ");
        }
        w.receive(&answer(&invite, 200, "peer", &with_sdp(CONTACT)));
        w.sent("ACK ");
        w.sent("BYE ");
        w.receive(&ask(&invite, "OPTIONS", 1, "peer", ""));
        w.sent("SIP/2.0 500 ");
        w.receive(&ask(&invite, "OPTIONS", 1_002, "peer", ""));
        w.sent("SIP/2.0 200 ");
    }
}

#[test]
fn a_ringing_leg_that_ends_waits_for_no_prack() {
    let mut w = World::new();
    let invite = w.invite();
    w.receive(&answer(&invite, 180, "peer", &reliable(1)));
    w.event();
    w.sent("PRACK ");
    w.end();
    let cancel = w.sent("CANCEL ");
    w.receive(&answer(&cancel, 200, "peer", ""));
    w.receive(&answer(&invite, 487, "peer", ""));
    w.sent("ACK ");
    assert_eq!(w.event(), LegEvent::Gone);
    // Early dialogs are over with it.
    w.receive(&ask(&invite, "UPDATE", 1, "peer", ""));
    w.overlook();
}

#[test]
fn a_trunk_may_be_spared() {
    let mut w = World::with(Trunk { reliable_provisionals: false, ..trunk("192.0.2.7:5070") });
    assert_eq!(header(&w.invite(), "Supported"), "timer");
}
