//! A request that is repeated happens once: each sentence of the contract.

use std::thread;

use serde_json::json;

use crate::client::Response;
use crate::world::{ALICE, READER, World, good};

fn dial(world: &World, key: &str, idempotency_key: &str, body: &str) -> Response {
    world.call("POST", "/v1/calls/dial", key, &[("Idempotency-Key", idempotency_key)], body.as_bytes())
}

/// Only successes are kept: what was refused is tried again with the same key.
#[test]
fn a_refusal_is_not_remembered() {
    let world = World::with("max_calls_per_minute = 1000\nmax_concurrent_legs = 2\ndaily_spend_limit = \"1000\"");
    let first = dial(&world, ALICE, "a", &good());
    assert_eq!(first.status, 202);
    let refused = dial(&world, ALICE, "b", &good());
    assert_eq!((refused.status, refused.code().as_str()), (429, "concurrency_limit"));
    let call = first.data()["call_id"].as_str().unwrap().to_owned();
    world.post(&format!("/v1/calls/{call}/hangup"), "");
    let passed = dial(&world, ALICE, "b", &good());
    assert_eq!((passed.status, passed.header("idempotency-replay")), (202, None));
    assert_ne!(passed.data()["call_id"], first.data()["call_id"]);
    // A request that was wrong left nothing behind either: the same key may come with the right body.
    assert_eq!(dial(&world, ALICE, "c", "{}").status, 400);
    assert_eq!(dial(&world, ALICE, "c", &good()).code(), "concurrency_limit");
    // A replay needs no room.
    assert_eq!(dial(&world, ALICE, "a", &good()).header("idempotency-replay"), Some("true"));
}

/// The scope is key, method and path.
#[test]
fn one_text_at_two_paths_or_with_two_keys_is_two_keys() {
    let world = World::new();
    let calls: Vec<String> = (0..2)
        .map(|n| dial(&world, ALICE, &format!("k{n}"), &good()).data()["call_id"].as_str().unwrap().to_owned())
        .collect();
    let hang_up = |call: &str, key: &str| {
        world.call("POST", &format!("/v1/calls/{call}/hangup"), key, &[("Idempotency-Key", "k0")], b"")
    };
    for call in &calls {
        let response = hang_up(call, ALICE);
        assert_eq!((response.status, response.header("idempotency-replay")), (200, None));
        assert_eq!(response.data()["call_id"], *call);
        assert_eq!(hang_up(call, ALICE).header("idempotency-replay"), Some("true"));
    }
    // The key of somebody without the scope finds nothing of what another key has stored.
    assert_eq!(hang_up(&calls[0], READER).status, 403);
    // Another body under the same key, where bodies are optional.
    let other = world.call(
        "POST",
        &format!("/v1/calls/{}/hangup", calls[0]),
        ALICE,
        &[("Idempotency-Key", "k0")],
        b"{\"why\":1}",
    );
    assert_eq!(other.status, 400, "a body that is wrong is wrong first");
}

#[test]
fn two_hundred_hang_ups_with_one_key_get_one_answer() {
    let world = World::new();
    let call = world.dial(&good()).data()["call_id"].as_str().unwrap().to_owned();
    let path = format!("/v1/calls/{call}/hangup");
    let answers: Vec<_> = thread::scope(|scope| {
        let asked: Vec<_> = (0..200)
            .map(|_| scope.spawn(|| world.call("POST", &path, ALICE, &[("Idempotency-Key", "one")], b"")))
            .collect();
        asked.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|a| (a.status, &a.body) == (200, &answers[0].body)), "{answers:?}");
    assert_eq!(answers.iter().filter(|a| a.header("idempotency-replay").is_none()).count(), 1);
    assert_eq!(answers[0].data(), json!({"call_id": call, "status": "canceled"}));
}

/// A dry run takes nothing and is nothing that could be repeated: the key stays good for the call.
#[test]
fn a_dry_run_leaves_the_key_alone() {
    let world = World::new();
    let dry =
        || world.call("POST", "/v1/calls/dial?dry_run=true", ALICE, &[("Idempotency-Key", "d")], good().as_bytes());
    assert_eq!((dry().status, dry().data()["allowed"].clone()), (200, json!(true)));
    let placed = dial(&world, ALICE, "d", &good());
    assert_eq!((placed.status, placed.header("idempotency-replay")), (202, None));
    assert_eq!(dry().status, 200);
}
