//! The canary suite: a phone says who it is wherever a message has room for it, and everything that
//! the other phone receives is searched for it, in every spelling.
//!
//! Both phones do so at once. What identifies a party: its canary (in every header, description line,
//! body, RTP extension and RTCP item that it sends), its number, its address, and what the server
//! itself gave its leg: Call-ID, tag, session id, synchronisation source.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the lab is all sockets, clocks and threads")]

mod support;

use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::json;
use support::canary::{Capture, Secret, base64};
use support::{Lab, Message, Phone, Server, say};

/// Numbers whose last digits are like no other's.
const USER_NUMBER: &str = "+14157391846";
const DESTINATION_NUMBER: &str = "+12128675309";
const SOON: Duration = Duration::from_secs(10);
/// The audio of each phone: payloads that must arrive as they are.
const USER_VOICE: u8 = 0x31;
const DESTINATION_VOICE: u8 = 0x62;

/// A phone that cannot stop talking about itself.
struct Braggart {
    phone: Phone,
    canary: &'static str,
    number: &'static str,
    ssrc: u32,
    voice: u8,
    cseq: u32,
    rtp: Tap,
    rtcp: Tap,
}

impl Braggart {
    fn new(phone: Phone, canary: &'static str, number: &'static str, voice: u8) -> Self {
        let (rtp, rtcp) = (Tap::on(&phone.rtp), Tap::on(&phone.rtcp));
        Self { phone, canary, number, ssrc: 0xca_0000 | u32::from(voice), voice, cseq: 0, rtp, rtcp }
    }

    /// Every header that can carry identity.
    fn headers(&self) -> Vec<String> {
        let Self { canary, number, .. } = self;
        let me = self.phone.address();
        [
            format!("Contact: \"{canary} contact\" <sip:{canary}@{me};p={canary}>;+sip.instance=\"<urn:{canary}>\""),
            format!("User-Agent: {canary}-agent/1 ({number})"),
            format!("Server: {canary}-server/1"),
            format!("P-Asserted-Identity: \"{canary}\" <sip:{number}@{me}>"),
            format!("P-Preferred-Identity: <tel:{number}>"),
            format!("Remote-Party-ID: \"{canary}\" <sip:{number}@{me}>;party=called"),
            format!("Diversion: <sip:{number}@{me}>;reason=user-busy;text=\"{canary}\""),
            format!("History-Info: <sip:{canary}@{me}>;index=1"),
            format!("Call-Info: <http://{canary}.example/photo.jpg>;purpose=icon"),
            format!("Alert-Info: <http://{canary}.example/ring.wav>"),
            format!("Error-Info: <sip:{canary}@{me}>"),
            format!("Reply-To: <sip:{canary}@{me}>"),
            format!("Subject: {canary} calling"),
            format!("Organization: {canary} inc"),
            format!("Geolocation: <cid:{canary}@{me}>"),
            format!("Identity: {canary}"),
            format!("Warning: 399 {canary}.example \"{canary} {number}\""),
            format!("Reason: SIP;cause=200;text=\"{canary}\""),
            format!("Retry-After: 5 ({canary})"),
            format!("Require-Nothing-{canary}: {canary}"),
            format!("X-{canary}: {number}"),
        ]
        .into()
    }

    /// A description with every line that can carry identity.
    fn description(&self) -> String {
        let Self { canary, number, ssrc, .. } = self;
        let rtp = self.phone.rtp_address();
        let ip = rtp.ip();
        format!(
            "v=0\r\no={canary} 7 1 IN IP4 {ip}\r\ns={canary} session\r\ni={canary} information\r\n\
             u=http://{canary}.example/\r\ne={canary}@example.com ({canary})\r\np={number}\r\nc=IN IP4 {ip}\r\n\
             t=0 0\r\na=tool:{canary}\r\na=x-{canary}:{number}\r\nm=audio {port} RTP/AVP 0 101\r\ni={canary} stream\r\n\
             a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=label:{canary}\r\n\
             a=ssrc:{ssrc} cname:{canary}\r\na=extmap:1 urn:{canary}\r\na=ptime:20\r\na=sendrecv\r\n",
            port = rtp.port()
        )
    }

    fn answer(&self, request: &Message, status: &str, body: &str) {
        let headers = self.headers();
        self.phone.answer(request, status, &headers.iter().map(String::as_str).collect::<Vec<_>>(), body);
    }

    /// Rings, promises audio, answers; all of it with everything.
    fn pick_up(&mut self) -> Message {
        let invite = self.phone.expect("INVITE");
        self.answer(&invite, &format!("180 {} is ringing", self.canary), "");
        self.answer(&invite, "183 Session Progress", &self.description());
        self.answer(&invite, &format!("200 {} is here", self.canary), &self.description());
        self.phone.expect("ACK");
        invite
    }

