//! What clients, phones and strangers do at the same instant, with real sockets against the real server.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the lab is all sockets, clocks and threads")]

mod support;

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::json;
use support::phone::rtp_packet;
use support::server::micros;
use support::{Habit, Handset, Lab, Message, OWNED, Phone, Server, Settings, Stage, say, sip};

const SOON: Duration = Duration::from_secs(10);

/// A call between two phones that the test scripts, joined.
fn joined(server: &Server, user: &mut Phone, destination: &mut Phone) -> (String, Message, Message) {
    let call = server.place(json!({}));
    let user_invite = user.pick_up();
    let destination_invite = destination.pick_up();
    server.reaches(&call, "in_progress", SOON);
    (call, user_invite, destination_invite)
}

/// A call between two phones that answer and talk by themselves.
fn talking(lab: &Lab) -> (Server, Handset, Handset, String) {
    let server = Server::start(lab.settings());
    let user = Handset::new(lab.user(), Habit::ANSWERS);
    let destination = Handset::new(lab.destination(), Habit::ANSWERS);
    let call = server.place(json!({}));
    server.reaches(&call, "in_progress", SOON);
    (server, user, destination, call)
}

/// After any of these: one terminal record per call, no leg in use, and what is spent is what was charged.
fn nothing_is_left(server: &Server, calls: &[String]) {
    let ended = |call: &String| server.ended(call, SOON).unwrap_or_else(|| panic!("no end: {}", server.record(call)));
    let cost = calls.iter().map(|call| micros(&ended(call)["cost"])).sum();
    assert_eq!(server.records().len(), calls.len(), "one record per call");
    assert_eq!(server.legs_in_use(), 0, "no leg is in use");
    assert_eq!(server.money(), (cost, 0), "spent is what the calls cost, and nothing is reserved");
}

#[test]
fn two_hundred_posts_with_one_key_are_one_call() {
    let lab = Lab::new();
    // Room for one call: repetitions must not need any.
    let settings = Settings { media_ports: "20000-20003", ..lab.settings() };
    let server = Server::start(settings);
    let user = Handset::new(lab.user(), Habit::RINGS);
    let key = [("Idempotency-Key", "the-same")];
    let answers: Vec<_> = std::thread::scope(|scope| {
        let posts: Vec<_> = (0..200).map(|_| scope.spawn(|| server.dial(json!({}), &key))).collect();
        posts.into_iter().map(|post| post.join().expect("the client lives")).collect()
    });
    let first = &answers[0];
    assert_eq!(first.status, 202, "{}", first.body);
    let other = answers.iter().find(|a| (a.status, &a.body) != (first.status, &first.body));
    assert_eq!(other, None, "200 answers equal to {first:?}");
    assert_eq!(answers.iter().filter(|a| a.header("idempotency-replay").is_none()).count(), 1, "one made the call");
    assert_eq!(server.dial(json!({}), &key).body, first.body, "also when the first was answered long ago");
    assert_eq!(server.dial(json!({}), &[]).status, 503, "there was room for one");
    let call = first.data()["call_id"].as_str().expect("a call_id").to_owned();
    user.reaches(Stage::Ringing, SOON);
    server.hang_up(&call);
    assert!(user.quiet(SOON).is_some());
    assert_eq!(user.dialogs().len(), 1, "the phone rang once");
    nothing_is_left(&server, &[call]);
}

#[test]
fn a_budget_for_one_call_lets_one_of_a_hundred_pass() {
    let lab = Lab::new();
    let mut settings = lab.settings();
    settings.daily_spend_limit = "0.03";
    let server = Server::start(settings);
    let user = Handset::new(lab.user(), Habit::RINGS);
    let statuses: Vec<_> = std::thread::scope(|scope| {
        let posts: Vec<_> = (0..100).map(|_| scope.spawn(|| server.dial(json!({}), &[]))).collect();
        posts.into_iter().map(|post| post.join().expect("the client lives")).collect()
    });
    let (admitted, refused): (Vec<_>, Vec<_>) = statuses.into_iter().partition(|answer| answer.status == 202);
    assert_eq!(admitted.len(), 1);
    for answer in refused {
        assert!([403, 429].contains(&answer.status), "{}", answer.body);
    }
    let call = admitted[0].data()["call_id"].as_str().expect("a call_id").to_owned();
    user.reaches(Stage::Ringing, SOON);
    server.hang_up(&call);
    nothing_is_left(&server, &[call]);
}

