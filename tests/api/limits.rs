//! How often one may ask.

use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::client::{Response, request};
use crate::world::{ALICE, GENEROUS, READER, World, good};

pub fn sha256(key: &str) -> String {
    hex::encode(Sha256::digest(key))
}

/// Ten at once, then two a second.
fn slow() -> World {
    World::on("requests_per_second = 2\nrequest_burst = 10\n", GENEROUS)
}

fn assert_limited(response: &Response) {
    assert_eq!((response.status, response.code().as_str()), (429, "rate_limited"), "{response:?}");
    assert_eq!(response.header("ratelimit-policy"), Some("\"requests\";q=10;w=5"));
    let wait = response.header("retry-after").unwrap();
    assert_eq!(response.header("ratelimit"), Some(format!("\"requests\";r=0;t={wait}").as_str()));
    assert!(response.header("x-request-id").is_some());
}

#[test]
fn a_key_has_its_burst_and_then_its_rate_and_is_told_the_truth() {
    let world = slow();
    let answers: Vec<_> = (0..12).map(|_| world.get("/v1/guardrails")).collect();
    assert!(answers[..10].iter().all(|a| a.status == 200));
    let refused = answers.iter().rev().find(|a| a.status == 429).expect("twelve are more than ten");
    assert_limited(refused);
    let wait = refused.header("retry-after").unwrap().parse().unwrap();
    let asked = Instant::now();
    thread::sleep(Duration::from_secs(wait));
    let after = world.get("/v1/guardrails");
    assert_eq!(after.status, 200, "after {:?}", asked.elapsed());
}

/// Nobody is judged by what somebody else does, and a stranger by where the request came from.
#[test]
fn keys_and_strangers_are_counted_apart() {
    let world = slow();
    let stranger = || world.raw(&request("GET", "/v1/calls", &[("Authorization", "Bearer guessed")], b""));
    let answers: Vec<_> = (0..11).map(|_| stranger()).collect();
    assert!(answers[..10].iter().all(|a| a.status == 401));
    assert_limited(&answers[10]);
    for path in ["/v1/nowhere", "/openapi.json", "/docs"] {
        assert_limited(&world.raw(&request("GET", path, &[], b"")));
    }
    assert!((0..10).all(|_| world.get("/v1/calls").status == 200));
    assert_limited(&world.get("/v1/calls"));
    assert_eq!(world.call("GET", "/v1/calls", READER, &[], b"").status, 200);
}

/// A flood of dials that the guardrails would refuse reaches neither the store nor the switch.
#[test]
fn a_flood_is_refused_before_any_work() {
    let world = slow();
    (0..10).for_each(|_| assert_eq!(world.dial(&good()).status, 202));
    world.backend.down.store(true, std::sync::atomic::Ordering::SeqCst);
    world.backend.full.store(true, std::sync::atomic::Ordering::SeqCst);
    // Whoever got through would meet a store that is down, and be told so.
    let answers: Vec<_> = (0..5).map(|_| world.call("POST", "/v1/calls/dial", ALICE, &[], b"{")).collect();
    assert!(answers.iter().filter(|a| a.status == 429).count() >= 4, "{answers:?}");
    assert_eq!(world.backend.admitted(), 10);
}
