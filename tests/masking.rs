//! The canary suite: a phone says who it is wherever a message has room for it, and everything that
//! the other phone receives is searched for it, in every spelling.
//!
//! Both phones do so at once. What identifies a party: its canary (in every header, description line,
//! body, RTP extension and RTCP item that it sends), its number, its address, and what the server
//! itself gave its leg: Call-ID, tag, session id, synchronisation source.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the lab is all sockets, clocks and threads")]

mod support;

use std::time::Duration;

use serde_json::json;
use support::braggart::Braggart;
use support::canary::{Capture, Secret, planted_is_found};
use support::{Lab, Phone, Server, say};

/// Numbers whose last digits are like no other's.
const USER_NUMBER: &str = "+14157391846";
const DESTINATION_NUMBER: &str = "+12128675309";
const SOON: Duration = Duration::from_secs(10);
/// The audio of each phone: payloads that must arrive as they are.
const USER_VOICE: u8 = 0x31;
const DESTINATION_VOICE: u8 = 0x62;

/// A call in which both phones say everything, ended by one of them.
fn talkative_call(server: &Server, user: &mut Braggart, destination: &mut Braggart, user_hangs_up: bool) {
    let call = dial(server);
    let user_invite = user.pick_up();
    let destination_invite = destination.pick_up();
    server.reaches(&call, "in_progress", SOON);
    user.speak(&user_invite);
    destination.speak(&destination_invite);
    user.ask_everything(&user_invite);
    destination.ask_everything(&destination_invite);
    user.speak(&user_invite);
    destination.speak(&destination_invite);
    if user_hangs_up {
        user.hang_up(&user_invite);
        destination.expect_bye();
    } else {
        destination.hang_up(&destination_invite);
        user.expect_bye();
    }
    server.ended(&call, SOON).expect("an end");
}

/// A call that the destination refuses with every word it has.
fn refused_call(server: &Server, user: &mut Braggart, destination: &mut Braggart, status: &str) {
    let call = dial(server);
    user.cseq = 0;
    user.pick_up();
    let invite = destination.phone.expect("INVITE");
    destination.answer(&invite, status, &destination.description());
    destination.phone.expect("ACK");
    user.expect_bye();
    server.ended(&call, SOON).expect("an end");
}

fn dial(server: &Server) -> String {
    server.place(json!({"connect_number": USER_NUMBER, "to_number": DESTINATION_NUMBER}))
}

#[test]
fn nothing_of_one_party_reaches_the_other() {
    let lab = Lab::new();
    let server = Server::start(lab.settings());
    let mut user = Braggart::new(Phone::new(lab.user()), "zanzibar", USER_NUMBER, USER_VOICE);
    let mut destination =
        Braggart::new(Phone::new(lab.destination()), "quixotry", DESTINATION_NUMBER, DESTINATION_VOICE);
    talkative_call(&server, &mut user, &mut destination, true);
    talkative_call(&server, &mut user, &mut destination, false);
    for status in ["486 Busy with quixotry", "302 Moved to quixotry", "503 quixotry is down"] {
        refused_call(&server, &mut user, &mut destination, status);
    }
    user.listen();
    destination.listen();
    check_side(&user, &destination);
    check_side(&destination, &user);
    for number in [USER_NUMBER, DESTINATION_NUMBER] {
        assert!(!server.log().contains(&number[1..]), "the log names a number");
    }
    assert_eq!(server.metric("revbridge_masking_blocked_total"), 0.0, "the guard had nothing to stop");
    let (messages, packets) = (destination.phone.heard.len(), destination.rtp.packets().len());
    say(&format!(
        "masking: {messages} messages and {packets} RTP packets on leg B hold nothing of leg A, nor the other way round"
    ));
}

/// Nothing of `other` in what `heard` received; its audio did arrive; and the search would have found
/// something, had it been there.
fn check_side(heard: &Braggart, other: &Braggart) {
    let bytes = heard.capture();
    let capture = Capture::new(&bytes);
    let secrets = other.secrets();
    for secret in &secrets {
        let forms = capture.find(secret);
        assert!(forms.is_empty(), "{} was told {secret:?} of {} in {forms:?}", heard.canary, other.canary);
    }
    check_audio(heard, other);
    for secret in secrets.iter().take(5) {
        planted_is_found(&bytes, secret);
    }
}

#[test]
fn the_search_sees_through_every_disguise() {
    let innocent = b"INVITE sip:+12025550100@127.0.0.1 SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\nv=0\r\n".repeat(50);
    let secrets = [
        Secret::Word("zanzibar".into()),
        Secret::Number(USER_NUMBER[1..].into()),
        Secret::Address([10, 99, 2, 12].into()),
        Secret::Bytes(vec![0, 0xca, 0, 0x31]),
    ];
    for secret in secrets {
        planted_is_found(&innocent, &secret);
    }
}

/// RFC 3550: the other's audio, from a source of our own, without extension or contributing sources.
fn check_audio(heard: &Braggart, other: &Braggart) {
    let packets = heard.rtp.packets();
    let relayed: Vec<_> = packets.iter().filter(|p| p.ends_with(&[other.voice; 160])).collect();
    assert!(relayed.len() > 40, "{} heard {} packets of {}", heard.canary, relayed.len(), other.canary);
    for packet in &relayed {
        assert_eq!((packet.len(), packet[0]), (172, 0x80), "a bare header and the audio");
    }
    assert!(!heard.rtcp.packets().is_empty(), "{} gets RTCP of our making", heard.canary);
}
