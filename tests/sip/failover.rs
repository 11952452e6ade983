//! Trunks that fail: another takes the call, and nothing of the first attempt is left (RFC 3263 §4.3).

use revbridge::config::{Name, Transport, Trunk};
use revbridge::events::Notice;
use revbridge::leg::{Failure, LegCommand, LegEvent, Loss};
use revbridge::model::Secret;
use revbridge::sip::{Down, Target};

use crate::peer::*;

const FIRST: &str = "192.0.2.7:5070";
const SECOND_ONE: &str = "192.0.2.8:5070";

fn named(name: &str, target: &str, priority: u16) -> Trunk {
    Trunk { name: name.into(), priority, ..trunk(target) }
}

fn two() -> World {
    World::among(vec![named("first", FIRST, 1), named("second", SECOND_ONE, 2)], Secret([5; 16]))
}

/// The next attempt, as the call makes it once it is permitted.
fn again(w: &mut World) -> String {
    assert!(w.prepare_again(Secret([6; 16])));
    w.invite()
}

fn unreached(w: &mut World) -> Failure {
    match w.event() {
        LegEvent::Unreached(failure) => failure,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_trunk_that_says_503_before_anybody_rings_is_passed_over() {
    for trying in [false, true] {
        let mut w = two();
        let first = w.invite();
        assert_eq!(w.on.remote, FIRST.parse().unwrap());
        if trying {
            w.receive(&answer(&first, 100, "", ""));
        }
        w.receive(&answer(&first, 503, "peer", ""));
        w.sent("ACK ");
        assert_eq!(unreached(&mut w), Failure::Refused { status: 503, q850: None });
        let failed = w
            .notices
            .iter()
            .any(|notice| matches!(notice, Notice::TrunkFailed { trunk, elsewhere: true } if &**trunk == "first"));
        assert!(failed);
        let second = again(&mut w);
        assert_eq!(w.on.remote, SECOND_ONE.parse().unwrap());
        for name in ["Call-ID", "From"] {
            assert_ne!(header(&first, name), header(&second, name), "{name}");
        }
        assert_ne!(branch(&first), branch(&second));
        let theirs = w.on;
        w.receive_from(theirs, &answer(&second, 200, "other", &with_sdp("Contact: <sip:b@192.0.2.8>\r\n")));
        assert!(matches!(w.event(), LegEvent::Answered { .. }));
        w.command(LegCommand::Ack);
        w.sent("ACK ");
        w.end();
        let bye = w.sent("BYE ");
        assert_eq!(w.on.remote, SECOND_ONE.parse().unwrap());
        w.receive_from(theirs, &answer(&bye, 200, "other", ""));
        assert_eq!(w.event(), LegEvent::Gone);
        w.pass(60 * SECOND);
        w.silent();
        w.no_event();
    }
}

#[test]
fn a_call_never_goes_on_elsewhere_once_somebody_may_be_ringing() {
    let mut w = two();
    let first = w.invite();
    w.receive(&answer(&first, 180, "peer", ""));
    w.event();
    w.receive(&answer(&first, 503, "peer", ""));
    w.sent("ACK ");
    assert_eq!(w.event(), LegEvent::Refused { status: 503, q850: None });
    // A 100 is a sign of life too: it may ring, and its own timers say when not.
    let mut w = two();
    let first = w.invite();
    w.receive(&answer(&first, 100, "", ""));
    w.pass(40 * SECOND);
    w.silent();
    w.no_event();
    // Nor for what says something of the callee.
    for status in [404, 408, 480, 486, 500, 600, 603] {
        let mut w = two();
        let first = w.invite();
        w.receive(&answer(&first, status, "peer", ""));
        assert_eq!(w.event(), LegEvent::Refused { status, q850: None });
    }
}

#[test]
fn a_trunk_that_says_nothing_is_given_up_and_whoever_rings_there_all_the_same_is_cancelled() {
    let mut w = two();
    let first = w.invite();
    w.pass(3_999 * MS);
    w.no_event();
    w.pass(MS);
    assert_eq!(unreached(&mut w), Failure::Lost(Loss::Timeout));
    w.overlook();
    let first_flow = w.flow;
    let second = again(&mut w);
    let second_flow = w.on;
    w.receive_from(second_flow, &answer(&second, 180, "other", ""));
    assert!(matches!(w.event(), LegEvent::Progress { status: 180, .. }));
    // The first wakes up, and its phone rings.
    w.receive_from(first_flow, &answer(&first, 180, "peer", ""));
    let cancel = w.sent("CANCEL ");
    assert_eq!((w.on, branch(&cancel)), (first_flow, branch(&first)));
    w.no_event();
    // It answers, crossing the CANCEL: a stray that is taken down, and the second lives on.
    w.receive_from(first_flow, &answer(&first, 200, "peer", &with_sdp("Contact: <sip:b@192.0.2.7>\r\n")));
    assert_eq!(header(&w.sent("ACK "), "Call-ID"), header(&first, "Call-ID"));
    let bye = w.sent("BYE ");
    assert_eq!((w.on, header(&bye, "Call-ID")), (first_flow, header(&first, "Call-ID")));
    w.no_event();
    w.receive_from(second_flow, &answer(&second, 200, "other", &with_sdp("Contact: <sip:b@192.0.2.8>\r\n")));
    assert!(matches!(w.event(), LegEvent::Answered { .. }));
    // What the first says now ends nothing.
    w.receive_from(first_flow, &ask(&first, "BYE", 3, "peer", ""));
    w.sent("SIP/2.0 200 ");
    w.no_event();
}

#[test]
fn without_another_trunk_the_one_has_all_the_time() {
    let mut w = World::new();
    let invite = w.invite();
    w.pass(31 * SECOND);
    w.no_event();
    w.overlook();
    w.receive(&answer(&invite, 503, "peer", ""));
    assert_eq!(w.event(), LegEvent::Refused { status: 503, q850: None });
    assert!(!w.prepare_again(Secret([6; 16])));
    // Nor is there one for a third attempt.
    let mut w = two();
    w.invite();
    w.pass(4 * SECOND);
    unreached(&mut w);
    again(&mut w);
    w.overlook();
    w.pass(31 * SECOND);
    w.no_event();
    w.pass(SECOND);
    assert_eq!(w.event(), LegEvent::Lost(Loss::Timeout));
    assert!(!w.prepare_again(Secret([7; 16])));
}

#[test]
fn a_connection_that_cannot_be_made_goes_on_elsewhere_at_once() {
    let first = Trunk { name: "first".into(), priority: 1, ..Trunk::at("x", Transport::Tls, FIRST.parse().unwrap()) };
    let mut w = World::among(vec![first, named("second", SECOND_ONE, 2)], Secret([5; 16]));
    w.invite();
    w.down(w.flow, Down::Certificate);
    assert_eq!(unreached(&mut w), Failure::Lost(Loss::Certificate));
    again(&mut w);
    assert_eq!(w.on.remote, SECOND_ONE.parse().unwrap());
}

#[test]
fn what_has_failed_is_avoided_by_the_next_call_for_as_long_as_it_asked() {
    let mut w = two();
    let first = w.invite();
    w.receive(&answer(&first, 503, "peer", "Retry-After: 60 (busy)\r\n"));
    w.sent("ACK ");
    unreached(&mut w);
    let number = revbridge::model::E164::parse(TO).unwrap();
    let order = |w: &World| -> Vec<String> {
        w.endpoint.candidates(w.now, number).iter().map(|c| c.trunk.name.to_string()).collect()
    };
    assert_eq!(order(&w), ["second", "first"]);
    w.pass(59 * SECOND);
    assert_eq!(order(&w), ["second", "first"]);
    w.pass(SECOND);
    assert_eq!(order(&w), ["first", "second"]);
}

#[test]
fn after_a_restart_every_attempt_is_taken_down() {
    let mut w = two();
    let first = w.invite();
    w.pass(4 * SECOND);
    unreached(&mut w);
    let first_flow = w.flow;
    let second = again(&mut w);
    let second_flow = w.on;
    w.restart(w.snapshot());
    w.end();
    w.overlook();
    w.receive_from(first_flow, &answer(&first, 200, "peer", &with_sdp("Contact: <sip:b@192.0.2.7>\r\n")));
    assert_eq!(header(&w.sent("ACK "), "Call-ID"), header(&first, "Call-ID"));
    w.sent("BYE ");
    assert_eq!(w.on, first_flow);
    w.receive_from(second_flow, &answer(&second, 200, "other", &with_sdp("Contact: <sip:b@192.0.2.8>\r\n")));
    assert_eq!(header(&w.sent("ACK "), "Call-ID"), header(&second, "Call-ID"));
    w.sent("BYE ");
    assert_eq!(w.on, second_flow);
}

#[test]
fn a_trunk_has_room_again_when_its_leg_is_over() {
    let small = Trunk { max_calls: Some(1), ..named("small", FIRST, 1) };
    let mut w = World::among(vec![small, named("big", SECOND_ONE, 2)], Secret([5; 16]));
    let number = revbridge::model::E164::parse(TO).unwrap();
    let room =
        |w: &World| w.endpoint.candidates(w.now, number).iter().find(|c| &*c.trunk.name == "small").unwrap().has_room;
    let invite = w.invite();
    assert!(!room(&w));
    w.restart(w.snapshot());
    assert!(!room(&w), "a restart counts what it finds");
    w.receive(&answer(&invite, 486, "peer", ""));
    assert!(room(&w));
}

#[test]
fn after_a_restart_an_attempt_that_was_given_up_is_cancelled_for_it_may_ring_since() {
    let mut w = two();
    let first = w.invite();
    w.pass(4 * SECOND);
    unreached(&mut w);
    let first_flow = w.flow;
    again(&mut w);
    w.restart(w.snapshot());
    w.end();
    let cancel = w.sent("CANCEL ");
    assert_eq!((w.on, branch(&cancel)), (first_flow, branch(&first)));
    // It did not, and does so later.
    w.receive_from(first_flow, &answer(&cancel, 481, "peer", ""));
    w.overlook();
    w.receive_from(first_flow, &answer(&first, 180, "peer", ""));
    assert_eq!(branch(&w.sent("CANCEL ")), branch(&first));
}

/// Whoever could have been asked instead was there when the INVITE left, and is not when its time has come.
#[test]
fn silence_is_borne_where_nobody_else_is_left() {
    let host: std::sync::Arc<str> = "second.example".into();
    let name = Name { host: host.clone(), port: None, transport: None };
    let second = Trunk { host, name_to_resolve: Some(name), ..named("second", SECOND_ONE, 2) };
    for stays in [true, false] {
        let mut w = World::among(vec![named("first", FIRST, 1), second.clone()], Secret([5; 16]));
        let there =
            [Target { transport: Transport::Udp, address: SECOND_ONE.parse().unwrap(), priority: 0, weight: 1 }];
        w.endpoint.targets(w.now, "second", &there, &mut vec![]);
        let invite = w.invite();
        if !stays {
            w.endpoint.targets(w.now, "second", &[], &mut vec![]);
        }
        w.pass(4 * SECOND);
        if stays {
            assert_eq!(unreached(&mut w), Failure::Lost(Loss::Timeout));
            continue;
        }
        w.no_event();
        w.overlook();
        w.receive(&answer(&invite, 200, "late", &with_sdp("")));
        assert!(matches!(w.event(), LegEvent::Answered { .. }));
    }
}
