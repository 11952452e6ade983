//! What is told as it happens: each event once, in order, whatever is cut off and whenever.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use revbridge::config::Config;
use revbridge::model::{CallId, OrganizationId, Status};
use revbridge::store::Outbox as _;

use crate::listener::{Listener, Told};
use crate::world::{ALICE, GENEROUS, MALLORY, READER, WRITER, World, config, good};

impl World {
    fn place(&self) -> CallId {
        self.dial(&good()).data()["call_id"].as_str().unwrap().parse().unwrap()
    }

    fn hang_up(&self, call: CallId) {
        assert_eq!(self.post(&format!("/v1/calls/{call}/hangup"), "").status, 200);
    }

    fn listen(&self, path: &str, last: Option<u64>) -> Listener {
        Listener::open(self.address, path, ALICE, last)
    }

    /// Whole lives, one after the other.
    fn live_through(&self, calls: usize) {
        for _ in 0..calls {
            let call = self.place();
            self.backend.progress(call, Status::CallingDestination);
            self.backend.progress(call, Status::InProgress);
            self.hang_up(call);
        }
    }

    /// What the outbox holds.
    fn written(&self) -> Vec<(u64, String)> {
        let events = self.backend.events(&OrganizationId("acme".into()), None, 0, 100_000).unwrap();
        events.iter().map(|event| (event.position, event.kind.as_str().to_owned())).collect()
    }
}

fn kinds(told: &[Told]) -> Vec<&str> {
    told.iter().map(|one| one.kind.as_str()).collect()
}

fn short(told: &[Told]) -> Vec<(u64, String)> {
    told.iter().map(|one| (one.id, one.kind.clone())).collect()
}

#[test]
fn a_calls_life_is_told_once_in_order_and_then_the_stream_is_over() {
    let world = World::new();
    let call = world.place();
    let path = format!("/v1/calls/{call}/events");
    let mut listener = world.listen(&path, None);
    assert_eq!(listener.next().unwrap().kind, "new_call");
    // Another call's events are none of its business.
    let other = world.place();
    world.backend.progress(call, Status::CallingDestination);
    let told = listener.next().unwrap();
    assert_eq!((told.kind.as_str(), &told.data["data"]["status"]), ("call_status", &"calling_destination".into()));
    assert_eq!(told.data["data"]["id"], call.to_string());
    assert_eq!((&told.data["type"], &told.data["sequence"]), (&"call_status".into(), &told.id.into()));
    assert!(told.data["id"].as_str().unwrap().starts_with("evt_") && told.data["created_at"].is_string(), "{told:?}");
    world.backend.progress(call, Status::InProgress);
    world.hang_up(call);
    assert_eq!(kinds(&listener.all()), ["call_answered", "call_completed"]);
    // Whoever comes late hears all of it, and an end at once.
    let whole = world.listen(&path, None).all();
    assert_eq!(kinds(&whole), ["new_call", "call_status", "call_answered", "call_completed"]);
    assert!(whole.windows(2).all(|pair| pair[0].id < pair[1].id));
    // And whoever has heard the rest, the rest only; by the header or by the address, and the header counts.
    assert_eq!(world.listen(&path, Some(whole[1].id)).all(), whole[2..]);
    assert_eq!(world.listen(&format!("{path}?after={}", whole[2].id), None).all(), whole[3..]);
    assert_eq!(world.listen(&format!("{path}?after=0"), Some(whole[2].id)).all(), whole[3..]);
    assert_eq!(world.listen(&path, Some(whole[3].id)).all(), []);
    world.hang_up(other);
}

#[test]
fn the_organizations_stream_begins_now_and_is_of_that_organization() {
    let world = World::new();
    world.live_through(1);
    let newest = world.written().last().unwrap().0;
    let mut listener = world.listen("/v1/events", None);
    let id = listener.head.lines().find_map(|l| l.strip_prefix("last-event-id: ")).unwrap().to_owned();
    assert_eq!(id, newest.to_string());
    assert!(listener.head.contains("content-type: text/event-stream\r\n"), "{}", listener.head);
    let mallory = Listener::open(world.address, "/v1/events", MALLORY, None);
    let mut mallory = mallory;
    let call = world.place();
    assert_eq!(listener.next().unwrap().data["data"]["id"], call.to_string());
    assert!(mallory.is_silent(Duration::from_millis(600)));
    world.hang_up(call);
}

