//! Trunks with names, and a real DNS server: NAPTR, SRV, A, what changes, and what is not there (RFC 3263).
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the lab is all sockets, clocks and threads")]

mod support;

use std::time::Duration;

use serde_json::json;
use support::dns::Dns;
use support::line::{Certificates, Socket};
use support::{Habit, Handset, Lab, Phone, Server, Settings, Stage, poll};

const SOON: Duration = Duration::from_secs(10);
/// The least time for which an answer is kept, and a margin.
const NEXT_ANSWER: Duration = Duration::from_secs(12);

/// A server whose destinations are behind this URI, and the DNS that it asks.
fn named(lab: &Lab, uri: &str, records: &str) -> (Settings, Dns) {
    let dns = Dns::start(lab.server(), lab.folder(), records);
    let sip_lines = format!("failover_seconds = 1\ndns_servers = [\"{}\"]", dns.address());
    (Settings { carrier_uri: Some(uri.into()), sip_lines, ..lab.settings() }, dns)
}

/// Verdict and target of each line of `revbridge route`.
fn route(server: &Server) -> Vec<String> {
    let key = server.settings.folder.join("admin-key");
    std::fs::write(&key, support::lab::ADMIN_KEY).expect("a key file");
    let output = server.run(&["route", support::DESTINATION, "--key-file", key.to_str().expect("a path")]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    text.lines().skip(1).map(words).map(|row| format!("{} {}", row[0], row[2])).collect()
}

fn becomes(server: &Server, wanted: &[String], within: Duration) {
    let is = || (route(server) == wanted).then_some(());
    assert!(poll(within, is).is_some(), "{:?} instead of {wanted:?}\n{}", route(server), server.log());
}

#[test]
fn naptr_names_the_transport_and_srv_the_hosts_in_their_order() {
    let lab = Lab::new();
    let (first, second) = (lab.stranger(), lab.destination());
    let records = format!(
        "naptr-record=carrier.test,20,10,S,SIP+D2U,,_sip._udp.carrier.test\n\
         naptr-record=carrier.test,10,10,S,SIP+D2T,,_sip._tcp.carrier.test\n\
         naptr-record=carrier.test,5,10,S,SIPS+D2T,,_sips._tcp.carrier.test\n\
         srv-host=_sip._tcp.carrier.test,not-to-be-asked.example,5060,0,10\n\
         srv-host=_sip._tcp.carrier.test,b.carrier.test,5060,2,10\n\
         srv-host=_sip._tcp.carrier.test,a.carrier.test,5060,1,10\n\
         srv-host=_sip._udp.carrier.test,b.carrier.test,5060,1,10\n\
         srv-host=_sips._tcp.carrier.test,a.carrier.test,5061,1,10\n\
         host-record=a.carrier.test,{first}\nhost-record=b.carrier.test,{second}\n"
    );
    let (settings, _dns) = named(&lab, "sip:carrier.test", &records);
    // No listener is on TLS, so that service is none for us; and one host that cannot be resolved hides no other.
    let settings = Settings { destination_transport: "tcp", ..settings };
    let user = Handset::new(lab.user(), Habit::ANSWERS);
    let socket = Socket::tcp(second, 5060);
    let server = Server::start(settings);
    let wanted =
        [format!("first tcp:{first}:5060"), format!("next tcp:{second}:5060"), format!("next udp:{second}:5060")];
    becomes(&server, &wanted, SOON);
    // Nobody listens at the first: the next SRV is tried, and the URI is the carrier's name all the while.
    let call = server.place(json!({}));
    let mut line = socket.expect();
    let invite = line.pick_up();
    assert!(invite.uri().starts_with(&format!("sip:{}@carrier.test;", support::DESTINATION)), "{}", invite.uri());
    assert!(invite.header("To").contains("@carrier.test"));
    server.reaches(&call, "in_progress", SOON);
    let avoided = [wanted[1].replace("next", "first"), wanted[2].clone(), wanted[0].replace("first", "next")];
    assert_eq!(route(&server), avoided);
    assert_eq!(server.hang_up(&call).status, 200);
    let bye = line.expect("BYE");
    line.answer(&bye, "200 OK", "");
    assert!(user.quiet(SOON).is_some());
}

#[test]
fn an_answer_that_changes_moves_the_next_call_and_a_silent_dns_moves_nothing() {
    let lab = Lab::new();
    let at = |address| format!("host-record=carrier.test,{address}\n");
    let (settings, mut dns) = named(&lab, "sip:carrier.test:5060", &at(lab.destination()));
    let user = Handset::new(lab.user(), Habit::ANSWERS);
    let destination = Handset::new(lab.destination(), Habit::ANSWERS);
    let mut moved = Phone::new(lab.stranger());
    let server = Server::start(settings);
    becomes(&server, &[format!("first udp:{}:5060", lab.destination())], SOON);
    let live = server.place(json!({}));
    destination.reaches(Stage::Talking, SOON);
    dns.say(&at(lab.stranger()));
    becomes(&server, &[format!("first udp:{}:5060", lab.stranger())], NEXT_ANSWER);
    // The call that lives goes on where it is.
    assert_eq!(server.hang_up(&live).status, 200);
    assert!(destination.quiet(SOON).is_some());
    dns.silence();
    std::thread::sleep(Duration::from_secs(7));
    let call = server.place(json!({}));
    moved.pick_up();
    server.reaches(&call, "in_progress", SOON);
    assert_eq!(server.hang_up(&call).status, 200);
    let bye = moved.expect("BYE");
    moved.answer(&bye, "200 OK", &[], "");
    assert!(user.quiet(SOON).is_some());
    let said = || server.log().contains("the trunk's name cannot be resolved").then_some(());
    assert!(poll(SOON, said).is_some(), "{}", server.log());
}

#[test]
fn a_name_that_is_not_there_takes_no_call_until_it_is() {
    let lab = Lab::new();
    let (settings, mut dns) = named(&lab, "sip:carrier.test", "host-record=other.test,127.0.0.1\n");
    let _user = Handset::new(lab.user(), Habit::ANSWERS);
    let destination = Handset::new(lab.destination(), Habit::ANSWERS);
    let server = Server::start(settings);
    assert_eq!(server.dial(json!({}), &[]).status, 503);
    assert_eq!(route(&server), Vec::<String>::new());
    dns.say(&format!("host-record=carrier.test,{}\n", lab.destination()));
    becomes(&server, &[format!("first udp:{}:5060", lab.destination())], NEXT_ANSWER);
    let call = server.place(json!({}));
    destination.reaches(Stage::Talking, SOON);
    assert_eq!(server.hang_up(&call).status, 200);
    assert!(destination.quiet(SOON).is_some());
}

#[test]
fn on_tls_the_certificate_is_that_of_the_name_that_was_configured_and_not_of_the_host_that_srv_names() {
    let lab = Lab::new();
    let names = [
        ("server", format!("IP:{}", lab.server())),
        ("carrier", "DNS:carrier.test".to_owned()),
        ("host", format!("DNS:a.carrier.test,IP:{}", lab.destination())),
    ];
    let certificates = Certificates::new(lab.folder(), &names);
    let records = format!(
        "srv-host=_sips._tcp.carrier.test,a.carrier.test,5061,1,1\nhost-record=a.carrier.test,{}\n",
        lab.destination()
    );
    let (settings, _dns) = named(&lab, "sips:carrier.test", &records);
    let settings = Settings { destination_transport: "tls", tls: certificates.lines("server"), ..settings };
    let _user = Handset::new(lab.user(), Habit::ANSWERS);
    let server = Server::start(settings);
    becomes(&server, &[format!("first tls:{}:5061", lab.destination())], SOON);
    let socket = Socket::tls(lab.destination(), 5061, &certificates, "host");
    let call = server.place(json!({}));
    let _line = socket.expect().next(Duration::from_secs(2));
    let record = server.ended(&call, SOON).expect("a record");
    assert_eq!(record["end_reason"], "certificate_refused");
    drop(socket);
    std::thread::sleep(Duration::from_millis(600));
    let socket = Socket::tls(lab.destination(), 5061, &certificates, "carrier");
    let call = server.place(json!({}));
    socket.expect().pick_up();
    server.reaches(&call, "in_progress", SOON);
}
