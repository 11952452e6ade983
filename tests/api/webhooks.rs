//! Subscriptions over HTTP: what is taken, refused, shown, cancelled, listed and replayed.

use std::collections::BTreeMap;
use std::time::Duration;

use revbridge::events::{ReceiverId, SigningKey, TryError};
use revbridge::store::{Claim, ClaimantId, Deliveries as _, Due, Next, Tried};
use serde_json::Value;

use crate::backend::now;
use crate::client::Response;
use crate::world::{ALICE, MALLORY, MAX_SUBSCRIPTIONS, READER, World};

const PATH: &str = "/v1/webhook_subscriptions";

fn body(url: &str, event: &str) -> String {
    serde_json::json!({"webhook_url": url, "event_type": event}).to_string()
}

fn take(world: &World, url: &str, event: &str) -> Response {
    world.post(PATH, &body(url, event))
}

fn taken(world: &World, event: &str) -> String {
    let answer = take(world, "https://8-8-8-8.example/hooks", event);
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.data()["id"].as_str().unwrap().to_owned()
}

const NODE: ClaimantId = ClaimantId([1; 16]);

/// What could be sent an hour from now.
fn claim(world: &World) -> Vec<Due> {
    let now = now() + Duration::from_secs(3_600);
    let claim = Claim {
        by: NODE,
        now,
        until: now + Duration::from_secs(30),
        key: SigningKey::new([7; 32]).print(),
        limit: 100,
        per_receiver: 100,
        places: BTreeMap::new(),
        after: ReceiverId(0),
    };
    world.backend.claim(&claim).unwrap()
}

fn settle(world: &World, due: &[Due], next: Next) {
    let (status, error) = (Some(500), Some(TryError::Status));
    let tried = due.iter().map(|due| Tried { id: due.id, at: now(), status, error, next });
    world.backend.settle(NODE, tried.collect()).unwrap();
}

#[test]
fn a_subscription_shows_its_secret_once_and_the_store_never_has_it() {
    let world = World::new();
    let made = take(&world, "https://8-8-8-8.example:8443/hooks?a=b", "call_completed");
    assert_eq!(made.status, 201, "{made:?}");
    let data = made.data();
    assert_eq!(data.as_object().unwrap().len(), 2, "{data}");
    let (id, secret) = (data["id"].as_str().unwrap(), data["secret"].as_str().unwrap());
    assert!(id.starts_with("whk_") && id.len() == 30, "{id}");
    assert!(secret.starts_with("whsec_") && secret.len() == 50, "{secret}");
    let location = format!("{PATH}/{id}");
    assert_eq!(made.header("location"), Some(location.as_str()));
    assert_eq!(made.header("cache-control"), Some("no-store"));

    let shown = world.get(&location);
    assert_eq!(shown.status, 200);
    let data = shown.data();
    assert_eq!(data["webhook_url"], "https://8-8-8-8.example:8443/hooks?a=b");
    assert_eq!((&data["event_type"], &data["state"]), (&"call_completed".into(), &"active".into()));
    assert_eq!((&data["pending_deliveries"], &data["dead_deliveries"]), (&0.into(), &0.into()));
    let all = world.get(PATH);
    assert_eq!(all.data(), Value::Array(vec![data]));
    let plain = &secret["whsec_".len()..secret.len() - 2];
    assert!(!shown.body.contains(plain) && !all.body.contains(plain));
    let file = world.backend.bytes();
    let has = |text: &str| file.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(has("8-8-8-8.example") && !has(plain), "the secret is in the store");
}