/// The connection is cut at places that nobody chose, also in the middle of an event.
#[test]
fn whoever_is_cut_off_resumes_without_a_gap_and_hears_nothing_twice() {
    let world = World::new();
    let first = world.listen("/v1/events", None).head;
    let mut last = first.lines().find_map(|l| l.strip_prefix("last-event-id: ")).map(|id| id.parse().unwrap());
    const CALLS: usize = 90;
    world.backend.slow.store(true, Ordering::SeqCst);
    let mut heard = Vec::new();
    let mut connections = 0;
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| world.live_through(CALLS / 3));
        }
        let mut random = 12_345_u64;
        while heard.len() < CALLS * 4 {
            let mut listener = world.listen("/v1/events", last);
            connections += 1;
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            for _ in 0..(random >> 33) % 40 {
                if heard.len() < CALLS * 4 {
                    heard.push(listener.next().expect("there is more"));
                }
            }
            // Cut off before anything was read, a client still has what it had.
            last = listener.last_id.or(last);
        }
    });
    assert_eq!(short(&heard), world.written());
    assert!(connections > 6, "{connections}");
}

/// Each begins at another moment with what is stored and goes on with what comes.
#[test]
fn nothing_falls_between_the_store_and_the_feed() {
    let world = World::new();
    world.backend.slow.store(true, Ordering::SeqCst);
    const CALLS: usize = 60;
    let heard: Vec<Vec<Told>> = thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..CALLS {
                world.live_through(1);
                thread::sleep(Duration::from_millis(15));
            }
        });
        let begin = |n: u64| {
            thread::sleep(Duration::from_millis(n * 43));
            let mut listener = world.listen("/v1/events", Some(0));
            (0..CALLS * 4).map_while(|_| listener.next()).collect()
        };
        let listening: Vec<_> = (0..24).map(|n| scope.spawn(move || begin(n))).collect();
        listening.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let written = world.written();
    assert!(heard.iter().all(|heard| short(heard) == written));
}

#[test]
fn a_list_and_the_events_after_it_are_the_whole_truth() {
    let world = World::new();
    let done = AtomicBool::new(false);
    world.backend.slow.store(true, Ordering::SeqCst);
    thread::scope(|scope| {
        let churn = scope.spawn(|| {
            (0..4).for_each(|_| world.live_through(12));
            done.store(true, Ordering::SeqCst);
        });
        let mut views = Vec::new();
        while !done.load(Ordering::SeqCst) {
            let page = world.get("/v1/calls?limit=100");
            let after: u64 = page.header("last-event-id").unwrap().parse().unwrap();
            views.push((after, statuses(page.data().as_array().unwrap())));
        }
        churn.join().unwrap();
        let end = world.written().last().unwrap().0;
        let truth = statuses(world.get("/v1/calls?limit=100").data().as_array().unwrap());
        assert!(truth.len() == 48 && views.len() > 5, "{} calls, {} views", truth.len(), views.len());
        // Some of the views, from the newest: each must become the truth by what it is told.
        for (after, mut view) in views.into_iter().rev().step_by(3).take(12) {
            let mut listener = world.listen("/v1/events", Some(after));
            let mut seen = after;
            while seen < end {
                let told = listener.next().expect("there is more");
                view.extend(statuses(&[told.data["data"].clone()]));
                seen = told.id;
            }
            assert_eq!(view, truth, "after {after}");
        }
    });
    // One call, likewise.
    let call = world.place();
    let after = world.get(&format!("/v1/calls/{call}")).header("last-event-id").unwrap().parse().unwrap();
    world.hang_up(call);
    let told = world.listen(&format!("/v1/calls/{call}/events"), Some(after)).all();
    assert_eq!(kinds(&told), ["call_completed"]);
}

