//! Two real processes on one PostgreSQL, and what may happen to them.
//!
//! ```text
//!  clients ─▶ node a ─┐
//!     └─────▶ node b ─┴─▶ PostgreSQL      phones: one user, one destination, for both nodes
//! ```

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::cable::Cable;
use crate::support::engine::postgres::{self, Hand, Postgres};
use crate::support::server::micros;
use crate::support::{Habit, Handset, Lab, Response, Server, Settings, Stage, http, poll, say};

const SOON: Duration = Duration::from_secs(10);
/// Of every node here: the shortest that there is.
const LEASE: Duration = Duration::from_secs(3);
/// From a node's death to its phones' silence: the last beat may have been seen just before, and two looks.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(8);

/// Two nodes, and what lies around them.
struct Nodes {
    a: Server,
    b: Server,
    url: String,
    lab: Lab,
}

/// A node of this lab: its address, a folder and the name of its own.
fn settings(lab: &Lab, url: &str, name: &str, address: Ipv4Addr) -> Settings {
    let folder = lab.folder().join(name);
    std::fs::create_dir_all(&folder).expect("a folder of its own");
    let lease = LEASE.as_secs();
    Settings {
        folder,
        address,
        store: format!("url = \"{url}\""),
        // All nodes have the same.
        webhooks: format!("[webhooks]\nkey_file = \"{}\"", lab.folder().join("webhooks-key").display()),
        cluster: format!("[cluster]\nnode = \"{name}\"\nurl = \"http://{address}:8080\"\nlease_seconds = {lease}\n"),
        ..lab.settings()
    }
}

impl Nodes {
    /// On a database of this name.
    fn start(postgres: &Postgres, name: &str, change: impl Fn(&mut Settings)) -> Self {
        let (url, lab) = (postgres.database(name), Lab::new());
        let node = |name, address| {
            let mut settings = settings(&lab, &url, name, address);
            change(&mut settings);
            settings
        };
        let (a, b) = (node("a", lab.server()), node("b", lab.stranger()));
        let (a, b) = std::thread::scope(|scope| {
            let a = scope.spawn(|| Server::start(a));
            let b = Server::start(b);
            (a.join().expect("node a starts"), b)
        });
        Self { a, b, url, lab }
    }

    fn hand(&self) -> Hand {
        Hand::connect(&self.url).expect("the database takes a connection")
    }

    fn phones(&self, user: Habit, destination: Habit) -> (Handset, Handset) {
        (Handset::new(self.lab.user(), user), Handset::new(self.lab.destination(), destination))
    }

    /// So many dials at once, every other at the other node.
    fn dial_at_once(&self, count: usize, headers: &[(&str, &str)]) -> Vec<Response> {
        std::thread::scope(|scope| {
            let node = |n| if n % 2 == 0 { &self.a } else { &self.b };
            let posts: Vec<_> = (0..count).map(|n| scope.spawn(move || node(n).dial(json!({}), headers))).collect();
            posts.into_iter().map(|post| post.join().expect("the client lives")).collect()
        })
    }

    /// Asks the database until `done`, and compares each time, in one snapshot, what the ledger says is reserved
    /// with what live calls hold, and both with the limit. Returns how often.
    fn watch_ledger(&self, limit: i64, done: &AtomicBool) -> usize {
        let mut sql = self.hand();
        let mut looks = 0;
        while !done.load(Ordering::Relaxed) || looks == 0 {
            let row = sql.text(
                "SELECT format('%s %s %s',
                        coalesce(sum(CASE kind WHEN 'charge' THEN amount ELSE 0 END), 0),
                        coalesce(sum(CASE WHEN kind IN ('reserve', 'extend') THEN amount ELSE -amount END), 0),
                        (SELECT coalesce(sum(reserved), 0) FROM live))
                 FROM ledger",
            );
            let row = row.expect("the ledger can be read");
            let money: Vec<i64> = row.split(' ').map(|amount| amount.parse().expect("an amount")).collect();
            let [spent, reserved, held] = money[..] else { panic!("three amounts in {row}") };
            assert_eq!(reserved, held, "what is reserved is what live calls hold");
            assert!(spent + reserved <= limit, "{spent} spent and {reserved} reserved of {limit}");
            looks += 1;
        }
        looks
    }

    /// After any of these: one terminal record per call, told once, charged once, and nothing in use.
    fn nothing_is_left(&self, node: &Server, calls: &[String]) {
        nothing_is_left(node, &self.url, calls);
    }
}