#[test]
fn a_hang_up_may_race_the_answer() {
    let lab = Lab::new();
    let server = Server::start(lab.settings());
    let user = Handset::new(lab.user(), Habit::answers_after(20));
    let destination = Handset::new(lab.destination(), Habit::answers_after(20));
    let mut calls = Vec::new();
    for delay_ms in (0..120).step_by(6) {
        let call = server.place(json!({}));
        std::thread::sleep(Duration::from_millis(delay_ms));
        assert_eq!(server.hang_up(&call).status, 200);
        assert_eq!(server.hang_up(&call).status, 200, "idempotent");
        assert!(server.ended(&call, SOON).is_some(), "{}", server.record(&call));
        calls.push(call);
    }
    for phone in [&user, &destination] {
        assert!(phone.quiet(SOON).is_some(), "a leg is left: {:?}", phone.dialogs());
        for dialog in phone.dialogs() {
            assert!(dialog.byes_received <= 1 && dialog.cancels_received <= 1, "{dialog:?}");
        }
    }
    nothing_is_left(&server, &calls);
    say(&format!("races: {} hang-ups around the answer", calls.len()));
}

#[test]
fn both_phones_may_hang_up_at_once() {
    let lab = Lab::new();
    let server = Server::start(lab.settings());
    let (mut user, mut destination) = (Phone::new(lab.user()), Phone::new(lab.destination()));
    let (call, user_invite, destination_invite) = joined(&server, &mut user, &mut destination);
    user.request(&user_invite, "BYE", 1, &[], "");
    destination.request(&destination_invite, "BYE", 1, &[], "");
    for phone in [&mut user, &mut destination] {
        assert_eq!(phone.expect_answer("BYE").status(), Some(200));
        while let Some(message) = phone.next(Duration::from_millis(200)) {
            if message.method() == "BYE" {
                phone.answer(&message, "481 Call/Transaction Does Not Exist", &[], "");
            }
        }
    }
    let record = server.ended(&call, SOON).expect("an end");
    assert_eq!((&record["status"], &record["cost"]), (&json!("completed"), &json!("0.020000")));
    nothing_is_left(&server, &[call]);
}

/// Right Call-ID, right tags, right branch even: but not from where the phone is.
#[test]
fn a_stranger_cannot_touch_a_call() {
    let lab = Lab::new();
    let server = Server::start(lab.settings());
    let (mut user, mut destination) = (Phone::new(lab.user()), Phone::new(lab.destination()));
    let (call, user_invite, _) = joined(&server, &mut user, &mut destination);
    let stranger = UdpSocket::bind((lab.stranger(), 5060)).expect("the stranger's port is free");
    stranger.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout can be set");
    let me = stranger.local_addr().expect("a bound socket");
    let hijack = sip::description(SocketAddr::new(me.ip(), 40000));
    let contact = format!("Contact: <sip:stranger@{me}>");
    let attempts = [
        ("BYE", 7, vec![], ""),
        ("INVITE", 8, vec![contact.clone(), "Content-Type: application/sdp".into()], hijack.as_str()),
        ("UPDATE", 9, vec![contact, "Content-Type: application/sdp".into()], hijack.as_str()),
        ("CANCEL", 1, vec![], ""),
    ];
    for (method, cseq, headers, body) in attempts {
        let text = sip::request_in_dialog(&user_invite, &user.tag, method, cseq, me, &headers, body);
        stranger.send_to(text.as_bytes(), server.settings.sip()).expect("the stranger can send");
        let mut buffer = [0; 4096];
        if let Ok((length, _)) = stranger.recv_from(&mut buffer) {
            let answer = Message::new(&buffer[..length], me);
            assert!(answer.status() >= Some(400), "{method} from a stranger is answered {}", answer.start());
        }
    }
    assert_eq!(server.record(&call)["status"], "in_progress", "the call lives");
    user.request(&user_invite, "BYE", 20, &[], "");
    assert_eq!(user.expect_answer("BYE").status(), Some(200), "the true phone is heard");
    let bye = destination.expect("BYE");
    destination.answer(&bye, "200 OK", &[], "");
    nothing_is_left(&server, &[call]);
}

