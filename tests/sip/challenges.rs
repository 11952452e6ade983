//! 401 and 407 (RFC 3261 §22): credentials only for the configured realm, at most twice.

use revbridge::config::Trunk;
use revbridge::leg::{LegEvent, Loss};

use crate::peer::*;

const OURS: &str = "Digest realm=\"carrier.example\", nonce=\"n1\", qop=\"auth\", algorithm=MD5";

fn world() -> World {
    World::with(Trunk { credentials: Some(credentials()), ..trunk("192.0.2.7:5070") })
}

fn challenge(request: &str, status: u16, value: &str) -> String {
    let name = if status == 401 { "WWW-Authenticate" } else { "Proxy-Authenticate" };
    answer(request, status, "c", &format!("{name}: {value}\r\n"))
}

#[test]
fn a_challenge_is_answered_with_a_new_invite_of_the_same_call() {
    let mut w = world();
    let first = w.invite();
    w.receive(&challenge(&first, 407, OURS));
    assert_eq!(branch(&w.sent("ACK ")), branch(&first));
    let second = w.sent("INVITE ");
    assert!(header(&second, "Proxy-Authorization").contains("username=\"bridge\""));
    assert_eq!(header(&second, "CSeq"), "2 INVITE");
    assert_ne!(branch(&second), branch(&first));
    for name in ["From", "To", "Call-ID"] {
        assert_eq!(header(&second, name), header(&first, name));
    }
    w.no_event();
    w.receive(&answer(&second, 200, "peer", &with_sdp("")));
    assert!(matches!(w.event(), LegEvent::Answered { .. }));
    w.end();
    let ack = w.sent("ACK ");
    assert_eq!(header(&ack, "CSeq"), "2 ACK");
    assert_eq!(header(&ack, "Proxy-Authorization"), header(&second, "Proxy-Authorization"));

    let bye = w.sent("BYE ");
    w.receive(&challenge(&bye, 401, OURS));
    let bye = w.sent("BYE ");
    assert_eq!(header(&bye, "CSeq"), "4 BYE");
    assert!(has(&bye, "Authorization"));
    w.receive(&answer(&bye, 200, "", ""));
    assert_eq!(w.event(), LegEvent::Gone);
}

#[test]
fn an_endless_challenge_is_answered_twice() {
    let mut w = world();
    let mut invite = w.invite();
    for _ in 0..2 {
        w.receive(&challenge(&invite, 401, &format!("{OURS}, stale=true")));
        w.sent("ACK ");
        invite = w.sent("INVITE ");
    }
    w.receive(&challenge(&invite, 401, &format!("{OURS}, stale=true")));
    w.sent("ACK ");
    w.silent();
    assert_eq!(w.event(), LegEvent::Lost(Loss::Unauthorized));
}

#[test]
fn another_realm_gets_no_credentials() {
    for value in [OURS.replace("carrier.example", "evil.example"), "Basic realm=\"carrier.example\"".to_owned()] {
        let mut w = world();
        let invite = w.invite();
        w.receive(&challenge(&invite, 401, &value));
        w.sent("ACK ");
        w.silent();
        assert_eq!(w.event(), LegEvent::Lost(Loss::Unauthorized));
    }
    let mut w = World::new();
    let invite = w.invite();
    w.receive(&challenge(&invite, 401, OURS));
    w.sent("ACK ");
    w.silent();
    assert_eq!(w.event(), LegEvent::Lost(Loss::Unauthorized));
}

#[test]
fn a_challenge_after_the_end_rings_nothing_anew() {
    let mut w = world();
    let invite = w.invite();
    w.end();
    w.receive(&challenge(&invite, 401, OURS));
    w.sent("ACK ");
    w.silent();
    assert_eq!(w.event(), LegEvent::Gone);
}