/// Likewise, as this node says, and the database.
fn nothing_is_left(node: &Server, url: &str, calls: &[String]) {
    let end = |call: &String| node.ended(call, SOON).unwrap_or_else(|| panic!("no end: {}", node.record(call)));
    let cost = calls.iter().map(|call| micros(&end(call)["cost"])).sum();
    assert_eq!(node.records().len(), calls.len(), "one record per call");
    assert_eq!(node.legs_in_use(), 0, "no leg is in use");
    assert_eq!(node.money(), (cost, 0), "spent is what the calls cost, and nothing is reserved");
    for (what, kind) in [("charge", "charge"), ("terminal event", "call_completed")] {
        let mut hand = Hand::connect(url).expect("the database takes a connection");
        let counted = hand.count(&format!("SELECT count(*) FROM journal WHERE kind = '{kind}'"));
        assert_eq!(counted, calls.len() as i64, "one {what} per call");
    }
}

fn call_of(answer: &Response) -> String {
    answer.data()["call_id"].as_str().unwrap_or_else(|| panic!("no call in {answer:?}")).to_owned()
}

fn code(answer: &Response) -> Value {
    answer.json()["error"]["code"].clone()
}

fn must_come_back(answer: &Response) {
    assert_eq!((answer.status, code(answer)), (503, json!("unavailable")), "{answer:?}");
    assert!(answer.header("retry-after").is_some_and(|after| after.parse::<u32>().is_ok()), "{answer:?}");
}

#[test]
fn a_budget_for_one_call_lets_one_of_a_hundred_pass_over_two_nodes() {
    let nodes = Nodes::start(postgres::server(), "budget", |settings| settings.daily_spend_limit = "0.03");
    let (user, _destination) = nodes.phones(Habit::RINGS, Habit::RINGS);
    let done = AtomicBool::new(false);
    let (answers, looks) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| nodes.watch_ledger(30_000, &done));
        let answers = nodes.dial_at_once(100, &[]);
        done.store(true, Ordering::Relaxed);
        (answers, watch.join().expect("the ledger is right"))
    });
    let (admitted, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 202);
    assert_eq!(admitted.len(), 1);
    for answer in refused {
        assert!([403, 429].contains(&answer.status), "{answer:?}");
    }
    let call = call_of(&admitted[0]);
    user.reaches(Stage::Ringing, SOON);
    assert_eq!(nodes.b.hang_up(&call).status, 200);
    assert!(user.quiet(SOON).is_some());
    assert_eq!(user.dialogs().len(), 1, "one phone rang");
    nodes.nothing_is_left(&nodes.a, &[call]);
    say(&format!("cluster: 100 dials at two nodes, the ledger right at {looks} looks"));
}

#[test]
fn a_cap_holds_over_two_nodes_and_a_key_is_one_call() {
    let nodes = Nodes::start(postgres::server(), "cap", |settings| settings.max_concurrent_legs = 20);
    let (user, _destination) = nodes.phones(Habit::RINGS, Habit::RINGS);
    let answers = nodes.dial_at_once(60, &[]);
    let mut calls: Vec<_> = answers.iter().filter(|answer| answer.status == 202).map(call_of).collect();
    assert_eq!(calls.len(), 10, "each takes two legs of twenty");
    for answer in answers.iter().filter(|answer| answer.status != 202) {
        assert_eq!((answer.status, code(answer)), (429, json!("concurrency_limit")), "{answer:?}");
    }
    assert_eq!((nodes.a.legs_in_use(), nodes.b.legs_in_use()), (20, 20), "each counts what the other admitted");
    for call in &calls {
        assert_eq!(nodes.a.hang_up(call).status, 200, "whichever has it");
    }
    assert!(user.quiet(SOON).is_some());

    let key = [("Idempotency-Key", "the-same")];
    let answers = nodes.dial_at_once(200, &key);
    let first = &answers[0];
    assert_eq!(first.status, 202, "{first:?}");
    let other = answers.iter().find(|answer| (answer.status, &answer.body) != (first.status, &first.body));
    assert_eq!(other, None, "200 answers equal to {first:?}");
    assert_eq!(answers.iter().filter(|a| a.header("idempotency-replay").is_none()).count(), 1, "one made the call");
    let conflict = nodes.b.dial(json!({"client_label": "another"}), &key);
    assert_eq!((conflict.status, code(&conflict)), (409, json!("idempotency_conflict")));
    calls.push(call_of(first));
    user.reaches(Stage::Ringing, SOON);
    assert_eq!(nodes.b.hang_up(&calls[10]).status, 200);
    assert!(user.quiet(SOON).is_some());
    assert_eq!(user.dialogs().len(), 11, "the phone rang once for the key");
    nodes.nothing_is_left(&nodes.b, &calls);
}

