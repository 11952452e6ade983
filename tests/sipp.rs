//! Every behaviour in `sipp-scenarios/`, against the real server.
//!
//! Each scenario gets a server, a store and addresses of its own; several run at a time. A scenario
//! passes when SIPp followed it to the end, the one record says what it should, and nothing is left
//! in use. `SCENARIO=busy cargo test --test sipp` runs one of them alone. The races that need many clients at once are in `races.rs`.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the lab is all sockets, clocks and threads")]

mod support;

use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use support::sipp::Outcome;
use support::{DESTINATION, Lab, Server, Sipp, USER, poll, say};

/// Scenarios at a time: they mostly wait.
const AT_A_TIME: usize = 16;
/// 64·T1 and a little: after that nothing of a call may be left (RFC 3261 §17).
const RELEASED_WITHIN: Duration = Duration::from_secs(34);

/// Who shows the behaviour; the other one follows `partner`.
#[derive(Clone, Copy, PartialEq)]
enum On {
    User,
    Destination,
}
use On::{Destination, User};

/// What somebody does to the call while it runs.
#[derive(Clone, Copy)]
enum Deed {
    Nothing,
    /// The API hangs up this long after the call has reached the status.
    HangUp {
        status: &'static str,
        after_ms: u64,
    },
}

struct Case {
    scenario: &'static str,
    on: On,
    /// Of both phones: `udp` or `tcp`.
    transport: &'static str,
    /// The other party's scenario; empty when it must never be rung.
    partner: &'static str,
    dial: Value,
    deed: Deed,
    status: &'static str,
    end_reason: &'static str,
    ended_by: &'static str,
    cost: &'static str,
}

impl Case {
    /// The scenario of this leg's phone.
    fn on_leg(&self, leg: On) -> &'static str {
        if self.on == leg { self.scenario } else { self.partner }
    }
}

fn speaks(scenario: &str) -> bool {
    !["silent_phone", "deaf_after_answer"].contains(&scenario)
}

/// Both answered: the first minute of each leg.
const TWO_LEGS: &str = "0.020000";
/// Only the user answered.
const USER_ONLY: &str = "0.010000";
const FREE: &str = "0.000000";

/// A call that is joined and that one side ends, on the side of the behaviour.
fn joined(scenario: &'static str, on: On, partner: &'static str, ended_by: &'static str) -> Case {
    let end = (DONE, "hangup", ended_by, TWO_LEGS);
    case(scenario, on, partner, end)
}

/// A call in which the destination does not come to talk.
fn refused(scenario: &'static str, status: &'static str, end_reason: &'static str) -> Case {
    case(scenario, Destination, "wait_for_bye", (status, end_reason, "destination", USER_ONLY))
}

const DONE: &str = "completed";

const NOT_AUTHORIZED: End = ("failed", "destination_failed", "failure", USER_ONLY);

type End = (&'static str, &'static str, &'static str, &'static str);

fn case(scenario: &'static str, on: On, partner: &'static str, (status, end_reason, ended_by, cost): End) -> Case {
    Case {
        scenario,
        on,
        transport: "udp",
        partner,
        dial: json!({}),
        deed: Deed::Nothing,
        status,
        end_reason,
        ended_by,
        cost,
    }
}

/// The behaviours that a connection could change.
fn over_tcp() -> Vec<Case> {
    let cases = vec![
        joined("answer", Destination, "bye_from_phone", "user"),
        joined("bye_from_phone", Destination, "wait_for_bye", "destination"),
        joined("early_media_183", Destination, "bye_from_phone", "user"),
        refused("busy", "busy", "destination_busy"),
        case("decline", User, "", ("rejected", "user_declined", "user", FREE)),
        Case {
            dial: json!({"ring_timeout_seconds": 5}),
            ..case("no_answer", User, "", ("no_answer", "user_no_answer", "timeout", FREE))
        },
        Case {
            deed: Deed::HangUp { status: "calling_destination", after_ms: 500 },
            ..case("answer_crossing_cancel", Destination, "wait_for_bye", ("canceled", "api_hangup", "api", USER_ONLY))
        },
        joined("two_hundred_forks", Destination, "bye_from_phone", "user"),
        joined("hold_and_resume", Destination, "wait_for_bye", "destination"),
        joined("offerless_reinvite", User, "wait_for_bye", "user"),
        joined("update_in_dialog", Destination, "wait_for_bye", "destination"),
        joined("unknown_method_in_dialog", Destination, "wait_for_bye", "destination"),
        joined("challenge_407_then_answer", Destination, "bye_from_phone", "user"),
        case("challenge_forever", Destination, "wait_for_bye", NOT_AUTHORIZED),
    ];
    cases.into_iter().map(|case| Case { transport: "tcp", ..case }).collect()
}