    /// Sends a request of this method inside the dialog and waits for its final answer.
    fn ask(&mut self, invite: &Message, method: &str, more: &[String], body: &str) {
        self.cseq += 1;
        let headers: Vec<String> = self.headers().into_iter().chain(more.iter().cloned()).collect();
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        self.phone.request(invite, method, self.cseq, &headers, body);
        let cseq = format!("{} {method}", self.cseq);
        self.phone.find(&cseq, |m| m.header("CSeq") == cseq && m.status() >= Some(200));
        if method == "INVITE" {
            self.phone.request(invite, "ACK", self.cseq, &headers, "");
        }
    }

    /// Every request that a phone can send inside a dialog, but BYE.
    fn ask_everything(&mut self, invite: &Message) {
        let Self { canary, number, .. } = *self;
        let text = [String::from("Content-Type: text/plain")];
        let said = format!("{canary} {number}");
        self.ask(invite, "OPTIONS", &[], "");
        self.ask(invite, "INFO", &text, &said);
        self.ask(invite, "INFO", &["Content-Type: application/dtmf-relay".into()], "Signal=5\r\nDuration=160\r\n");
        self.ask(invite, "UPDATE", &[], &self.description());
        self.ask(invite, "INVITE", &[], &self.description());
        self.ask(
            invite,
            "REFER",
            &[format!("Refer-To: <sip:{number}@{canary}.example>"), format!("Referred-By: <sip:{canary}@x>")],
            "",
        );
        self.ask(invite, "MESSAGE", &text, &said);
        self.ask(invite, "NOTIFY", &[format!("Event: {canary}"), "Subscription-State: active".into()], "");
        self.ask(invite, "PUBLISH", &text, &said);
        self.ask(invite, &canary.to_ascii_uppercase(), &text, &said);
    }

    /// Half a second of audio with header extension and contributing source, and RTCP of every kind.
    fn speak(&self, invite: &Message) {
        let to = invite.rtp().expect("the server's RTP address");
        for sequence in 0..25u16 {
            self.phone.rtp.send_to(&self.rtp_packet(sequence), to).expect("the phone can send");
            std::thread::sleep(Duration::from_millis(20));
        }
        let rtcp = (to.ip(), to.port() + 1);
        self.phone.rtcp.send_to(&self.rtcp_packet(), rtcp).expect("the phone can send");
    }