#[test]
fn a_hang_up_at_the_other_node_reaches_the_one_that_has_the_call() {
    let nodes = Nodes::start(postgres::server(), "hang_up", |_| ());
    let (user, destination) = nodes.phones(Habit::ANSWERS, Habit::ANSWERS);
    let call = nodes.a.place(json!({}));
    nodes.b.reaches(&call, "in_progress", SOON);
    let path = format!("/v1/calls/{call}/hangup");
    // As if a node had sent it on to one that does not have it either.
    must_come_back(&nodes.b.request("POST", &path, &[("X-RevDesk-Forwarded-By", "c")], None));
    assert!(user.dialogs().iter().all(|dialog| dialog.stage == Stage::Talking), "it lives on");

    let headers = [("Idempotency-Key", "once"), ("X-Request-Id", "mine-1")];
    let answer = nodes.b.request("POST", &path, &headers, None);
    assert_eq!((answer.status, answer.data()["call_id"].as_str()), (200, Some(&*call)), "{answer:?}");
    assert_eq!(answer.header("x-request-id"), Some("mine-1"));
    for phone in [&user, &destination] {
        assert!(phone.quiet(Duration::from_secs(1)).is_some(), "{:?}", phone.dialogs());
        assert!(phone.dialogs().iter().all(|dialog| dialog.byes_received == 1), "{:?}", phone.dialogs());
    }
    for node in [&nodes.a, &nodes.b] {
        let again = node.request("POST", &path, &headers, None);
        assert_eq!((again.status, &again.body), (200, &answer.body), "the same answer from each");
        assert_eq!(again.header("idempotency-replay"), Some("true"));
    }
    let record = nodes.b.record(&call);
    assert_eq!((&record["end_reason"], &record["ended_by"]), (&json!("api_hangup"), &json!("api")), "{record}");
    assert_eq!(nodes.b.hang_up("call_01ARZ3NDEKTSV4RRFFQ69G5FAV").status, 404);
    assert!(nodes.b.metric("revbridge_requests_forwarded_total") >= 1.0);
    nodes.nothing_is_left(&nodes.a, &[call]);
}

#[test]
fn a_trace_is_read_at_either_node_while_the_call_lives_and_after_it() {
    let nodes = Nodes::start(postgres::server(), "traces", |settings| {
        settings.webhooks.push_str("\n[trace]\nenabled = true");
    });
    let (_user, _destination) = nodes.phones(Habit::ANSWERS, Habit::ANSWERS);
    let call = nodes.a.place(json!({}));
    nodes.b.reaches(&call, "in_progress", SOON);
    let path = format!("/v1/calls/{call}/trace?format=ladder");
    let acknowledged = |text: &str| text.matches("ACK").count() == 2;
    let lives = poll(SOON, || Some(nodes.b.get(&path)).filter(|answer| acknowledged(&answer.body)));
    let lives = lives.expect("sent on to the node that has the call");
    assert_eq!((lives.status, &lives.body), (200, &nodes.a.get(&path).body));
    nodes.a.hang_up(&call);
    let over = |text: &str| text.matches("200 OK").count() == 4;
    assert!(poll(SOON, || over(&nodes.a.get(&path).body).then_some(())).is_some(), "{}", nodes.a.get(&path).body);
    let whole = nodes.a.get(&path).body;
    nodes.a.terminate();
    let stored = poll(SOON, || Some(nodes.b.get(&path)).filter(|answer| answer.status == 200));
    assert_eq!(stored.expect("written by the node that ended").body, whole);
}

