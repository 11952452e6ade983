//! Traces of real calls: read while the call lives and after the process has ended, in three formats, by whom they are
//! for.

use std::fs;
use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::engine::Hand;
use crate::support::lab::{ADMIN_KEY, KEY};
use crate::support::{DESTINATION, Habit, Handset, Lab, OWNED, Server, Settings, USER, poll};

const SOON: Duration = Duration::from_secs(10);

fn traced(lab: &Lab) -> Settings {
    Settings { webhooks: "[trace]\nenabled = true".to_owned(), ..lab.settings() }
}

fn titles(trace: &Value, leg: &str) -> Vec<String> {
    let of_leg = trace["messages"].as_array().unwrap().iter().filter(|message| message["leg"] == leg);
    of_leg
        .map(|message| format!("{} {}", message["way"].as_str().unwrap(), message["title"].as_str().unwrap()))
        .collect()
}

fn trace(server: &Server, call: &str) -> Value {
    server.get(&format!("/v1/calls/{call}/trace")).data()
}

/// Until the thread has what the wire has.
fn trace_until(server: &Server, call: &str, title: &str) -> Value {
    let ends = |trace: &Value| titles(trace, "destination").last().is_some_and(|last| last == title);
    poll(SOON, || Some(trace(server, call)).filter(ends)).unwrap_or_else(|| panic!("{}", trace(server, call)))
}

#[test]
fn both_legs_are_told_in_order_while_the_call_lives_and_after_a_restart() {
    let lab = Lab::new();
    let mut server = Server::start(traced(&lab));
    let _user = Handset::new(lab.user(), Habit::ANSWERS);
    let _destination = Handset::new(lab.destination(), Habit::ANSWERS);
    let call = server.place(json!({}));
    server.reaches(&call, "in_progress", SOON);
    let live = trace_until(&server, &call, "sent ACK");
    for leg in ["user", "destination"] {
        let titles = titles(&live, leg);
        assert_eq!(
            (titles.first().unwrap(), titles.last().unwrap()),
            (&"sent INVITE".into(), &"sent ACK".into()),
            "{live}"
        );
        assert!(titles.contains(&"received 200 OK".to_owned()), "{live}");
    }
    assert_eq!(live["complete"], true);
    server.hang_up(&call);
    let whole = trace_until(&server, &call, "received 200 OK");
    server.terminate();
    assert!(server.exited(SOON).expect("it ends").success());
    server.restart();
    server.wait_until_ready();
    assert_eq!(trace(&server, &call), whole, "the stored trace is the one of memory");

    let all = whole.to_string();
    for number in [USER, OWNED, DESTINATION] {
        assert!(all.contains(number), "the organization sees its own call's {number}");
    }
    let mut hand = Hand::on(&lab.folder().join("revbridge.db"));
    assert_eq!(hand.count("SELECT count(*) FROM trace"), 1);
    shapes(&server, &lab, &call, whole["messages"].as_array().unwrap());
}