/// How a final answer other than 2xx is told, by its class in the record.
fn refusals() -> Vec<Case> {
    let unreachable = ("failed", "destination_unreachable");
    let failed = ("failed", "destination_failed");
    let no_codec = ("failed", "no_common_codec");
    let redirected = ("failed", "redirect_refused");
    let declined = ("rejected", "destination_declined");
    let outcomes = [
        ("not_found", unreachable),
        ("gone", unreachable),
        ("number_incomplete", unreachable),
        ("nowhere_604", unreachable),
        ("temporarily_unavailable", ("no_answer", "destination_no_answer")),
        ("busy_everywhere", ("busy", "destination_busy")),
        ("unwanted_607", declined),
        ("blocked_608", declined),
        ("not_acceptable_here", no_codec),
        ("not_acceptable_606", no_codec),
        ("multiple_choices", redirected),
        ("use_proxy_305", redirected),
        ("forbidden_403", failed),
        ("server_error_500", failed),
        ("overloaded_503", failed),
        ("version_505", failed),
    ];
    outcomes.into_iter().map(|(scenario, (status, reason))| refused(scenario, status, reason)).collect()
}

/// Destinations that talk, and then hang up themselves.
const HANG_UP: [&str; 38] = [
    "reliable_ringing",
    "reliable_answer_before_the_200",
    "reliable_out_of_order",
    "changes_while_ringing",
    "offers_too_early",
    "every_provisional",
    "answers_at_once",
    "the_other_fork_answers",
    "session_too_short",
    "session_refreshed",
    "session_too_fast",
    "transfer_refused",
    "strangers_in_the_dialog",
    "info_of_another_kind",
    "digit_that_is_none",
    "requires_the_unknown",
    "foreign_body",
    "broken_description",
    "fax_refused",
    "video_beside",
    "another_codec",
    "hold_inactive",
    "offer_before_the_ack",
    "numbers_go_back",
    "cancels_nothing",
    "acknowledges_nothing",
    "gone_round",
    "connected_identity",
    "compact_headers",
    "answer_again_later",
    "challenge_stale",
    "challenge_strongest",
    "challenge_with_body",
    "challenge_twice",
    "answers_on_hold",
    "another_event_type",
    "audio_ended",
    "another_port",
];

/// Destinations that talk until the user hangs up.
const ARE_HUNG_UP: [&str; 9] = [
    "two_proxies",
    "strict_router",
    "no_contact",
    "names_and_parameters",
    "bye_challenged",
    "bye_for_nobody",
    "bye_refused",
    "bye_provisional",
    "both_hang_up",
];

fn talks() -> Vec<Case> {
    let hang_up = HANG_UP.iter().map(|scenario| joined(scenario, Destination, "wait_for_bye", "destination"));
    let are_hung_up = ARE_HUNG_UP.iter().map(|scenario| joined(scenario, Destination, "bye_from_phone", "user"));
    let confirm = |scenario| Case {
        dial: json!({"confirm": "press_1"}),
        ..joined(scenario, User, "bye_from_phone", "destination")
    };
    let more = [
        confirm("press_one_plainly"),
        confirm("wrong_key_first"),
        Case {
            deed: Deed::HangUp { status: "calling_user", after_ms: 500 },
            ..case("rings_after_the_hang_up", User, "", ("canceled", "api_hangup", "api", FREE))
        },
    ];
    hang_up.chain(are_hung_up).chain(more).collect()
}