/// Audio from where the phone is not, with the phone's own source and ever later sequence numbers.
#[test]
fn a_stranger_is_not_heard() {
    const VOICE: [u8; 160] = [0x33; 160];
    const FOREIGN: [u8; 160] = [0x44; 160];
    let lab = Lab::new();
    let server = Server::start(lab.settings());
    let (mut user, mut destination) = (Phone::new(lab.user()), Phone::new(lab.destination()));
    let (call, user_invite, _) = joined(&server, &mut user, &mut destination);
    let stranger = UdpSocket::bind((lab.stranger(), 40000)).expect("the stranger's port is free");
    stranger.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout can be set");
    let to = user_invite.rtp().expect("the server's RTP address");
    for sequence in 0..50 {
        user.rtp.send_to(&rtp_packet(7, sequence, &VOICE), to).expect("the phone can send");
        stranger.send_to(&rtp_packet(7, 1000 + sequence, &FOREIGN), to).expect("the stranger can send");
        std::thread::sleep(Duration::from_millis(20));
    }
    let heard = destination.rtp_received();
    let voice = heard.iter().filter(|packet| packet.ends_with(&VOICE)).count();
    assert!(voice > 40, "the destination hears the user: {voice} packets");
    assert!(!heard.iter().any(|packet| packet.ends_with(&FOREIGN)), "and nobody else");
    assert!(hear(&stranger, Duration::from_millis(100)).is_empty(), "nothing is sent to the stranger");
    server.hang_up(&call);
    for phone in [&mut user, &mut destination] {
        let bye = phone.expect("BYE");
        phone.answer(&bye, "200 OK", &[], "");
    }
    nothing_is_left(&server, &[call]);
}

/// Scanners get one short answer or none, from no machine that keeps state for them.
#[test]
fn noise_outside_a_dialog_is_answered_once_and_briefly() {
    let lab = Lab::new();
    let server = Server::start(lab.settings());
    let stranger = UdpSocket::bind((lab.stranger(), 5060)).expect("the stranger's port is free");
    stranger.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout can be set");
    let me = stranger.local_addr().expect("a bound socket");
    let to = server.settings.sip();
    for method in
        ["INVITE", "REGISTER", "OPTIONS", "SUBSCRIBE", "MESSAGE", "BYE", "CANCEL", "ACK", "PUBLISH", "NONSENSE"]
    {
        let request = noise(method, me, to);
        stranger.send_to(request.as_bytes(), to).expect("the stranger can send");
        let answers = hear(&stranger, Duration::from_millis(1300));
        assert!(answers.len() <= 1, "{method} is answered {} times", answers.len());
        let bytes: usize = answers.iter().map(Vec::len).sum();
        assert!(bytes <= 2 * request.len(), "{method}: {bytes} bytes for {}", request.len());
        assert!(method != "ACK" || answers.is_empty(), "an ACK is never answered");
    }
    for garbage in [&b"\r\n\r\n"[..], b"\0\0\0\0", b"GET / HTTP/1.1\r\n\r\n", b"SIP/2.0 200 OK\r\n\r\n", &[0xff; 1400]]
    {
        stranger.send_to(garbage, to).expect("the stranger can send");
        let bytes: usize = hear(&stranger, Duration::from_millis(200)).iter().map(Vec::len).sum();
        assert!(bytes <= garbage.len().max(64), "{bytes} bytes for garbage");
    }
}

fn noise(method: &str, me: SocketAddr, to: SocketAddr) -> String {
    format!(
        "{method} sip:100@{to} SIP/2.0\r\nVia: SIP/2.0/UDP {me};branch=z9hG4bK-{method};rport\r\nMax-Forwards: 70\r\n\
         From: \"sipvicious\" <sip:100@1.1.1.1>;tag=6434396633623535\r\nTo: \"sipvicious\" <sip:100@1.1.1.1>\r\n\
         Call-ID: {method}-845729458\r\nCSeq: 1 {method}\r\nContact: <sip:100@{me}>\r\nUser-Agent: friendly-scanner\r\n\
         Accept: application/sdp\r\nContent-Length: 0\r\n\r\n"
    )
}

