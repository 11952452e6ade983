//! A leak planted in each place and in each spelling is found; what is clean passes.

use std::sync::Arc;

use bytes::BytesMut;

use super::*;
use crate::sip::wire::{Address, HeaderName, HostPort, Method as Ours, Writer};

const SHOWN: &str = "+12025550100";
const OTHER: &str = "+14155557731";
const OTHERS: [&str; 6] =
    [OTHER, "phone-a.example.net", "203.0.113.77", "f00dcafe-call@phone-a", "tag-of-a", "Alice Liddell"];
const OWN: [&str; 2] = [SHOWN, "198.51.100.9"];

fn forbidden() -> Forbidden {
    Forbidden::new(OTHERS, OWN)
}

fn shown() -> Option<E164> {
    E164::parse(SHOWN).ok()
}

/// A clean request of one leg, and headers that a test adds.
fn request(method: Ours, host: &str, extra: &[(HeaderName, &str)]) -> Vec<u8> {
    let mut buffer = BytesMut::new();
    let number = format!("sip:{SHOWN}@{host}");
    let mut writer = Writer::request(&mut buffer, method, format_args!("sip:+442079460018@{host}:5070;transport=udp"));
    writer.via(
        "UDP",
        HostPort::from("198.51.100.9:5060".parse::<std::net::SocketAddr>().unwrap()),
        "z9hG4bK71f9e2a8b0c4",
    );
    writer.header(HeaderName::MaxForwards, 70);
    writer.header(HeaderName::From, Address { display: None, uri: &number, tag: Some("3d9b01aa") });
    writer.header(HeaderName::To, Address { display: None, uri: format_args!("sip:+442079460018@{host}"), tag: None });
    writer.header(HeaderName::CallId, "0a1b2c3d4e5f60718293a4b5c6d7e8f9");
    writer.cseq(1, method);
    for (name, value) in extra {
        writer.header(*name, value);
    }
    let body = "v=0\r\no=- 1234567890123456789 1 IN IP4 198.51.100.9\r\ns=-\r\nc=IN IP4 198.51.100.9\r\nt=0 0\r\n\
                m=audio 20000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n";
    match method {
        Ours::Invite => writer.finish_with("application/sdp", body.as_bytes()).unwrap(),
        _ => writer.finish().unwrap(),
    };
    buffer.to_vec()
}

fn invite(extra: &[(HeaderName, &str)]) -> Vec<u8> {
    request(Ours::Invite, "carrier.example", extra)
}

fn replace(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1).into_bytes()
}

/// The peer's own RSeq and our CSeq, which read as one number.
#[test]
fn a_rack_is_nobodys_number() {
    let prack = |rack: &str| request(Ours::Prack, "carrier.example", &[(HeaderName::RAck, rack)]);
    let judged = |rack: &str| check(&prack(rack), shown(), &forbidden());
    assert_eq!(judged("555773 1 INVITE"), Ok(()));
    assert_eq!(judged("5155557731 1 INVITE"), Err(Leak::Header("RAck".into())), "more than 32 bits");
    for rack in ["1 1 INVITE;5557731", "1 1 5557731", "1  1 INVITE", "0001 1 INVITE", "1 1", "+14155557731 1 INVITE"] {
        assert_eq!(judged(rack), Err(Leak::Header("RAck".into())), "{rack}");
    }
    // What stands elsewhere is found as ever, before it and after it.
    let planted = replace(&prack("7 1 INVITE"), "Max-Forwards: 70", "Max-Forwards: 5557731");
    assert_eq!(check(&planted, shown(), &forbidden()), Err(Leak::OtherParty));
    let planted = replace(&prack("7 1 INVITE"), "RAck: 7 1 INVITE", "RAck: 7 1 INVITE\r\nUser-Agent: 5557731");
    assert_eq!(check(&planted, shown(), &forbidden()), Err(Leak::OtherParty));
}

