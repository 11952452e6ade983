//! Keys, scopes, paths, methods and headers.

use crate::client::request;
use crate::world::{ALICE, MALLORY, READER, WRITER, World, good};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const ID: (&str, &str) = ("X-Request-Id", "mine");

/// One answer for every key that is not valid, byte for byte.
#[test]
fn a_bad_key_says_nothing_of_why_it_is_bad() {
    let world = World::new();
    let half = format!("Bearer {}", &ALICE[..6]);
    let twice = format!("Bearer {ALICE}\r\nAuthorization: Bearer {ALICE}");
    let long = format!("Bearer {}", "k".repeat(8_000));
    let basic = format!("Basic {ALICE}");
    let heads: [&[(&str, &str)]; 8] = [
        &[],
        &[("Authorization", "")],
        &[("Authorization", "Bearer ")],
        &[("Authorization", "Bearer wrong")],
        &[("Authorization", &half)],
        &[("Authorization", &twice)],
        &[("Authorization", &long)],
        &[("Authorization", &basic)],
    ];
    let responses = heads.map(|head| {
        let headers = [head, &[JSON, ID]].concat();
        world.raw(&request("POST", "/v1/calls/dial", &headers, good().as_bytes()))
    });
    assert_eq!((responses[0].status, responses[0].code().as_str()), (401, "unauthorized"));
    assert_eq!(responses[0].header("www-authenticate"), Some("Bearer realm=\"revbridge\""));
    for response in &responses {
        assert_eq!(*response, responses[0]);
    }
    // RFC 9110 §11.1: the scheme in any case.
    let lower = format!("bearer {ALICE}");
    let response = world.raw(&request("GET", "/v1/calls", &[("Authorization", &lower)], b""));
    assert_eq!(response.status, 200);
    world.is_unhurt();
}

#[test]
fn a_key_may_do_what_its_scopes_say() {
    let world = World::new();
    let response = world.call("POST", "/v1/calls/dial", READER, &[], good().as_bytes());
    assert_eq!((response.status, response.code().as_str()), (403, "insufficient_scope"));
    assert!(response.header("www-authenticate").unwrap().contains("scope=\"calls:write\""), "{response:?}");
    let id = world.dial(&good()).data()["call_id"].as_str().unwrap().to_owned();
    let call = format!("/v1/calls/{id}");
    for path in ["/v1/calls", &call, "/v1/guardrails"] {
        assert_eq!(world.call("GET", path, READER, &[], b"").status, 200, "{path}");
        assert_eq!(world.call("GET", path, WRITER, &[], b"").status, 403, "{path}");
    }
    assert_eq!(world.call("POST", &format!("{call}/hangup"), READER, &[], b"").status, 403);
}

/// What belongs to another organization is answered as what does not exist.
#[test]
fn a_foreign_call_is_an_unknown_call_byte_for_byte() {
    let world = World::new();
    let foreign = world.dial(&good()).data()["call_id"].as_str().unwrap().to_owned();
    let unknown = format!("{}{}", &foreign[..20], "00000000000");
    for (method, tail) in [("GET", ""), ("POST", "/hangup")] {
        let ask = |id: &str| world.call(method, &format!("/v1/calls/{id}{tail}"), MALLORY, &[ID], b"");
        let first = ask(&unknown);
        assert_eq!((first.status, first.code().as_str()), (404, "not_found"));
        for id in [&foreign, &foreign.to_lowercase(), "call_x", "%00", "..%2f", "call_'%20OR%201=1"] {
            assert_eq!(ask(id), first, "{id}");
        }
    }
    assert_eq!(world.get(&format!("/v1/calls/{foreign}")).data()["status"], "queued");
    let list = world.call("GET", "/v1/calls", MALLORY, &[], b"");
    assert_eq!(list.data().as_array().unwrap().len(), 0);
}

#[test]
fn every_response_has_a_request_id_and_only_harmless_ones_are_echoed() {
    let world = World::new();
    for id in ["a", "req-1_2.3:4", &"x".repeat(128)] {
        assert_eq!(
            world.call("GET", "/v1/calls", ALICE, &[("X-Request-Id", id)], b"").header("x-request-id"),
            Some(id)
        );
    }
    let mut seen = Vec::new();
    for id in ["", "a b", "a\tb", "<x>", "\"", "a;b", "é", "\u{2028}", &"x".repeat(129)] {
        for path in ["/v1/calls", "/nowhere"] {
            let response = world.call("GET", path, ALICE, &[("X-Request-Id", id)], b"");
            let own = response.header("x-request-id").unwrap().to_owned();
            assert!(own.starts_with("req_") && !seen.contains(&own), "{own}");
            seen.push(own);
        }
    }
}