#[test]
fn what_an_administrator_changes_at_one_node_holds_at_the_other_within_a_second() {
    let nodes = Nodes::start(postgres::server(), "tenants", |_| ());
    let key =
        nodes.a.administer("POST", "/organizations/acme/keys", json!({"user_id": "alice", "scopes": ["calls:read"]}));
    let (id, secret) = (key["id"].as_str().expect("an id"), key["secret"].as_str().expect("a secret"));
    let status = || nodes.b.request_with(secret, "GET", "/v1/calls", None).status;
    let within = Duration::from_secs(1);
    assert!(poll(within, || (status() == 200).then_some(())).is_some(), "issued at a, unknown at b after a second");
    nodes.a.administer("DELETE", &format!("/keys/{id}"), Value::Null);
    assert!(poll(within, || (status() == 401).then_some(())).is_some(), "revoked at a, good at b after a second");
    // A limit is read with the account that it limits: it holds at once.
    nodes.a.administer("PATCH", "/organizations/acme", json!({"max_concurrent_legs": 2}));
    let (_user, _destination) = nodes.phones(Habit::RINGS, Habit::RINGS);
    let first = nodes.b.place(json!({}));
    let refused = nodes.b.dial(json!({}), &[]);
    assert_eq!((refused.status, code(&refused)), (429, json!("concurrency_limit")), "{refused:?}");
    assert_eq!(nodes.a.hang_up(&first).status, 200);
}

/// The offer of a page that will never be heard.
const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0 8 126\r\n\
    c=IN IP4 0.0.0.0\r\na=ice-ufrag:Hx4T\r\na=ice-pwd:fC0bEJpR7yqjEsRMkGpP3uoS\r\n\
    a=fingerprint:sha-256 AB:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00\r\n\
    a=setup:actpass\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\na=rtpmap:126 telephone-event/8000\r\n";

#[test]
fn a_browser_finds_its_call_through_either_node() {
    let nodes = Nodes::start(postgres::server(), "browsers", |settings| {
        settings.webrtc = format!("[webrtc]\nenabled = true\nlisten = \"{}:7000\"\n", settings.address);
        settings.webrtc += "public_url = \"http://calls.example.com\"\n";
    });
    let numbers = json!({"from_number": crate::support::OWNED, "to_number": crate::support::DESTINATION});
    let issued = nodes.a.request("POST", "/v1/webrtc-token", &[], Some(&numbers));
    assert_eq!(issued.status, 200, "{issued:?}");
    let (call, token) = (call_of(&issued), issued.data()["token"].as_str().expect("a token").to_owned());
    let b = nodes.b.settings.api();
    let ask = |method: &str, path: &str, secret: &str, body: &str| {
        let bearer = format!("Bearer {secret}");
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/sdp")];
        http::send(b, method, path, &headers, body).expect("the API answers")
    };
    let answer = ask("POST", "/v1/webrtc/connections", &token, OFFER);
    assert_eq!(answer.status, 201, "{answer:?}");
    let a = nodes.a.settings.address;
    assert!(answer.body.contains(&format!("{a} 7000")), "its audio goes to the node that has it: {}", answer.body);
    let header = |name| answer.header(name).expect("a header").to_owned();
    let (connection, secret) = (header("location"), header("revbridge-reconnect"));

    // A stream is passed on as it comes.
    let mut stream = http::open(b, "GET", &format!("{connection}/events"), &secret);
    let first = stream.until("\"state\"");
    assert!(first.contains("text/event-stream") && first.contains(&call), "{first}");
    let ended = ask("DELETE", &connection, &secret, "");
    assert_eq!(ended.status, 204, "{ended:?}");
    stream.until("ended");
    assert!(nodes.a.ended(&call, SOON).is_some());
    let again = ask("POST", "/v1/webrtc/connections", &token, OFFER);
    assert_eq!(again.status, 409, "used at the other node: {again:?}");
}

