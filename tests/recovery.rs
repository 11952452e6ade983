//! `kill -9` of the real server, and SIGTERM, while two phones remember what they were promised.
//!
//! ```text
//!   dial ─ 202 ─ A rings ─ A answered ─ B rings ─ joined ─ ending ─ ended
//!         ▲     ▲         ▲            ▲         ▲        ▲
//!         └─────┴─────────┴── SIGKILL ─┴─────────┴────────┘   then: start again on the same files
//! ```
//!
//! After each: no phone is left in a dialog, the call has one terminal record, what it cost is all that
//! is spent, nothing is reserved, and the same request asked again is the same call.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the lab is all sockets, clocks and threads")]

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::server::micros;
use support::{Habit, Handset, Lab, Server, Stage, say};

/// From the moment at which the server is ready again to the last phone that knows it.
const TAKEN_DOWN_WITHIN: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(10);

/// When the server dies.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// The 202 has just arrived.
    Accepted,
    UserRings,
    /// The user's phone has sent its 200.
    UserAnswered,
    DestinationRings,
    Joined,
    /// The API has been told to hang up.
    Ending,
    /// So long after the 202, wherever the call is by then.
    After(u64),
}

/// Phones that bring a call to the moment and keep it there.
fn habits(moment: Moment) -> (Habit, Habit) {
    match moment {
        Moment::Accepted | Moment::UserRings => (Habit::RINGS, Habit::RINGS),
        Moment::UserAnswered | Moment::DestinationRings => (Habit::ANSWERS, Habit::RINGS),
        Moment::Joined | Moment::Ending => (Habit::ANSWERS, Habit::ANSWERS),
        Moment::After(_) => (Habit::answers_after(40), Habit::answers_after(40)),
    }
}

fn wait_for(moment: Moment, server: &Server, call: &str, user: &Handset, destination: &Handset) {
    match moment {
        Moment::Accepted => {}
        Moment::UserRings => user.reaches(Stage::Ringing, SOON),
        Moment::UserAnswered => user.reaches(Stage::Answered, SOON),
        Moment::DestinationRings => destination.reaches(Stage::Ringing, SOON),
        Moment::Joined => {
            destination.reaches(Stage::Talking, SOON);
            server.reaches(call, "in_progress", SOON);
        }
        Moment::Ending => {
            destination.reaches(Stage::Talking, SOON);
            assert_eq!(server.hang_up(call).status, 200);
        }
        Moment::After(ms) => std::thread::sleep(Duration::from_millis(ms)),
    }
}

#[test]
fn a_killed_server_leaves_nobody_hanging() {
    let fixed = [
        Moment::Accepted,
        Moment::UserRings,
        Moment::UserAnswered,
        Moment::DestinationRings,
        Moment::Joined,
        Moment::Ending,
    ];
    let spread = (0..10).map(|i| Moment::After(i * 13));
    let moments: Vec<_> = fixed.into_iter().chain(spread).collect();
    for moment in &moments {
        let took = die_at(*moment);
        say(&format!(
            "  killed at {:18} every leg down {:4} ms after the restart",
            format!("{moment:?}"),
            took.as_millis()
        ));
    }
    support::count("deaths", moments.len());
}