    /// RFC 3550 §5.1 and §5.3.1: one CSRC, an extension that spells the canary.
    fn rtp_packet(&self, sequence: u16) -> Vec<u8> {
        let mut packet = vec![0x80 | 0x10 | 1, 0];
        packet.extend(sequence.to_be_bytes());
        packet.extend((u32::from(sequence) * 160).to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend((self.ssrc + 1).to_be_bytes());
        let words = self.canary.len().div_ceil(4);
        packet.extend([0xbe, 0xde, 0, words as u8]);
        packet.extend(self.padded(words * 4));
        packet.extend([self.voice; 160]);
        packet
    }

    /// A compound packet (RFC 3550 §6.1): SR, SDES with every item, APP, XR (RFC 3611), BYE with a reason.
    fn rtcp_packet(&self) -> Vec<u8> {
        let ssrc = self.ssrc.to_be_bytes();
        let mut sdes = ssrc.to_vec();
        for item in 1..=8u8 {
            sdes.extend([item, self.canary.len() as u8]);
            sdes.extend(self.canary.as_bytes());
        }
        sdes.push(0);
        sdes.resize(sdes.len().next_multiple_of(4), 0);
        let app = [&ssrc[..], b"BRAG", &self.padded(16)].concat();
        let xr = [&ssrc[..], &[99, 0, 0, 4], &self.padded(16)].concat();
        let bye = [&ssrc[..], &[15], &self.padded(15)].concat();
        let report = [&ssrc[..], &[0; 20]].concat();
        [(0, 200, report), (1, 202, sdes), (0, 204, app), (0, 207, xr), (1, 203, bye)]
            .into_iter()
            .flat_map(|(count, kind, body)| {
                let words = (body.len() / 4) as u16;
                [&[0x80 | count, kind][..], &words.to_be_bytes(), &body].concat()
            })
            .collect()
    }

    fn padded(&self, length: usize) -> Vec<u8> {
        let mut text = self.canary.as_bytes().to_vec();
        text.resize(length, 0);
        text
    }

    fn hang_up(&mut self, invite: &Message) {
        self.ask(invite, "BYE", &["Content-Type: text/plain".into()], &format!("goodbye from {}", self.canary));
    }

    fn expect_bye(&mut self) {
        let bye = self.phone.expect("BYE");
        self.answer(&bye, &format!("200 {} agrees", self.canary), "");
    }

    /// All that identifies this phone or its leg.
    fn secrets(&self) -> Vec<Secret> {
        let IpAddr::V4(address) = self.phone.address().ip() else { unreachable!("the lab is IPv4") };
        let word = |text: &str| Secret::Word(text.to_owned());
        let mut secrets = vec![
            word(self.canary),
            word(&self.phone.tag),
            Secret::Number(self.number.trim_start_matches('+').to_owned()),
            Secret::Address(address),
            Secret::Bytes(self.ssrc.to_be_bytes().to_vec()),
            Secret::Bytes((self.ssrc + 1).to_be_bytes().to_vec()),
        ];
        for invite in self.phone.heard.iter().filter(|m| m.method() == "INVITE") {
            let tag = invite.header("From").split_once("tag=").expect("a From tag").1;
            let origin = invite.body().lines().find_map(|line| line.strip_prefix("o=")).expect("an origin");
            let branch = invite.header("Via").split_once("branch=").expect("a branch").1;
            let branch = branch.split(';').next().expect("a branch");
            secrets.extend([word(invite.call_id()), word(tag), word(branch)]);
            secrets.extend(origin.split(' ').nth(1).map(word));
        }
        for packet in self.rtp.packets() {
            secrets.push(Secret::Bytes(packet[8..12].to_vec()));
        }
        secrets.dedup();
        secrets
    }

    /// Every byte that reached this phone.
    fn capture(&self) -> Vec<u8> {
        let sip = self.phone.heard.iter().map(|m| m.text.clone().into_bytes());
        sip.chain(self.rtp.packets()).chain(self.rtcp.packets()).flatten().collect()
    }

    fn listen(&mut self) {
        while self.phone.next(Duration::from_millis(300)).is_some() {}
    }
}

/// Keeps every packet that a socket receives, so that none is lost while the test is busy.
struct Tap {
    packets: Arc<Mutex<Vec<Vec<u8>>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Tap {
    fn on(socket: &UdpSocket) -> Self {
        let socket = socket.try_clone().expect("a second handle");
        let (packets, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (kept, stopped) = (packets.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while !stopped.load(Ordering::Relaxed) {
                if let Ok((length, _)) = socket.recv_from(&mut buffer) {
                    kept.lock().expect("the test is well").push(buffer[..length].to_vec());
                }
            }
        });
        Self { packets, stop, thread: Some(thread) }
    }

    fn packets(&self) -> Vec<Vec<u8>> {
        self.packets.lock().expect("the tap is well").clone()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A call in which both phones say everything, ended by one of them.
fn talkative_call(server: &Server, user: &mut Braggart, destination: &mut Braggart, user_hangs_up: bool) {
    let call = dial(server);
    let user_invite = user.pick_up();
    let destination_invite = destination.pick_up();
    server.reaches(&call, "in_progress", SOON);
    user.speak(&user_invite);
    destination.speak(&destination_invite);
    user.ask_everything(&user_invite);
    destination.ask_everything(&destination_invite);
    user.speak(&user_invite);
    destination.speak(&destination_invite);
    if user_hangs_up {
        user.hang_up(&user_invite);
        destination.expect_bye();
    } else {
        destination.hang_up(&destination_invite);
        user.expect_bye();
    }
    server.ended(&call, SOON).expect("an end");
}

/// A call that the destination refuses with every word it has.
fn refused_call(server: &Server, user: &mut Braggart, destination: &mut Braggart, status: &str) {
    let call = dial(server);
    user.cseq = 0;
    user.pick_up();
    let invite = destination.phone.expect("INVITE");
    destination.answer(&invite, status, &destination.description());
    destination.phone.expect("ACK");
    user.expect_bye();
    server.ended(&call, SOON).expect("an end");
}

fn dial(server: &Server) -> String {
    server.place(json!({"connect_number": USER_NUMBER, "to_number": DESTINATION_NUMBER}))
}

#[test]
fn nothing_of_one_party_reaches_the_other() {
    let lab = Lab::new();
    let server = Server::start(lab.settings());
    let mut user = Braggart::new(Phone::new(lab.user()), "zanzibar", USER_NUMBER, USER_VOICE);
    let mut destination =
        Braggart::new(Phone::new(lab.destination()), "quixotry", DESTINATION_NUMBER, DESTINATION_VOICE);
    talkative_call(&server, &mut user, &mut destination, true);
    talkative_call(&server, &mut user, &mut destination, false);
    for status in ["486 Busy with quixotry", "302 Moved to quixotry", "503 quixotry is down"] {
        refused_call(&server, &mut user, &mut destination, status);
    }
    user.listen();
    destination.listen();
    check_side(&user, &destination);
    check_side(&destination, &user);
    for number in [USER_NUMBER, DESTINATION_NUMBER] {
        assert!(!server.log().contains(&number[1..]), "the log names a number");
    }
    assert_eq!(server.metric("revbridge_masking_blocked_total"), 0.0, "the guard had nothing to stop");
    let (messages, packets) = (destination.phone.heard.len(), destination.rtp.packets().len());
    say(&format!(
        "masking: {messages} messages and {packets} RTP packets on leg B hold nothing of leg A, nor the other way round"
    ));
}

/// Nothing of `other` in what `heard` received; its audio did arrive; and the search would have found
/// something, had it been there.
fn check_side(heard: &Braggart, other: &Braggart) {
    let bytes = heard.capture();
    let capture = Capture::new(&bytes);
    let secrets = other.secrets();
    for secret in &secrets {
        let forms = capture.find(secret);
        assert!(forms.is_empty(), "{} was told {secret:?} of {} in {forms:?}", heard.canary, other.canary);
    }
    check_audio(heard, other);
    for secret in secrets.iter().take(5) {
        planted_is_found(&bytes, secret);
    }
}

/// Plants the secret in the middle of a copy of the capture, in one disguise after the other.
fn planted_is_found(bytes: &[u8], secret: &Secret) {
    let (before, after) = bytes.split_at(bytes.len() / 2);
    assert_eq!(Capture::new(bytes).find(secret), [""; 0], "{secret:?} is not there");
    for (disguise, planted) in disguises(secret) {
        let leaky = [before, &planted, after].concat();
        assert!(!Capture::new(&leaky).find(secret).is_empty(), "{secret:?} planted as {disguise} is not found");
    }
}

#[test]
fn the_search_sees_through_every_disguise() {
    let innocent = b"INVITE sip:+12025550100@127.0.0.1 SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\nv=0\r\n".repeat(50);
    let secrets = [
        Secret::Word("zanzibar".into()),
        Secret::Number(USER_NUMBER[1..].into()),
        Secret::Address([10, 99, 2, 12].into()),
        Secret::Bytes(vec![0, 0xca, 0, 0x31]),
    ];
    for secret in secrets {
        planted_is_found(&innocent, &secret);
    }
}

/// RFC 3550: the other's audio, from a source of our own, without extension or contributing sources.
fn check_audio(heard: &Braggart, other: &Braggart) {
    let packets = heard.rtp.packets();
    let relayed: Vec<_> = packets.iter().filter(|p| p.ends_with(&[other.voice; 160])).collect();
    assert!(relayed.len() > 40, "{} heard {} packets of {}", heard.canary, relayed.len(), other.canary);
    for packet in &relayed {
        assert_eq!((packet.len(), packet[0]), (172, 0x80), "a bare header and the audio");
    }
    assert!(!heard.rtcp.packets().is_empty(), "{} gets RTCP of our making", heard.canary);
}

/// A secret in each spelling that the search claims to know.
fn disguises(secret: &Secret) -> Vec<(&'static str, Vec<u8>)> {
    let text_forms = |text: &str| {
        let percent: String = text.bytes().map(|b| format!("%{b:02X}")).collect();
        vec![
            ("ascii", text.to_ascii_uppercase().into_bytes()),
            ("percent", percent.into_bytes()),
            ("hex", hex::encode_upper(text).into_bytes()),
            ("base64", base64(text.as_bytes())),
            ("base64, one byte in", base64(format!("<{text}>").as_bytes())),
            ("base64, two bytes in", base64(format!("a:{text};x").as_bytes())),
            ("utf-16le", text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
            ("utf-16be", text.encode_utf16().flat_map(u16::to_be_bytes).collect()),
        ]
    };
    match secret {
        Secret::Word(word) => text_forms(word),
        Secret::Number(number) => {
            let punctuated = format!("({}) {}-{}", &number[1..4], &number[4..7], &number[7..]);
            let mut forms = text_forms(number);
            forms.push(("punctuated", format!("+{} {punctuated}", &number[..1]).into_bytes()));
            forms.push(("tail digits", number.as_bytes()[number.len() - 7..].to_vec()));
            forms
        }
        Secret::Address(address) => {
            let mut forms = text_forms(&address.to_string());
            forms.push(("raw", address.octets().to_vec()));
            forms.push(("raw, reversed", address.octets().into_iter().rev().collect()));
            forms.push(("decimal", u32::from(*address).to_string().into_bytes()));
            forms
        }
        Secret::Bytes(bytes) => vec![("raw", bytes.clone()), ("hex", hex::encode(bytes).into_bytes())],
    }
}
