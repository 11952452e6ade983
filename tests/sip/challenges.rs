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

#[test]
fn a_proxy_that_asks_after_the_peer_gets_both_answers_and_so_does_the_bye() {
    let mut w = world();
    let first = w.invite();
    w.receive(&challenge(&first, 401, OURS));
    w.sent("ACK ");
    let second = w.sent("INVITE ");
    assert!(header(&second, "Authorization").contains("nc=00000001") && !has(&second, "Proxy-Authorization"));
    w.receive(&challenge(&second, 407, &OURS.replace("n1", "p1")));
    w.sent("ACK ");
    let third = w.sent("INVITE ");
    assert!(header(&third, "Authorization").contains("nonce=\"n1\""));
    assert!(header(&third, "Authorization").contains("nc=00000002"), "{third}");
    assert!(header(&third, "Proxy-Authorization").contains("nonce=\"p1\""));
    assert!(header(&third, "Proxy-Authorization").contains("nc=00000001"));
    w.receive(&answer(&third, 200, "peer", &with_sdp("")));
    assert!(matches!(w.event(), LegEvent::Answered { .. }));
    w.end();
    let ack = w.sent("ACK ");
    let bye = w.sent("BYE ");
    for (name, count) in [("Authorization", "nc=00000003"), ("Proxy-Authorization", "nc=00000002")] {
        assert_eq!(header(&ack, name), header(&third, name));
        assert!(header(&bye, name).contains(count), "{bye}");
        let nonce_of = |text: &str| header(text, name).split("cnonce=").nth(1).map(str::to_owned);
        assert_eq!(nonce_of(&bye), nonce_of(&third));
    }
}

#[test]
fn both_kinds_in_one_response_are_answered_the_strongest_of_each() {
    let mut w = world();
    let first = w.invite();
    let weak = |nonce: &str| OURS.replace("n1", nonce);
    let strong = |nonce: &str| weak(nonce).replace("MD5", "SHA-256");
    let lines = format!(
        "WWW-Authenticate: {}\r\nWWW-Authenticate: {}\r\nProxy-Authenticate: {}, {}\r\n\
         Proxy-Authenticate: {}\r\n",
        weak("a"),
        strong("b"),
        weak("c"),
        strong("d"),
        strong("e").replace("carrier.example", "evil.example"),
    );
    w.receive(&answer(&first, 407, "c", &lines));
    w.sent("ACK ");
    let second = w.sent("INVITE ");
    for (name, nonce) in [("Authorization", "b"), ("Proxy-Authorization", "d")] {
        assert!(header(&second, name).contains(&format!("nonce=\"{nonce}\"")), "{second}");
        assert!(header(&second, name).contains("algorithm=SHA-256"), "{second}");
    }
    assert!(!second.contains("evil"));
}
