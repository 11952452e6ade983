//! Whole calls of both paths.

use std::time::Duration;

use revbridge::api::Ask;
use revbridge::media::MediaEvent;
use revbridge::switch::Command;

use super::phone::Habit;
use super::world::{Browser, TO, World};

impl World {
    /// Its audio path stands; once this returns the switch has heard of it.
    fn is_up(&self, browser: &Browser) {
        self.media(browser, MediaEvent::BrowserUp);
        self.events(browser, None).until("\"connected\":true");
    }

    fn invites(&self) -> usize {
        self.running.board.stage(|stage| stage.invites.len())
    }
}

#[test]
fn a_browser_dials_talks_and_hangs_up() {
    let world = World::new();
    let browser = world.browser();
    assert_eq!(browser.location, format!("/v1/webrtc/connections/conn_{}", &browser.call.to_string()[5..]));
    assert_eq!(world.record(browser.call)["status"], "calling_user");
    world.is_up(&browser);
    assert_eq!(world.invites(), 0, "it has not dialled");
    let mut stream = world.events(&browser, None);
    for body in ["", r#"{"to_number":"+12125550123"}"#, "{}"] {
        let dialed = world.on(&browser, "POST", "/dial", body);
        assert_eq!(dialed.status, 202, "{dialed:?}");
        assert_eq!(dialed.data()["call_id"], browser.call.to_string());
    }
    stream.until("answered");
    assert_eq!(world.invites(), 1, "as often as it says so");
    let invite = world.running.board.stage(|stage| stage.invites[0].clone());
    assert!(
        invite.starts_with(&format!("INVITE sip:{TO}@")) && invite.contains("From: <sip:+12025550100@"),
        "{invite}"
    );
    assert!(!invite.contains("opus"), "{invite}");
    let hung_up = world.on(&browser, "POST", "/hangup", "");
    assert_eq!((hung_up.status, hung_up.data()["status"].as_str()), (200, Some("completed")));
    assert_eq!(world.on(&browser, "POST", "/hangup", "").data(), hung_up.data());
    let told = stream.all();
    assert!(told.contains(r#""reason":"hangup","ended_by":"user","status":"completed""#), "{told}");
    let record = world.record(browser.call);
    assert_eq!((&record["path"], &record["credential_type"]), (&"browser".into(), &"webrtc_token".into()));
    assert_eq!((&record["user_id"], &record["connect_number"]), (&"alice".into(), &serde_json::Value::Null));
    assert!(record.as_object().unwrap().contains_key("connect_number"));
    assert_eq!(record["cost"], "0.060000", "the destination's first minute, and nothing for the browser");
    assert_eq!(world.legs(), 0);
}

#[test]
fn a_browser_joins_what_the_server_places() {
    let world = World::new();
    let browser = world.joiner();
    let refused = world.on(&browser, "POST", "/dial", "{}");
    assert_eq!((refused.status, refused.code().as_str()), (403, "token_wrong_path"));
    assert_eq!(world.invites(), 0, "nobody answers to silence");
    world.is_up(&browser);
    world.events(&browser, None).until("answered");
    assert_eq!(world.on(&browser, "DELETE", "", "").status, 204);
    assert_eq!(world.on(&browser, "DELETE", "", "").status, 204);
    let record = world.record(browser.call);
    assert_eq!((&record["path"], &record["credential_type"]), (&"join".into(), &"room_token".into()));
    assert_eq!(record["end_reason"], "hangup");
}

#[test]
fn what_the_person_hears_is_what_any_caller_hears() {
    for (habit, last, reason) in [
        (Habit::IsBusy, "ended", "destination_busy"),
        (Habit::EarlyMedia, "early_media", "user_hangup"),
        (Habit::Rings, "ringing", "user_hangup"),
        (Habit::HangsUp, "ended", "hangup"),
    ] {
        let world = World::new();
        world.running.board.stage(|stage| stage.habit = habit);
        let browser = world.joiner();
        let mut stream = world.events(&browser, None);
        world.media(&browser, MediaEvent::BrowserUp);
        if habit == Habit::IsBusy {
            stream.until("ringing");
            world.running.board.wait("the tone", |s| s.heard.iter().any(|h| format!("{h:?}").starts_with("Busy")));
            world.running.board.later(Duration::from_secs(5));
        }
        stream.until(last);
        world.on(&browser, "POST", "/hangup", "");
        assert_eq!(world.record(browser.call)["end_reason"], reason, "{habit:?}");
        assert_eq!(world.legs(), 0);
    }
}

#[test]
fn a_closed_tab_ends_the_call_after_its_time_and_not_before() {
    let world = World::with("grace_seconds = 10");
    let browser = world.joiner();
    world.is_up(&browser);
    let mut stream = world.events(&browser, None);
    stream.until("answered");
    world.media(&browser, MediaEvent::BrowserDown);
    stream.until("\"connected\":false");
    world.running.board.later(Duration::from_secs(9));
    assert_eq!(world.record(browser.call)["status"], "in_progress");
    world.running.board.later(Duration::from_secs(2));
    let told = stream.all();
    assert!(told.contains(r#""reason":"browser_gone","ended_by":"timeout","status":"completed""#), "{told}");
}

#[test]
fn a_drain_ends_unused_tokens_at_once_and_calls_at_its_deadline() {
    let world = World::new();
    let unused = world.webrtc_token();
    let browser = world.joiner();
    world.is_up(&browser);
    let mut stream = world.events(&browser, None);
    stream.until("answered");
    let (reply, _draining) = tokio::sync::oneshot::channel();
    let deadline = Duration::from_secs(20);
    world.running.board.ask(Command::Drain { deadline }, reply).unwrap();
    world.running.board.wait("the unused token", |stage| stage.live == 1);
    let record = world.record(super::world::text(&unused, "call_id").parse().unwrap());
    assert_eq!((&record["status"], &record["end_reason"]), (&"canceled".into(), &"drained".into()));
    let refused = world.webrtc_token();
    assert_eq!((refused.status, refused.code().as_str()), (503, "unavailable"));
    assert_eq!(world.on(&browser, "PATCH", "", &super::world::offer("BB")).status, 200, "who talks may come back");
    world.running.board.later(deadline);
    assert!(stream.all().contains(r#""reason":"drained""#));
}

#[test]
fn an_operators_hang_up_is_told() {
    let world = World::new();
    let browser = world.joiner();
    world.is_up(&browser);
    let mut stream = world.events(&browser, None);
    stream.until("answered");
    let path = format!("/v1/calls/{}/hangup", browser.call);
    assert_eq!(world.ask("POST", &path, super::world::KEY, &[], "").status, 200);
    assert!(stream.all().contains(r#""reason":"api_hangup","ended_by":"api""#));
}

#[test]
fn after_a_crash_the_call_is_over_recorded_and_its_secrets_open_nothing() {
    let world = World::new();
    let unused = world.webrtc_token();
    let browser = world.joiner();
    world.is_up(&browser);
    world.events(&browser, None).until("answered");
    let world = world.restart();
    world.running.board.wait("the settlements", |stage| stage.live == 0 && !stage.transcript.is_empty());
    assert_eq!(world.record(browser.call)["end_reason"], "server_restart");
    assert_eq!(world.legs(), 0);
    let late = world.on(&browser, "GET", "/events", "");
    assert_eq!((late.status, late.code().as_str()), (401, "token_expired"));
    assert_eq!(world.on(&browser, "PATCH", "", &super::world::offer("BB")).code(), "token_expired");
    let hung_up = world.on(&browser, "POST", "/hangup", "");
    assert_eq!((hung_up.status, hung_up.data()["status"].as_str()), (200, Some("completed")));
    assert_eq!(world.on(&browser, "DELETE", "", "").status, 204);
    let refused = world.connect(&super::world::text(&unused, "token"));
    assert_eq!((refused.status, refused.code().as_str()), (401, "token_expired"));
}
