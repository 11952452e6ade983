//! Bodies that must not work: 400 with every bad field named, and no leg.

use std::time::{Duration, Instant};

use crate::client::pretty;
use crate::world::{ALICE, FROM, PHONE, TO, WRITER, World, good};

/// The longest that a refusal may take.
const AT_ONCE: Duration = Duration::from_millis(50);

#[test]
fn what_is_not_strict_json_is_refused_at_once() {
    let world = World::new();
    let deep = "[".repeat(60_000);
    let nested = format!(r#"{{"to_number":{}1{}}}"#, r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
    let twice = format!(r#"{{"to_number":"{TO}","from_number":"{FROM}","to_number":"{TO}"}}"#);
    let escaped_twice = format!(r#"{{"to_number":"{TO}","from_number":"{FROM}","\u0074o_number":"{TO}"}}"#);
    let texts = [
        "{",
        "[]",
        "null",
        "\"x\"",
        "{}{}",
        "NaN",
        r#"{"a":NaN}"#,
        r#"{"a":1e400}"#,
        r#"{"a":-Infinity}"#,
        r#"{"a":"\ud800"}"#,
        r#"{"a":1,}"#,
        &deep,
        &nested,
        &twice,
        &escaped_twice,
    ];
    let mut bad: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    bad.push([b"\xef\xbb\xbf", good().as_bytes()].concat());
    bad.push(good().replace("+1212", "\0+1212").into_bytes());
    bad.push(b"{\"to_number\":\"\xff\xfe\"}".to_vec());
    bad.push(b"{\"to_number\":\"\xc0\xaf\"}".to_vec());
    for body in bad {
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        // The fastest of three: the machine is shared.
        let took = (0..3).map(|_| {
            let start = Instant::now();
            let response = world.call("POST", "/v1/calls/dial", ALICE, &[], &body);
            assert_eq!((response.status, response.code().as_str()), (400, "invalid_request"), "{shown}");
            start.elapsed()
        });
        let took = took.min().unwrap();
        assert!(took < AT_ONCE, "{took:?} for {shown}");
    }
    world.is_unhurt();
}

#[test]
fn a_number_has_one_spelling() {
    let world = World::new();
    let digits = "12125550123";
    let bad = [
        "",
        "+",
        "12125550123",
        "+1 2125550123",
        "+1-212-555-0123",
        "+02125550123",
        "0012125550123",
        "01112125550123",
        "+12125550123;ext=1",
        "+12125550123,1",
        "+12125550123p1",
        "+12125550123w1",
        "+12125550123x1",
        "#31#+12125550123",
        "*67+12125550123",
        "tel:+12125550123",
        "sip:+12125550123@host",
        "+12125550123;phone-context=+1",
        "+12125550123;rn=+1",
        "%2B12125550123",
        "+1212555012345678",
        " +12125550123",
        "+12125550123 ",
        "\\r\\n+12125550123",
        "+12125550123\\r\\nX: y",
        "+12125550123\\u0000",
        "+12125550123\\u2028",
        "+12125550123\\\"",
        "<+12125550123>",
        "\u{ff0b}12125550123",
        "+\u{ff11}2125550123",
        "+\u{661}2125550123",
        "+1\u{a0}2125550123",
        "+1\u{200b}2125550123",
        "\u{202e}+12125550123",
        "+l2125550123",
        "+1212555O123",
    ];
    for number in bad {
        for field in ["to_number", "from_number", "connect_number"] {
            let mut body = serde_json::json!({"to_number": TO, "from_number": FROM});
            let text: String = serde_json::from_str(&format!("\"{number}\"")).unwrap();
            body[field] = text.into();
            let response = world.dial(&body.to_string());
            assert_eq!(response.status, 400, "{number:?} as {field}");
            assert!(response.field(field).starts_with("expected a number in E.164 form"), "{response:?}");
            // What is refused is not repeated, in whatever spelling.
            assert!(!response.body.contains(digits), "{response:?}");
        }
    }
    world.is_unhurt();
}

#[test]
fn every_bad_field_is_named_at_once() {
    let world = World::new();
    let body = serde_json::json!({
        "to_number": 12125550123u64, "from_number": null, "connect_number": {}, "confirm": "yes",
        "ring_timeout_seconds": 4, "max_duration_seconds": "60", "client_name": "x".repeat(121),
        "client_label": "a\nb", "record": true, "amd": 1, "to": TO, "<b>": 1,
    });
    let response = world.dial(&body.to_string());
    assert_eq!(response.status, 400);
    let error = &response.json()["error"];
    let named: Vec<&str> = error["fields"].as_object().unwrap().keys().map(String::as_str).collect();
    let mut all: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    all.sort_unstable();
    assert_eq!(named, all);
    insta::assert_snapshot!(pretty(error));
    world.is_unhurt();
}

#[test]
fn what_must_be_there_must_be_there() {
    let world = World::new();
    let response = world.call("POST", "/v1/calls/dial", WRITER, &[], b"{}");
    for field in ["to_number", "from_number", "connect_number"] {
        assert!(response.field(field).starts_with("missing"), "{response:?}");
    }
    let body = format!(r#"{{"to_number":"{TO}","from_number":"{FROM}","connect_number":"{PHONE}"}}"#);
    assert_eq!(world.call("POST", "/v1/calls/dial", WRITER, &[], body.as_bytes()).status, 202);
}

#[test]
fn bounds_hold_on_both_sides() {
    let world = World::new();
    let status = |field: &str, value: &str| {
        let body = format!(r#"{{"to_number":"{TO}","from_number":"{FROM}","{field}":{value}}}"#);
        world.dial(&body).status
    };
    for (field, bad, good) in [
        ("ring_timeout_seconds", ["4", "121", "5.5", "-5", "1e30"], ["5", "120", "6e1"]),
        ("max_duration_seconds", ["0", "14401", "0.1", "-1", "18446744073709551616"], ["1", "14400", "60.0"]),
    ] {
        for value in bad {
            assert_eq!(status(field, value), 400, "{field} {value}");
        }
        for value in good {
            assert_eq!(status(field, value), 202, "{field} {value}");
        }
    }
}

/// Hostile text in a label stays text: it comes back as it was sent, inside its own field.
#[test]
fn a_label_is_carried_inertly() {
    let world = World::new();
    let label = "\"quoted\" <b> \\ ' ; ${x} \u{202e}\u{1f600}";
    let body = serde_json::json!({"to_number": TO, "from_number": FROM, "client_label": label, "client_name": ""});
    let id = world.dial(&body.to_string()).data()["call_id"].as_str().unwrap().to_owned();
    let record = world.get(&format!("/v1/calls/{id}")).data();
    assert_eq!(record["client_label"], label);
    assert_eq!(record["client_name"], "");
    for bad in ["a\rb", "a\nb", "a\0b", "a\u{2028}b", "a\u{2029}b", "a\u{7f}b", "a\u{85}b"] {
        let body = serde_json::json!({"to_number": TO, "from_number": FROM, "client_label": bad});
        assert_eq!(world.dial(&body.to_string()).status, 400, "{bad:?}");
    }
}

#[test]
fn thousands_of_unknown_fields_get_a_short_answer() {
    let world = World::new();
    let many: Vec<String> = (0..4_000).map(|n| format!(r#""{n}":0"#)).collect();
    let response = world.dial(&format!("{{{}}}", many.join(",")));
    assert_eq!(response.status, 400);
    assert!(response.body.len() < 4_000, "{} bytes", response.body.len());
}
