//! Events reach those who subscribed: in order, signed, at least once, whatever happens on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::receivers::{Certificate, Receiver, Reply, Request, Verifier, subscribe};
use crate::support::{Habit, Handset, Lab, Phone, Server, Settings, Stage, poll, say};

const SOON: Duration = Duration::from_secs(10);
const LOOPBACK: &str = "[webhooks]\nallow_http_loopback = true\n";
const KINDS: [&str; 6] = ["new_call", "call_answered", "call_completed", "call_no_answer", "call_busy", "call_failed"];

fn settings(lab: &Lab) -> Settings {
    Settings { webhooks: LOOPBACK.to_owned(), ..lab.settings() }
}

fn kinds(requests: &[Request]) -> Vec<&str> {
    requests.iter().map(Request::kind).collect()
}

/// Two phones that answer, a call between them, and its end.
fn whole_call(server: &Server) -> String {
    let call = server.place(json!({}));
    server.reaches(&call, "in_progress", SOON);
    assert_eq!(server.hang_up(&call).status, 200);
    server.ended(&call, SOON).expect("an end");
    call
}

fn phones(lab: &Lab) -> (Handset, Handset) {
    (Handset::new(lab.user(), Habit::ANSWERS), Handset::new(lab.destination(), Habit::ANSWERS))
}

/// The first delivery of a subscription in this state.
fn delivery(server: &Server, id: &str, state: &str) -> Option<Value> {
    let all = server.get(&format!("/v1/webhook_subscriptions/{id}/deliveries?state={state}")).data();
    all.as_array().and_then(|all| all.first().cloned())
}

#[test]
fn a_call_is_told_over_tls_in_order_and_others_can_check_who_says_so() {
    let lab = Lab::new();
    let trusted = Certificate::new(lab.folder(), "trusted", lab.stranger());
    let unknown = Certificate::new(lab.folder(), "unknown", lab.stranger());
    let webhooks = format!("{LOOPBACK}ca_file = \"{}\"\n", trusted.authority.display());
    let server = Server::start(Settings { webhooks, ..lab.settings() });
    let mut verifier = Verifier::new(lab.stranger(), Some(&trusted));
    let impostor = Verifier::new(lab.stranger(), Some(&unknown));
    let (refused, _) = subscribe(&server, &impostor.url, "new_call");
    let url = format!("{}/secret-path", verifier.url);
    // One secret for each subscription: the path says whose it is.
    for kind in &KINDS[..3] {
        let (_, secret) = subscribe(&server, &format!("{url}?{kind}"), kind);
        verifier.expect(&format!("/secret-path?{kind}"), &secret);
    }
    let _phones = phones(&lab);
    let call = whole_call(&server);

    let judged = verifier.judged(3);
    assert!(judged.iter().all(|one| one["error"].is_null()), "{judged:#?}");
    let told: Vec<_> = judged.iter().map(|one| &one["body"]).collect();
    assert_eq!(told.iter().map(|body| &body["type"]).collect::<Vec<_>>(), KINDS[..3].iter().collect::<Vec<_>>());
    let record = server.record(&call);
    assert_eq!(told[2]["data"], record, "the record as the API shows it");
    assert_eq!(
        (&told[0]["data"]["status"], &told[1]["data"]["status"]),
        (&json!("calling_user"), &json!("in_progress"))
    );
    for (one, body) in judged.iter().zip(&told) {
        assert_eq!(body["id"], one["id"]);
        assert!(body["id"].as_str().is_some_and(|id| id.starts_with("evt_") && id.len() == 30), "{body}");
        assert_eq!(body["data"]["id"], call.as_str());
        assert_eq!(body.as_object().map(serde_json::Map::len), Some(5), "{body}");
    }
    assert!(told.is_sorted_by_key(|body| body["sequence"].as_u64()), "{told:#?}");

    // Whoever cannot prove who it is has got nothing.
    let failed = poll(SOON, || delivery(&server, &refused, "pending").filter(|one| one["last_error"] == "tls"));
    assert!(failed.is_some(), "{:?}", delivery(&server, &refused, "pending"));
    assert!(poll(SOON, || (server.metric("revbridge_webhook_deliveries_total") >= 4.0).then_some(())).is_some());
    let log = server.log();
    assert!(!log.contains("secret-path") && !log.contains("2125550123"), "{log}");
    crate::support::count("webhooks", 3);
}

