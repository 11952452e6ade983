//! Session timers, and the re-INVITE and UPDATE that we send for them (RFC 4028).

use revbridge::config::Trunk;
use revbridge::leg::{LegCommand, LegEvent, Loss};

use crate::peer::*;

const CONTACT: &str = "Contact: <sip:bob@198.51.100.9:5090>\r\n";

/// A confirmed leg whose 2xx has these headers beside.
fn agreed(w: &mut World, headers: &str) -> String {
    let invite = w.invite();
    w.receive(&answer(&invite, 200, "peer", &with_sdp(&format!("{CONTACT}{headers}"))));
    assert!(matches!(w.event(), LegEvent::Answered { .. }));
    w.command(LegCommand::Ack);
    w.sent("ACK ");
    invite
}

const OURS: &str = "Require: timer\r\nSession-Expires: 600;refresher=uac\r\n";
const OURS_BY_UPDATE: &str = "Allow: INVITE, UPDATE\r\nRequire: timer\r\nSession-Expires: 600;refresher=uac\r\n";
const THEIRS: &str = "Require: timer\r\nSession-Expires: 600;refresher=uas\r\n";

#[test]
fn an_invite_asks_for_what_the_trunk_is_configured_for() {
    let invite = World::new().invite();
    assert_eq!(header(&invite, "Session-Expires"), "1800");
    assert_eq!(header(&invite, "Supported"), "100rel, timer");
    assert!(!has(&invite, "Min-SE"));
    let invite = World::with(Trunk { session_expires: None, ..trunk("192.0.2.7:5070") }).invite();
    assert!(!has(&invite, "Session-Expires"));
    assert_eq!(header(&invite, "Supported"), "100rel, timer");
}

#[test]
fn a_session_too_short_is_asked_for_again_once() {
    let mut w = World::new();
    let invite = w.invite();
    w.receive(&answer(&invite, 422, "peer", "Min-SE: 3600\r\n"));
    w.sent("ACK ");
    let again = w.sent("INVITE ");
    assert_eq!((header(&again, "Session-Expires"), header(&again, "Min-SE")), ("3600", "3600"));
    assert_eq!(header(&again, "CSeq"), "2 INVITE");
    assert_eq!(header(&again, "Call-ID"), header(&invite, "Call-ID"));
    w.no_event();
    w.receive(&answer(&again, 422, "peer", "Min-SE: 7200\r\n"));
    w.sent("ACK ");
    assert_eq!(w.event(), LegEvent::Refused { status: 422, q850: None });
    w.silent();
}

#[test]
fn a_422_that_asks_for_nothing_more_is_a_refusal() {
    for headers in ["", "Min-SE: 1800\r\n", "Min-SE: x\r\n", "Min-SE: 90\r\n"] {
        let mut w = World::new();
        let invite = w.invite();
        w.receive(&answer(&invite, 422, "peer", headers));
        w.sent("ACK ");
        assert_eq!(w.event(), LegEvent::Refused { status: 422, q850: None }, "{headers}");
        w.silent();
    }
}

#[test]
fn ours_is_refreshed_by_update_at_half_of_its_time() {
    let mut w = World::new();
    agreed(&mut w, OURS_BY_UPDATE);
    w.pass(299 * SECOND);
    w.silent();
    w.pass(SECOND);
    let update = w.sent("UPDATE ");
    assert_eq!(header(&update, "Session-Expires"), "600;refresher=uac");
    assert!(update.ends_with("Content-Length: 0\r\n\r\n"));
    w.receive(&answer(
        &update,
        200,
        "",
        "Contact: <sip:moved@198.51.100.10>\r\nSession-Expires: 400;refresher=uac\r\n",
    ));
    w.pass(199 * SECOND);
    w.silent();
    w.pass(SECOND);
    let update = w.sent("UPDATE ");
    assert_eq!(request_uri(&update), "sip:moved@198.51.100.10", "a target refresh");
    // One that names no time ends the timer.
    w.receive(&answer(&update, 200, "", ""));
    w.pass(3_600 * SECOND);
    w.silent();
    w.no_event();
}

#[test]
fn a_peer_without_update_gets_the_same_description_again() {
    let mut w = World::new();
    let invite = agreed(&mut w, OURS);
    w.pass(300 * SECOND);
    let reinvite = w.sent("INVITE ");
    let body = |message: &str| message.split("\r\n\r\n").nth(1).unwrap().to_owned();
    assert_eq!(body(&reinvite), body(&invite), "the version of the session too");
    assert!(header(&reinvite, "To").ends_with(";tag=peer"));
    w.pass(500 * MS);
    assert_eq!(w.sent("INVITE "), reinvite, "lost, so sent again");
    let ok = answer(&reinvite, 200, "", &with_sdp("Session-Expires: 600;refresher=uac\r\n"));
    w.receive(&ok);
    let ack = w.sent("ACK ");
    assert_eq!(header(&ack, "CSeq"), "2 ACK");
    assert!(matches!(w.event(), LegEvent::LateAnswer(_)));
    w.receive(&ok);
    assert_eq!(w.sent("ACK "), ack, "each 2xx is acknowledged");
    w.no_event();
    w.pass(299 * SECOND);
    w.silent();
    w.pass(SECOND);
    assert_eq!(header(&w.sent("INVITE "), "CSeq"), "3 INVITE");
}

