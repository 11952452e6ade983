//! Two thousand calls come and go while somebody pages through the records: the records, the phones and the statement
//! say the same of every one of them.
//!
//! What a call must have come to is derived from what its two phones saw, not from what they were meant to do.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::server::{Micros, micros};
use crate::support::{Crowd, Lab, Manner, Seen, Server, Settings, count, poll, say};

const CALLS: usize = 2_000;
const CLIENTS: usize = 16;
/// A minute of one leg.
const PERIOD: Micros = 10_000;

fn user(call: usize) -> String {
    format!("+14155{call:06}")
}

fn destination(call: usize) -> String {
    format!("+12125{call:06}")
}

/// The call of a phone's number.
fn call_of(number: &str) -> usize {
    number.get(6..).and_then(|digits| digits.parse().ok()).unwrap_or(usize::MAX)
}

fn user_manner(number: &str) -> Manner {
    let soon = Duration::from_millis(10);
    match call_of(number) % 12 {
        7 => Manner::Busy,
        8 => Manner::Answers(soon, Some(Duration::from_millis(600))),
        11 => Manner::Rings,
        _ => Manner::Answers(soon, None),
    }
}

fn destination_manner(number: &str) -> Manner {
    let soon = Duration::from_millis(15);
    match call_of(number) % 12 {
        n @ 0..=4 => Manner::Answers(soon, Some(Duration::from_millis(60 + 70 * n as u64))),
        5 => Manner::Busy,
        6 => Manner::Declines,
        10 => Manner::Answers(soon, None),
        _ => Manner::Rings,
    }
}

/// Whether nobody but the API ends this call.
fn is_for_the_api(call: usize) -> bool {
    [9, 10, 11].contains(&(call % 12))
}

/// What the phones' memories of a call come to: its status and its cost.
fn counted(user: &Seen, destination: Option<&Seen>) -> (&'static str, Micros) {
    let cost = PERIOD * (u64::from(user.talked) + u64::from(destination.is_some_and(|seen| seen.talked)));
    let status = match destination {
        Some(seen) if seen.talked => "completed",
        Some(seen) => by_answer(seen.status),
        None => by_answer(user.status),
    };
    (status, cost)
}

fn by_answer(status: Option<u16>) -> &'static str {
    match status {
        Some(486) => "busy",
        Some(603) => "rejected",
        Some(487) => "canceled",
        other => panic!("a phone that was rung and neither talked nor refused: {other:?}"),
    }
}

/// Every record, page by page; each id once.
fn page_through(server: &Server) -> BTreeMap<String, Value> {
    let mut records = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let page = server.get(&format!("/v1/calls?limit=100{cursor}")).json();
        for record in page["data"].as_array().expect("a page") {
            let id = record["id"].as_str().expect("an id").to_owned();
            assert!(records.insert(id.clone(), record.clone()).is_none(), "{id} is on two pages");
        }
        match page["meta"]["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return records,
        }
    }
}

#[test]
fn records_phones_and_statement_agree_on_two_thousand_calls() {
    let began = Instant::now();
    let lab = Lab::new();
    let server = Server::start(Settings {
        max_concurrent_legs: 1_000_000,
        max_calls_per_minute: 1_000_000,
        daily_spend_limit: "100000",
        media_ports: "20000-29999",
        organization: "breaker_short_answers = 0\nbreaker_answer_percent = 0".into(),
        ..lab.settings()
    });
    let users = Crowd::new(lab.user(), user_manner);
    let destinations = Crowd::new(lab.destination(), destination_manner);
    let accepted: Mutex<BTreeMap<String, usize>> = Mutex::default();
    let (next, dialing) = (AtomicUsize::new(0), AtomicBool::new(true));
    let sweeps = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| dial_all(&server, &next, &accepted))).collect();
        let hanger = scope.spawn(|| hang_up_all(&server, &accepted, [&users, &destinations], &dialing));
        let reader = scope.spawn(|| sweep(&server, &accepted, &dialing));
        clients.into_iter().for_each(|client| client.join().expect("a client"));
        let quiet = poll(Duration::from_secs(30), || {
            // Quiet after the last call has come is quiet for good.
            let left = users.quiet(Duration::ZERO).len() + destinations.quiet(Duration::ZERO).len();
            (left == 0 && server.legs_in_use() == 0).then_some(())
        });
        dialing.store(false, Ordering::Relaxed);
        hanger.join().expect("who hangs up");
        let sweeps = reader.join().expect("who reads");
        assert!(quiet.is_some(), "phones are up: {:?} {:?}", users.up(), destinations.up());
        assert!(sweeps >= 3, "the list was read while calls came and went: {sweeps} times");
        sweeps
    });
    compare(&server, &accepted.into_inner().expect("the clients are well"), &users, &destinations);
    count("calls-reconciled", CALLS);
    say(&format!(
        "  {CALLS} calls reconciled over {sweeps} sweeps of the list in {:.1} s",
        began.elapsed().as_secs_f64()
    ));
}

