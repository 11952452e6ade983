//! Tokens: who gets one, for what, and what becomes of it.

use std::thread;
use std::time::Duration;

use super::world::{DIALER, FROM, KEY, TO, World, numbers, offer, text};
use crate::client::Response;

const PATHS: [&str; 2] = ["/v1/webrtc-token", "/v1/room-token"];

fn keys(response: &Response) -> Vec<String> {
    response.data().as_object().unwrap().keys().cloned().collect()
}

#[test]
fn an_answer_has_exactly_the_fields_of_the_contract() {
    let world = World::new();
    let token = world.webrtc_token();
    assert_eq!(token.status, 200, "{token:?}");
    assert_eq!(keys(&token), ["call_id", "expires_in", "from_number", "to_number", "token"]);
    assert_eq!(token.data()["expires_in"], 600, "the organization's longest call");
    assert_eq!(token.header("cache-control"), Some("no-store"));
    let secret = text(&token, "token");
    assert!(secret.starts_with("rvw_") && secret.len() == 4 + 48, "160 bits and more: {}", secret.len());
    assert_eq!(world.record(text(&token, "call_id").parse().unwrap())["status"], "queued");

    let room = world.room_token();
    assert_eq!(keys(&room), ["call_id", "expires_in", "from_number", "room_name", "room_url", "to_number", "token"]);
    assert_eq!(room.data()["expires_in"], 120);
    assert_eq!(text(&room, "room_url"), format!("https://calls.example.com/v1/rooms/{}", text(&room, "room_name")));
    let body = format!(r#"{{"from_number":"{FROM}","to_number":"{TO}","ttl_seconds":30}}"#);
    assert_eq!(world.ask("POST", PATHS[1], KEY, &[], &body).data()["expires_in"], 30);
    assert_eq!(world.legs(), 6, "each holds its two legs");
}

#[test]
fn every_bad_field_is_named_and_nothing_is_issued() {
    let world = World::new();
    for path in PATHS {
        let bad = world.ask("POST", path, KEY, &[], r#"{"from_number":"x","ttl_second":1}"#);
        assert_eq!((bad.status, bad.code().as_str()), (400, "invalid_request"));
        ["from_number", "to_number", "ttl_second"].iter().for_each(|name| drop(bad.field(name)));
        let (status, code) = (403, "insufficient_scope");
        let refused = world.ask("POST", path, DIALER, &[], &numbers(TO));
        assert_eq!((refused.status, refused.code().as_str()), (status, code));
        assert_eq!(world.ask("POST", path, "rvw_x", &[], &numbers(TO)).status, 401);
    }
    for ttl in ["29", "601", "\"60\"", "null", "1.5"] {
        let body = format!(r#"{{"from_number":"{FROM}","to_number":"{TO}","ttl_seconds":{ttl}}}"#);
        world.ask("POST", PATHS[1], KEY, &[], &body).field("ttl_seconds");
        assert_eq!(world.ask("POST", PATHS[0], KEY, &[], &body).status, 400);
    }
    assert_eq!(world.legs(), 0);
}

#[test]
fn guardrails_decide_before_anything_is_issued() {
    let world = World::new();
    for path in PATHS {
        for (body, code) in [
            (numbers("+442079460000"), "destination_not_allowed"),
            (numbers("+19005550100"), "destination_not_allowed"),
            (numbers(FROM), "destination_not_allowed"),
            (format!(r#"{{"from_number":"{TO}","to_number":"+13125550100"}}"#), "caller_id_not_verified"),
        ] {
            let refused = world.ask("POST", path, KEY, &[], &body);
            assert_eq!((refused.status, refused.code().as_str()), (403, code), "{body}");
        }
    }
    assert_eq!(world.legs(), 0);
}

#[test]
fn a_repetition_gets_the_same_token_until_it_is_used() {
    let world = World::new();
    let ask = |key: &str, to: &str| world.ask("POST", PATHS[0], KEY, &[("Idempotency-Key", key)], &numbers(to));
    let first = ask("one", TO);
    let again = ask("one", TO);
    assert_eq!((first.status, &first.body), (200, &again.body));
    assert_eq!((first.header("idempotency-replay"), again.header("idempotency-replay")), (None, Some("true")));
    assert_eq!(ask("one", "+13125550100").code(), "idempotency_conflict");
    assert_ne!(text(&ask("two", TO), "token"), text(&first, "token"));
    assert_eq!(world.legs(), 4);
    assert_eq!(world.connect(&text(&first, "token")).status, 201);
    let late = ask("one", TO);
    assert_eq!((late.status, late.code().as_str()), (409, "token_used"));
    assert_eq!(world.legs(), 4);
}

#[test]
fn two_hundred_repetitions_at_once_make_one_token() {
    let world = World::new();
    let ask = || world.ask("POST", PATHS[1], KEY, &[("Idempotency-Key", "k")], &numbers(TO));
    let all: Vec<Response> = thread::scope(|scope| {
        let asking: Vec<_> = (0..200).map(|_| scope.spawn(ask)).collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    assert!(all.iter().all(|response| response.status == 200 && response.body == all[0].body));
    assert_eq!(world.legs(), 2);
}

#[test]
fn a_token_opens_its_call_once() {
    let world = World::new();
    let token = text(&world.webrtc_token(), "token");
    assert_eq!(world.connect(&token).status, 201);
    let again = world.connect(&token);
    assert_eq!((again.status, again.code().as_str()), (409, "token_used"));
}

#[test]
fn of_a_thousand_that_come_at_once_exactly_one_is_let_in() {
    let world = World::new();
    let token = text(&world.webrtc_token(), "token");
    let all: Vec<Response> = thread::scope(|scope| {
        let asking: Vec<_> = (0..1_000).map(|_| scope.spawn(|| world.connect(&token))).collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    assert_eq!(all.iter().filter(|response| response.status == 201).count(), 1);
    let others: Vec<_> = all.iter().filter(|response| response.status != 201).collect();
    assert!(others.iter().all(|response| (response.status, response.code().as_str()) == (409, "token_used")));
    assert_eq!(world.running.board.stage(|stage| stage.offered.len()), 1, "the audio saw one offer");
    assert_eq!(world.legs(), 2);
}

#[test]
fn each_wrong_token_is_told_what_it_is() {
    let world = World::new();
    let (webrtc, room) = (world.webrtc_token(), world.room_token());
    let (webrtc_token, room_token) = (text(&webrtc, "token"), text(&room, "token"));
    let its_room = format!("/v1/rooms/{}", text(&room, "room_name"));
    let other_room = format!("/v1/rooms/{}", text(&world.room_token(), "room_name"));
    let ask = |path: &str, token: &str| world.ask("POST", path, token, &[], &offer("AA"));
    let connections = "/v1/webrtc/connections";
    for (path, token, status, code) in [
        (connections, "", 401, "token_invalid"),
        (connections, KEY, 401, "token_invalid"),
        (connections, "rvw_0123", 401, "token_invalid"),
        (connections, &format!("rvw_{}", "0".repeat(48)), 401, "token_invalid"),
        (connections, &format!("rvr_{}", "0".repeat(48)), 401, "token_invalid"),
        (connections, &room_token, 403, "token_wrong_path"),
        (&its_room, &webrtc_token, 403, "token_wrong_path"),
        (&other_room, &room_token, 403, "token_wrong_path"),
        ("/v1/rooms/nowhere", &room_token, 404, "not_found"),
    ] {
        let refused = ask(path, token);
        assert_eq!((refused.status, refused.code().as_str()), (status, code), "{path}");
        if status == 401 || status == 403 {
            assert!(refused.header("www-authenticate").is_some());
        }
    }
    // None of that used anything up.
    assert_eq!(ask(connections, &webrtc_token).status, 201);
    assert_eq!(ask(&its_room, &room_token).status, 201);
}

#[test]
fn an_unused_token_runs_out_and_leaves_a_record_that_says_so() {
    let world = World::new();
    let (webrtc, room) = (world.webrtc_token(), world.room_token());
    world.running.board.later(Duration::from_secs(121));
    world.running.board.wait("the room to expire", |stage| stage.live == 1);
    world.running.board.later(Duration::from_secs(480));
    world.running.board.wait("the other", |stage| stage.live == 0);
    for (token, path) in [(webrtc, "browser"), (room, "join")] {
        let record = world.record(text(&token, "call_id").parse().unwrap());
        assert_eq!((&record["path"], &record["status"]), (&path.into(), &"canceled".into()));
        assert_eq!((&record["end_reason"], &record["ended_by"]), (&"token_expired".into(), &"timeout".into()));
        assert_eq!(record["cost"], "0.000000");
        let (token, room) = (text(&token, "token"), token.data()["room_name"].as_str().map(str::to_owned));
        let path = room.map_or("/v1/webrtc/connections".to_owned(), |room| format!("/v1/rooms/{room}"));
        let late = world.ask("POST", &path, &token, &[], &offer("AA"));
        assert_eq!((late.status, late.code().as_str()), (401, "token_expired"));
    }
    assert_eq!(world.legs(), 0);
}

#[test]
fn a_token_dies_with_its_call() {
    let world = World::new();
    let token = world.webrtc_token();
    let path = format!("/v1/calls/{}/hangup", text(&token, "call_id"));
    assert_eq!(world.ask("POST", &path, KEY, &[], "").data()["status"], "canceled");
    let late = world.connect(&text(&token, "token"));
    assert_eq!((late.status, late.code().as_str()), (401, "token_expired"));
    assert_eq!(world.legs(), 0);
}
