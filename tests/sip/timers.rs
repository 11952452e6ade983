//! Silence, loss and lateness: all that only time decides.

use revbridge::events::Notice;
use revbridge::leg::{LegCommand, LegEvent, Loss};

use crate::peer::*;

#[test]
fn an_invite_to_nobody_is_lost_after_64_t1() {
    let mut w = World::new();
    let invite = w.invite();
    w.pass(31_999 * MS);
    assert_eq!(w.wire, vec![invite; 6]);
    w.no_event();
    w.pass(MS);
    assert_eq!(w.event(), LegEvent::Lost(Loss::Timeout));
}

#[test]
fn an_answer_after_the_timeout_is_still_taken_down() {
    let mut w = World::new();
    let invite = w.invite();
    w.pass(33 * SECOND);
    w.overlook();
    assert_eq!(w.event(), LegEvent::Lost(Loss::Timeout));
    w.receive(&answer(&invite, 200, "late", &with_sdp("Contact: <sip:bob@198.51.100.9>\r\n")));
    w.sent("ACK ");
    let bye = w.sent("BYE ");
    w.receive(&answer(&bye, 200, "", ""));
    w.no_event();
    w.pass(40 * SECOND);
    w.silent();
}

#[test]
fn a_phone_that_says_after_the_timeout_that_it_rings_is_cancelled() {
    let mut w = World::new();
    let invite = w.invite();
    w.pass(33 * SECOND);
    w.overlook();
    assert_eq!(w.event(), LegEvent::Lost(Loss::Timeout));
    w.receive(&answer(&invite, 180, "late", ""));
    let cancel = w.sent("CANCEL ");
    w.receive(&answer(&invite, 180, "late", ""));
    w.silent();
    w.receive(&answer(&cancel, 200, "late", ""));
    w.pass(40 * SECOND);
    w.silent();
}

#[test]
fn a_cancel_that_had_to_wait_has_its_whole_time() {
    let mut w = World::new();
    let invite = w.invite();
    w.end();
    w.pass(31_800 * MS);
    w.overlook();
    w.receive(&answer(&invite, 180, "late", ""));
    let cancel = w.sent("CANCEL ");
    w.pass(500 * MS);
    assert_eq!(w.sent("CANCEL "), cancel);
    w.no_event();
    w.receive(&answer(&cancel, 200, "late", ""));
    w.receive(&answer(&invite, 487, "late", ""));
    w.sent("ACK ");
    assert_eq!(w.event(), LegEvent::Gone);
    w.pass(40 * SECOND);
    w.silent();
}

#[test]
fn an_answer_after_a_refusal_is_taken_down() {
    let mut w = World::new();
    let invite = w.invite();
    w.receive(&answer(&invite, 486, "busy", "Reason: Q.850;cause=17\r\n"));
    w.sent("ACK ");
    assert_eq!(w.event(), LegEvent::Refused { status: 486, q850: Some(17) });
    w.receive(&answer(&invite, 200, "late", ""));
    w.sent("ACK ");
    w.sent("BYE ");
    w.no_event();
}

#[test]
fn a_redirection_is_a_refusal_and_is_not_followed() {
    let mut w = World::new();
    let invite = w.invite();
    let redirect = answer(&invite, 302, "x", "Contact: <sip:+19005550100@198.51.100.9>\r\n");
    w.receive(&redirect);
    let ack = w.sent("ACK ");
    assert_eq!(request_uri(&ack), request_uri(&invite));
    assert_eq!(w.event(), LegEvent::Refused { status: 302, q850: None });
    assert!(w.notices.contains(&Notice::InviteAnswered { trunk: "carrier".into(), status: 302 }));
    // The ACK was lost.
    w.receive(&redirect);
    assert_eq!(w.sent("ACK "), ack);
    w.no_event();
    w.silent();
}

#[test]
fn never_final_after_the_cancel_is_given_up() {
    let mut w = World::new();
    let invite = w.invite();
    w.receive(&answer(&invite, 180, "peer", ""));
    w.event();
    w.end();
    let cancel = w.sent("CANCEL ");
    w.receive(&answer(&cancel, 200, "peer", ""));
    w.pass(31_999 * MS);
    w.no_event();
    w.pass(MS);
    assert_eq!(w.event(), LegEvent::Gone);
    w.receive(&answer(&invite, 200, "peer", ""));
    w.sent("ACK ");
    w.sent("BYE ");
    w.no_event();
}

#[test]
fn an_end_that_nobody_hears_is_bounded_and_told_once() {
    let mut w = World::new();
    w.invite();
    w.end();
    w.pass(32 * SECOND);
    assert_eq!(w.event(), LegEvent::Gone);
    assert!(w.wire.iter().all(|m| m.starts_with("INVITE ")));
    w.end();
    w.pass(64 * SECOND);
    w.no_event();
}

#[test]
fn a_peer_that_is_deaf_after_its_answer_gets_eleven_byes() {
    let mut w = World::new();
    w.confirmed();
    w.end();
    w.pass(32 * SECOND);
    assert_eq!(w.wire.iter().filter(|m| m.starts_with("BYE ")).count(), 11);
    assert_eq!(w.event(), LegEvent::Gone);
    assert_eq!(w.endpoint.next_timeout(), None);
}

#[test]
fn an_answer_nobody_acknowledged_yet_is_ended_with_ack_and_bye() {
    let mut w = World::new();
    let invite = w.invite();
    w.receive(&answer(&invite, 200, "peer", ""));
    w.event();
    w.end();
    w.sent("ACK ");
    let bye = w.sent("BYE ");
    // Without a Contact, requests are for the number itself.
    assert_eq!(request_uri(&bye), request_uri(&invite));
    w.receive(&answer(&bye, 481, "", ""));
    assert_eq!(w.event(), LegEvent::Gone);
}

#[test]
fn both_hang_up_at_once_and_each_says_bye_once() {
    let mut w = World::new();
    let invite = w.confirmed();
    w.end();
    let bye = w.sent("BYE ");
    w.receive(&ask(&invite, "BYE", 7, "peer", ""));
    w.sent("SIP/2.0 200 ");
    assert_eq!(w.event(), LegEvent::Gone);
    w.receive(&answer(&bye, 481, "", ""));
    w.end();
    w.pass(40 * SECOND);
    w.silent();
    w.no_event();
}

#[test]
fn a_leg_that_never_spoke_is_gone_at_once() {
    let mut w = World::new();
    w.end();
    assert_eq!(w.event(), LegEvent::Gone);
    w.endpoint.forget(w.leg);
    w.command(LegCommand::Ack);
    w.end();
    assert_eq!(w.event(), LegEvent::Gone);
    w.silent();
}
