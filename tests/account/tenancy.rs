//! What an administrator changes holds at once, also for calls that live.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::server::{dial_body, micros};
use crate::support::{DESTINATION, Habit, Handset, Lab, OWNED, Server, Stage, poll, say};

const SOON: Duration = Duration::from_secs(10);

fn issue(server: &Server, scopes: &[&str]) -> (String, String) {
    let body = json!({"user_id": "alice", "scopes": scopes});
    let key = server.administer("POST", "/organizations/acme/keys", body);
    let text = |name: &str| key[name].as_str().expect("a text").to_owned();
    (text("id"), text("secret"))
}

#[test]
fn a_revoked_key_is_refused_within_a_second_and_its_call_goes_on() {
    let lab = Lab::new();
    let server = Server::start(lab.settings());
    let (_user, _destination) =
        (Handset::new(lab.user(), Habit::ANSWERS), Handset::new(lab.destination(), Habit::ANSWERS));
    let (id, secret) = issue(&server, &["calls:read", "calls:write"]);
    let dial = server.request_with(&secret, "POST", "/v1/calls/dial", Some(&dial_body(json!({}))));
    let call = dial.data()["call_id"].as_str().expect("a call").to_owned();
    server.reaches(&call, "in_progress", SOON);

    server.administer("DELETE", &format!("/keys/{id}"), Value::Null);
    let revoked = Instant::now();
    let status = || server.request_with(&secret, "GET", "/v1/calls", None).status;
    assert!(poll(Duration::from_secs(1), || (status() == 401).then_some(())).is_some(), "still open after a second");
    let took = revoked.elapsed();
    assert_eq!(server.request_with(&secret, "POST", "/v1/calls/dial", Some(&dial_body(json!({})))).status, 401);
    assert_eq!(server.record(&call)["status"], "in_progress");
    server.hang_up(&call);
    assert!(server.ended(&call, SOON).is_some());
    say(&format!("tenancy: a revoked key was refused {} ms after the answer", took.as_millis()));
}

#[test]
fn a_number_taken_away_while_the_user_rings_reaches_no_destination() {
    let lab = Lab::new();
    let server = Server::start(lab.settings());
    let user = Handset::new(lab.user(), Habit::answers_after(800));
    let destination = Handset::new(lab.destination(), Habit::ANSWERS);
    let call = server.place(json!({}));
    user.reaches(Stage::Ringing, SOON);
    server.administer("DELETE", &format!("/organizations/acme/numbers/{OWNED}"), Value::Null);
    let record = server.ended(&call, SOON).expect("an end");
    assert_eq!((&record["ended_by"], &record["end_reason"]), (&json!("guardrail"), &json!("caller_id_not_verified")));
    assert!(destination.dialogs().is_empty(), "no leg: {:?}", destination.dialogs());
    assert!(user.quiet(SOON).is_some());
    assert_eq!((server.legs_in_use(), server.money().1), (0, 0));
    assert_eq!(server.dial(json!({}), &[]).status, 403);
    // Given back, it is the organization's own again.
    server.administer("POST", "/organizations/acme/numbers", json!({"number": OWNED}));
    let call = server.place(json!({}));
    destination.reaches(Stage::Talking, SOON);
    server.hang_up(&call);
}

