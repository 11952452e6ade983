//! The real server at a registrar: known and called through, forgotten, and out of service.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the lab is all sockets, clocks and threads")]

mod support;

use std::time::Duration;

use serde_json::json;
use support::{Habit, Handset, Lab, Message, Phone, Server, Settings, Sipp, poll};

const SOON: Duration = Duration::from_secs(10);
const UP: &str = "revbridge_trunk_up{trunk=\"carrier\"}";

/// Answers a REGISTER for the Contact that it names.
fn grant(phone: &Phone, request: &Message, seconds: u32) {
    let contact = request.header("Contact").split(";expires").next().expect("a contact");
    phone.answer(request, "200 OK", &[&format!("Contact: {contact};expires={seconds}")], "");
}

fn is_answered(request: &Message) -> bool {
    request.method() == "REGISTER" && !request.header("Authorization").is_empty()
}

#[test]
fn a_trunk_takes_calls_while_its_registrar_knows_us() {
    let lab = Lab::new();
    let _user = Handset::new(lab.user(), Habit::ANSWERS);
    let mut phone = Phone::new(lab.destination());
    let carrier = "register = true\nregister_expires_seconds = 60".into();
    let server = Server::start(Settings { carrier, ..lab.settings() });
    let first = phone.expect("REGISTER");
    assert_eq!(first.uri(), format!("sip:{}", lab.destination()));
    assert_eq!(server.metric(UP), 0.0);
    let challenge =
        "WWW-Authenticate: Digest realm=\"trunk.example\", nonce=\"n\", algorithm=SHA-512-256, qop=\"auth\"";
    phone.answer(&first, "401 Unauthorized", &[challenge], "");
    let second = phone.find("an answered challenge", is_answered);
    assert_eq!((second.header("CSeq"), second.call_id()), ("2 REGISTER", first.call_id()));
    grant(&phone, &second, 8);
    assert!(poll(SOON, || (server.metric(UP) == 1.0).then_some(())).is_some(), "in service");

    let call = server.place(json!({}));
    let invite = phone.expect("INVITE");
    phone.answer(&invite, "486 Busy Here", &[], "");
    phone.expect("ACK");
    let record = server.ended(&call, SOON).expect("a record");
    assert_eq!(record["end_reason"], "destination_busy", "{record}");

    // Refreshed, then refused: out of service once the binding has run out, and no sooner.
    let refresh = phone.expect("REGISTER");
    assert_eq!(refresh.header("CSeq"), "3 REGISTER");
    assert!(refresh.header("Authorization").contains("nc=00000002"));
    phone.answer(&refresh, "403 Forbidden", &[], "");
    assert_eq!(server.metric(UP), 1.0);
    assert!(poll(SOON, || (server.metric(UP) == 0.0).then_some(())).is_some(), "out of service");
    assert!(server.log().contains("trunk out of service"));
    // And back.
    let again = phone.find("a new attempt", is_answered);
    grant(&phone, &again, 60);
    assert!(poll(SOON, || (server.metric(UP) == 1.0).then_some(())).is_some(), "in service again");
}

#[test]
fn sipp_as_a_registrar_believes_the_password_and_gets_more_time() {
    let lab = Lab::new();
    let registrar = Sipp::start("registrar_wants_more_time", lab.destination(), lab.folder(), Duration::from_secs(20));
    let carrier = "register = true\nregister_expires_seconds = 60".into();
    let server = Server::start(Settings { carrier, ..lab.settings() });
    let outcome = registrar.finish();
    assert_eq!(outcome.code, 0, "{} {}", outcome.starts(), outcome.errors);
    assert_eq!(outcome.starts(), "REGISTER REGISTER REGISTER");
    assert!(poll(SOON, || (server.metric(UP) == 1.0).then_some(())).is_some(), "in service");
}
