//! What works, and what the guardrails refuse.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::client::pretty;
use crate::world::{ALICE, FROM, PHONE, TO, World, good};

#[test]
fn a_dial_answers_when_it_is_durable() {
    let world = World::new();
    let response = world.dial(&good());
    assert_eq!(response.status, 202);
    let data = response.data();
    let id = data["call_id"].as_str().unwrap();
    assert_eq!(response.header("location"), Some(format!("/v1/calls/{id}").as_str()));
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(
        data,
        json!({
            "call_id": id, "provider_call_sid": id, "from_number": FROM, "to_number": TO, "status": "queued",
            "selection_source": "exact_from_number", "evidence_state": "none", "health_warning": null,
            "recommended_action": "none",
        })
    );
}

#[test]
fn a_record_has_every_field_of_the_contract() {
    let world = World::new();
    let id = world.dial(&good()).data()["call_id"].as_str().unwrap().to_owned();
    let record = world.get(&format!("/v1/calls/{id}")).data();
    let shown = json!({"id": "[id]", "created_at": "[time]"});
    let shown = record.as_object().unwrap().iter().map(|(k, v)| (k.clone(), shown.get(k).unwrap_or(v).clone()));
    insta::assert_snapshot!(pretty(&Value::Object(shown.collect())));
    let created = record["created_at"].as_str().unwrap();
    assert!(created.ends_with('Z') && created.len() == "2026-01-31T09:00:00.000Z".len(), "{created}");
}

