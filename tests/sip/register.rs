//! A registrar that challenges, refuses, redirects, grants little, forgets and is silent (RFC 3261 §10).

use std::time::Duration;

use revbridge::config::Trunk;
use revbridge::events::Notice;
use revbridge::model::E164;

use crate::peer::*;

const CHALLENGE: &str =
    "WWW-Authenticate: Digest realm=\"carrier.example\", nonce=\"r1\", qop=\"auth\", algorithm=SHA-256\r\n";

fn world_trunk() -> Trunk {
    Trunk { credentials: Some(credentials()), register: Some(3_600 * SECOND), ..trunk("192.0.2.7:5070") }
}

fn health(w: &mut World) -> Vec<bool> {
    let health = |n: Notice| match n {
        Notice::TrunkHealth { in_service, .. } => Some(in_service),
        _ => None,
    };
    w.notices.drain(..).filter_map(health).collect()
}

fn has_route(w: &World) -> bool {
    w.endpoint.has_route(w.now, E164::parse(TO).unwrap())
}

fn granted(request: &str, seconds: u32) -> String {
    let contact = header(request, "Contact").split(";expires").next().unwrap().to_owned();
    answer(request, 200, "r", &format!("Contact: <sip:bridge@198.51.100.99>, {contact};expires={seconds}\r\n"))
}

/// The first REGISTER, after its challenge.
fn challenged(w: &mut World) -> String {
    w.pass(MS);
    let first = w.sent("REGISTER sip:192.0.2.7:5070 ");
    assert!(!has(&first, "Authorization"));
    w.receive(&answer(&first, 401, "r", CHALLENGE));
    let second = w.sent("REGISTER ");
    assert_eq!(header(&second, "Call-ID"), header(&first, "Call-ID"));
    assert_eq!(header(&second, "CSeq"), "2 REGISTER");
    assert!(header(&second, "Authorization").contains("username=\"bridge\""));
    second
}

#[test]
fn a_trunk_takes_calls_while_it_knows_us() {
    let mut w = World::registering(world_trunk());
    assert!(!has_route(&w));
    let request = challenged(&mut w);
    assert_eq!(header(&request, "To"), "<sip:bridge@192.0.2.7:5070>");
    assert_eq!(header(&request, "Contact"), "<sip:bridge@192.0.2.1:5060>;expires=3600");
    assert_eq!(header(&request, "Expires"), "3600");
    w.receive(&granted(&request, 600));
    assert_eq!(health(&mut w), [true]);
    assert!(has_route(&w));
    // Three quarters of what was granted for our own Contact, with the next count of the same nonce.
    w.pass(449 * SECOND);
    w.silent();
    w.pass(2 * SECOND);
    let refresh = w.sent("REGISTER ");
    assert_eq!(header(&refresh, "CSeq"), "3 REGISTER");
    assert_eq!(header(&refresh, "Call-ID"), header(&request, "Call-ID"));
    assert!(header(&refresh, "Authorization").contains("nc=00000002"), "{refresh}");
    w.receive(&granted(&refresh, 600));
    // Then nobody answers: it is in service until the binding runs out, and no longer.
    w.pass(599 * SECOND);
    assert!(health(&mut w).is_empty() && has_route(&w));
    w.pass(2 * SECOND);
    assert_eq!(health(&mut w), [false]);
    assert!(!has_route(&w));
}

#[test]
fn a_time_that_is_too_short_is_asked_for_longer_and_only_within_a_day() {
    let mut w = World::registering(world_trunk());
    let request = challenged(&mut w);
    w.receive(&answer(&request, 423, "r", "Min-Expires: 7200\r\n"));
    let request = w.sent("REGISTER ");
    assert_eq!(header(&request, "Expires"), "7200");
    w.receive(&granted(&request, 7_200));
    assert_eq!(health(&mut w), [true]);

    let mut w = World::registering(world_trunk());
    for wanted in ["Min-Expires: 604800\r\n", "Min-Expires: 60\r\n", ""] {
        let request = next(&mut w);
        w.receive(&answer(&request, 423, "r", wanted));
        w.silent();
    }
    assert!(!has_route(&w));
}

