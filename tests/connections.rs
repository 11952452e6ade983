//! TCP and TLS with the real server: a carrier by somebody else, connections that are lost, framing that is broken,
//! certificates that are not believed.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the lab is all sockets, clocks and threads")]

mod support;

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;
use support::kamailio::Kamailio;
use support::line::{Certificates, Line, Socket};
use support::{Habit, Handset, Lab, Server, Settings, Sipp, Stage, poll};

const SOON: Duration = Duration::from_secs(10);

/// A server whose destinations are on TCP.
fn over_tcp(lab: &Lab) -> Settings {
    Settings { destination_transport: "tcp", ..lab.settings() }
}

/// On TLS, with certificates for the server, for the carrier's address, and for another name.
fn over_tls(lab: &Lab) -> (Settings, Certificates) {
    let names = [
        ("server", format!("IP:{}", lab.server())),
        ("carrier", format!("IP:{},DNS:sip.carrier.example", lab.destination())),
        ("other", "DNS:sip.other.example".to_owned()),
    ];
    let certificates = Certificates::new(lab.folder(), &names);
    let settings = Settings {
        destination_transport: "tls",
        destination: (lab.destination(), 5061).into(),
        tls: certificates.lines("server"),
        ..lab.settings()
    };
    (settings, certificates)
}

fn sip_tcp(server: &Server) -> SocketAddr {
    server.settings.sip()
}