#[test]
fn every_bad_field_is_named_at_once() {
    let world = World::new();
    let answer = world.post(PATH, r#"{"webhook_url":7,"event_type":"call_everything","secret":"mine"}"#);
    assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"));
    assert!(answer.field("webhook_url").contains("expected the https URL"), "{answer:?}");
    assert!(answer.field("event_type").contains("\"call_busy\""), "{answer:?}");
    assert!(answer.field("secret").contains("no such field"), "{answer:?}");
    let answer = world.post(PATH, "{}");
    assert!(answer.field("webhook_url").contains("missing") && answer.field("event_type").contains("missing"));
    for list in [r#"["new_call"]"#, "null", r#""""#, r#""NEW_CALL""#] {
        let body = format!(r#"{{"webhook_url":"https://8.8.8.8/","event_type":{list}}}"#);
        assert_eq!(world.post(PATH, &body).status, 400, "{list}");
    }
    assert_eq!(world.get(PATH).data(), serde_json::json!([]));
    world.is_unhurt();
}

/// Literal addresses in every spelling are in the unit tests of the rule; here is one of each kind, and names.
#[test]
fn a_url_that_leads_inside_is_refused_when_it_is_set() {
    let world = World::new();
    for url in [
        "http://8.8.8.8/",
        "http://localhost/",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://0x7f.1:8443/a",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://[fd00:ec2::254]/",
        "https://10.1.2.3/",
        "https://100.64.0.1/",
        "https://user:secret@8.8.8.8/",
        "https://8.8.8.8/#here",
        "https://8.8.8.8\\@10.0.0.1/",
        "https://8.8.8.8/\r\nX-Injected: 1",
        "https://8.8.8.8/\u{2028}",
        "https://8.8.8.8/\u{0}",
        "file:///etc/passwd",
        // Names, by the addresses that they have.
        "https://127-0-0-1.example/",
        "https://10-0-0-1.example/",
        "https://169-254-169-254.example/",
        "https://xx1.example/",
        "https://xxffffx127-0-0-1.example/",
        "https://0-0-0-0.example/",
    ] {
        let answer = take(&world, url, "new_call");
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"), "{url}: {answer:?}");
        assert!(!answer.field("webhook_url").is_empty(), "{url}");
        assert!(!answer.body.contains("secret@"), "what was sent is not repeated");
    }
    assert_eq!(world.get(PATH).data(), serde_json::json!([]));
    // A name that nobody knows yet is judged when something is sent.
    assert_eq!(take(&world, "https://not-there-yet.example/", "new_call").status, 201);
    assert_eq!(take(&world, "https://8.8.8.8:8443/", "new_call").status, 201);
    world.is_unhurt();
}

#[test]
fn a_stranger_is_answered_as_if_there_were_nothing() {
    let world = World::new();
    let id = taken(&world, "new_call");
    let unknown = "whk_01JJJJJJJJJJJJJJJJJJJJJJJJ";
    for (method, more) in [("GET", ""), ("DELETE", ""), ("GET", "/deliveries"), ("POST", "/replay")] {
        let ask = |id: &str| {
            let answer = world.call(method, &format!("{PATH}/{id}{more}"), MALLORY, &[], b"");
            (answer.status, answer.body)
        };
        let of_another = ask(&id);
        assert_eq!(of_another.0, 404, "{method} {more}");
        assert_eq!(of_another, ask(unknown), "{method} {more}");
        assert_eq!(of_another, ask("not-an-id"), "{method} {more}");
        let path = format!("{PATH}/{id}{more}");
        let reader = world.call(method, &path, READER, &[], b"");
        assert_eq!((reader.status, reader.code().as_str()), (403, "insufficient_scope"), "{method} {more}");
        assert!(reader.header("www-authenticate").unwrap().contains("webhooks:write"));
        assert_eq!(world.call(method, &path, "key-of-nobody", &[], b"").status, 401);
    }
    assert_eq!(world.call("GET", PATH, MALLORY, &[], b"").data(), serde_json::json!([]));
    assert_eq!(world.get(&format!("{PATH}/{id}")).status, 200);
}

#[test]
fn parallel_requests_with_one_key_are_one_subscription() {
    let world = World::new();
    let body = body("https://8-8-8-8.example/", "new_call");
    let key = [("Idempotency-Key", "once")];
    let answers: Vec<Response> = std::thread::scope(|scope| {
        let ask = || world.call("POST", PATH, ALICE, &key, body.as_bytes());
        let asked: Vec<_> = (0..50).map(|_| scope.spawn(ask)).collect();
        asked.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| answer.status == 201 && answer.body == answers[0].body), "{answers:?}");
    let replays = answers.iter().filter(|answer| answer.header("idempotency-replay") == Some("true")).count();
    assert_eq!(replays, 49);
    assert_eq!(world.get(PATH).data().as_array().unwrap().len(), 1);
    let other = world.call("POST", PATH, ALICE, &key, body.replace("new_call", "call_busy").as_bytes());
    assert_eq!((other.status, other.code().as_str()), (409, "idempotency_conflict"));
}

#[test]
fn an_organization_has_a_bounded_number_of_them() {
    let world = World::new();
    let ids: Vec<_> = (0..MAX_SUBSCRIPTIONS).map(|_| taken(&world, "new_call")).collect();
    let answer = take(&world, "https://8.8.8.8/", "new_call");
    assert_eq!((answer.status, answer.code().as_str()), (403, "subscription_limit"));
    let path = format!("{PATH}/{}", ids[0]);
    let key = [("Idempotency-Key", "gone")];
    let gone = world.call("DELETE", &path, ALICE, &key, b"");
    assert_eq!((gone.status, gone.data()), (200, serde_json::json!({"id": ids[0], "deleted": true})));
    assert_eq!(world.call("DELETE", &path, ALICE, &key, b"").header("idempotency-replay"), Some("true"));
    assert_eq!(world.call("DELETE", &path, ALICE, &[], b"").status, 404);
    assert_eq!(world.get(&path).status, 404);
    assert_eq!(world.call("POST", PATH, MALLORY, &[], body("https://8.8.8.8/", "new_call").as_bytes()).status, 201);
    taken(&world, "new_call");
}

#[test]
fn dead_letters_are_listed_and_replayed() {
    let world = World::new();
    let id = taken(&world, "new_call");
    let path = format!("{PATH}/{id}");
    (0..3).for_each(|_| assert_eq!(world.dial(&crate::world::good()).status, 202));
    assert_eq!(world.get(&path).data()["pending_deliveries"], 3);
    let pending = world.get(&format!("{path}/deliveries?state=pending")).data();
    assert_eq!((pending[0]["attempts"].as_u64(), pending[0]["last_status"].as_u64()), (Some(0), None));
    assert!(pending[0]["next_attempt_at"].is_string(), "{pending}");
    settle(&world, &claim(&world), Next::Dead);

    let first = world.get(&format!("{path}/deliveries?limit=2"));
    let rest = first.json()["meta"]["cursor"].as_str().unwrap().to_owned();
    let rest = world.get(&format!("{path}/deliveries?limit=2&cursor={rest}"));
    assert!(rest.json()["meta"]["cursor"].is_null());
    let dead = [first.data().as_array().unwrap().clone(), rest.data().as_array().unwrap().clone()].concat();
    assert_eq!(dead.len(), 3);
    let one = &dead[1];
    assert!(one["event_id"].as_str().unwrap().starts_with("evt_") && one["call_id"].is_string(), "{one}");
    assert_eq!((&one["type"], &one["state"]), (&"new_call".into(), &"dead".into()));
    assert_eq!((&one["last_status"], &one["last_error"]), (&500.into(), &"status".into()));

    let replay = |body: Value| world.post(&format!("{path}/replay"), &body.to_string());
    let answer = replay(serde_json::json!({"event_ids": [one["event_id"]]}));
    assert_eq!((answer.status, answer.data()), (200, serde_json::json!({"replayed": 1})));
    assert_eq!(claim(&world).len(), 1);
    assert_eq!(replay(serde_json::json!({"since": dead[0]["created_at"]})).data()["replayed"], 1);
    assert_eq!(world.call("POST", &format!("{path}/replay"), ALICE, &[], b"").data()["replayed"], 1);
    assert_eq!(replay(serde_json::json!({})).data()["replayed"], 0);
    for bad in [
        serde_json::json!({"event_ids": ["call_1"]}),
        serde_json::json!({"event_ids": "evt_1"}),
        serde_json::json!({"event_ids": vec![one["event_id"].clone(); 101]}),
        serde_json::json!({"event_ids": [], "since": dead[0]["created_at"]}),
        serde_json::json!({"since": "yesterday"}),
        serde_json::json!({"all": true}),
    ] {
        assert_eq!(replay(bad.clone()).status, 400, "{bad}");
    }
    for bad in ["state=gone", "limit=0", "limit=101", "cursor=1", "since=x"] {
        assert_eq!(world.get(&format!("{path}/deliveries?{bad}")).status, 400, "{bad}");
    }
}

#[test]
fn without_the_store_nothing_is_taken() {
    let world = World::new();
    world.backend.down.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(take(&world, "https://8.8.8.8/", "new_call").status, 503);
    assert_eq!(world.get(PATH).status, 503);
    world.backend.down.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(world.get(PATH).data(), serde_json::json!([]));
}