/// What a scenario says that its phone does.
fn behaviour(scenario: &str) -> String {
    let file = format!("{}/sipp-scenarios/{scenario}.xml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{file}: {e}"));
    let name = text.split("<scenario name=\"").nth(1).and_then(|rest| rest.split('"').next());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| panic!("{file}: no name")).to_owned()
}

/// No file lies about unused, and each says something of its own.
#[test]
fn every_scenario_is_run_and_has_a_name_of_its_own() {
    let elsewhere = ["registrar_wants_more_time"];
    let all: Vec<Case> = [cases(), refusals(), talks(), over_tcp()].into_iter().flatten().collect();
    let run = |name: &str| all.iter().any(|case| case.scenario == name || case.partner == name);
    let mut names = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/sipp-scenarios")).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "xml") {
            continue;
        }
        let scenario = path.file_stem().expect("a name").to_string_lossy().into_owned();
        assert!(run(&scenario) || elsewhere.contains(&&*scenario), "{scenario} is never run");
        if let Some(other) = names.insert(behaviour(&scenario), scenario.clone()) {
            panic!("{scenario} and {other} have one name");
        }
    }
    assert!(names.len() >= 60, "{} scenarios", names.len());
}

fn cases() -> Vec<Case> {
    let api_hangup = Deed::HangUp { status: "in_progress", after_ms: 1000 };
    vec![
        joined("answer", Destination, "bye_from_phone", "user"),
        joined("answer", User, "bye_from_phone", "destination"),
        joined("bye_from_phone", Destination, "wait_for_bye", "destination"),
        Case { deed: api_hangup, ..case("wait_for_bye", User, "answer", (DONE, "api_hangup", "api", TWO_LEGS)) },
        Case {
            dial: json!({"max_duration_seconds": 2}),
            ..case("wait_for_bye", Destination, "answer", (DONE, "max_duration", "timeout", TWO_LEGS))
        },
        joined("early_media_183", Destination, "bye_from_phone", "user"),
        Case {
            deed: api_hangup,
            ..case("ringing_then_early_media", Destination, "wait_for_bye", (DONE, "api_hangup", "api", TWO_LEGS))
        },
        refused("busy", "busy", "destination_busy"),
        case("busy", User, "", ("busy", "user_busy", "user", FREE)),
        refused("decline", "rejected", "destination_declined"),
        case("decline", User, "", ("rejected", "user_declined", "user", FREE)),
        refused("session_progress_then_busy", "busy", "destination_busy"),
        refused("redirect_302_premium", "failed", "redirect_refused"),
        joined("named_by_our_own_words", User, "bye_from_phone", "destination"),
        case("contact_like_a_line_of_sdp", User, "", ("failed", "masking_guard", "failure", USER_ONLY)),
        Case {
            dial: json!({"ring_timeout_seconds": 5}),
            ..case(
                "no_answer",
                Destination,
                "wait_for_bye",
                ("no_answer", "destination_no_answer", "timeout", USER_ONLY),
            )
        },
        Case {
            dial: json!({"ring_timeout_seconds": 5}),
            ..case("no_answer", User, "", ("no_answer", "user_no_answer", "timeout", FREE))
        },
        Case {
            deed: Deed::HangUp { status: "calling_destination", after_ms: 500 },
            ..case("answer_crossing_cancel", Destination, "wait_for_bye", ("canceled", "api_hangup", "api", USER_ONLY))
        },
        Case {
            deed: Deed::HangUp { status: "calling_user", after_ms: 500 },
            ..case("cancel_ignored", User, "", ("canceled", "api_hangup", "api", FREE))
        },
        joined("lost_ack", Destination, "wait_for_bye", "destination"),
        joined("fork_late_second_200", Destination, "bye_from_phone", "user"),
        joined("two_hundred_forks", Destination, "bye_from_phone", "user"),
        joined("hold_and_resume", Destination, "wait_for_bye", "destination"),
        joined("hold_and_resume", User, "wait_for_bye", "user"),
        joined("offerless_reinvite", Destination, "wait_for_bye", "destination"),
        joined("update_in_dialog", Destination, "wait_for_bye", "destination"),
        joined("options_and_info_in_dialog", Destination, "wait_for_bye", "destination"),
        joined("unknown_method_in_dialog", Destination, "wait_for_bye", "destination"),
        joined("challenge_401_then_answer", Destination, "bye_from_phone", "user"),
        joined("challenge_407_then_answer", Destination, "bye_from_phone", "user"),
        case("challenge_foreign_realm", Destination, "wait_for_bye", NOT_AUTHORIZED),
        case("challenge_forever", Destination, "wait_for_bye", NOT_AUTHORIZED),
        joined("wrong_branch", Destination, "bye_from_phone", "user"),
        case("deaf_after_answer", Destination, "wait_for_bye", (DONE, "media_timeout", "timeout", TWO_LEGS)),
        case("silent_phone", User, "wait_for_bye", (DONE, "media_timeout", "timeout", TWO_LEGS)),
        case(
            "answer_without_common_codec",
            Destination,
            "wait_for_bye",
            ("failed", "no_common_codec", "failure", USER_ONLY),
        ),
        joined("retransmitted_bye", Destination, "wait_for_bye", "destination"),
        Case {
            dial: json!({"confirm": "press_1"}),
            ..joined("press_one_by_info", User, "bye_from_phone", "destination")
        },
        Case {
            dial: json!({"confirm": "press_1"}),
            ..case("wait_for_bye", User, "", ("no_answer", "not_confirmed", "timeout", USER_ONLY))
        },
    ]
}