#[test]
fn an_update_that_is_not_taken_becomes_a_reinvite() {
    let mut w = World::new();
    agreed(&mut w, OURS_BY_UPDATE);
    w.pass(300 * SECOND);
    let update = w.sent("UPDATE ");
    w.receive(&answer(&update, 405, "", ""));
    let reinvite = w.sent("INVITE ");
    w.receive(&answer(&reinvite, 405, "", ""));
    let ack = w.sent("ACK ");
    assert_eq!(branch(&ack), branch(&reinvite));
    assert_eq!(request_uri(&ack), request_uri(&reinvite));
    w.silent();
    w.no_event();
}

#[test]
fn what_the_peer_refreshes_ends_before_it_expires() {
    let mut w = World::new();
    let invite = agreed(&mut w, THEIRS);
    w.pass(500 * SECOND);
    w.silent();
    let refresh = "Supported: timer\r\nSession-Expires: 600;refresher=uac\r\n";
    w.receive(&ask(&invite, "UPDATE", 1, "peer", refresh));
    let ok = w.sent("SIP/2.0 200 ");
    assert_eq!((header(&ok, "Session-Expires"), header(&ok, "Require")), ("600;refresher=uac", "timer"));
    w.pass(567 * SECOND);
    w.silent();
    w.no_event();
    w.pass(SECOND);
    let bye = w.sent("BYE ");
    assert_eq!(header(&bye, "Reason"), "Q.850;cause=102");
    assert_eq!(w.event(), LegEvent::Lost(Loss::Expired));
}

#[test]
fn a_refresh_may_change_who_refreshes() {
    let mut w = World::new();
    let invite = agreed(&mut w, THEIRS);
    let refresh = with_sdp("Supported: timer\r\nSession-Expires: 200;refresher=uas\r\n");
    w.receive(&ask(&invite, "INVITE", 1, "peer", &refresh));
    w.event();
    w.command(LegCommand::Answer(session(2)));
    assert_eq!(header(&w.sent("SIP/2.0 200 "), "Session-Expires"), "200;refresher=uas");
    w.receive(&ask(&invite, "ACK", 1, "peer", ""));
    w.pass(100 * SECOND);
    // It says what we have said last.
    assert!(w.sent("INVITE ").contains("o=- 7 2 IN IP4 192.0.2.1"));
}

#[test]
fn a_session_that_expires_too_fast_is_refused_and_goes_on() {
    let mut w = World::new();
    let invite = agreed(&mut w, THEIRS);
    w.receive(&ask(&invite, "UPDATE", 1, "peer", "Supported: timer\r\nSession-Expires: 30\r\n"));
    assert_eq!(header(&w.sent("SIP/2.0 422 "), "Min-SE"), "90");
    w.receive(&ask(&invite, "INVITE", 2, "peer", &with_sdp("Supported: timer\r\nSession-Expires: 89\r\n")));
    w.sent("SIP/2.0 422 ");
    w.no_event();
}

#[test]
fn a_dialog_that_the_peer_does_not_have_is_ended() {
    for (status, update) in [(481, true), (408, true), (481, false), (408, false)] {
        let mut w = World::new();
        agreed(&mut w, if update { OURS_BY_UPDATE } else { OURS });
        w.pass(300 * SECOND);
        let refresh = w.sent(if update { "UPDATE " } else { "INVITE " });
        w.receive(&answer(&refresh, status, "", ""));
        if !update {
            w.sent("ACK ");
        }
        w.sent("BYE ");
        assert_eq!(w.event(), LegEvent::Lost(Loss::Dialog));
    }
}

#[test]
fn a_refresh_that_nobody_answers_ends_the_leg() {
    for update in [true, false] {
        let mut w = World::new();
        agreed(&mut w, if update { OURS_BY_UPDATE } else { OURS });
        w.pass(300 * SECOND);
        w.pass(31_999 * MS);
        w.no_event();
        w.overlook();
        w.pass(MS);
        assert_eq!(w.event(), LegEvent::Lost(Loss::Timeout));
        w.sent("BYE ");
    }
}

#[test]
fn a_refresh_that_is_refused_is_tried_again_until_the_end() {
    let mut w = World::new();
    agreed(&mut w, OURS_BY_UPDATE);
    w.pass(300 * SECOND);
    let mut tries = 0;
    while w.events.is_empty() {
        let message = w.wire.pop();
        w.overlook();
        if let Some(update) = message {
            assert!(update.starts_with("UPDATE "));
            tries += 1;
            w.receive(&answer(&update, 500, "", ""));
        }
        w.pass(SECOND);
    }
    assert!((4..=60).contains(&tries), "{tries}");
    assert_eq!(w.event(), LegEvent::Lost(Loss::Expired));
    w.sent("BYE ");
    // A word about when is followed.
    let mut w = World::new();
    agreed(&mut w, OURS_BY_UPDATE);
    w.pass(300 * SECOND);
    let update = w.sent("UPDATE ");
    w.receive(&answer(&update, 503, "", "Retry-After: 20\r\n"));
    w.pass(19 * SECOND);
    w.silent();
    w.pass(SECOND);
    w.sent("UPDATE ");
}

