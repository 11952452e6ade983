//! Calls that go wrong in a way that ordinary calls do not pause the prefix that they went to.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::server::dial_body;
use crate::support::{DESTINATION, Habit, Handset, Lab, OWNED, Phone, Response, Server, Settings, USER, poll};

const SOON: Duration = Duration::from_secs(10);

/// Waits for its INVITE, picks up, and lets the other side end the call.
fn short_call(server: &Server, user: &mut Phone) -> String {
    let call = server.place(json!({}));
    user.pick_up();
    let bye = user.expect("BYE");
    user.answer(&bye, "200 OK", &[], "");
    let record = server.ended(&call, SOON).expect("an end");
    assert_eq!((&record["status"], &record["ended_by"]), (&json!("completed"), &json!("destination")), "{record}");
    call
}

fn paused(server: &Server) -> Value {
    server.get("/v1/guardrails").data()["destination"]["paused"].clone()
}

fn is_refused(answer: &Response) -> Duration {
    let error = &answer.json()["error"];
    assert_eq!((answer.status, &error["code"]), (403, &json!("destination_not_allowed")), "{}", answer.body);
    let said = error["fields"]["to_number"].as_str().unwrap_or_default();
    assert!(said.starts_with("calls to +1212 are paused until 2"), "{said}");
    let wait = answer.header("retry-after").and_then(|wait| wait.parse().ok()).expect("Retry-After");
    Duration::from_secs(wait)
}

#[test]
fn a_burst_of_short_answers_pauses_the_prefix_also_for_calls_under_way_and_over_a_kill() {
    let lab = Lab::new();
    let organization = "breaker_short_answers = 2".into();
    let mut server = Server::start(Settings { organization, ..lab.settings() });
    let mut user = Phone::new(lab.user());
    let hangs_up = Habit { hangs_up_after: Some(Duration::from_millis(50)), ..Habit::ANSWERS };
    let destination = Handset::new(lab.destination(), hangs_up);
    let waiting = server.place(json!({}));
    let invite = user.expect("INVITE");
    user.answer(&invite, "180 Ringing", &[], "");
    short_call(&server, &mut user);
    assert_eq!(paused(&server), json!([]));
    short_call(&server, &mut user);

    let shown = paused(&server);
    assert_eq!((&shown[0]["prefix"], &shown[0]["reason"]), (&json!("+1212"), &json!("short_answers")), "{shown}");
    assert_eq!(shown.as_array().map(Vec::len), Some(1));
    let wait = is_refused(&server.dial(json!({}), &[]));
    assert!((Duration::from_secs(890)..=Duration::from_secs(900)).contains(&wait), "{wait:?}");
    let dry = server.request("POST", "/v1/calls/dial?dry_run=true", &[], Some(&dial_body(json!({})))).data();
    let check = &dry["checks"][1];
    assert_eq!(
        (&dry["allowed"], &check["allowed"], &check["paused"]),
        (&json!(false), &json!(false), &shown[0]),
        "{dry}"
    );
    assert!(check["retry_after_seconds"].as_u64().is_some_and(|wait| (890..=900).contains(&wait)), "{dry}");
    assert_eq!(server.metric("revbridge_breaker_tripped_total"), 1.0);
    // Elsewhere nothing is paused.
    let elsewhere = server.place(json!({"to_number": "+13105550100"}));
    server.hang_up(&elsewhere);
    assert!(server.ended(&elsewhere, SOON).is_some());

    // The call that rang all the while gets no leg B.
    let rung = destination.dialogs().len();
    user.answer(&invite, "200 OK", &[], &user.description());
    let record = server.ended(&waiting, SOON).expect("an end");
    assert_eq!((&record["end_reason"], &record["ended_by"]), (&json!("destination_not_allowed"), &json!("guardrail")));
    assert_eq!(destination.dialogs().len(), rung, "leg B was never rung");

    server.kill();
    server.restart();
    server.wait_until_ready();
    assert_eq!(paused(&server), shown, "the same pause");
    is_refused(&server.dial(json!({}), &[]));
    // It ends by itself, and sooner when the pause is made shorter.
    server.reload_with(|file| {
        file.replace("breaker_short_answers = 2", "breaker_short_answers = 2\nbreaker_pause_seconds = 1")
    });
    let over = poll(Duration::from_secs(12), || (paused(&server) == json!([])).then_some(()));
    assert!(over.is_some(), "{}", paused(&server));
    let again = server.place(json!({}));
    server.hang_up(&again);
    assert!(server.ended(&again, SOON).is_some());
    // It is said once, and names nobody.
    let log = server.log();
    let told: Vec<_> = log.lines().filter(|line| line.contains("breaker tripped")).collect();
    assert_eq!(told.len(), 1, "{log}");
    assert!([DESTINATION, USER, OWNED].iter().all(|number| !told[0].contains(&number[1..8])), "{}", told[0]);
}

#[test]
fn a_prefix_where_nobody_answers_is_paused_and_turning_the_breaker_off_lifts_it() {
    let lab = Lab::new();
    let organization = "breaker_answer_percent = 10\nbreaker_min_calls = 3".into();
    let server = Server::start(Settings { organization, ..lab.settings() });
    let mut user = Phone::new(lab.user());
    let mut destination = Phone::new(lab.destination());
    for status in ["486 Busy Here", "503 Service Unavailable", "404 Not Found", "486 Busy Here"] {
        assert_eq!(paused(&server), json!([]), "before {status}");
        let call = server.place(json!({}));
        user.pick_up();
        let invite = destination.expect("INVITE");
        destination.answer(&invite, status, &[], "");
        destination.expect("ACK");
        let bye = user.expect("BYE");
        user.answer(&bye, "200 OK", &[], "");
        assert!(server.ended(&call, SOON).is_some());
    }
    // The 503 was the carrier's own: three of the four say something of who was called.
    assert_eq!(paused(&server)[0]["reason"], "few_answers");
    let wait = is_refused(&server.dial(json!({}), &[]));
    assert!(wait > Duration::from_secs(800), "{wait:?}");
    server.reload_with(|file| file.replace("breaker_answer_percent = 10", "breaker_answer_percent = 0"));
    let lifted = poll(SOON, || (paused(&server) == json!([])).then_some(()));
    assert!(lifted.is_some(), "{}", paused(&server));
    let call = server.place(json!({}));
    server.hang_up(&call);
    assert!(server.ended(&call, SOON).is_some());
}
