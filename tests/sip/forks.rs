//! One INVITE, many answers (RFC 3261 §12.1, §13.2.2.4).

use revbridge::leg::{LegCommand, LegEvent};

use crate::peer::*;

#[test]
fn early_dialogs_are_told_apart_up_to_a_bound() {
    let mut w = World::new();
    let invite = w.invite();
    for fork in 0..200 {
        w.receive(&answer(&invite, 180, &format!("fork{fork}"), ""));
    }
    assert_eq!(w.events.len(), 64);
    assert_eq!(w.events[63], LegEvent::Progress { status: 180, early: 63, sdp: None });
    w.events.clear();
    w.receive(&answer(&invite, 183, "fork7", &with_sdp("")));
    assert!(matches!(w.event(), LegEvent::Progress { status: 183, early: 7, sdp: Some(_) }));
    // A fork beyond the bound may still be the one that answers.
    w.receive(&answer(&invite, 200, "fork199", &with_sdp("")));
    assert!(matches!(w.event(), LegEvent::Answered { .. }));
}

#[test]
fn a_second_answer_is_acknowledged_and_ended_and_the_first_lives_on() {
    let mut w = World::new();
    let invite = w.confirmed();
    let second = answer(&invite, 200, "other", &with_sdp("Contact: <sip:voicemail@198.51.100.66>\r\n"));
    w.receive(&second);
    let ack = w.sent("ACK ");
    assert_eq!(request_uri(&ack), "sip:voicemail@198.51.100.66");
    assert!(header(&ack, "To").ends_with(";tag=other"));
    let bye = w.sent("BYE ");
    assert!(header(&bye, "To").ends_with(";tag=other"));
    w.receive(&second);
    assert_eq!(w.sent("ACK "), ack);
    w.receive(&answer(&bye, 200, "", ""));
    w.no_event();
    w.pass(40 * SECOND);
    w.silent();
    w.end();
    assert!(header(&w.sent("BYE "), "To").ends_with(";tag=peer"));
}

#[test]
fn the_second_answer_may_come_before_the_first_is_acknowledged() {
    let mut w = World::new();
    let invite = w.invite();
    w.receive(&answer(&invite, 200, "first", &with_sdp("")));
    w.receive(&answer(&invite, 200, "second", &with_sdp("")));
    assert!(header(&w.sent("ACK "), "To").ends_with(";tag=second"));
    assert!(header(&w.sent("BYE "), "To").ends_with(";tag=second"));
    w.command(LegCommand::Ack);
    assert!(header(&w.sent("ACK "), "To").ends_with(";tag=first"));
    w.events.remove(0);
    w.no_event();
}

#[test]
fn a_flood_of_answers_is_taken_down_up_to_a_bound() {
    let mut w = World::new();
    let invite = w.confirmed();
    for fork in 0..200 {
        w.receive(&answer(&invite, 200, &format!("fork{fork}"), ""));
    }
    assert_eq!(w.wire.iter().filter(|m| m.starts_with("BYE ")).count(), 64);
    w.no_event();
}

#[test]
fn the_bye_of_a_stray_dialog_ends_nothing_else() {
    let mut w = World::new();
    let invite = w.confirmed();
    w.receive(&answer(&invite, 200, "other", ""));
    w.overlook();
    w.receive(&ask(&invite, "BYE", 1, "other", ""));
    w.sent("SIP/2.0 200 ");
    w.no_event();
}