/// Lets the server die at the moment, starts it again, and checks everything. Returns how long it took
/// from the start of the new process to the end of the last leg.
fn die_at(moment: Moment) -> Duration {
    let lab = Lab::new();
    let mut server = Server::start(lab.settings());
    let (user_habit, destination_habit) = habits(moment);
    let user = Handset::new(lab.user(), user_habit);
    let destination = Handset::new(lab.destination(), destination_habit);
    let key = [("Idempotency-Key", "once")];
    let answer = server.dial(json!({}), &key);
    assert_eq!(answer.status, 202, "{}", answer.body);
    let call = answer.data()["call_id"].as_str().expect("a call_id").to_owned();
    wait_for(moment, &server, &call, &user, &destination);
    server.kill();
    let restarted = Instant::now();
    server.restart();
    server.wait_until_ready();
    legs_come_down(&user, &destination, moment);
    let took = restarted.elapsed();
    let record = server.ended(&call, SOON).unwrap_or_else(|| panic!("{moment:?}: no end: {}", server.record(&call)));
    check_books(&server, &record, moment);
    let again = server.dial(json!({}), &key);
    assert_eq!((again.status, again.body), (answer.status, answer.body), "{moment:?}: the same answer");
    assert_eq!(again.headers.iter().find(|h| h.0 == "idempotency-replay").map(|h| h.1.as_str()), Some("true"));
    std::thread::sleep(Duration::from_millis(300));
    for phone in [&user, &destination] {
        assert!(phone.dialogs().len() <= 1, "{moment:?}: a phone was rung twice: {:?}", phone.dialogs());
        // One from each life at most: the first may have died before it knew that its BYE was heard.
        assert!(phone.dialogs().iter().all(|d| d.byes_received <= 2), "{moment:?}: {:?}", phone.dialogs());
    }
    assert_eq!(server.records().len(), 1, "{moment:?}: one record");
    took
}

/// Both phones, each within the time; a leg that has not been rung yet is rung by nobody any more.
fn legs_come_down(user: &Handset, destination: &Handset, moment: Moment) {
    let start = Instant::now();
    for (name, phone) in [("user", user), ("destination", destination)] {
        let left = TAKEN_DOWN_WITHIN.saturating_sub(start.elapsed());
        assert!(phone.quiet(left).is_some(), "{moment:?}: the {name}'s leg is still up: {:?}", phone.dialogs());
    }
}

/// One terminal record; what it cost is what is spent; nothing is reserved and no leg counts.
fn check_books(server: &Server, record: &Value, moment: Moment) {
    assert!(record["end_reason"].is_string(), "{moment:?}: {record}");
    assert_eq!(server.legs_in_use(), 0, "{moment:?}: no leg counts");
    assert_eq!(server.money(), (micros(&record["cost"]), 0), "{moment:?}: charged once, nothing reserved: {record}");
}

#[test]
fn a_drained_server_finishes_what_it_has_and_takes_nothing_new() {
    let lab = Lab::new();
    let mut settings = lab.settings();
    settings.drain_deadline_seconds = 2;
    let mut server = Server::start(settings);
    let user = Handset::new(lab.user(), Habit::ANSWERS);
    let destination = Handset::new(lab.destination(), Habit::ANSWERS);
    let call = server.place(json!({}));
    server.reaches(&call, "in_progress", SOON);
    server.terminate();
    std::thread::sleep(Duration::from_millis(300));
    let refused = server.dial(json!({}), &[]);
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (503, Some("unavailable")));
    assert!(refused.header("retry-after").is_some_and(|after| after.parse::<u32>().is_ok()), "{refused:?}");
    assert!(user.dialogs().iter().all(|d| d.stage == Stage::Talking), "a live call goes on until the deadline");
    let status = server.exited(Duration::from_secs(8)).expect("the server ends by itself");
    assert!(status.success(), "it ends well: {status}");
    for phone in [&user, &destination] {
        assert_eq!(phone.dialogs().len(), 1, "nobody was rung while draining");
        assert!(phone.dialogs().iter().all(|d| d.byes_received == 1), "BYE at the deadline: {:?}", phone.dialogs());
    }
    server.restart();
    let record = support::poll(SOON, || {
        let path = format!("/v1/calls/{call}");
        server
            .try_request("GET", &path, &[], None)
            .ok()
            .map(|answer| answer.data())
            .filter(|r| r["ended_at"].is_string())
    });
    let record = record.expect("the record outlives the server");
    assert_eq!((&record["status"], &record["end_reason"]), (&json!("completed"), &json!("drained")));
}
