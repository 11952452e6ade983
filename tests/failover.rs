//! Trunks that fail, with the real server: another takes the call, guarded as the first was, and nothing is left of the
//! first attempt.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the lab is all sockets, clocks and threads")]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Habit, Handset, Lab, Phone, Server, Settings, Stage, poll};

const SOON: Duration = Duration::from_secs(10);

/// A server that asks the trunk `first` before the one of the destination.
fn with_first(lab: &Lab) -> Settings {
    let trunks = format!(
        "[[trunk]]\nname = \"first\"\nuri = \"sip:{}\"\npriority = 1\nping_seconds = 0\nmax_calls = 10\n",
        lab.stranger()
    );
    Settings { trunks, sip_lines: "failover_seconds = 1".into(), ..lab.settings() }
}

/// What `revbridge route` prints.
fn route(server: &Server, number: &str) -> Vec<Vec<String>> {
    let key = server.settings.folder.join("admin-key");
    std::fs::write(&key, support::lab::ADMIN_KEY).expect("a key file");
    let output = server.run(&["route", number, "--key-file", key.to_str().expect("a path")]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

fn verdicts(server: &Server) -> Vec<(String, String)> {
    let rows = route(server, support::DESTINATION);
    rows[1..].iter().map(|row| (row[0].clone(), row[1].clone())).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

fn completed(server: &Server, call: &str) -> Value {
    server.reaches(call, "in_progress", SOON);
    assert_eq!(server.hang_up(call).status, 200);
    server.ended(call, SOON).expect("a record")
}

#[test]
fn a_trunk_that_says_503_is_passed_over_and_avoided_for_as_long_as_it_asks() {
    let lab = Lab::new();
    let user = Handset::new(lab.user(), Habit::ANSWERS);
    let destination = Handset::new(lab.destination(), Habit::ANSWERS);
    let mut first = Phone::new(lab.stranger());
    let server = Server::start(with_first(&lab));
    let heading = route(&server, support::DESTINATION);
    assert_eq!(
        heading[0].join(" "),
        "verdict trunk target prefix_length priority weight target_priority target_weight avoided_seconds calls max_calls calls_in_second \
         max_calls_per_second"
    );
    assert_eq!(verdicts(&server), pairs(&[("first", "first"), ("next", "carrier")]));
    // The user's own phone takes the longer prefix.
    assert_eq!(route(&server, support::USER)[1][1], "phones");
    let call = server.place(json!({}));
    let invite = first.expect("INVITE");
    first.answer(&invite, "503 Service Unavailable", &["Retry-After: 120"], "");
    first.expect("ACK");
    let record = completed(&server, &call);
    assert_eq!((&record["status"], &record["cost"]), (&json!("completed"), &json!("0.020000")));
    assert_eq!(server.metric("revbridge_trunk_failures_total{trunk=\"first\",elsewhere=\"yes\"}"), 1.0);
    let theirs = destination.dialogs();
    assert_eq!(theirs.len(), 1);
    assert_ne!(theirs[0].invite.call_id(), invite.call_id(), "nothing of one attempt tells of another");
    assert_ne!(theirs[0].invite.header("From"), invite.header("From"));

    assert_eq!(verdicts(&server), pairs(&[("first", "carrier"), ("next", "first")]));
    let avoided: u64 = route(&server, support::DESTINATION)[2][8].parse().expect("seconds");
    assert!((110..=120).contains(&avoided), "{avoided}");
    let call = server.place(json!({}));
    completed(&server, &call);
    assert!(first.next(Duration::from_millis(300)).is_none(), "the next call does not ask it");
    assert!(user.quiet(SOON).is_some() && destination.quiet(SOON).is_some());
    assert_eq!(server.legs_in_use(), 0);
}

#[test]
fn a_silent_trunk_is_given_up_and_its_phone_that_rings_late_is_cancelled() {
    let lab = Lab::new();
    let user = Handset::new(lab.user(), Habit::ANSWERS);
    let destination = Handset::new(lab.destination(), Habit::ANSWERS);
    let mut first = Phone::new(lab.stranger());
    let server = Server::start(with_first(&lab));
    let call = server.place(json!({}));
    let invite = first.expect("INVITE");
    destination.reaches(Stage::Talking, SOON);
    first.answer(&invite, "180 Ringing", &[], "");
    let cancel = first.expect("CANCEL");
    assert_eq!(cancel.call_id(), invite.call_id());
    first.answer(&cancel, "200 OK", &[], "");
    // Its phone was answered all the same.
    let description = first.description();
    first.answer(&invite, "200 OK", &[], &description);
    first.expect("ACK");
    let bye = first.expect("BYE");
    first.answer(&bye, "200 OK", &[], "");
    let record = completed(&server, &call);
    assert_eq!((&record["status"], &record["cost"]), (&json!("completed"), &json!("0.020000")));
    assert!(user.quiet(SOON).is_some() && destination.quiet(SOON).is_some());
}

#[test]
fn a_call_never_goes_to_another_trunk_once_a_phone_rings() {
    let lab = Lab::new();
    let _user = Handset::new(lab.user(), Habit::ANSWERS);
    let destination = Handset::new(lab.destination(), Habit::ANSWERS);
    let mut first = Phone::new(lab.stranger());
    let server = Server::start(with_first(&lab));
    let call = server.place(json!({}));
    let invite = first.expect("INVITE");
    first.answer(&invite, "180 Ringing", &[], "");
    std::thread::sleep(Duration::from_secs(2));
    first.answer(&invite, "503 Service Unavailable", &[], "");
    first.expect("ACK");
    let record = server.ended(&call, SOON).expect("a record");
    assert_eq!((&record["status"], &record["sip_status"]), (&json!("failed"), &json!(503)));
    assert!(destination.dialogs().is_empty());
}

#[test]
fn the_guardrails_are_asked_again_for_the_second_trunk() {
    let lab = Lab::new();
    let user = Handset::new(lab.user(), Habit::ANSWERS);
    let destination = Handset::new(lab.destination(), Habit::ANSWERS);
    let mut first = Phone::new(lab.stranger());
    let server = Server::start(with_first(&lab));
    let call = server.place(json!({}));
    let invite = first.expect("INVITE");
    server.administer("PATCH", "/organizations/acme", json!({"allowed_destinations": ["+1415"]}));
    first.answer(&invite, "503 Service Unavailable", &[], "");
    let record = server.ended(&call, SOON).expect("a record");
    let wanted = (&json!("rejected"), &json!("destination_not_allowed"), &json!("guardrail"));
    assert_eq!((&record["status"], &record["end_reason"], &record["ended_by"]), wanted);
    assert!(destination.dialogs().is_empty(), "no INVITE without a permit of its own");
    assert!(user.quiet(SOON).is_some());
}

#[test]
fn a_full_trunk_is_passed_over() {
    let lab = Lab::new();
    let _user = Handset::new(lab.user(), Habit::ANSWERS);
    let destination = Handset::new(lab.destination(), Habit::ANSWERS);
    let mut first = Phone::new(lab.stranger());
    let settings = with_first(&lab);
    let settings = Settings { trunks: settings.trunks.replace("max_calls = 10", "max_calls = 1"), ..settings };
    let server = Server::start(settings);
    let one = server.place(json!({}));
    first.pick_up();
    server.reaches(&one, "in_progress", SOON);
    assert_eq!(verdicts(&server), pairs(&[("first", "carrier"), ("full", "first")]));
    let two = server.place(json!({}));
    destination.reaches(Stage::Talking, SOON);
    completed(&server, &two);
    assert_eq!(server.hang_up(&one).status, 200);
    let bye = first.expect("BYE");
    first.answer(&bye, "200 OK", &[], "");
    let room = poll(SOON, || (verdicts(&server)[0].1 == "first").then_some(()));
    assert!(room.is_some(), "{:?}", verdicts(&server));
}

#[test]
fn after_kill_9_between_two_trunks_both_are_taken_down() {
    let lab = Lab::new();
    let user = Handset::new(lab.user(), Habit::ANSWERS);
    let destination = Handset::new(lab.destination(), Habit::RINGS);
    let mut first = Phone::new(lab.stranger());
    let mut server = Server::start(with_first(&lab));
    let call = server.place(json!({}));
    let invite = first.expect("INVITE");
    destination.reaches(Stage::Ringing, SOON);
    server.kill();
    server.restart();
    server.wait_until_ready();
    // The first answers only now.
    let description = first.description();
    first.answer(&invite, "200 OK", &[], &description);
    let bye = first.expect("BYE");
    first.answer(&bye, "200 OK", &[], "");
    let record = server.ended(&call, SOON).expect("a record");
    assert_eq!((&record["status"], &record["end_reason"]), (&json!("failed"), &json!("server_restart")));
    assert!(user.quiet(SOON).is_some() && destination.quiet(SOON).is_some());
}