#[test]
fn an_idempotency_key_is_visible_ascii() {
    let world = World::new();
    for key in ["", "a b", "é", "\u{2028}", "a\tb", &"k".repeat(256), "a\r\nIdempotency-Key: b"] {
        let headers = [("Idempotency-Key", key)];
        let response = world.call("POST", "/v1/calls/dial", ALICE, &headers, good().as_bytes());
        assert_eq!(response.status, 400, "{key:?}");
        assert!(response.field("Idempotency-Key").starts_with("expected one header"), "{response:?}");
    }
    // A line feed or NUL in a header never gets as far as a handler.
    for raw in ["a\0b", "a\nb: c", "a\rb"] {
        let response = world.raw(&request("POST", "/v1/calls/dial", &[("Idempotency-Key", raw), JSON], b"{}"));
        assert!(response.status == 400 || response.status == 401, "{raw:?}: {response:?}");
    }
    for key in ["!", "\"'<>;,", &"k".repeat(255)] {
        let headers = [("Idempotency-Key", key)];
        assert_eq!(world.call("POST", "/v1/calls/dial", ALICE, &headers, good().as_bytes()).status, 202, "{key:?}");
    }
}

#[test]
fn paths_and_methods_that_do_not_exist() {
    let world = World::new();
    for path in ["/", "/v1", "/v1/calls/", "/v1/calls/x/y", "/v2/calls", "/v1/calls/dial/", "//v1/calls"] {
        let response = world.get(path);
        assert_eq!((response.status, response.code().as_str()), (404, "not_found"), "{path}");
    }
    for (method, path, allow) in
        [("GET", "/v1/calls/dial", "POST"), ("DELETE", "/v1/calls", "GET,HEAD"), ("PUT", "/v1/guardrails", "GET,HEAD")]
    {
        let response = world.call(method, path, ALICE, &[], b"");
        assert_eq!((response.status, response.code().as_str()), (405, "method_not_allowed"), "{method} {path}");
        assert_eq!(response.header("allow"), Some(allow));
    }
}

#[test]
fn a_body_says_what_it_is() {
    let world = World::new();
    for kind in
        ["text/plain", "application/json-patch+json", "", "application/json; charset=utf-16", "multipart/form-data"]
    {
        let response = world.call("POST", "/v1/calls/dial", ALICE, &[("Content-Type", kind)], good().as_bytes());
        assert_eq!((response.status, response.code().as_str()), (415, "unsupported_media_type"), "{kind}");
    }
    let zipped = [JSON, ("Content-Encoding", "gzip")];
    assert_eq!(world.call("POST", "/v1/calls/dial", ALICE, &zipped, good().as_bytes()).status, 415);
    for kind in [
        "application/json",
        "Application/JSON",
        "application/json; charset=UTF-8",
        "application/json;charset=\"utf-8\"",
    ] {
        let response = world.call("POST", "/v1/calls/dial", ALICE, &[("Content-Type", kind)], good().as_bytes());
        assert_eq!(response.status, 202, "{kind}");
    }
}

#[test]
fn a_query_is_as_strict_as_a_body() {
    let world = World::new();
    let response =
        world.get("/v1/calls?limit=0&cursor=x&status=ringing&from_number=12&user_id=a%0Ab&started_after=now&x=1");
    assert_eq!(response.status, 400);
    let fields = response.json()["error"]["fields"].as_object().unwrap().clone();
    let named: Vec<&str> = fields.keys().map(String::as_str).collect();
    assert_eq!(named, ["cursor", "from_number", "limit", "started_after", "status", "user_id", "x"]);
    for query in ["limit=101", "limit=-1", "limit=1&limit=2", "status=", "to_number=+12125550123"] {
        assert_eq!(world.get(&format!("/v1/calls?{query}")).status, 400, "{query}");
    }
    assert_eq!(world.post("/v1/calls/dial?dry_run=yes", &good()).status, 400);
    assert_eq!(world.post("/v1/calls/dial?dry=true", &good()).status, 400);
    world.is_unhurt();
}