#[test]
fn a_killed_nodes_calls_are_ended_by_the_other_once() {
    let mut nodes = Nodes::start(postgres::server(), "killed", |_| ());
    let (user, destination) = nodes.phones(Habit::ANSWERS, Habit::ANSWERS);
    let mut calls = vec![nodes.a.place(json!({})), nodes.a.place(json!({}))];
    for call in &calls {
        nodes.a.reaches(call, "in_progress", SOON);
    }
    nodes.a.kill();
    let killed = Instant::now();
    // Until somebody has taken over, its node has the call and does not answer.
    must_come_back(&nodes.b.hang_up(&calls[0]));
    let survivor = nodes.b.place(json!({}));
    calls.push(survivor.clone());
    nodes.b.reaches(&survivor, "in_progress", SOON);
    for phone in [&user, &destination] {
        let over = || phone.dialogs().iter().filter(|dialog| dialog.stage == Stage::Over).count();
        let ended = poll(TAKEN_OVER_WITHIN, || (over() == 2).then_some(()));
        assert!(ended.is_some(), "{:?}", phone.dialogs());
        assert!(phone.dialogs().iter().all(|dialog| dialog.byes_received <= 1), "{:?}", phone.dialogs());
    }
    let took = killed.elapsed();
    assert!(took >= LEASE - Duration::from_secs(1), "not before its lease has run out: {took:?}");
    for call in &calls[..2] {
        let record = nodes.b.ended(call, SOON).expect("the record says so");
        assert_eq!((&record["end_reason"], &record["status"]), (&json!("server_restart"), &json!("completed")));
    }
    assert_eq!(nodes.b.record(&survivor)["status"], "in_progress", "its own call lives on");
    assert_eq!(nodes.b.metric("revbridge_nodes_taken_over_total"), 1.0);

    // The dead one comes back under its name, finds nothing to take up, and serves.
    nodes.a.restart();
    nodes.a.wait_until_ready();
    assert_eq!(nodes.a.metric("revbridge_calls_restored_total"), 0.0);
    assert_eq!(nodes.a.hang_up(&survivor).status, 200);
    assert!(user.quiet(SOON).is_some() && destination.quiet(SOON).is_some());
    assert_eq!(user.dialogs().len(), 3, "nobody was rung twice");
    nodes.nothing_is_left(&nodes.a, &calls);
    say(&format!("cluster: a killed node's legs were down {} ms after its death", took.as_millis()));
}

#[test]
fn a_node_that_was_stopped_beyond_its_lease_places_nothing_and_ends_itself() {
    let mut nodes = Nodes::start(postgres::server(), "stopped", |_| ());
    let (user, destination) = nodes.phones(Habit::ANSWERS, Habit::ANSWERS);
    let call = nodes.a.place(json!({}));
    nodes.a.reaches(&call, "in_progress", SOON);
    nodes.a.signal("STOP");
    // Takes what is sent on to it and answers nothing.
    let asked = Instant::now();
    must_come_back(&nodes.b.hang_up(&call));
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    // Waits in its socket, and is the first that it hears.
    let (api, body) = (nodes.a.settings.api(), crate::support::server::dial_body(json!({})));
    let waiting = std::thread::spawn(move || {
        let bearer = format!("Bearer {}", crate::support::lab::KEY);
        http::request(api, "POST", "/v1/calls/dial", &[("Authorization", &bearer)], Some(&body))
    });
    assert!(user.quiet(TAKEN_OVER_WITHIN).is_some(), "the other takes over: {:?}", user.dialogs());
    assert!(destination.quiet(SOON).is_some());
    let record = nodes.b.ended(&call, SOON).expect("one record");
    assert_eq!(record["end_reason"], "server_restart");

    nodes.a.signal("CONT");
    let status = nodes.a.exited(SOON).expect("it ends by itself");
    assert!(!status.success(), "with an error, so that it is started again: {status}");
    assert!(nodes.a.log().contains("fenced"), "and says why");
    if let Ok(answer) = waiting.join().expect("the client lives") {
        must_come_back(&answer);
    }
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!((user.dialogs().len(), destination.dialogs().len()), (1, 1), "nobody is rung");
    nodes.nothing_is_left(&nodes.b, &[call]);
}

