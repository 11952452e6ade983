//! Many at once.

use std::collections::BTreeSet;
use std::thread;

use crate::client::Response;
use crate::world::{ALICE, World, good};

/// The same request from this many clients at once.
fn at_once(clients: usize, ask: impl Fn(usize) -> Response + Sync) -> Vec<Response> {
    thread::scope(|scope| {
        let asking: Vec<_> = (0..clients)
            .map(|n| {
                scope.spawn({
                    let ask = &ask;
                    move || ask(n)
                })
            })
            .collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).collect()
    })
}

#[test]
fn two_hundred_repetitions_make_one_call() {
    let world = World::new();
    let responses =
        at_once(200, |_| world.call("POST", "/v1/calls/dial", ALICE, &[("Idempotency-Key", "one")], good().as_bytes()));
    assert!(responses.iter().all(|r| r.status == 202 && r.body == responses[0].body));
    assert_eq!(responses.iter().filter(|r| r.header("idempotency-replay").is_none()).count(), 1);
    assert_eq!(world.backend.admitted(), 1);
}

#[test]
fn one_key_with_two_bodies_is_a_conflict_that_names_the_first() {
    let world = World::new();
    let dial = |id: &str, body: &str| {
        let headers = [("Idempotency-Key", "k"), ("X-Request-Id", id)];
        world.call("POST", "/v1/calls/dial", ALICE, &headers, body.as_bytes())
    };
    let first = dial("first", &good());
    // The same body as parsed JSON, whatever its order and spaces.
    let same = good()
        .replace("{\"to_number\":\"+12125550123\",", "{")
        .replace('}', " , \"to_number\" : \"\\u002b12125550123\" }");
    assert_eq!(dial("second", &same).body, first.body);
    let other = dial("third", &good().replace("0123", "0124"));
    assert_eq!((other.status, other.code().as_str()), (409, "idempotency_conflict"));
    assert_eq!(other.field("conflicts_with"), "first");
    assert_eq!(world.backend.admitted(), 1);
}

#[test]
fn a_budget_for_one_call_admits_one_of_a_hundred() {
    let world = World::with("max_calls_per_minute = 1000\nmax_concurrent_legs = 2000\ndaily_spend_limit = \"0.13\"");
    let responses = at_once(100, |_| world.dial(&good()));
    assert_eq!(responses.iter().filter(|r| r.status == 202).count(), 1);
    assert!(responses.iter().all(|r| r.status == 202 || r.code() == "spend_limit_exceeded"));
}

#[test]
fn a_cap_of_ten_calls_holds_against_sixty() {
    let world = World::with("max_calls_per_minute = 1000\nmax_concurrent_legs = 20\ndaily_spend_limit = \"1000\"");
    let responses = at_once(60, |_| world.dial(&good()));
    let ids: Vec<String> = responses
        .iter()
        .filter(|r| r.status == 202)
        .map(|r| r.data()["call_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), 10);
    at_once(ids.len(), |n| world.post(&format!("/v1/calls/{}/hangup", ids[n]), ""));
    assert_eq!(world.backend.usage_of("acme").legs, 0);
}

/// Paging sees every call that was there when it began exactly once, while others arrive.
#[test]
fn paging_while_calls_arrive() {
    let world = World::new();
    let dial = || world.dial(&good()).data()["call_id"].as_str().unwrap().to_owned();
    let before: BTreeSet<String> = (0..25).map(|_| dial()).collect();
    let (mut seen, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let more = cursor.as_ref().map(|c| format!("&cursor={c}")).unwrap_or_default();
        let page = world.get(&format!("/v1/calls?limit=7{more}"));
        assert_eq!(page.json()["meta"]["page_size"], 7);
        seen.extend(page.data().as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap().to_owned()));
        dial();
        cursor = page.json()["meta"]["cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    let unique: BTreeSet<String> = seen.iter().cloned().collect();
    assert_eq!(unique.len(), seen.len());
    assert!(before.is_subset(&unique));
    assert!(seen.windows(2).all(|pair| pair[0] > pair[1]), "newest first");
}