#[test]
fn only_what_happened_is_told() {
    for (status, expected) in [
        ("486 Busy Here", vec!["new_call", "call_completed", "call_busy"]),
        ("480 Temporarily Unavailable", vec!["new_call", "call_completed", "call_no_answer"]),
        ("404 Not Found", vec!["new_call", "call_completed", "call_failed"]),
    ] {
        let lab = Lab::new();
        let server = Server::start(settings(&lab));
        let receiver = Receiver::new(lab.stranger(), |_, _| Reply::Status(200));
        KINDS.iter().for_each(|kind| drop(subscribe(&server, &receiver.url("/"), kind)));
        let _user = Handset::new(lab.user(), Habit::ANSWERS);
        let mut destination = Phone::new(lab.destination());
        let call = server.place(json!({}));
        let invite = destination.expect("INVITE");
        destination.answer(&invite, status, &[], "");
        server.ended(&call, SOON).expect("an end");
        receiver.takes(expected.len(), SOON);
        // Another call's first event shows that nothing was still on its way.
        server.hang_up(&server.place(json!({})));
        let got = poll(SOON, || Some(receiver.got()).filter(|got| got.iter().any(|one| one.call() != call)));
        let got: Vec<_> = got.expect("the other call").into_iter().filter(|one| one.call() == call).collect();
        assert_eq!(kinds(&got), expected, "{status}");
    }
}

#[test]
fn a_receiver_that_fails_gets_the_same_event_again_and_the_next_one_after_it() {
    let lab = Lab::new();
    let server = Server::start(settings(&lab));
    let elsewhere = Receiver::new(lab.stranger(), |_, _| Reply::Status(200));
    let away = elsewhere.url("/elsewhere");
    let receiver = Receiver::new(lab.stranger(), move |nth, _| match nth {
        0 => Reply::Status(500),
        1 => Reply::Redirect(away.clone()),
        2 => Reply::Hangup,
        _ => Reply::Status(204),
    });
    let (new, _) = subscribe(&server, &receiver.url("/"), "new_call");
    subscribe(&server, &receiver.url("/"), "call_completed");
    let _phones = phones(&lab);
    let call = server.place(json!({}));
    let redirected = poll(SOON, || delivery(&server, &new, "pending").filter(|one| one["last_error"] == "redirect"));
    let redirected = redirected.expect("the word of the second try");
    assert_eq!((&redirected["attempts"], &redirected["last_status"]), (&json!(2), &json!(307)));
    assert!(redirected["next_attempt_at"].is_string(), "{redirected}");
    server.hang_up(&call);
    receiver.takes(2, SOON);
    let got = receiver.got();
    assert_eq!(kinds(&got), ["new_call", "new_call", "new_call", "new_call", "call_completed"]);
    assert!(got[..4].iter().all(|one| one.id() == got[0].id() && one.body == got[0].body), "{got:#?}");
    assert_eq!(elsewhere.got().len(), 0, "a redirect is not followed");
    let delivered = poll(SOON, || delivery(&server, &new, "delivered")).expect("it is delivered");
    assert_eq!((&delivered["attempts"], &delivered["event_id"]), (&json!(4), &json!(got[0].id())));
}

