//! Two baresip phones in network namespaces, joined by the server: each must hear the other's tone and
//! not its own, and the wire must show what masking promises. The user's phone is on TLS, and would
//! have SRTP where it is offered; the destination's is on UDP.
//!
//! Baresip shares no code with anything here: its own SIP stack, its own RTP, its own jitter buffer.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the lab is all sockets, clocks and threads")]

mod support;

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use support::baresip::Baresip;
use support::line::Certificates;
use support::net::{self, Network};
use support::wire::{Capture, tshark};
use support::{DESTINATION, Server, Settings, USER, poll, say, tone};

/// Neither is in the ringing, busy or congestion tone of any country.
const USER_TONE: f64 = 700.0;
const DESTINATION_TONE: f64 = 1100.0;
const TALK: Duration = Duration::from_secs(8);
const SOON: Duration = Duration::from_secs(15);

#[test]
fn two_baresip_phones_hear_each_other() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let network = Network::new();
    network.enter_gateway();
    let captures = ["a", "b"].map(|name| Capture::start(&network, name, folder.path()));
    let names = [("server", format!("IP:{}", net::SERVER)), ("user", format!("IP:{}", net::USER))];
    let certificates = Certificates::new(folder.path(), &names);
    let identity = folder.path().join("user-and-key.pem");
    let halves =
        [certificates.key("user"), certificates.certificate("user")].map(|half| std::fs::read(half).expect("half"));
    std::fs::write(&identity, halves.concat()).expect("a file");
    let by_tls = (net::USER, Some(&*identity));
    let user = Baresip::start_on(&network, "a", by_tls, USER, USER_TONE, folder.path());
    let destination = Baresip::start(&network, "b", net::DESTINATION, DESTINATION, DESTINATION_TONE, folder.path());
    let settings = Settings::new(folder.path(), net::SERVER, net::USER, net::DESTINATION);
    let user_phone = (net::USER, 5061).into();
    let server =
        Server::start(Settings { user_transport: "tls", user_phone, tls: certificates.lines("server"), ..settings });

    let call = server.place(json!({}));
    server.reaches(&call, "in_progress", SOON);
    std::thread::sleep(TALK);
    let (mut user_keys, mut destination_keys) = (user.keys(&network, "a"), destination.keys(&network, "b"));
    user_keys.press('7');
    destination_keys.press('#');
    let arrived = poll(SOON, || (user_keys.digits() == "#" && destination_keys.digits() == "7").then_some(()));
    assert!(arrived.is_some(), "digits: {:?} and {:?}", user_keys.digits(), destination_keys.digits());
    assert_eq!(server.hang_up(&call).status, 200);
    let record = server.ended(&call, SOON).expect("an end");
    assert_eq!((&record["status"], &record["end_reason"]), (&json!("completed"), &json!("api_hangup")));

    std::thread::sleep(Duration::from_millis(500));
    assert!(user.log().contains("Using media encryption 'srtp'"), "it has no SRTP to do without:\n{}", user.log());
    let (user_heard, destination_heard) = (user.finish(), destination.finish());
    check_heard("the user", &user_heard, DESTINATION_TONE, USER_TONE);
    check_heard("the destination", &destination_heard, USER_TONE, DESTINATION_TONE);
    let [user_wire, destination_wire] = captures.map(Capture::finish);
    let user_sources = check_wire("a", &user_wire, net::USER, net::DESTINATION, DESTINATION);
    let destination_sources = check_wire("b", &destination_wire, net::DESTINATION, net::USER, USER);
    for source in &user_sources {
        assert!(!destination_sources.contains(source), "the source {source} is on both legs");
    }
    say("baresip: both phones heard each other and not themselves; tshark sees RTP both ways, nothing of the other");
    support::count("phones", 2);
}

/// In the middle of the talk, nearly all of the power is the other's tone.
fn check_heard(who: &str, samples: &[i16], wanted: f64, own: f64) {
    let rate = tone::RATE as usize;
    assert!(samples.len() > 6 * rate, "{who} recorded {} samples", samples.len());
    let middle = &samples[samples.len() - 5 * rate..samples.len() - 2 * rate];
    let best = middle.chunks_exact(rate / 2).map(|half| tone::share(half, wanted)).fold(0.0, f64::max);
    let echo = tone::share(middle, own);
    assert!(best > 0.8, "{who} heard {wanted} Hz with a share of {best:.3} only");
    assert!(echo < 0.01, "{who} heard its own {own} Hz with a share of {echo:.3}");
}

/// One wire: RTP both ways without header extensions, from a source per direction, and not a byte of
/// the other party's number or address. Returns the sources.
fn check_wire(name: &str, file: &Path, phone: Ipv4Addr, other: Ipv4Addr, other_number: &str) -> Vec<String> {
    // Where the descriptions are hidden, RTP is known by its looks.
    let fields = ["-T", "fields", "-e", "ip.src", "-e", "rtp.ssrc", "-e", "rtp.ext", "-e", "rtp.cc"];
    let rtp = tshark(file, &[&["--enable-heuristic", "rtp_udp", "-Y", "rtp"][..], &fields].concat());
    let rows: Vec<Vec<&str>> = rtp.lines().map(|line| line.split('\t').collect()).collect();
    let mut sources: Vec<String> = rows.iter().map(|row| row[1].to_owned()).collect();
    for from in [phone, net::SERVER] {
        let packets = rows.iter().filter(|row| row[0] == from.to_string()).count();
        assert!(packets > 300, "wire {name}: {packets} RTP packets from {from}");
    }
    let extended = rows.iter().filter(|row| !["0", "False"].contains(&row[2]) || row[3] != "0").count();
    assert_eq!(extended, 0, "wire {name}: RTP with header extensions or contributing sources");
    sources.sort();
    sources.dedup();
    assert_eq!(sources.len(), 2, "wire {name}: one source per direction: {sources:?}");
    check_addresses(name, file, phone);
    let digits = &other_number[1..];
    for (what, filter) in [
        ("number", format!("frame contains \"{digits}\"")),
        ("address", format!("frame contains \"{other}\"")),
        ("raw address", format!("udp.payload contains {}", other.octets().map(|b| format!("{b:02x}")).join(":"))),
    ] {
        let hits = tshark(file, &["-Y", &filter]);
        assert!(hits.is_empty(), "wire {name} shows the other's {what}:\n{hits}");
    }
    // On TLS what is said is for nobody's eyes, and the handshake shows that it was said.
    let own = tshark(file, &["-Y", if name == "a" { "tls.handshake" } else { "sip.Method == \"INVITE\"" }]);
    assert!(!own.is_empty(), "wire {name}: tshark sees the signalling, so it would have seen the rest");
    let plain = tshark(file, &["-Y", "sip"]);
    assert_eq!(plain.is_empty(), name == "a", "wire {name}: who speaks by TLS speaks by nothing else");
    sources
}

/// Only the phone and the server speak on this wire.
fn check_addresses(name: &str, file: &Path, phone: Ipv4Addr) {
    // Late audio meets a closed port: the ICMP answer quotes the packet, so it is no packet of its own.
    let pairs = tshark(file, &["-Y", "udp && !icmp", "-T", "fields", "-e", "ip.src", "-e", "ip.dst"]);
    let known = [phone.to_string(), net::SERVER.to_string()];
    let foreign = pairs.lines().find(|line| !line.split('\t').all(|address| known.iter().any(|k| k == address)));
    assert_eq!(foreign, None, "wire {name}");
}