#[test]
fn every_behaviour_of_a_phone() {
    support::require_tool("sipp", "sip-tester");
    let mut cases: Vec<Case> = [cases(), refusals(), talks(), over_tcp()].into_iter().flatten().collect();
    if let Ok(only) = std::env::var("SCENARIO") {
        cases.retain(|case| case.scenario == only);
    }
    let waiting = Mutex::new(cases.iter().enumerate().rev().collect::<Vec<_>>());
    let verdicts = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some((at, case)) = take(&waiting) {
                    let faults = std::panic::catch_unwind(|| run(case)).unwrap_or_else(|_| vec!["panicked".into()]);
                    verdicts.lock().expect("no thread panics with it").push((at, faults));
                }
            });
        }
    });
    let mut verdicts = verdicts.into_inner().expect("all threads are done");
    verdicts.sort();
    report(&cases, &verdicts);
    let failed = verdicts.iter().filter(|(_, faults)| !faults.is_empty()).count();
    assert_eq!(failed, 0, "scenarios failed, see the table above");
}

fn take<T>(waiting: &Mutex<Vec<T>>) -> Option<T> {
    waiting.lock().expect("no thread panics with it").pop()
}

fn report(cases: &[Case], verdicts: &[(usize, Vec<String>)]) {
    let mut files: Vec<_> = cases.iter().map(|case| case.scenario).collect();
    for (at, faults) in verdicts {
        let case = &cases[*at];
        let on = if case.on == User { "leg A" } else { "leg B" };
        let verdict = if faults.is_empty() { "ok".to_owned() } else { format!("FAILED: {}", faults.join("; ")) };
        let Case { scenario, transport, status, end_reason, .. } = case;
        let behaviour = behaviour(scenario);
        say(&format!("  {scenario:30} {behaviour:52} {on}  {transport}  {status:10} {end_reason:23} {verdict}"));
    }
    files.sort_unstable();
    files.dedup();
    let passed = verdicts.iter().filter(|(_, faults)| faults.is_empty()).count();
    say(&format!("SIPp: {passed} of {} calls went as they should", verdicts.len()));
    support::count("scenarios", files.len());
}