/// One says nothing, one is slow, and the third is told as if they were not there.
#[test]
fn a_slow_receiver_holds_up_nobody() {
    const CALLS: usize = 6;
    let lab = Lab::new();
    let mut server = Server::start(settings(&lab));
    let silent = Receiver::new(lab.stranger(), |_, _| Reply::Silence);
    let slow = Receiver::new(lab.stranger(), |_, _| Reply::Late(Duration::from_millis(300), 200));
    let quick = Receiver::new(lab.stranger(), |_, _| Reply::Status(200));
    for receiver in [&silent, &slow, &quick] {
        for kind in ["new_call", "call_completed"] {
            subscribe(&server, &receiver.url("/"), kind);
        }
    }
    let _user = Handset::new(lab.user(), Habit::RINGS);
    let began = Instant::now();
    for _ in 0..CALLS {
        let call = server.place(json!({}));
        server.hang_up(&call);
    }
    quick.takes(2 * CALLS, SOON);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(4), "the quick one waited {took:?}");
    assert_eq!(silent.connections(), 1, "one place for who says nothing");
    slow.takes(2 * CALLS, SOON);
    for receiver in [&slow, &quick] {
        let mut of_calls: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for one in receiver.got() {
            of_calls.entry(one.call().to_owned()).or_default().push(one.kind().to_owned());
        }
        assert_eq!(of_calls.len(), CALLS);
        assert!(of_calls.values().all(|kinds| kinds == &["new_call", "call_completed"]), "{of_calls:?}");
    }
    // A process that knows nothing of anybody begins with one for each, however much waits.
    server.kill();
    server.restart();
    server.wait_until_ready();
    assert!(poll(SOON, || (silent.connections() > 1).then_some(())).is_some());
    let call = server.place(json!({}));
    server.hang_up(&call);
    quick.takes(2 * CALLS + 2, SOON);
    assert_eq!(silent.connections(), 2);
    say(&format!("webhooks: {} events beside a silent receiver in {} ms", 2 * CALLS, took.as_millis()));
}

/// A name may lead elsewhere by the time at which something is sent: what counts is where it leads then.
#[test]
fn a_receiver_inside_gets_nothing_though_it_was_allowed_when_it_was_set() {
    let lab = Lab::new();
    let mut server = Server::start(settings(&lab));
    let receiver = Receiver::new("127.0.0.1".parse().expect("loopback"), |_, _| Reply::Status(200));
    let port = receiver.address.port();
    let (by_name, _) = subscribe(&server, &format!("https://localhost:{port}/"), "new_call");
    let (by_address, _) = subscribe(&server, &format!("https://127.0.0.1:{port}/"), "new_call");
    server.terminate();
    assert!(server.exited(SOON).is_some());
    let strict = lab.settings();
    fs::write(strict.folder.join("config.toml"), strict.config()).expect("the configuration is written");
    server.restart();
    server.wait_until_ready();
    let _user = Handset::new(lab.user(), Habit::RINGS);
    server.hang_up(&server.place(json!({})));
    let word = |id: &str| delivery(&server, id, "pending").map(|one| one["last_error"].clone());
    let refused = poll(SOON, || (word(&by_name) == Some(json!("address_refused"))).then_some(()));
    assert!(refused.is_some(), "{:?}", word(&by_name));
    assert!(poll(SOON, || word(&by_address).filter(Value::is_string)).is_some());
    assert_eq!(receiver.connections(), 0);
    // And when it is set.
    for url in [
        format!("https://localhost:{port}/"),
        format!("https://127.0.0.1:{port}/"),
        format!("https://2130706433:{port}/"),
        format!("http://localhost:{port}/"),
    ] {
        let body = json!({"webhook_url": url, "event_type": "new_call"});
        let answer = server.request("POST", "/v1/webhook_subscriptions", &[], Some(&body));
        assert_eq!(answer.status, 400, "{url}: {}", answer.body);
        assert!(answer.json()["error"]["fields"]["webhook_url"].is_string(), "{url}: {}", answer.body);
    }
}