/// The next REGISTER, however long that takes.
fn next(w: &mut World) -> String {
    for _ in 0..100_000 {
        if !w.wire.is_empty() {
            return w.sent("REGISTER ");
        }
        w.pass(100 * MS);
    }
    panic!("no REGISTER")
}

#[test]
fn what_fails_is_tried_later_and_later_and_a_redirection_is_not_followed() {
    let mut w = World::registering(world_trunk());
    let mut last = Duration::ZERO;
    let mut waits = Vec::new();
    for status in [403, 302, 500, 503, 404, 403, 403, 403, 403, 403] {
        let request = next(&mut w);
        w.receive(&answer(&request, status, "r", "Contact: <sip:elsewhere@203.0.113.9>\r\n"));
        w.silent();
        let from = w.now;
        let again = next(&mut w);
        last = w.now.since(from);
        waits.push(last);
        w.receive(&answer(&again, 100, "", ""));
        w.receive(&answer(&again, status, "r", ""));
    }
    assert!(waits[0] < 6 * SECOND && last > 140 * SECOND && last <= 301 * SECOND, "{waits:?}");
    assert!(health(&mut w).is_empty(), "it was never in service");
    let request = next(&mut w);
    w.receive(&answer(&request, 503, "r", "Retry-After: 900\r\n"));
    w.pass(899 * SECOND);
    w.silent();
    let request = next(&mut w);
    // No longer than an hour, whoever asks.
    w.receive(&answer(&request, 503, "r", "Retry-After: 999999999\r\n"));
    w.pass(3_601 * SECOND);
    w.receive(&granted(&w.wire.first().cloned().unwrap(), 3_600));
    assert_eq!(health(&mut w), [true]);
}

#[test]
fn credentials_are_for_their_realm_and_nobody_else_answers() {
    let mut w = World::registering(world_trunk());
    w.pass(MS);
    let first = w.sent("REGISTER ");
    w.receive(&answer(&first, 401, "r", &CHALLENGE.replace("carrier.example", "evil.example")));
    w.silent();
    let request = next(&mut w);
    assert!(!has(&request, "Authorization"));
    let stranger = revbridge::sip::Flow { remote: "192.0.2.7:1".parse().unwrap(), ..w.flow };
    w.receive_from(stranger, &granted(&request, 600));
    w.receive(&granted(&request, 600).replace(branch(&request), "z9hG4bKx"));
    // Of others, and of nobody: that is no binding of ours.
    assert!(health(&mut w).is_empty());
    w.receive(&answer(&request, 200, "r", "Contact: <sip:bridge@198.51.100.99>;expires=600\r\n"));
    assert!(health(&mut w).is_empty());
    let request = next(&mut w);
    w.receive(&granted(&request, 0));
    assert!(health(&mut w).is_empty() && !has_route(&w));
}

#[test]
fn a_challenge_without_end_is_answered_three_times_and_then_later() {
    let mut w = World::registering(world_trunk());
    w.pass(MS);
    for number in 1..=4 {
        let request = w.sent("REGISTER ");
        assert_eq!(header(&request, "CSeq"), format!("{number} REGISTER"));
        w.receive(&answer(&request, 401, "r", CHALLENGE));
    }
    w.silent();
    w.pass(SECOND);
    w.silent();
    next(&mut w);
}

#[test]
fn a_binding_of_a_second_makes_no_flood() {
    let mut w = World::registering(world_trunk());
    let mut count = 0;
    for _ in 0..600 {
        w.pass(100 * MS);
        while !w.wire.is_empty() {
            let request = w.sent("REGISTER ");
            count += 1;
            w.receive(&granted(&request, 1));
        }
    }
    assert!((8..=13).contains(&count), "{count} in a minute");
}