/// Runs one case and says all that was wrong with it.
fn run(case: &Case) -> Vec<String> {
    let lab = Lab::new();
    let mut settings = lab.settings();
    settings.media_timeout_seconds = 5;
    (settings.user_transport, settings.destination_transport) = (case.transport, case.transport);
    let limit = Duration::from_secs(60);
    let (user, destination) = (case.on_leg(User), case.on_leg(Destination));
    let start = |scenario: &str, address| {
        let is_rung = !scenario.is_empty();
        is_rung.then(|| Sipp::start_on(case.transport, scenario, address, lab.folder(), limit))
    };
    let user = start(user, lab.user());
    let destination = start(destination, lab.destination());
    let server = Server::start(settings);
    let call = server.place(case.dial.clone());
    do_deed(&server, &call, case.deed);
    let mut faults = Vec::new();
    let secrets =
        [(user, [DESTINATION, "canary-reason"], lab.destination()), (destination, [USER, "canary-reason"], lab.user())];
    for (phone, words, other) in secrets {
        let Some(phone) = phone else { continue };
        let scenario = phone.scenario.clone();
        check_phone(&scenario, &phone.finish(), &words, &other.to_string(), &mut faults);
    }
    check_record(&server, &call, case, &mut faults);
    check_alert(&server, case, &mut faults);
    check_released(&server, &mut faults);
    faults
}

fn do_deed(server: &Server, call: &str, deed: Deed) {
    match deed {
        Deed::Nothing => {}
        Deed::HangUp { status, after_ms } => {
            server.reaches(call, status, Duration::from_secs(10));
            std::thread::sleep(Duration::from_millis(after_ms));
            assert_eq!(server.hang_up(call).status, 200);
        }
    }
}

/// SIPp went through its whole scenario, and what it received names nothing of the other party.
fn check_phone(scenario: &str, outcome: &Outcome, words: &[&str], address: &str, faults: &mut Vec<String>) {
    if outcome.code != 0 {
        let why: String = outcome.errors.split_whitespace().collect::<Vec<_>>().join(" ");
        let why: String = why.chars().take(300).collect();
        faults.push(format!("sipp {scenario} exits {}, having received {}: {why}", outcome.code, outcome.starts()));
    }
    for word in words.iter().map(|w| w.trim_start_matches('+')).chain([address]) {
        // Leg A's own request URI is leg A's own number, leg B's likewise: each looks for the other's.
        if outcome.received.contains(word) {
            faults.push(format!("{scenario} was told {word}"));
        }
    }
}

fn check_record(server: &Server, call: &str, case: &Case, faults: &mut Vec<String>) {
    let Some(record) = server.ended(call, Duration::from_secs(10)) else {
        faults.push(format!("no end: {}", server.record(call)));
        return;
    };
    let wanted =
        [("status", case.status), ("end_reason", case.end_reason), ("ended_by", case.ended_by), ("cost", case.cost)];
    for (field, wanted) in wanted {
        if record[field] != wanted {
            faults.push(format!("{field} is {} instead of {wanted}", record[field]));
        }
    }
    for (leg, scenario) in [("user", case.on_leg(User)), ("destination", case.on_leg(Destination))] {
        let packets = record["legs"][leg]["packets"].as_u64().unwrap_or(0);
        if case.status == DONE && speaks(scenario) && packets < 10 {
            faults.push(format!("{packets} RTP packets of the {leg}"));
        }
    }
    let records = server.records().len();
    if records != 1 {
        faults.push(format!("{records} records"));
    }
}

/// An operator is told of each request that the outgoing guard stopped, and of no other.
fn check_alert(server: &Server, case: &Case, faults: &mut Vec<String>) {
    let blocked = server.metric(r#"revbridge_masking_blocked_total{leg="B",method="INVITE"}"#);
    if (blocked > 0.0) != (case.end_reason == "masking_guard") {
        faults.push(format!("{blocked} INVITEs were stopped"));
    }
}

/// Nothing is held by a call that is over: no leg of the cap at once, no leg on the wire after 64·T1.
fn check_released(server: &Server, faults: &mut Vec<String>) {
    let legs = server.legs_in_use();
    if legs != 0 {
        faults.push(format!("{legs} legs still count"));
    }
    let (_, reserved) = server.money();
    if reserved != 0 {
        faults.push(format!("{reserved} micro-units are still reserved"));
    }
    let released = poll(RELEASED_WITHIN, || (server.metric("revbridge_live_legs") == 0.0).then_some(()));
    if released.is_none() {
        faults.push("a leg is still alive after 64·T1".into());
    }
}
