//! Events of real calls between real phones, over the end of the process.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::listener::Listener;
use crate::support::lab::KEY;
use crate::support::{Habit, Handset, Lab, Server};

const SOON: Duration = Duration::from_secs(10);

fn listen(server: &Server, path: &str, last: Option<u64>) -> Listener {
    Listener::open(server.settings.api(), path, KEY, last)
}

#[test]
fn a_calls_life_is_told_step_by_step() {
    let lab = Lab::new();
    let server = Server::start(lab.settings());
    let _user = Handset::new(lab.user(), Habit::ANSWERS);
    let talks = Habit { hangs_up_after: Some(Duration::from_millis(200)), ..Habit::answers_after(100) };
    let _destination = Handset::new(lab.destination(), talks);
    let mut all = listen(&server, "/v1/events", None);
    let call = server.place(json!({}));
    let told = listen(&server, &format!("/v1/calls/{call}/events"), None).all();
    let seen: Vec<_> = told.iter().map(|t| (t.kind.as_str(), t.data["data"]["status"].as_str().unwrap())).collect();
    assert_eq!(
        seen,
        [
            ("new_call", "calling_user"),
            ("call_status", "calling_destination"),
            ("call_answered", "in_progress"),
            ("call_completed", "completed")
        ]
    );
    // The organization's stream tells the same events, and the last one tells the record.
    let same: Vec<_> = told.iter().map(|_| all.next().expect("told to all")).collect();
    assert_eq!(same, told);
    assert_eq!(told.last().unwrap().data["data"], server.record(&call));
}

/// The stream ends with the process and goes on in the next one, whichever way the first one ended.
#[test]
fn a_restart_is_no_gap() {
    let lab = Lab::new();
    let mut server = Server::start(lab.settings());
    let _user = Handset::new(lab.user(), Habit::RINGS);
    let mut listener = listen(&server, "/v1/events", None);
    let call = server.place(json!({}));
    let first = listener.next().expect("new_call");
    assert_eq!(first.kind, "new_call");
    server.kill();
    assert!(listener.ends(), "the connection is gone");
    server.restart();
    server.wait_until_ready();
    let mut listener = listen(&server, "/v1/events", Some(first.id));
    let ended = std::iter::from_fn(|| listener.next()).find(|told| told.kind == "call_completed").expect("its end");
    assert_eq!(
        (&ended.data["data"]["id"], &ended.data["data"]["end_reason"]),
        (&json!(call), &json!("server_restart"))
    );
    // And when it is told to stop: what ends with it is still told, and the stream keeps nobody waiting.
    let call = server.place(json!({}));
    let _ = std::iter::from_fn(|| listener.next()).find(|told| told.kind == "new_call").expect("the next call");
    server.hang_up(&call);
    server.terminate();
    let asked = Instant::now();
    let ended = std::iter::from_fn(|| listener.next()).find(|told| told.kind == "call_completed").expect("its end");
    assert_eq!(ended.data["data"]["id"], call);
    assert!(listener.ends());
    assert!(server.exited(SOON).expect("it ends").success());
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
}