/// A request that belongs to nothing.
fn options(from: SocketAddr, cseq: u32) -> String {
    format!(
        "OPTIONS sip:revbridge SIP/2.0\r\nVia: SIP/2.0/TCP {from};branch=z9hG4bKo{cseq}\r\nMax-Forwards: 70\r\n\
         From: <sip:a@{from}>;tag=x\r\nTo: <sip:revbridge>\r\nCall-ID: options-{from}\r\nCSeq: {cseq} OPTIONS\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

#[test]
fn a_call_over_tls_through_a_carrier_that_asks_for_a_password_and_a_certificate() {
    let lab = Lab::new();
    let (settings, certificates) = over_tls(&lab);
    let carrier = Kamailio::start(lab.destination(), lab.stranger(), lab.folder(), &certificates);
    let user = Handset::new(lab.user(), Habit::ANSWERS);
    let phone = Sipp::start("wait_for_bye", lab.stranger(), lab.folder(), Duration::from_secs(60));
    let server = Server::start(settings);
    let call = server.place(json!({}));
    server.reaches(&call, "in_progress", SOON);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(server.hang_up(&call).status, 200);
    let outcome = phone.finish();
    assert_eq!(outcome.code, 0, "{} {}\n{}", outcome.starts(), outcome.errors, carrier.log());
    assert_eq!(outcome.starts(), "INVITE ACK BYE");
    let record = server.ended(&call, SOON).expect("a record");
    assert_eq!((&record["status"], &record["cost"]), (&json!("completed"), &json!("0.020000")));
    assert!(record["legs"]["destination"]["packets"].as_u64() >= Some(10), "{record}");
    for method in ["INVITE", "ACK", "BYE"] {
        assert_eq!(carrier.requests(method, "tls"), 1, "{method}: {}", carrier.log());
    }
    assert!(user.quiet(SOON).is_some());

    // Reused: the second call makes no connection of its own.
    let connections = || server.metric("revbridge_sip_connections{transport=\"tls\"}");
    let before = connections();
    let phone = Sipp::start("busy", lab.stranger(), lab.folder(), Duration::from_secs(60));
    let call = server.place(json!({}));
    let record = server.ended(&call, SOON).expect("a record");
    assert_eq!(record["end_reason"], "destination_busy");
    assert_eq!(phone.finish().code, 0);
    assert_eq!((before, connections()), (1.0, 1.0));
}

#[test]
fn a_certificate_that_is_not_believed_ends_the_call_and_says_so() {
    let lab = Lab::new();
    let (settings, certificates) = over_tls(&lab);
    let elsewhere = tempfile::tempdir().expect("a folder");
    let others = Certificates::new(elsewhere.path(), &[("carrier", format!("IP:{}", lab.destination()))]);
    let user = Handset::new(lab.user(), Habit::ANSWERS);
    let server = Server::start(settings);
    let refused = || server.metric("revbridge_sip_connections_lost_total{transport=\"tls\",why=\"certificate\"}");
    // The wrong name, then the wrong authority.
    for (socket, name) in [(&certificates, "other"), (&others, "carrier")] {
        let before = refused();
        let socket = Socket::tls(lab.destination(), 5061, socket, name);
        let call = server.place(json!({}));
        let mut line = socket.expect();
        assert!(line.next(Duration::from_secs(3)).is_none(), "nothing was said to whom we do not believe");
        drop(socket);
        let record = server.ended(&call, SOON).expect("a record");
        let wanted = (&json!("failed"), &json!("certificate_refused"), &json!("failure"), &json!("0.010000"));
        assert_eq!((&record["status"], &record["end_reason"], &record["ended_by"], &record["cost"]), wanted);
        assert!(refused() > before);
        std::thread::sleep(Duration::from_millis(600));
    }
    let log = server.log();
    assert!(
        log.contains("the trunk's certificate is refused; see [[trunk]] certificate_name and [tls] ca_file"),
        "{log}"
    );
    // A normal call still succeeds.
    let socket = Socket::tls(lab.destination(), 5061, &certificates, "carrier");
    let call = server.place(json!({}));
    socket.expect().pick_up();
    server.reaches(&call, "in_progress", SOON);
    assert_eq!(server.hang_up(&call).status, 200);
    assert!(user.quiet(SOON).is_some());
}

#[test]
fn the_name_that_is_verified_is_the_one_of_the_configuration() {
    let lab = Lab::new();
    let (settings, certificates) = over_tls(&lab);
    let settings = Settings { carrier: "certificate_name = \"sip.other.example\"".into(), ..settings };
    let _user = Handset::new(lab.user(), Habit::ANSWERS);
    let socket = Socket::tls(lab.destination(), 5061, &certificates, "other");
    let server = Server::start(settings);
    let call = server.place(json!({}));
    socket.expect().pick_up();
    server.reaches(&call, "in_progress", SOON);
}

#[test]
fn the_check_of_a_configuration_finds_a_key_of_another_certificate() {
    let lab = Lab::new();
    let (settings, certificates) = over_tls(&lab);
    let [own, other] = ["server", "other"].map(|name| certificates.key(name).display().to_string());
    let file = lab.folder().join("checked.toml");
    let check = |config: &str| {
        std::fs::write(&file, config).expect("a configuration");
        let output = Command::new(env!("CARGO_BIN_EXE_revbridge")).arg("check-config").arg(&file).output();
        let output = output.expect("the program runs");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let good = settings.config();
    assert_eq!(check(&good), (true, String::new()));
    let (accepted, said) = check(&good.replace(&own, &other));
    assert!(!accepted && said.contains("[tls] certificate_file and key_file do not belong together"), "{said}");
    let (accepted, said) = check(&good.replace(&own, "missing.pem"));
    assert!(!accepted && said.contains("cannot use missing.pem ([tls] key_file)"), "{said}");
}

#[test]
fn a_tls_listener_speaks_no_old_tls_and_asks_for_certificates_if_told_to() {
    let lab = Lab::new();
    let (settings, certificates) = over_tls(&lab);
    let settings = Settings { tls: format!("{}\nverify_clients = true", settings.tls), ..settings };
    let server = Server::start(settings);
    let ask = |version: &str, with: Option<&str>| {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-brief", version, "-connect", &format!("{}:5061", lab.server())]);
        // Or the client would refuse the old version itself.
        command.args(["-cipher", "DEFAULT@SECLEVEL=0"]);
        if let Some(name) = with {
            command.args(["-cert".as_ref(), certificates.certificate(name).as_os_str()]);
            command.args(["-key".as_ref(), certificates.key(name).as_os_str()]);
        }
        let output = command.stdin(Stdio::null()).output().expect("openssl runs");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(ask("-tls1_2", Some("carrier")).contains("CONNECTION ESTABLISHED"));
    assert!(ask("-tls1_3", Some("carrier")).contains("CONNECTION ESTABLISHED"));
    assert!(!ask("-tls1_1", Some("carrier")).contains("CONNECTION ESTABLISHED"));
    assert!(!ask("-tls1_2", None).contains("CONNECTION ESTABLISHED"));
    drop(server);
}

/// By which certificate a listener on TLS is known: its subject.
fn subject(lab: &Lab) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-showcerts", "-connect", &format!("{}:5061", lab.server())]);
    let output = command.stdin(Stdio::null()).output().expect("openssl runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find_map(|line| line.strip_prefix("subject=")).unwrap_or_default().replace(' ', "")
}

#[test]
fn new_certificates_and_authorities_hold_from_a_reload_on_and_broken_ones_change_nothing() {
    let lab = Lab::new();
    let (settings, certificates) = over_tls(&lab);
    let elsewhere = tempfile::tempdir().expect("a folder");
    let carrier = ("carrier", format!("IP:{}", lab.destination()));
    let renewed = Certificates::new(elsewhere.path(), &[carrier, ("renewed", format!("IP:{}", lab.server()))]);
    let user = Handset::new(lab.user(), Habit::ANSWERS);
    let server = Server::start(settings);
    assert_eq!(subject(&lab), "CN=server");

    let socket = Socket::tls(lab.destination(), 5061, &certificates, "carrier");
    let live = server.place(json!({}));
    let mut line = socket.expect();
    let invite = line.pick_up();
    server.reaches(&live, "in_progress", SOON);
    drop(socket);

    // A key that belongs to another certificate: the old ones stay.
    let own = certificates.key("server");
    let good = std::fs::read(&own).expect("a key");
    std::fs::copy(renewed.key("renewed"), &own).expect("a key");
    let refused = server.admin("POST", "/reload", None);
    assert_eq!(refused.status, 400, "{}", refused.body);
    let why = &refused.json()["error"]["fields"]["tls"];
    assert!(
        why.as_str().is_some_and(|why| why.contains("certificate_file and key_file do not belong together")),
        "{why}"
    );
    assert_eq!(subject(&lab), "CN=server");
    std::fs::write(&own, good).expect("a key");

    // Other files, of another authority.
    server.reload_with(|file| file.replace(&certificates.lines("server"), &renewed.lines("renewed")));
    assert!(poll(SOON, || (subject(&lab) == "CN=renewed").then_some(())).is_some(), "{}", server.log());

    // The call that lives goes on, on its connection.
    line.request(&invite, "BYE", 2);
    line.expect("BYE");
    assert_eq!(server.ended(&live, SOON).expect("a record")["end_reason"], "hangup");
    assert!(user.quiet(SOON).is_some());
    drop(line);

    let socket = Socket::tls(lab.destination(), 5061, &renewed, "carrier");
    let call = server.place(json!({}));
    socket.expect().pick_up();
    server.reaches(&call, "in_progress", SOON);
    assert_eq!(server.hang_up(&call).status, 200);
}

#[test]
fn a_bye_leaves_on_a_new_connection_when_that_of_its_call_is_dead() {
    let lab = Lab::new();
    let socket = Socket::tcp(lab.destination(), 5060);
    let user = Handset::new(lab.user(), Habit::ANSWERS);
    let server = Server::start(over_tcp(&lab));
    let call = server.place(json!({}));
    let mut line = socket.expect();
    line.pick_up();
    server.reaches(&call, "in_progress", SOON);
    line.cut();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(server.hang_up(&call).status, 200);
    let mut line = socket.expect();
    let bye = line.expect("BYE");
    line.answer(&bye, "200 OK", "");
    let gone = poll(SOON, || (server.metric("revbridge_live_legs") == 0.0).then_some(()));
    assert!(gone.is_some(), "the leg is over");
    assert!(user.quiet(SOON).is_some());
}

#[test]
fn a_bye_is_tried_until_the_peer_listens_again() {
    let lab = Lab::new();
    let socket = Socket::tcp(lab.destination(), 5060);
    let _user = Handset::new(lab.user(), Habit::ANSWERS);
    let server = Server::start(over_tcp(&lab));
    let call = server.place(json!({}));
    let mut line = socket.expect();
    line.pick_up();
    server.reaches(&call, "in_progress", SOON);
    line.cut();
    drop(socket);
    assert_eq!(server.hang_up(&call).status, 200);
    std::thread::sleep(Duration::from_secs(2));
    let socket = Socket::tcp(lab.destination(), 5060);
    let mut line = socket.expect();
    let bye = line.expect("BYE");
    line.answer(&bye, "200 OK", "");
    let gone = poll(SOON, || (server.metric("revbridge_live_legs") == 0.0).then_some(()));
    assert!(gone.is_some(), "the leg is over");
}

#[test]
fn after_kill_9_a_leg_on_tcp_is_ended_on_a_new_connection() {
    let lab = Lab::new();
    let socket = Socket::tcp(lab.destination(), 5060);
    let user = Handset::new(lab.user(), Habit::ANSWERS);
    let mut server = Server::start(over_tcp(&lab));
    let call = server.place(json!({}));
    let mut line = socket.expect();
    line.pick_up();
    server.reaches(&call, "in_progress", SOON);
    server.kill();
    assert!(line.is_closed(SOON));
    server.restart();
    server.wait_until_ready();
    let mut line = socket.expect();
    let bye = line.expect("BYE");
    line.answer(&bye, "200 OK", "");
    let record = server.ended(&call, SOON).expect("a record");
    assert_eq!((&record["status"], &record["end_reason"]), (&json!("completed"), &json!("server_restart")));
    assert!(user.quiet(SOON).is_some());
}

#[test]
fn the_peer_hangs_up_on_a_connection_that_it_has_made() {
    let lab = Lab::new();
    let socket = Socket::tcp(lab.destination(), 5060);
    let user = Handset::new(lab.user(), Habit::ANSWERS);
    let server = Server::start(over_tcp(&lab));
    let call = server.place(json!({}));
    let mut line = socket.expect();
    let invite = line.pick_up();
    server.reaches(&call, "in_progress", SOON);
    line.cut();
    // A stranger who knows all of it is not heard, and the call lives.
    let mut stranger = Line::connect(lab.stranger(), sip_tcp(&server));
    stranger.request(&invite, "BYE", 7);
    assert!(stranger.next(Duration::from_secs(1)).is_none());
    assert_eq!(server.record(&call)["status"], "in_progress");
    let mut line = Line::connect(lab.destination(), sip_tcp(&server));
    line.request(&invite, "BYE", 7);
    assert_eq!(line.expect("BYE").status(), Some(200));
    let record = server.ended(&call, SOON).expect("a record");
    assert_eq!((&record["end_reason"], &record["ended_by"]), (&json!("hangup"), &json!("destination")));
    assert!(user.quiet(SOON).is_some());
}

#[test]
fn a_trunk_that_refuses_the_connection_is_unreachable_at_once() {
    let lab = Lab::new();
    let user = Handset::new(lab.user(), Habit::ANSWERS);
    let server = Server::start(over_tcp(&lab));
    let call = server.place(json!({}));
    let record = server.ended(&call, Duration::from_secs(3)).expect("no timer is waited for");
    assert_eq!((&record["status"], &record["end_reason"]), (&json!("failed"), &json!("destination_unreachable")));
    assert!(user.quiet(SOON).is_some());
}

#[test]
fn a_stream_is_cut_into_messages_and_closed_where_that_cannot_be() {
    let lab = Lab::new();
    let socket = Socket::tcp(lab.destination(), 5060);
    let _user = Handset::new(lab.user(), Habit::ANSWERS);
    let server = Server::start(over_tcp(&lab));
    let connect = || Line::connect(lab.stranger(), sip_tcp(&server));

    let mut line = connect();
    let (one, two) = (options(line.local, 1), options(line.local, 2));
    for byte in one.as_bytes() {
        line.try_send(&[*byte]).expect("the connection stands");
    }
    assert_eq!(line.expect("OPTIONS").status(), Some(200));
    line.send(&(one.clone() + &two));
    for cseq in ["1 OPTIONS", "2 OPTIONS"] {
        assert_eq!(line.expect("OPTIONS").header("CSeq"), cseq);
    }
    // RFC 5626 §3.5.1: two CRLF ask for one.
    line.send("\r\n\r\n");
    let pong = poll(SOON, || {
        line.read();
        (line.unread == b"\r\n").then_some(())
    });
    assert!(pong.is_some(), "{:?}", line.unread);
    drop(line);

    for length in ["-1", "99999999999", "12, 12", "x", "4\r\nContent-Length: 5", "1000000"] {
        let mut line = connect();
        let broken = options(line.local, 3).replace("Content-Length: 0", &format!("Content-Length: {length}"));
        line.send(&broken);
        let _ = line.try_send(options(line.local, 4).as_bytes());
        assert!(line.is_closed(SOON), "Content-Length: {length}");
        assert!(line.unread.is_empty(), "nothing is read past it: {}", String::from_utf8_lossy(&line.unread));
    }
    let mut line = connect();
    let _ = line.try_send(&[b'x'; 100_000]);
    assert!(line.is_closed(SOON));

    // A normal call still succeeds.
    let call = server.place(json!({}));
    socket.expect().pick_up();
    server.reaches(&call, "in_progress", SOON);
}

#[test]
fn strangers_have_few_connections_and_little_time_and_trunks_are_not_in_their_way() {
    let lab = Lab::new();
    let socket = Socket::tcp(lab.destination(), 5060);
    let user = Handset::new(lab.user(), Habit::ANSWERS);
    let server = Server::start(over_tcp(&lab));
    let mut lines: Vec<_> = (0..12).map(|_| Line::connect(lab.stranger(), sip_tcp(&server))).collect();
    let refused = poll(SOON, || (server.metric("revbridge_sip_connections_refused_total") == 8.0).then_some(()));
    assert!(refused.is_some(), "{}", server.metric("revbridge_sip_connections_refused_total"));
    let closed = lines.iter_mut().filter_map(|line| line.is_closed(Duration::from_millis(100)).then_some(())).count();
    assert_eq!(closed, 8);
    let call = server.place(json!({}));
    let mut line = socket.expect();
    line.pick_up();
    server.reaches(&call, "in_progress", SOON);
    let theirs: Vec<_> = (0..12).map(|_| Line::connect(lab.destination(), sip_tcp(&server))).collect();
    let stand = poll(SOON, || (server.metric("revbridge_sip_connections") >= 13.0).then_some(()));
    assert!(stand.is_some(), "a trunk's connections are not counted");
    drop(theirs);
    // Whoever says nothing is sent away.
    for line in &mut lines {
        assert!(line.is_closed(Duration::from_secs(15)));
    }
    assert_eq!(server.record(&call)["status"], "in_progress");
    server.hang_up(&call);
    line.expect("BYE");
    user.reaches(Stage::Over, SOON);
}