#[test]
fn hanging_up_twice_is_hanging_up_once() {
    let world = World::new();
    let id = world.dial(&good()).data()["call_id"].as_str().unwrap().to_owned();
    let path = format!("/v1/calls/{id}/hangup");
    let first = world.post(&path, "");
    assert_eq!((first.status, first.data()), (200, json!({"call_id": id, "status": "canceled"})));
    assert_eq!(world.post(&path, "{}").body, first.body);
    assert_eq!(world.post(&path, r#"{"why":"x"}"#).status, 400);
    let key = [("Idempotency-Key", "h")];
    let kept = world.call("POST", &path, ALICE, &key, b"");
    assert_eq!((kept.status, kept.header("idempotency-replay")), (200, None));
    let again = world.call("POST", &path, ALICE, &key, b"");
    assert_eq!((&again.body, again.header("idempotency-replay")), (&kept.body, Some("true")));
    assert_eq!(world.backend.usage_of("acme").legs, 0);
}

#[test]
fn each_guardrail_refuses_in_its_own_words_and_takes_nothing() {
    let world = World::new();
    let dial = |from: &str, to: &str, connect: &str| {
        world.dial(&json!({"from_number": from, "to_number": to, "connect_number": connect}).to_string())
    };
    let foreign = dial("+12025550199", TO, PHONE);
    assert_eq!((foreign.status, foreign.code().as_str()), (403, "caller_id_not_verified"));
    assert!(foreign.header("www-authenticate").is_some());
    foreign.field("from_number");
    let numbers = [
        "+911",
        "+112",
        "+999",
        "+988",
        "+1911",
        "+1411",
        "+19005550100",
        "+12129765555",
        "+18765550100",
        "+18095550100",
        "+881612345678",
        "+870773111632",
        "+882161234567",
        "+883510012345",
        "+97912345678",
        "+442079460000",
        FROM,
        PHONE,
    ];
    for to in numbers {
        let response = dial(FROM, to, PHONE);
        assert_eq!((response.status, response.code().as_str()), (403, "destination_not_allowed"), "{to}");
        response.field("to_number");
    }
    let user = dial(FROM, TO, "+442079460000");
    assert_eq!(user.code(), "destination_not_allowed");
    user.field("connect_number");
    world.is_unhurt();
}

#[test]
fn a_full_minute_says_when_it_has_room() {
    let world = World::with("max_calls_per_minute = 2\nmax_concurrent_legs = 100\ndaily_spend_limit = \"100\"");
    assert_eq!([world.dial(&good()).status, world.dial(&good()).status], [202, 202]);
    let refused = world.dial(&good());
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((50..=60).contains(&wait), "{wait}");
    assert_eq!(refused.header("ratelimit-policy"), Some("\"calls\";q=2;w=60"));
    assert_eq!(refused.header("ratelimit"), Some(format!("\"calls\";r=0;t={wait}").as_str()));
    assert_eq!(world.backend.admitted(), 2);
}

#[test]
fn legs_and_money_run_out() {
    let world = World::with("max_concurrent_legs = 3\ndaily_spend_limit = \"100\"");
    let id = world.dial(&good()).data()["call_id"].as_str().unwrap().to_owned();
    let refused = world.dial(&good());
    assert_eq!((refused.status, refused.code().as_str()), (429, "concurrency_limit"));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(refused.header("ratelimit-policy"), Some("\"legs\";q=3"));
    world.post(&format!("/v1/calls/{id}/hangup"), "");
    assert_eq!(world.dial(&good()).status, 202);

    let world = World::with("daily_spend_limit = \"0.13\"");
    assert_eq!(world.dial(&good()).status, 202);
    let refused = world.dial(&good());
    assert_eq!((refused.status, refused.code().as_str()), (403, "spend_limit_exceeded"));
}

/// A refusal is not stored: the same key may be used again, and then counts once.
#[test]
fn a_refused_request_may_be_repeated_with_its_key() {
    let world = World::with("max_concurrent_legs = 2\ndaily_spend_limit = \"100\"");
    let id = world.dial(&good()).data()["call_id"].as_str().unwrap().to_owned();
    let dial = || world.call("POST", "/v1/calls/dial", ALICE, &[("Idempotency-Key", "k")], good().as_bytes());
    assert_eq!(dial().status, 429);
    world.post(&format!("/v1/calls/{id}/hangup"), "");
    let first = dial();
    assert_eq!((first.status, first.header("idempotency-replay")), (202, None));
    let second = dial();
    assert_eq!((second.status, second.header("idempotency-replay"), &second.body), (202, Some("true"), &first.body));
    assert_eq!(second.header("location"), first.header("location"));
}

#[test]
fn a_dry_run_decides_and_takes_nothing() {
    let world = World::with("max_concurrent_legs = 2\nmax_calls_per_minute = 5\ndaily_spend_limit = \"0.50\"");
    let run = |to: &str| {
        world.post("/v1/calls/dial?dry_run=true", &json!({"to_number": to, "from_number": FROM}).to_string())
    };
    let free = run(TO);
    assert_eq!(free.status, 200);
    insta::assert_snapshot!(pretty(&free.data()));
    assert_eq!(world.backend.admitted(), 0);
    assert_eq!(world.dial(&good()).status, 202);
    let full = run("+19005550100").data();
    assert_eq!(full["allowed"], false);
    let refused: Vec<&str> = full["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["allowed"] == false)
        .map(|check| check["guardrail"].as_str().unwrap())
        .collect();
    assert_eq!(refused[..2], ["destination", "concurrency"]);
    let bad = run("911");
    assert_eq!(bad.status, 400);
}

#[test]
fn guardrails_show_limits_and_use() {
    let world = World::with("max_concurrent_legs = 4\nmax_calls_per_minute = 5\ndaily_spend_limit = \"0.50\"");
    world.dial(&good());
    insta::assert_snapshot!(pretty(&world.get("/v1/guardrails").data()));
}

#[test]
fn what_is_down_is_503_with_a_time_to_come_back() {
    let world = World::new();
    let id = world.dial(&good()).data()["call_id"].as_str().unwrap().to_owned();
    world.backend.full.store(true, Ordering::SeqCst);
    let busy = world.dial(&good());
    assert_eq!((busy.status, busy.code().as_str(), busy.header("retry-after")), (503, "unavailable", Some("1")));
    world.backend.full.store(false, Ordering::SeqCst);
    world.backend.down.store(true, Ordering::SeqCst);
    for path in ["/v1/calls", "/v1/guardrails", "/v1/usage", &format!("/v1/calls/{id}")] {
        let down = world.get(path);
        assert_eq!((down.status, down.code().as_str(), down.header("retry-after")), (503, "unavailable", Some("1")));
    }
}