#[test]
fn clean_requests_pass() {
    let contact = format!("<sip:{SHOWN}@198.51.100.9:5060>");
    let asserted = format!("\"{SHOWN}\" <sip:{SHOWN}@carrier.example>");
    let extra = [
        (HeaderName::Contact, contact.as_str()),
        (HeaderName::PAssertedIdentity, asserted.as_str()),
        (HeaderName::Allow, "INVITE, ACK, BYE"),
        (HeaderName::Supported, "timer"),
        (HeaderName::Authorization, "Digest username=\"u\", realm=\"r\", nonce=\"n\", uri=\"sip:x@h\", response=\"0\""),
    ];
    for host in ["carrier.example", "192.0.2.10", "[2001:db8::10]"] {
        assert_eq!(check(&request(Ours::Invite, host, &extra), shown(), &forbidden()), Ok(()), "{host}");
        for method in [Ours::Ack, Ours::Bye, Ours::Cancel, Ours::Options, Ours::Update, Ours::Prack] {
            assert_eq!(check(&request(method, host, &[]), shown(), &forbidden()), Ok(()), "{method:?} {host}");
        }
    }
    let reason = [(HeaderName::Reason, "Q.850;cause=16;text=\"Normal call clearing\"")];
    assert_eq!(check(&request(Ours::Bye, "h", &reason), shown(), &forbidden()), Ok(()));
}

#[test]
fn a_number_is_found_in_every_spelling() {
    for spelling in [
        "+14155557731",
        "14155557731",
        "4155557731",
        "5557731",
        "555-7731",
        "(415) 555-7731",
        "+1 415 555 7731",
        "1.415.555.7731",
        "1-415-555-7731",
        "0014155557731",
        "01114155557731",
        "04155557731",
        "%2B14155557731",
        "%2b1415%2D555%2D7731",
        "%31%34%31%35%35%35%35%37%37%33%31",
        "tel:+1-415-555-7731",
        "x4155557731x",
        "415/555/7731",
        "12025550100 14155557731",
        "+12025550100+14155557731",
    ] {
        let planted = invite(&[(HeaderName::Supported, spelling)]);
        assert_eq!(check(&planted, shown(), &forbidden()), Err(Leak::OtherParty), "{spelling}");
    }
}

#[test]
fn every_string_is_found_in_every_place() {
    let names = [
        HeaderName::Route,
        HeaderName::UserAgent,
        HeaderName::Supported,
        HeaderName::Allow,
        HeaderName::Authorization,
        HeaderName::ProxyAuthorization,
        HeaderName::Privacy,
        HeaderName::Accept,
        HeaderName::SessionExpires,
    ];
    for name in names {
        for other in OTHERS {
            for text in [other.to_owned(), other.to_uppercase(), format!("<sip:a@{other}:5060>")] {
                let planted = invite(&[(name, &text)]);
                assert_eq!(check(&planted, shown(), &forbidden()), Err(Leak::OtherParty), "{name:?} {text}");
            }
        }
    }
    for (from, to) in [
        ("z9hG4bK71f9e2a8b0c4", "z9hG4bK-tag-of-a"),
        ("tag=3d9b01aa", "tag=tag-of-a"),
        ("0a1b2c3d4e5f60718293a4b5c6d7e8f9", "f00dcafe-call@phone-a"),
        ("s=-", "s=Alice Liddell"),
        ("o=- 1234", "o=+14155557731 1234"),
        ("c=IN IP4 198.51.100.9", "c=IN IP4 203.0.113.77"),
        ("sip:+442079460018@", "sip:+14155557731@"),
    ] {
        assert_eq!(check(&replace(&invite(&[]), from, to), shown(), &forbidden()), Err(Leak::OtherParty), "{to}");
    }
}

