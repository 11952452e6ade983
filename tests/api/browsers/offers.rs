//! Offers: which are taken, what an answer brings along, and who may come back.

use revbridge::media::{MediaEvent, OfferError};

use super::world::{KEY, World, offer, text};

#[test]
fn an_answer_brings_what_the_browser_needs() {
    let relays = "[[webrtc.turn]]\nuri = \"turn:turn.example.com:3478?transport=udp\"\nsecret = \"north\"\n\
                  [[webrtc.turn]]\nuri = \"turns:turn.example.com:443?transport=tcp\"\nsecret = \"north\"\n";
    let world = World::with(relays);
    let token = world.webrtc_token();
    let answer = world.connect(&text(&token, "token"));
    assert_eq!((answer.status, answer.header("content-type")), (201, Some("application/sdp")));
    assert!(answer.body.starts_with("v=0"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let secret = answer.header("revbridge-reconnect").unwrap();
    assert!(secret.starts_with("rvr_") && secret.len() == 52);
    let links: Vec<&str> = answer.headers.iter().filter(|(name, _)| name == "link").map(|(_, v)| v.as_str()).collect();
    assert_eq!(links.len(), 2);
    assert!(links[0].starts_with("<turn:turn.example.com:3478?transport=udp>; rel=\"ice-server\"; username=\""));
    assert!(links[0].contains(&text(&token, "call_id")) && links[0].ends_with("; credential-type=\"password\""));
    assert!(!answer.headers.iter().any(|(_, value)| value.contains("north")));
}

#[test]
fn a_bad_offer_says_what_is_wrong_and_uses_nothing_up() {
    let world = World::new();
    let token = text(&world.webrtc_token(), "token");
    let post =
        |headers: &[(&str, &str)], body: &str| world.ask("POST", "/v1/webrtc/connections", &token, headers, body);
    let sdp = [("Content-Type", "application/sdp")];
    let many = format!("{}{}", offer("AA"), "a=candidate:1 1 udp 1 10.0.0.1 9 typ host\r\n".repeat(1_001));
    for (body, code) in [
        ("hello".to_owned(), "offer_invalid"),
        (offer("AA").replace("m=audio", "m=video"), "offer_invalid"),
        (offer("AA").replace("a=ice-pwd", "a=ice-pw"), "offer_invalid"),
        (offer("AA").replace("sha-256", "sha-1"), "offer_invalid"),
        (many, "offer_invalid"),
        (offer("AA").replace(" 0 8 ", " "), "no_common_codec"),
    ] {
        let refused = post(&sdp, &body);
        assert_eq!((refused.status, refused.code().as_str()), (400, code), "{body:.60}");
        refused.field("sdp");
    }
    assert_eq!(post(&[("Content-Type", "application/json")], "{}").status, 415);
    assert_eq!(post(&[("Content-Type", "text/plain")], &offer("AA")).status, 415);
    let big = format!("{}{}", offer("AA"), "a=x\r\n".repeat(14_000));
    assert_eq!((post(&sdp, &big).status, post(&sdp, &big).code().as_str()), (413, "payload_too_large"));
    // What the media cannot do anything with costs nothing either.
    world.running.board.stage(|stage| stage.refuse = Some(OfferError::Unavailable));
    let refused = post(&sdp, &offer("AA"));
    assert_eq!((refused.status, refused.code().as_str()), (503, "unavailable"));
    assert!(refused.header("retry-after").is_some());
    world.running.board.stage(|stage| stage.refuse = None);
    assert_eq!(post(&sdp, &offer("AA")).status, 201);
}

#[test]
fn the_same_browser_comes_back_with_its_secret_and_nobody_else_does() {
    let world = World::new();
    let (one, two) = (world.browser(), world.joiner());
    for certificate in ["AA", "BB"] {
        let answer = world.on(&one, "PATCH", "", &offer(certificate));
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/sdp")));
    }
    let token = text(&world.webrtc_token(), "token");
    let stranger = format!("rvr_{}", "0".repeat(48));
    for (method, path, body) in [
        ("PATCH", "", offer("AA")),
        ("POST", "/dial", "{}".into()),
        ("POST", "/hangup", String::new()),
        ("DELETE", "", String::new()),
        ("GET", "/events", String::new()),
    ] {
        let ask = |secret: &str| world.ask(method, &format!("{}{path}", one.location), secret, &[], &body);
        for secret in [stranger.as_str(), &token, KEY, ""] {
            let refused = ask(secret);
            assert_eq!((refused.status, refused.code().as_str()), (401, "token_invalid"), "{method} {path}");
        }
        let foreign = ask(&two.secret);
        assert_eq!((foreign.status, foreign.code().as_str()), (404, "not_found"), "{method} {path}");
        let nowhere = world.ask(method, &format!("/v1/webrtc/connections/x{path}"), &one.secret, &[], &body);
        assert_eq!(nowhere.status, 404);
    }
    let bad = world.on(&one, "PATCH", "", "v=1");
    assert_eq!((bad.status, bad.code().as_str()), (400, "offer_invalid"));
    assert_eq!(world.record(one.call)["ended_at"], serde_json::Value::Null);
}

#[test]
fn the_destination_is_locked() {
    let world = World::new();
    let browser = world.browser();
    let other = world.on(&browser, "POST", "/dial", r#"{"to_number":"+13125550100"}"#);
    assert_eq!((other.status, other.code().as_str()), (403, "token_destination_mismatch"));
    other.field("to_number");
    for body in [r#"{"to_number":"12125550123"}"#, r#"{"to":"+12125550123"}"#, "[]", "{"] {
        let headers = [("Content-Type", "application/json")];
        let path = format!("{}/dial", browser.location);
        assert_eq!(world.ask("POST", &path, &browser.secret, &headers, body).status, 400, "{body}");
    }
    world.media(&browser, MediaEvent::BrowserUp);
    world.events(&browser, None).until("ready");
    assert_eq!(world.running.board.stage(|stage| stage.invites.len()), 0);
}

#[test]
fn one_secret_may_not_ask_without_end() {
    let world = World::new();
    let browser = world.browser();
    let refused = (0..60).map(|_| world.on(&browser, "POST", "/dial", "{}")).find(|response| response.status != 202);
    let refused = refused.expect("sixty in a row");
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(world.on(&world.browser(), "POST", "/dial", "{}").status, 202, "another browser is not slowed down");
}