fn statuses(records: &[serde_json::Value]) -> BTreeMap<String, String> {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    records.iter().map(|record| (text(&record["id"]), text(&record["status"]))).collect()
}

#[test]
fn who_may_listen_to_what() {
    let world = World::new();
    let call = world.place();
    let path = format!("/v1/calls/{call}/events");
    let unknown = format!("/v1/calls/{}00000000000/events", &call.to_string()[..20]);
    let ask = |path: &str, key: &str, headers: &[(&str, &str)]| world.call("GET", path, key, headers, b"");
    let id = [("X-Request-Id", "mine")];
    let foreign = ask(&path, MALLORY, &id);
    assert_eq!((foreign.status, foreign.code().as_str()), (404, "not_found"));
    assert_eq!(foreign, ask(&unknown, MALLORY, &id));
    for path in [path.as_str(), "/v1/events"] {
        assert_eq!(ask(path, WRITER, &[]).status, 403, "{path}");
        assert_eq!(ask(path, "wrong", &[]).status, 401, "{path}");
        for bad in ["x", "-1", "1.0", "+1", "99999999999999999999", "1 2"] {
            let response = ask(path, READER, &[("Last-Event-ID", bad)]);
            assert!(response.field("Last-Event-ID").starts_with("expected the id"), "{bad}");
            assert_eq!(ask(&format!("{path}?after={}", bad.replace([' ', '+'], "%2B")), READER, &[]).status, 400);
        }
        assert_eq!(ask(&format!("{path}?since=1"), READER, &[]).status, 400);
    }
    world.hang_up(call);
    assert!(!Listener::open(world.address, &path, READER, None).all().is_empty());
}

#[test]
fn a_key_holds_a_bounded_number_of_streams() {
    let world = World::new();
    let mut held: Vec<_> = (0..32).map(|_| world.listen("/v1/events", None)).collect();
    let refused = world.get("/v1/events");
    assert_eq!((refused.status, refused.code().as_str()), (429, "stream_limit"));
    assert_eq!(refused.header("ratelimit-policy"), Some("\"streams\";q=32"));
    assert!(refused.header("retry-after").is_some() && refused.header("ratelimit").is_some());
    let other = Listener::open(world.address, "/v1/events", READER, None);
    drop(held.pop());
    let again = (0..100).any(|_| {
        thread::sleep(Duration::from_millis(20));
        world.call("HEAD", "/v1/events", ALICE, &[], b"").status == 200
    });
    assert!(again, "a place that was left is free");
    drop(other);
}

#[test]
fn a_key_that_is_gone_loses_its_streams() {
    let world = World::new();
    let mut listener = Listener::open(world.address, "/v1/events", READER, None);
    let call = world.place();
    assert!(listener.next().is_some());
    let without: String = config(GENEROUS).replace(&crate::limits::sha256(READER), &crate::limits::sha256("another"));
    world.backend.declare(&Config::parse(&without, "without").unwrap());
    let began = std::time::Instant::now();
    assert!(listener.ends());
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    world.hang_up(call);
}

/// What a reader does not take is kept for it nowhere: it is let go, and comes again for what it missed.
#[test]
fn a_reader_that_falls_behind_is_let_go_and_misses_nothing() {
    let world = World::new();
    let call = world.place();
    let mut slow = world.listen("/v1/events", Some(0));
    let mut heard = vec![slow.next().unwrap()];
    // It is live now. More than the feed keeps, and than two sockets hold.
    (0..140).for_each(|_| world.backend.flood(call, 100));
    let mut quick = world.listen("/v1/events", Some(heard[0].id));
    assert!((0..14_000).all(|_| quick.next().is_some()), "others are not held up");
    while let Some(told) = slow.next() {
        heard.push(told);
    }
    let first = heard.len();
    assert!(slow.ends() && first < 14_001, "{first}");
    let mut again = world.listen("/v1/events", heard.last().map(|told| told.id));
    heard.extend((first..14_001).map(|_| again.next().expect("there is more")));
    assert_eq!(short(&heard), world.written());
}