fn dial_all(server: &Server, next: &AtomicUsize, accepted: &Mutex<BTreeMap<String, usize>>) {
    loop {
        let call = next.fetch_add(1, Ordering::Relaxed);
        if call >= CALLS {
            return;
        }
        let id = server.place(json!({"connect_number": user(call), "to_number": destination(call)}));
        accepted.lock().expect("the clients are well").insert(id, call);
    }
}

/// Hangs up by the API what nobody else ends, once its phones have come as far as they go.
fn hang_up_all(server: &Server, accepted: &Mutex<BTreeMap<String, usize>>, crowds: [&Crowd; 2], dialing: &AtomicBool) {
    let mut done = std::collections::BTreeSet::new();
    while dialing.load(Ordering::Relaxed) {
        let ids: BTreeMap<usize, String> =
            accepted.lock().expect("well").iter().map(|(id, call)| (*call, id.clone())).collect();
        let [(ringing_users, _), (ringing, talking)] = crowds.map(Crowd::up);
        let mut due = Vec::new();
        let settled_users = ringing_users.iter().filter(|number| user_manner(number) == Manner::Rings);
        let rings_on = ringing.iter().filter(|number| destination_manner(number) == Manner::Rings);
        for number in settled_users.chain(rings_on).chain(&talking) {
            let call = call_of(number);
            if let Some(id) = ids.get(&call).filter(|_| is_for_the_api(call))
                && done.insert(call)
            {
                due.push(id.clone());
            }
        }
        server.hang_up_all(&due);
        std::thread::sleep(Duration::from_millis(60));
    }
}

/// Pages through the list again and again: every call that was accepted before is there, what is over stays as it is,
/// and no statement takes back what an earlier one said.
fn sweep(server: &Server, accepted: &Mutex<BTreeMap<String, usize>>, dialing: &AtomicBool) -> usize {
    let mut over: BTreeMap<String, Value> = BTreeMap::new();
    let (mut sweeps, mut spent) = (0, 0);
    while dialing.load(Ordering::Relaxed) {
        let before: Vec<String> = accepted.lock().expect("well").keys().cloned().collect();
        let usage = server.usage();
        let at_least: Micros = over.values().map(|record| micros(&record["cost"])).sum();
        let now = micros(&usage["total"]["spent"]);
        assert!(now >= at_least.max(spent), "{now} of {at_least} and {spent}");
        spent = now;
        let records = page_through(server);
        for id in &before {
            assert!(records.contains_key(id), "{id} was accepted and is on no page");
        }
        // What the pages say now was spent by then at least.
        let paged: Micros = records.values().map(|record| micros(&record["cost"])).sum();
        assert!(paged >= now, "{paged} of {now}");
        for (id, record) in records.into_iter().filter(|(_, record)| record["ended_at"].is_string()) {
            let first = over.entry(id).or_insert_with(|| record.clone());
            assert_eq!(*first, record, "a record that is final has changed");
        }
        sweeps += 1;
        // Reading all the time would be all that the server does.
        std::thread::sleep(Duration::from_millis(400));
    }
    sweeps
}

fn compare(server: &Server, accepted: &BTreeMap<String, usize>, users: &Crowd, destinations: &Crowd) {
    let records = page_through(server);
    assert_eq!(accepted.len(), CALLS, "each was accepted with an id of its own");
    assert!(records.keys().eq(accepted.keys()), "the records are those of the calls that were accepted");
    let (users, destinations) = (users.all(), destinations.all());
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    let mut total = 0;
    for (id, call) in accepted {
        let record = &records[id];
        let [rung] = users[&user(*call)].as_slice() else { panic!("{id}: the user was rung twice: {record}") };
        let called = destinations.get(&destination(*call)).map_or(&[][..], Vec::as_slice);
        assert!(called.len() <= 1, "{id}: the destination was rung twice: {record}");
        let (status, cost) = counted(rung, called.first());
        assert_eq!(
            (record["status"].as_str(), micros(&record["cost"])),
            (Some(status), cost),
            "{record}\n{rung:?} {called:?}"
        );
        *outcomes.entry(status).or_default() += 1;
        total += cost;
    }
    assert!(outcomes.values().all(|calls| *calls > CALLS / 20) && outcomes.len() == 4, "{outcomes:?}");
    assert_eq!(users.len(), CALLS, "nobody else was rung");
    let usage = server.usage();
    let sums = &usage["total"];
    assert_eq!((micros(&sums["spent"]), micros(&sums["reserved"])), (total, 0), "{usage}");
    let answered = outcomes["completed"];
    assert_eq!((&sums["calls"], &sums["live"], &sums["answered"]), (&json!(CALLS), &json!(0), &json!(answered)));
    assert_eq!(server.money(), (total, 0));
    let audit = server.audit();
    assert_eq!((&audit["differences"], &audit["calls"]), (&json!(0), &json!(CALLS)), "{audit}");
}