/// Killed at whatever moment, the server owes what was promised, and tells it by the same name.
#[test]
fn no_crash_loses_an_event() {
    const DEATHS: u64 = 6;
    let lab = Lab::new();
    let mut server = Server::start(settings(&lab));
    // Every third request fails, so that deaths meet retries too.
    let receiver =
        Receiver::new(lab.stranger(), |nth, _| if nth % 3 == 1 { Reply::Status(503) } else { Reply::Status(200) });
    for kind in ["new_call", "call_answered", "call_completed"] {
        subscribe(&server, &receiver.url("/"), kind);
    }
    let (user, destination) = phones(&lab);
    for death in 0..DEATHS {
        let call = server.place(json!({}));
        std::thread::sleep(Duration::from_millis(death * 23));
        if death % 2 == 0 {
            let _ = server.try_request("POST", &format!("/v1/calls/{call}/hangup"), &[], None);
            std::thread::sleep(Duration::from_millis(death * 3));
        }
        server.kill();
        server.restart();
        server.wait_until_ready();
        server.ended(&call, SOON).expect("an end");
    }
    assert!(user.quiet(SOON).is_some() && destination.quiet(SOON).is_some());
    let records = server.records();
    assert_eq!(records.len() as u64, DEATHS);
    let mut owed = BTreeSet::new();
    for record in &records {
        let id = record["id"].as_str().expect("an id").to_owned();
        owed.extend(["new_call", "call_completed"].map(|kind| (id.clone(), kind.to_owned())));
        if record["answered_at"].is_string() {
            owed.insert((id, "call_answered".to_owned()));
        }
    }
    let taken = || {
        let got = receiver.got();
        got.iter().filter(|one| one.taken).map(|one| (one.call().to_owned(), one.kind().to_owned())).collect()
    };
    let all = poll(SOON * 6, || Some(taken()).filter(|taken: &BTreeSet<_>| *taken == owed));
    assert!(all.is_some(), "owed {owed:#?}\ntaken {:#?}", taken());
    // One name for each event, however often it was told; and a call's first word is that it is new.
    let mut names: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    let mut first: BTreeMap<String, String> = BTreeMap::new();
    for one in receiver.got() {
        names.entry((one.call().to_owned(), one.kind().to_owned())).or_default().insert(one.id());
        first.entry(one.call().to_owned()).or_insert_with(|| one.kind().to_owned());
    }
    assert!(names.values().all(|names| names.len() == 1), "{names:#?}");
    assert!(first.values().all(|kind| kind == "new_call"), "{first:#?}");
    crate::support::count("deaths", DEATHS as usize);
}

/// A try that a stop cuts off is made again by the next process.
#[test]
fn a_try_under_way_when_the_server_stops_is_repeated() {
    let lab = Lab::new();
    let mut server = Server::start(settings(&lab));
    let receiver = Receiver::new(lab.stranger(), |nth, _| if nth == 0 { Reply::Silence } else { Reply::Status(200) });
    subscribe(&server, &receiver.url("/"), "new_call");
    let user = Handset::new(lab.user(), Habit::RINGS);
    let call = server.place(json!({}));
    user.reaches(Stage::Ringing, SOON);
    server.hang_up(&call);
    assert!(poll(SOON, || (receiver.got().len() == 1).then_some(())).is_some());
    server.terminate();
    assert!(server.exited(SOON).is_some_and(|status| status.success()));
    server.restart();
    let taken = receiver.takes(1, SOON);
    assert_eq!((taken[0].id(), receiver.got().len()), (receiver.got()[0].id(), 2));
}

#[test]
fn after_its_subscription_is_deleted_a_receiver_is_told_nothing() {
    let lab = Lab::new();
    let server = Server::start(settings(&lab));
    let receiver = Receiver::new(lab.stranger(), |_, _| Reply::Status(500));
    let other = Receiver::new(lab.stranger(), |_, _| Reply::Status(200));
    let (id, _) = subscribe(&server, &receiver.url("/"), "new_call");
    subscribe(&server, &other.url("/"), "new_call");
    let _user = Handset::new(lab.user(), Habit::RINGS);
    server.hang_up(&server.place(json!({})));
    assert!(poll(SOON, || delivery(&server, &id, "pending").filter(|one| one["attempts"] != 0)).is_some());
    let deleted = server.request("DELETE", &format!("/v1/webhook_subscriptions/{id}"), &[], None);
    assert_eq!((deleted.status, &deleted.data()["deleted"]), (200, &json!(true)));
    let before = receiver.got().len();
    server.hang_up(&server.place(json!({})));
    other.takes(2, SOON);
    // The try that may have been under way, and no more, in the time of several.
    std::thread::sleep(Duration::from_millis(2_500));
    assert!(receiver.got().len() <= before + 1, "{} and then {}", before, receiver.got().len());
}
