//! Strangers and liars: what is not of the dialog changes nothing in it.

use revbridge::events::NoiseKind;
use revbridge::leg::{LegCommand, LegEvent};
use revbridge::model::{E164, LegId, Secret};
use revbridge::sip::Flow;
use revbridge::sip::guard::{self, Leak};

use crate::peer::*;

fn stranger(w: &World, address: &str) -> Flow {
    Flow { remote: address.parse().unwrap(), ..w.flow }
}

#[test]
fn an_answer_is_true_in_every_part_or_ignored() {
    let mut w = World::new();
    let invite = w.invite();
    let ok = answer(&invite, 200, "peer", &with_sdp(""));
    let tag = header(&invite, "From").split("tag=").nth(1).unwrap().to_owned();
    let call_id = header(&invite, "Call-ID").to_owned();
    let lies = [
        ok.replace(branch(&invite), "z9hG4bK00000000000000000000000000000000"),
        ok.replace(branch(&invite), "z9hG4bK"),
        ok.replace("CSeq: 1 INVITE", "CSeq: 1 BYE"),
        ok.replace("CSeq: 1 INVITE", "CSeq: 2 INVITE"),
        ok.replace(&call_id, "00000000000000000000000000000000"),
        ok.replace(&call_id, "x"),
        ok.replace(&tag, "00000000000000000000000000000000"),
        ok.replace("From: ", "Via: SIP/2.0/UDP 198.51.100.1;branch=z9hG4bKx\r\nFrom: "),
        ok.replace("SIP/2.0 200", "SIP/2.0 99999999999"),
        ok.replace("SIP/2.0 200", "SIP/2.0 700"),
    ];
    for lie in &lies {
        assert_ne!(*lie, ok);
        w.receive(lie);
        w.no_event();
        w.silent();
        assert_eq!(w.noise().len(), 1, "{lie}");
    }
    for address in ["198.51.100.1:5070", "192.0.2.7:5071"] {
        w.receive_from(stranger(&w, address), &ok);
        assert_eq!(w.noise(), [NoiseKind::Stranger]);
        w.no_event();
    }
    w.receive(&ok);
    assert!(matches!(w.event(), LegEvent::Answered { .. }));
}

#[test]
fn a_stranger_ends_nothing_even_with_the_right_tags() {
    let mut w = World::new();
    let invite = w.confirmed();
    for method in ["BYE", "INVITE", "CANCEL", "UPDATE", "INFO", "ACK"] {
        w.receive_from(stranger(&w, "198.51.100.1:5070"), &ask(&invite, method, 1, "peer", ""));
        assert_eq!(w.noise(), [NoiseKind::Stranger], "{method}");
        w.silent();
        w.no_event();
    }
    w.end();
    w.sent("BYE ");
}

#[test]
fn a_request_with_wrong_tags_is_481() {
    let mut w = World::new();
    let invite = w.confirmed();
    w.receive(&ask(&invite, "BYE", 1, "wrong", ""));
    w.sent("SIP/2.0 481 ");
    let tag = header(&invite, "From").split("tag=").nth(1).unwrap().to_owned();
    for ours in ["00000000000000000000000000000000", "x"] {
        w.receive(&ask(&invite, "BYE", 2, "peer", "").replace(&tag, ours));
        w.sent("SIP/2.0 481 ");
    }
    w.no_event();
}

#[test]
fn a_contact_elsewhere_moves_the_uri_and_not_the_packets() {
    // The world itself fails when anything is sent to another host than the trunk's.
    for contact in ["sip:x@127.0.0.1:1", "sip:x@192.0.2.1:5060", "sip:x@203.0.113.50", "sip:x@[2001:db8::9]"] {
        let mut w = World::new();
        let invite = w.invite();
        let headers = format!("Contact: <{contact}>\r\nRecord-Route: <sip:203.0.113.99;lr>\r\n");
        w.receive(&answer(&invite, 200, "peer", &with_sdp(&headers)));
        w.command(LegCommand::Ack);
        assert_eq!(request_uri(&w.sent("ACK ")), contact);
        w.end();
        assert_eq!(request_uri(&w.sent("BYE ")), contact);
    }
}

#[test]
fn a_leg_can_be_ended_whatever_contact_its_peer_gives() {
    // The world itself fails when the outgoing guard does not let a request pass.
    let contacts = [
        "sip:198.51.100.9",
        "sip:198.51.100.9;lr;transport=ws;ob",
        "sip:a;b=c@198.51.100.9:5060",
        "sip:a%41b:pw@198.51.100.9",
        "sip:a?b/c&d=e+f$g,h@198.51.100.9",
        "sip:bob@[2001:db8::9]:5060;maddr=[::1];ttl=1",
        "sip:bob@h;x=\u{5b}::1]",
        "sip:bob@[2001:db8:::192.0.2.1]",
        "SIP:bob@EXAMPLE.com;Transport=UDP",
        "sip:bob@example.com.;gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        "sip:bob@198.51.100.9:00005060",
        "sip:bob@1.2.3.4.5",
        "sip:~!*'()-_.@a-b.c",
        "sip:bob@h;method=INVITE;user=ip;transport=foo;ttl=999;maddr=x",
        "sip:bob@h;expires=1;q=5;branch=1;tag=2;received=zz",
    ];
    for contact in contacts {
        let mut w = World::new();
        let invite = w.invite();
        let headers = format!("Contact: <{contact}>\r\nRecord-Route: <{contact}>\r\n");
        w.receive(&answer(&invite, 200, "peer", &with_sdp(&headers)));
        assert!(matches!(w.event(), LegEvent::Answered { .. }), "{contact}");
        w.end();
        w.sent("ACK ");
        w.sent("BYE ");
    }
}