/// RFC 3261 §14.1 and §14.2: both change the session at once.
#[test]
fn glare_is_491_on_both_sides_and_ours_comes_after_two_to_four_seconds() {
    let mut w = World::new();
    let invite = agreed(&mut w, OURS);
    w.pass(300 * SECOND);
    let ours = w.sent("INVITE ");
    w.receive(&ask(&invite, "INVITE", 1, "peer", &with_sdp("")));
    w.sent("SIP/2.0 491 ");
    w.receive(&ask(&invite, "INVITE", 1, "peer", "").replace("INVITE sip", "ACK sip").replace("1 INVITE", "1 ACK"));
    w.receive(&answer(&ours, 491, "", ""));
    w.sent("ACK ");
    w.pass(2_099 * MS);
    w.silent();
    w.pass(1_901 * MS);
    let again = w.sent("INVITE ");
    assert_eq!(header(&again, "CSeq"), "3 INVITE");
    w.overlook();
    w.receive(&answer(&again, 200, "", &with_sdp(OURS)));
    w.sent("ACK ");
    w.event();
    // The peer tries again too, and now it may.
    w.receive(&ask(&invite, "INVITE", 2, "peer", &with_sdp("")));
    assert!(matches!(w.event(), LegEvent::Offer { early: None, sdp: Some(_) }));
}

#[test]
fn a_refresh_waits_while_the_peer_changes_the_session() {
    let mut w = World::new();
    let invite = agreed(&mut w, OURS);
    w.pass(299 * SECOND);
    w.receive(&ask(&invite, "INVITE", 1, "peer", &with_sdp("")));
    w.event();
    w.pass(SECOND);
    w.sent("SIP/2.0 100 ");
    w.silent();
    w.command(LegCommand::RefuseOffer);
    w.sent("SIP/2.0 488 ");
    w.receive(&ask(&invite, "INVITE", 1, "peer", "").replace("INVITE sip", "ACK sip").replace("1 INVITE", "1 ACK"));
    w.pass(2 * SECOND);
    w.sent("INVITE ");
}

#[test]
fn a_challenged_refresh_is_sent_again_with_credentials() {
    for headers in [OURS, OURS_BY_UPDATE] {
        let mut w = World::with(Trunk { credentials: Some(credentials()), ..trunk("192.0.2.7:5070") });
        agreed(&mut w, headers);
        w.pass(300 * SECOND);
        let is_invite = headers == OURS;
        let method = if is_invite { "INVITE " } else { "UPDATE " };
        let refresh = w.sent(method);
        let challenge = "Proxy-Authenticate: Digest realm=\"carrier.example\", nonce=\"n1\", qop=\"auth\"\r\n";
        w.receive(&answer(&refresh, 407, "", challenge));
        if is_invite {
            w.sent("ACK ");
        }
        let again = w.sent(method);
        assert!(has(&again, "Proxy-Authorization"));
        w.receive(&answer(&again, 200, "", OURS));
        if is_invite {
            // RFC 3261 §22.1: the ACK repeats what the INVITE has.
            assert_eq!(header(&w.sent("ACK "), "Proxy-Authorization"), header(&again, "Proxy-Authorization"));
        }
        w.silent();
        w.no_event();
    }
}

#[test]
fn a_refresh_that_is_too_short_is_asked_for_again() {
    let mut w = World::new();
    agreed(&mut w, OURS_BY_UPDATE);
    w.pass(300 * SECOND);
    let update = w.sent("UPDATE ");
    w.receive(&answer(&update, 422, "", "Min-SE: 900\r\n"));
    let again = w.sent("UPDATE ");
    assert_eq!((header(&again, "Session-Expires"), header(&again, "Min-SE")), ("900;refresher=uac", "900"));
    w.receive(&answer(&again, 200, "", "Session-Expires: 900;refresher=uac\r\n"));
    w.pass(449 * SECOND);
    w.silent();
    w.pass(SECOND);
    w.sent("UPDATE ");
}

#[test]
fn a_leg_that_ends_with_a_refresh_under_way_ends() {
    let mut w = World::new();
    agreed(&mut w, OURS);
    w.pass(300 * SECOND);
    let reinvite = w.sent("INVITE ");
    w.end();
    let bye = w.sent("BYE ");
    w.receive(&answer(&bye, 200, "", ""));
    assert_eq!(w.event(), LegEvent::Gone);
    // A 2xx that crosses is acknowledged all the same, and changes nothing.
    w.receive(&answer(&reinvite, 200, "", &with_sdp(OURS)));
    w.sent("ACK ");
    w.no_event();
    w.pass(60 * SECOND);
    w.silent();
}
