//! `GET /v1/usage`: whose, of which days, and what a wrong one is told.

use serde_json::json;

use crate::world::{ALICE, MALLORY, WRITER, World, good};

#[test]
fn a_statement_says_days_users_paths_and_its_moment() {
    let world = World::new();
    let empty = world.get("/v1/usage").data();
    let today = empty["from"].as_str().unwrap().to_owned();
    assert_eq!((&empty["to"], &empty["days"], &empty["total"]["calls"]), (&json!(today), &json!([]), &json!(0)));
    let calls: Vec<String> =
        (0..3).map(|_| world.dial(&good()).data()["call_id"].as_str().unwrap().to_owned()).collect();
    world.post(&format!("/v1/calls/{}/hangup", calls[0]), "");
    let usage = world.get(&format!("/v1/usage?from={today}&to={today}")).data();
    let spend = world.get("/v1/guardrails").data()["spend"].clone();
    let sums = json!({
        "calls": 3, "live": 2, "answered": 0, "billable_seconds": 0, "spent": "0.000000", "reserved": spend["reserved"],
    });
    assert_eq!(usage["total"], sums);
    let with = |key: &str, value: &str| {
        let mut part = sums.clone();
        part[key] = json!(value);
        json!([part])
    };
    assert_eq!(usage["days"], with("day", &today));
    assert_eq!(usage["paths"], with("path", "bridge"));
    assert_eq!(usage["users"].as_array().unwrap().len(), 1);
    assert_eq!((&usage["currency"], &usage["timezone"]), (&json!("USD"), &json!("UTC")));
    assert!(usage["as_of_sequence"].as_u64().unwrap() > empty["as_of_sequence"].as_u64().unwrap());
    let yesterday = world.get("/v1/usage?from=2020-01-01&to=2020-12-31").data();
    assert_eq!((&yesterday["total"]["calls"], &yesterday["days"]), (&json!(0), &json!([])), "a leap year in one");
    let foreign = world.call("GET", "/v1/usage", MALLORY, &[], b"").data();
    assert_eq!(foreign["total"]["calls"], 0, "another organization's calls are its own");
}

#[test]
fn a_wrong_question_is_told_what_is_wrong() {
    let world = World::new();
    for (query, field) in [
        ("from=2026-02-30", "from"),
        ("from=yesterday&to=20260101", "to"),
        ("from=2026-01-01T00:00:00Z", "from"),
        ("from=2026-01-02&to=2026-01-01", "from"),
        ("from=2025-01-01&to=2026-01-02", "from"),
        ("from=2026-01-01&from=2026-01-02", "from"),
        ("day=2026-01-01", "day"),
        ("to=%2B2026-01-01", "to"),
    ] {
        let answer = world.get(&format!("/v1/usage?{query}"));
        assert_eq!(answer.status, 400, "{query}: {}", answer.body);
        answer.field(field);
    }
    assert_eq!(world.call("GET", "/v1/usage", WRITER, &[], b"").status, 403);
    assert_eq!(world.call("GET", "/v1/usage", "nobody's", &[], b"").status, 401);
    assert_eq!(world.call("POST", "/v1/usage", ALICE, &[], b"").status, 405);
    assert_eq!(world.get("/v1/usage").status, 200);
}