#[test]
fn what_is_ours_or_chance_is_no_leak() {
    // The same last seven digits as the shown number; a host that both legs use.
    let others = ["+14155550100", "carrier.example", "1", "8000", "abc"];
    let forbidden = Forbidden::new(others, ["sip:carrier.example"]);
    assert_eq!(check(&invite(&[]), shown(), &forbidden), Ok(()));
    let planted = invite(&[(HeaderName::Supported, "4155550100")]);
    assert_eq!(check(&planted, shown(), &forbidden), Err(Leak::OtherParty));
    // All of the number is there, and only its end is in what had to be said.
    let told = Arc::new(Party::with_told([], ["sip:198.51.100.9;lr"]));
    let forbidden = Forbidden::between(Arc::new(Party::new(["+14158511009"])), told, Arc::default());
    assert_eq!(check(&invite(&[]), shown(), &forbidden), Ok(()));
    for (number, verdict) in [("198.51.100.9", Ok(())), ("8511009", Ok(())), ("4158511009", Err(Leak::OtherParty))] {
        assert_eq!(check(&invite(&[(HeaderName::Supported, number)]), shown(), &forbidden), verdict, "{number}");
    }
    // An address is our own only as a whole.
    let forbidden = Forbidden::new(["198.51.100.9"], ["198.51.100.90"]);
    assert_eq!(check(&invite(&[]), shown(), &forbidden), Err(Leak::OtherParty));
    // An address is not part of a longer one, and a tail is not part of an identifier.
    let forbidden = Forbidden::new(["198.51.100.90", "8.51.100.9", "+14150c5557731"], OWN);
    assert_eq!(check(&invite(&[]), shown(), &forbidden), Ok(()));
    let forbidden = Forbidden::new([OTHER], OWN);
    let identifier = invite(&[(HeaderName::Supported, "a95557731c02, 9995557731000")]);
    assert_eq!(check(&identifier, shown(), &forbidden), Ok(()));
}

#[test]
fn identities_are_the_shown_number() {
    let clean = invite(&[]);
    for (from, to) in [
        ("From: <sip:+12025550100@", "From: <sip:+12025550101@"),
        ("From: <sip:+12025550100@", "From: <sip:anonymous@"),
        ("From: <sip:+12025550100@", "From: <sip:"),
        ("From: <sip:", "From: \"Bob\" <sip:"),
        ("From: ", "f: "),
        ("Call-ID", "From: <sip:+12025550100@x>;tag=1\r\nCall-ID"),
    ] {
        assert!(check(&replace(&clean, from, to), shown(), &forbidden()).is_err(), "{to}");
    }
    for name in [HeaderName::Contact, HeaderName::PAssertedIdentity] {
        for value in ["<sip:+12025550199@h>", "\"Bob\" <sip:+12025550100@h>", "<sip:h>", "<tel:+12025550199>", "*"] {
            let leak = check(&invite(&[(name, value)]), shown(), &forbidden());
            assert!(matches!(leak, Err(Leak::Identity(_))), "{name:?} {value} {leak:?}");
        }
    }
}

#[test]
fn only_the_headers_of_the_method() {
    for name in [
        HeaderName::Subject,
        HeaderName::ReferredBy,
        HeaderName::PPreferredIdentity,
        HeaderName::Warning,
        HeaderName::Replaces,
        HeaderName::RecordRoute,
        HeaderName::Event,
        HeaderName::Reason,
    ] {
        let leak = check(&invite(&[(name, "x")]), shown(), &forbidden());
        assert_eq!(leak, Err(Leak::Header(name.as_str().unwrap().to_owned())));
    }
    let other = replace(&invite(&[]), "Call-ID", "Diversion: x\r\nCall-ID");
    assert_eq!(check(&other, shown(), &forbidden()), Err(Leak::Header("Diversion".to_owned())));
    let asserted = [(HeaderName::PAssertedIdentity, "<sip:+12025550100@h>")];
    assert!(check(&request(Ours::Bye, "h", &asserted), shown(), &forbidden()).is_err());
    for method in [Ours::Refer, Ours::Message, Ours::Info, Ours::Notify] {
        assert_eq!(check(&request(method, "h", &[]), shown(), &forbidden()), Err(Leak::Method), "{method:?}");
    }
}

#[test]
fn what_cannot_be_read_does_not_leave() {
    assert_eq!(check(b"", shown(), &forbidden()), Err(Leak::Unreadable));
    assert_eq!(check(b"SIP/2.0 200 OK\r\n\r\n", None, &forbidden()), Err(Leak::Unreadable));
    // Only an address hides a bracket from rsip.
    let odd = replace(&invite(&[]), "@carrier.example:5070", "@[phone-a.example.net]:5070");
    assert!(check(&odd, shown(), &forbidden()).is_err());
}