#[test]
fn nothing_of_a_strange_contact_is_written() {
    let long = format!("sip:{}@198.51.100.9", "x".repeat(300));
    for contact in ["sips:bob@198.51.100.9", "tel:+19005550100", "sip:bob@198.51.100.9?Replaces=x", &long] {
        let mut w = World::new();
        let invite = w.invite();
        w.receive(&answer(&invite, 200, "peer", &with_sdp(&format!("Contact: <{contact}>\r\n"))));
        w.end();
        assert_eq!(request_uri(&w.sent("ACK ")), request_uri(&invite));
    }
}

#[test]
fn every_identifier_of_a_leg_is_its_own() {
    let mut a = World::seeded(trunk("192.0.2.7:5070"), Secret([1; 16]));
    let mut b = World::seeded(trunk("192.0.2.7:5070"), Secret([2; 16]));
    let (first, second) = (a.invite(), b.invite());
    let tag = |message: &str| header(message, "From").split("tag=").nth(1).unwrap().to_owned();
    let ids = [header(&first, "Call-ID").to_owned(), tag(&first), branch(&first)[7..].to_owned()];
    for id in &ids {
        assert_eq!(ids.iter().filter(|other| *other == id).count(), 1);
        assert!(!second.contains(id.as_str()));
    }
}

#[test]
fn what_identifies_a_leg_is_known_and_what_is_public_is_not_among_it() {
    let mut w = World::new();
    let invite = w.confirmed();
    w.receive(&answer(&invite, 200, "other-tag", "Contact: <sip:voicemail@203.0.113.50>\r\n"));
    let identity = w.endpoint.identity(w.leg);
    for expected in
        ["14155550123", header(&invite, "Call-ID"), "198.51.100.9", "other-tag", "voicemail", "203.0.113.50"]
    {
        assert!(identity.iter().any(|s| s == expected), "{expected}");
    }
    assert!(identity.iter().all(|s| !s.contains("2025550100") && s != "192.0.2.7" && s != "192.0.2.1"));
}

/// What the guard of the other leg has prepared is never behind: what is learnt after one request is
/// found in the next.
#[test]
fn what_a_leg_learns_is_looked_for_in_the_next_request_of_the_other() {
    let mut w = World::new();
    let other = LegId { side: w.leg.side.other(), ..w.leg };
    let may_say = |w: &mut World, text: &str| {
        let request =
            format!("BYE sip:carrier.example SIP/2.0\r\nFrom: <sip:{SHOWN}@h>;tag=x\r\nUser-Agent: {text}\r\n\r\n");
        match guard::check(request.as_bytes(), E164::parse(SHOWN).ok(), &w.endpoint.forbidden(other)) {
            Ok(()) => true,
            Err(leak) => {
                assert_eq!(leak, Leak::OtherParty);
                false
            }
        }
    };
    let invite = w.invite();
    let learnt = |w: &mut World, message: &str, texts: &[&str]| {
        assert!(texts.iter().all(|text| may_say(w, text)), "{texts:?} before");
        w.receive(message);
        assert!(texts.iter().all(|text| !may_say(w, text)), "{texts:?} after");
    };
    assert!(!may_say(&mut w, TO) && !may_say(&mut w, header(&invite, "Call-ID")));
    let ok = answer(&invite, 200, "main-tag", &with_sdp("Contact: <sip:voicemail@198.51.100.9:5090>\r\n"));
    learnt(&mut w, &ok, &["main-tag", "voicemail", "198.51.100.9"]);
    w.command(LegCommand::Ack);
    let fork = answer(&invite, 200, "fork-tag", "Contact: <sip:answering@203.0.113.50>\r\n");
    learnt(&mut w, &fork, &["fork-tag", "answering", "203.0.113.50"]);
    let refresh = ask(&invite, "UPDATE", 1, "main-tag", "Contact: <sip:moved-away@198.51.100.10>\r\n");
    learnt(&mut w, &refresh, &["moved-away", "198.51.100.10"]);
    assert!(["main-tag", "fork-tag", "answering"].iter().all(|text| !may_say(&mut w, text)));

    w.restart(w.snapshot());
    assert!(["main-tag", "fork-tag", "moved-away"].iter().all(|text| !may_say(&mut w, text)));
    // What the other leg has of its own it may say, as soon as it has it.
    let to = E164::parse(TO).unwrap();
    assert!(!may_say(&mut w, TO));
    assert!(w.endpoint.prepare(w.now, other, Secret([8; 16]), to, E164::parse(SHOWN).unwrap()));
    assert!(may_say(&mut w, TO) && !may_say(&mut w, "main-tag"));
}