#[test]
fn a_node_that_cannot_reach_the_database_for_longer_than_its_lease_ends_itself() {
    let lab = Lab::new();
    let url = postgres::server().database("cable");
    let (start, rest) = url.split_once('@').expect("a user");
    let (database, name) = rest.split_once('/').expect("a database");
    let end = SocketAddr::from((lab.server(), 5432));
    let cable = Cable::new(end, database.parse().expect("an address"));
    let mut a = Server::start(settings(&lab, &format!("{start}@{end}/{name}"), "a", lab.server()));
    let b = Server::start(settings(&lab, &url, "b", lab.stranger()));
    let (user, destination) =
        (Handset::new(lab.user(), Habit::ANSWERS), Handset::new(lab.destination(), Habit::ANSWERS));
    let call = a.place(json!({}));
    a.reaches(&call, "in_progress", SOON);

    cable.pull();
    // It lives, and its phones hear each other; but it can promise nothing.
    must_come_back(&a.dial(json!({}), &[]));
    assert!(user.quiet(TAKEN_OVER_WITHIN).is_some() && destination.quiet(SOON).is_some(), "{:?}", user.dialogs());
    assert_eq!(b.ended(&call, SOON).expect("one record")["end_reason"], "server_restart");
    assert!(a.exited(Duration::ZERO).is_none(), "it does not know yet");
    cable.plug_in();
    let status = a.exited(SOON).expect("it ends by itself once it knows");
    assert!(!status.success(), "{status}");
    assert!(a.log().contains("fenced"), "{}", a.log());
    nothing_is_left(&b, &url, &[call]);
    assert_eq!((user.dialogs().len(), destination.dialogs().len()), (1, 1), "nobody is rung");
}

#[test]
fn while_the_database_is_away_calls_live_and_nothing_new_begins() {
    let postgres = Postgres::start("away");
    let mut nodes = Nodes::start(&postgres, "away", |_| ());
    let (user, destination) = nodes.phones(Habit::ANSWERS, Habit::ANSWERS);
    let calls = [nodes.a.place(json!({})), nodes.b.place(json!({}))];
    for call in &calls {
        nodes.a.reaches(call, "in_progress", SOON);
    }
    for node in [&nodes.a, &nodes.b] {
        let heard = || (node.metric("revbridge_nodes") == 2.0).then_some(());
        assert!(poll(SOON, heard).is_some(), "each has heard the other");
    }
    postgres.crash();
    let stopped = Instant::now();
    for node in [&nodes.a, &nodes.b] {
        must_come_back(&node.dial(json!({}), &[("Idempotency-Key", "meanwhile")]));
        let ready = http::request(node.settings.admin(), "GET", "/ready", &[], None).expect("it answers");
        assert_eq!(ready.status, 503, "{ready:?}");
    }
    // Longer than the lease: that nobody is heard is held against nobody.
    let relayed = || nodes.b.metric("revbridge_rtp_relayed_total");
    let before = relayed();
    assert!(
        poll(SOON, || (stopped.elapsed() > LEASE + Duration::from_secs(1) && relayed() > before + 50.0).then_some(()))
            .is_some()
    );
    assert!(user.dialogs().iter().all(|dialog| dialog.stage == Stage::Talking), "both calls go on");
    let hung_up = nodes.a.hang_up(&calls[0]);
    assert_eq!((hung_up.status, hung_up.data()["status"].as_str()), (200, Some("completed")), "{hung_up:?}");
    let down = || destination.dialogs().iter().filter(|dialog| dialog.stage == Stage::Over).count();
    assert!(poll(SOON, || (down() == 1).then_some(())).is_some(), "it is hung up: {:?}", destination.dialogs());

    postgres.up();
    let record = nodes.b.ended(&calls[0], SOON).expect("what was owed is written");
    assert_eq!(record["end_reason"], "api_hangup", "{record}");
    for node in [&mut nodes.a, &mut nodes.b] {
        node.wait_until_ready();
        assert_eq!(node.metric("revbridge_nodes_taken_over_total") + node.metric("revbridge_fenced_total"), 0.0);
    }
    assert_eq!(nodes.a.record(&calls[1])["status"], "in_progress");
    assert_eq!(nodes.a.hang_up(&calls[1]).status, 200);
    assert!(user.quiet(SOON).is_some() && destination.quiet(SOON).is_some());
    nodes.nothing_is_left(&nodes.a, &calls);
}
