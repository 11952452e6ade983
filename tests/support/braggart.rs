//! A phone that says who it is wherever a message has room for it.

use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::canary::Secret;
use super::{Message, Phone};

/// A phone that cannot stop talking about itself.
pub struct Braggart {
    pub phone: Phone,
    pub canary: &'static str,
    pub number: &'static str,
    pub ssrc: u32,
    pub voice: u8,
    pub cseq: u32,
    pub rtp: Tap,
    pub rtcp: Tap,
}

impl Braggart {
    pub fn new(phone: Phone, canary: &'static str, number: &'static str, voice: u8) -> Self {
        let (rtp, rtcp) = (Tap::on(&phone.rtp), Tap::on(&phone.rtcp));
        Self { phone, canary, number, ssrc: 0xca_0000 | u32::from(voice), voice, cseq: 0, rtp, rtcp }
    }

    /// Every header that can carry identity.
    pub fn headers(&self) -> Vec<String> {
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
    pub fn description(&self) -> String {
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

    pub fn answer(&self, request: &Message, status: &str, body: &str) {
        let headers = self.headers();
        self.phone.answer(request, status, &headers.iter().map(String::as_str).collect::<Vec<_>>(), body);
    }

    /// Rings, promises audio, answers; all of it with everything.
    pub fn pick_up(&mut self) -> Message {
        let invite = self.phone.expect("INVITE");
        self.answer(&invite, &format!("180 {} is ringing", self.canary), "");
        self.answer(&invite, "183 Session Progress", &self.description());
        self.answer(&invite, &format!("200 {} is here", self.canary), &self.description());
        self.phone.expect("ACK");
        invite
    }

    /// Sends a request of this method inside the dialog and waits for its final answer.
    pub fn ask(&mut self, invite: &Message, method: &str, more: &[String], body: &str) {
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
    pub fn ask_everything(&mut self, invite: &Message) {
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
    pub fn speak(&self, invite: &Message) {
        let to = invite.rtp().expect("the server's RTP address");
        for sequence in 0..25u16 {
            self.phone.rtp.send_to(&self.rtp_packet(sequence), to).expect("the phone can send");
            std::thread::sleep(Duration::from_millis(20));
        }
        let rtcp = (to.ip(), to.port() + 1);
        self.phone.rtcp.send_to(&self.rtcp_packet(), rtcp).expect("the phone can send");
    }

    /// RFC 3550 §5.1 and §5.3.1: one CSRC, an extension that spells the canary.
    pub fn rtp_packet(&self, sequence: u16) -> Vec<u8> {
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
    pub fn rtcp_packet(&self) -> Vec<u8> {
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

    pub fn padded(&self, length: usize) -> Vec<u8> {
        let mut text = self.canary.as_bytes().to_vec();
        text.resize(length, 0);
        text
    }

    pub fn hang_up(&mut self, invite: &Message) {
        self.ask(invite, "BYE", &["Content-Type: text/plain".into()], &format!("goodbye from {}", self.canary));
    }

    pub fn expect_bye(&mut self) {
        let bye = self.phone.expect("BYE");
        self.answer(&bye, &format!("200 {} agrees", self.canary), "");
    }

    /// All that identifies this phone or its leg.
    pub fn secrets(&self) -> Vec<Secret> {
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
    pub fn capture(&self) -> Vec<u8> {
        let sip = self.phone.heard.iter().map(|m| m.text.clone().into_bytes());
        sip.chain(self.rtp.packets()).chain(self.rtcp.packets()).flatten().collect()
    }

    pub fn listen(&mut self) {
        while self.phone.next(Duration::from_millis(300)).is_some() {}
    }
}

/// Keeps every packet that a socket receives, so that none is lost while the test is busy.
pub struct Tap {
    packets: Arc<Mutex<Vec<Vec<u8>>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Tap {
    pub fn on(socket: &UdpSocket) -> Self {
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

    pub fn packets(&self) -> Vec<Vec<u8>> {
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