fn shapes(server: &Server, lab: &Lab, call: &str, messages: &[Value]) {
    let path = format!("/v1/calls/{call}/trace");
    let ladder = server.get(&format!("{path}?format=ladder"));
    assert_eq!(ladder.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(ladder.body.lines().count(), 2 + messages.len(), "{}", ladder.body);
    let accepted = server.request("GET", &path, &[("Accept", "text/plain")], None);
    assert_eq!(accepted.body, ladder.body);

    let file = lab.folder().join("trace.pcap");
    let url = format!("http://{}{path}?format=pcap", server.settings.api());
    let bearer = format!("Authorization: Bearer {KEY}");
    let fetched = Command::new("curl").args(["-sS", "-f", "-H", &bearer, "-o"]).arg(&file).arg(&url).status().unwrap();
    assert!(fetched.success());
    let fields = ["-T", "fields", "-e", "sip.Method", "-e", "sip.Status-Code", "-e", "udp.checksum.status"];
    let checks = ["-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"];
    let seen =
        Command::new("tshark").arg("-r").arg(&file).args(checks).args(["-Y", "sip"]).args(fields).output().unwrap();
    let seen = String::from_utf8(seen.stdout).unwrap();
    let expected: String = messages
        .iter()
        .map(|message| match message["title"].as_str().unwrap().split_once(' ') {
            Some((status, _)) => format!("\t{status}\t1\n"),
            None => format!("{}\t\t1\n", message["title"].as_str().unwrap()),
        })
        .collect();
    assert_eq!(seen, expected, "Wireshark reads every message, in order, with good checksums");
    let bad =
        Command::new("tshark").arg("-r").arg(&file).args(["-Y", "_ws.malformed || ip.checksum.status == 0"]).output();
    assert_eq!(String::from_utf8(bad.unwrap().stdout).unwrap(), "");
    fs::remove_file(file).unwrap();
}

#[test]
fn a_trace_is_for_its_organization_and_its_scope_only() {
    let lab = Lab::new();
    let server = Server::start(traced(&lab));
    let _user = Handset::new(lab.user(), Habit::RINGS);
    let call = server.place(json!({}));
    let path = format!("/v1/calls/{call}/trace");
    let issue = |organization: &str, user: &str, scope: &str| {
        let body = json!({"user_id": user, "scopes": [scope]});
        let key = server.administer("POST", &format!("/organizations/{organization}/keys"), body);
        key["secret"].as_str().unwrap().to_owned()
    };
    let reader = issue("acme", "alice", "calls:read");
    assert_eq!(server.request_with(&reader, "GET", &path, None).status, 403);
    server.administer(
        "POST",
        "/organizations",
        json!({"id": "zoo", "allowed_destinations": ["+1"], "daily_spend_limit": "1.00"}),
    );
    server.administer("POST", "/organizations/zoo/users", json!({"id": "eve"}));
    let stranger = issue("zoo", "eve", "calls:trace");
    assert_eq!(server.request_with(&stranger, "GET", &path, None).status, 404);
    assert!(poll(SOON, || (server.get(&path).status == 200).then_some(())).is_some());
    let wrong = server.get(&format!("{path}?format=xml"));
    assert_eq!((wrong.status, wrong.json()["error"]["fields"]["format"].is_string()), (400, true), "{wrong:?}");
    server.hang_up(&call);
}

#[test]
fn where_nothing_is_traced_there_is_nothing() {
    let lab = Lab::new();
    let server = Server::start(lab.settings());
    let _user = Handset::new(lab.user(), Habit::ANSWERS);
    let _destination = Handset::new(lab.destination(), Habit::ANSWERS);
    let call = server.place(json!({}));
    server.reaches(&call, "in_progress", SOON);
    assert_eq!(server.get(&format!("/v1/calls/{call}/trace")).status, 404);
    server.hang_up(&call);
}

/// What a collector is told of one message, read by the letter of HEP version 3.
fn chunks(packet: &[u8]) -> Vec<(u8, Vec<u8>)> {
    assert_eq!(
        (&packet[..4], usize::from(u16::from_be_bytes([packet[4], packet[5]]))),
        (b"HEP3".as_slice(), packet.len())
    );
    let mut all = Vec::new();
    let mut at = 6;
    while at < packet.len() {
        let length = usize::from(u16::from_be_bytes([packet[at + 4], packet[at + 5]]));
        all.push((packet[at + 3], packet[at + 6..at + length].to_vec()));
        at += length;
    }
    all
}

#[test]
fn a_collector_and_operators_see_all_but_the_numbers() {
    let lab = Lab::new();
    let collector = UdpSocket::bind((lab.stranger(), 9060)).unwrap();
    collector.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let hep = format!("[trace]\nenabled = true\nhep = \"udp:{}:9060\"\nhep_password = \"tell\"", lab.stranger());
    let server = Server::start(Settings { webhooks: hep, ..lab.settings() });
    let _user = Handset::new(lab.user(), Habit::ANSWERS);
    let _destination = Handset::new(lab.destination(), Habit::ANSWERS);
    let call = server.place(json!({}));
    server.reaches(&call, "in_progress", SOON);
    server.hang_up(&call);
    let whole = trace_until(&server, &call, "received 200 OK");

    let mut buffer = [0; 65_536];
    let packets: Vec<Vec<u8>> =
        std::iter::from_fn(|| collector.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec())).collect();
    let messages = whole["messages"].as_array().unwrap();
    assert_eq!(packets.len(), messages.len());
    for (packet, message) in packets.iter().zip(messages) {
        let chunks = chunks(packet);
        let chunk =
            |kind: u8| String::from_utf8_lossy(&chunks.iter().find(|(k, _)| *k == kind).unwrap().1).into_owned();
        assert_eq!((chunk(17), chunk(14)), (call.clone(), "tell".to_owned()));
        let title = message["title"].as_str().unwrap();
        assert!(chunk(15).starts_with(title) || chunk(15).starts_with(&format!("SIP/2.0 {title}")), "{message}");
    }
    let path = format!("/organizations/acme/calls/{call}/trace");
    let operators = server.admin("GET", &path, None);
    assert_eq!(operators.data()["messages"].as_array().unwrap().len(), messages.len());
    let key = lab.folder().join("admin-key");
    fs::write(&key, ADMIN_KEY).unwrap();
    let key = key.to_str().unwrap();
    let ladder = server.run(&["trace", "acme", &call, "--key-file", key]);
    let file = lab.folder().join("operators.pcap");
    let capture = server.run(&["trace", "acme", &call, "--key-file", key, "--pcap", file.to_str().unwrap()]);
    assert!(ladder.status.success() && capture.status.success(), "{ladder:?} {capture:?}");
    assert_eq!(String::from_utf8_lossy(&ladder.stdout).lines().count(), 2 + messages.len());
    let seen = [packets.concat(), operators.body.into_bytes(), ladder.stdout, fs::read(&file).unwrap()].concat();
    for number in [USER, OWNED, DESTINATION] {
        assert!(!String::from_utf8_lossy(&seen).contains(&number[1..]), "{number} is for its organization");
    }
    assert_eq!(server.admin("GET", &path.replace("acme", "zoo"), None).status, 404);
}