fn hear(socket: &UdpSocket, during: Duration) -> Vec<Vec<u8>> {
    let until = Instant::now() + during;
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    while Instant::now() < until {
        if let Ok((length, _)) = socket.recv_from(&mut buffer) {
            heard.push(buffer[..length].to_vec());
        }
    }
    heard
}

/// sipvicious, as it comes: it finds that there is a server, and not one number.
#[test]
fn a_scanner_finds_a_server_and_no_number() {
    if support::engine::only_sqlite("a scanner does not get as far as a store") {
        return;
    }
    let lab = Lab::new();
    let (server, user, destination, call) = talking(&lab);
    let to = server.settings.sip();
    let (host, port) = (to.ip().to_string(), to.port().to_string());
    let war = |method| {
        let range = ["--force", "-m", method, "-e", "100-200", "--maximumtime", "1"];
        scan("svwar", &lab, &[&range[..], &["-p", &port, &host]].concat())
    };
    // Each takes three seconds, most of which it waits.
    let (map, wars) = std::thread::scope(|scope| {
        let map = scope.spawn(|| scan("svmap", &lab, &["-p", &port, &host]));
        let wars = ["REGISTER", "INVITE"].map(|method| scope.spawn(move || war(method)));
        (map.join().expect("svmap"), wars.map(|war| war.join().expect("svwar")))
    });
    assert!(map.contains(&to.to_string()), "svmap: {map}");
    for seen in wars {
        let found = (100..=200).filter(|n| seen.contains(&format!("| {n} "))).count();
        assert_eq!(found, 0, "svwar: {seen}");
    }
    assert_eq!(server.record(&call)["status"], "in_progress");
    server.hang_up(&call);
    assert!(user.quiet(SOON).is_some() && destination.quiet(SOON).is_some());
    nothing_is_left(&server, &[call]);
}

/// What the tool has printed when it has done its work.
fn scan(tool: &str, lab: &Lab, arguments: &[&str]) -> String {
    let address = lab.stranger().to_string();
    let output = std::process::Command::new("timeout")
        .args(["20", tool, "-b", &address, "-x", &address, "-t", "0.001"])
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{tool}: {error}; apt-get install sipvicious"));
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.code() != Some(124) && !text.contains("Traceback"), "{tool}: {text}");
    text
}

/// A flood of nonsense on the SIP port: the call that is on stays on, its audio goes through, and a new
/// one can be placed.
#[test]
fn a_flood_of_garbage_does_not_cost_a_call() {
    let lab = Lab::new();
    let (server, user, destination, call) = talking(&lab);
    let sent = flood(&lab, server.settings.sip(), Duration::from_secs(2));
    let second = server.place(json!({}));
    server.reaches(&second, "in_progress", SOON);
    assert_eq!(server.record(&call)["status"], "in_progress");
    for call in [&call, &second] {
        assert_eq!(server.hang_up(call).status, 200);
    }
    let record = server.ended(&call, SOON).expect("an end");
    say(&format!("races: {sent} nonsense datagrams in 2 s; the call ended by {}", record["end_reason"]));
    for leg in ["user", "destination"] {
        let leg = &record["legs"][leg];
        let (packets, lost) = (leg["packets"].as_u64().unwrap_or(0), leg["lost"].as_u64().unwrap_or(u64::MAX));
        assert!(packets > 50 && lost * 50 <= packets, "the audio went on: {leg}");
    }
    assert!(user.quiet(SOON).is_some() && destination.quiet(SOON).is_some());
    nothing_is_left(&server, &[call, second]);
}

/// Random bytes, cut-off messages and requests from nobody, as fast as one thread can.
fn flood(lab: &Lab, to: SocketAddr, during: Duration) -> u32 {
    let socket = UdpSocket::bind((lab.stranger(), 5060)).expect("the stranger's port is free");
    let me = socket.local_addr().expect("a bound socket");
    let invite = noise("INVITE", me, to).replace("100@", OWNED);
    let until = Instant::now() + during;
    let mut sent = 0u32;
    while Instant::now() < until {
        let cut = (sent as usize * 37) % invite.len();
        let datagram = if sent.is_multiple_of(3) { &[sent as u8; 200][..] } else { &invite.as_bytes()[..cut] };
        let _ = socket.send_to(datagram, to);
        sent += 1;
        if sent.is_multiple_of(100) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    sent
}