#[test]
fn a_price_is_fixed_by_the_admission_and_one_that_is_gone_refuses() {
    let lab = Lab::new();
    let server = Server::start(lab.settings());
    let (_user, _destination) =
        (Handset::new(lab.user(), Habit::ANSWERS), Handset::new(lab.destination(), Habit::ANSWERS));
    let call = server.place(json!({}));
    server.reaches(&call, "in_progress", SOON);
    server.administer("PUT", "/prices/+1", json!({"per_minute": "1.00", "step_seconds": 6}));
    server.hang_up(&call);
    assert_eq!(micros(&server.ended(&call, SOON).expect("an end")["cost"]), 20_000, "the first minute of both legs");
    let preview = |more| server.request("POST", "/v1/calls/dial?dry_run=true", &[], Some(&dial_body(more))).data();
    assert_eq!(preview(json!({}))["reserve"], "2.000000");

    let call = server.place(json!({}));
    server.reaches(&call, "in_progress", SOON);
    server.administer("DELETE", "/prices/+1", Value::Null);
    let refused = server.dial(json!({}), &[]);
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (403, &json!("destination_not_allowed")));
    server.hang_up(&call);
    assert_eq!(micros(&server.ended(&call, SOON).expect("an end")["cost"]), 2_000_000);
    // A price for the destination alone leaves the user's phone without one.
    server.administer("PUT", &format!("/prices/{}", &DESTINATION[..5]), json!({"per_minute": "0.5"}));
    assert_eq!(server.dial(json!({}), &[]).status, 403);
    server.administer("PUT", "/prices/+1415", json!({"per_minute": "0.1"}));
    assert_eq!(preview(json!({}))["price_per_minute"], "0.600000");
}

#[test]
fn what_an_administrator_changed_outlives_a_reload_and_kill_9_until_the_file_changes_it() {
    let lab = Lab::new();
    let mut server = Server::start(lab.settings());
    let legs =
        |server: &Server| server.administer("GET", "/organizations/acme", Value::Null)["max_concurrent_legs"].clone();
    server.administer("PATCH", "/organizations/acme", json!({"max_concurrent_legs": 40}));
    let (_, secret) = issue(&server, &["calls:read"]);
    server.reload();
    let again = poll(SOON, || server.log().contains("configuration read again").then_some(()));
    assert!(again.is_some(), "no reload:\n{}", server.log());
    assert_eq!(legs(&server), 40);
    server.kill();
    server.restart();
    server.wait_until_ready();
    assert_eq!(legs(&server), 40);
    assert_eq!(server.request_with(&secret, "GET", "/v1/calls", None).status, 200);

    let file = server.settings.folder.join("config.toml");
    let text = fs::read_to_string(&file).expect("the configuration");
    let write = |text: &str| fs::write(&file, text).expect("the configuration is written");
    write(&text.replace("max_concurrent_legs = 20", "max_concurrent_legs = 22"));
    assert_eq!(server.administer("POST", "/reload", Value::Null), json!({"skipped": []}));
    assert_eq!(legs(&server), 22);
    write(&text.replace("max_concurrent_legs = 20", "max_concurrent_legs = 1"));
    let refused = server.admin("POST", "/reload", None);
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (400, &json!("invalid_configuration")));
    assert!(refused.body.contains("max_concurrent_legs: expected a whole number from 2"), "{}", refused.body);
    assert_eq!(legs(&server), 22);

    // What the file cannot have is told and left out; the admin key goes with the file.
    server.administer(
        "POST",
        "/organizations",
        json!({"id": "zoo", "allowed_destinations": [], "daily_spend_limit": "1"}),
    );
    server.administer("POST", "/organizations/zoo/numbers", json!({"number": "+12025550111"}));
    let more = "[[organization.number]]\nnumber = \"+12025550111\"\n[[organization.key]]";
    write(&text.replacen("[[organization.key]]", more, 1));
    let skipped = server.administer("POST", "/reload", Value::Null)["skipped"].clone();
    let reason = "another organization has this number";
    assert_eq!(skipped, json!([{"kind": "number", "name": "+12025550111", "reason": reason}]));
    let line = server.log().lines().rfind(|line| line.contains("declares what cannot be")).map(str::to_owned);
    assert!(line.is_some_and(|line| line.contains("+…11 of acme") && !line.contains("+1202")), "{}", server.log());
    let without: String =
        text.lines().filter(|line| !line.starts_with("key_sha256")).map(|l| format!("{l}\n")).collect();
    write(&without);
    server.administer("POST", "/reload", Value::Null);
    assert_eq!(server.admin("GET", "/organizations", None).status, 404);
}
