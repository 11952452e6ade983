//! A phone whose every message the test writes by hand, and which keeps every byte that it received.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::Message;
use super::sip;

/// How long [`Phone::expect`] waits: longer than any retransmission that matters to it.
const PATIENCE: Duration = Duration::from_secs(8);

/// Sockets for SIP (5060), RTP (40000) and RTCP (40001) on one address.
pub struct Phone {
    pub tag: String,
    pub sip: UdpSocket,
    pub rtp: UdpSocket,
    pub rtcp: UdpSocket,
    /// Everything that reached the SIP socket, in order.
    pub heard: Vec<Message>,
}

impl Phone {
    pub fn new(address: Ipv4Addr) -> Self {
        let bind = |port| {
            let socket = UdpSocket::bind((address, port)).expect("the phone's port is free");
            socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout can be set");
            socket
        };
        let tag = format!("phone-{}", address.octets()[3]);
        Self { tag, sip: bind(5060), rtp: bind(40000), rtcp: bind(40001), heard: Vec::new() }
    }

    pub fn address(&self) -> SocketAddr {
        self.sip.local_addr().expect("a bound socket")
    }

    pub fn rtp_address(&self) -> SocketAddr {
        self.rtp.local_addr().expect("a bound socket")
    }

    /// PCMU and telephone-event at our RTP port.
    pub fn description(&self) -> String {
        sip::description(self.rtp_address())
    }

    pub fn send(&self, to: SocketAddr, text: &str) {
        self.sip.send_to(text.as_bytes(), to).expect("the phone can send");
    }

    /// The next message, retransmissions and all; `None` when nothing comes within `within`.
    pub fn next(&mut self, within: Duration) -> Option<Message> {
        let until = Instant::now() + within;
        let mut buffer = [0; 65536];
        while Instant::now() < until {
            if let Ok((length, from)) = self.sip.recv_from(&mut buffer) {
                let message = Message::new(&buffer[..length], from);
                self.heard.push(message.clone());
                return Some(message);
            }
        }
        None
    }

    /// The next message that `wanted` accepts; what comes before it is kept in `heard` and passed over.
    pub fn find(&mut self, what: &str, wanted: impl Fn(&Message) -> bool) -> Message {
        let until = Instant::now() + PATIENCE;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            match self.next(left) {
                Some(message) if wanted(&message) => return message,
                Some(_) => {}
                None => break,
            }
        }
        panic!("{} waited for {what} and heard {:?}", self.tag, self.heard)
    }

    /// The next request of this method.
    pub fn expect(&mut self, method: &str) -> Message {
        self.find(method, |m| m.method() == method)
    }

    /// The next final answer to a request of this method.
    pub fn expect_answer(&mut self, method: &str) -> Message {
        self.find(&format!("the answer to {method}"), |m| m.cseq_method() == method && m.status() >= Some(200))
    }

    /// Answers with our tag, our Contact and, unless `body` is empty, a body of SDP.
    pub fn answer(&self, request: &Message, status: &str, more: &[&str], body: &str) {
        let text = sip::answer(request, status, &self.tag, &self.headers(more, body), body);
        self.send(request.from, &text);
    }

    /// Sends a request inside the dialog of `invite`.
    pub fn request(&self, invite: &Message, method: &str, cseq: u32, more: &[&str], body: &str) {
        let more = self.headers(more, body);
        let text = sip::request_in_dialog(invite, &self.tag, method, cseq, self.address(), &more, body);
        self.send(invite.from, &text);
    }

    fn headers(&self, more: &[&str], body: &str) -> Vec<String> {
        let mut headers: Vec<String> = more.iter().map(ToString::to_string).collect();
        let says = |name: &str| more.iter().any(|line| line.starts_with(name));
        if !says("Contact:") {
            headers.push(format!("Contact: <sip:phone@{}>", self.address()));
        }
        if !body.is_empty() && !says("Content-Type:") {
            headers.push("Content-Type: application/sdp".into());
        }
        headers
    }

    /// Picks up: waits for the INVITE, answers 200 with our description, waits for the ACK.
    pub fn pick_up(&mut self) -> Message {
        let invite = self.expect("INVITE");
        self.answer(&invite, "200 OK", &[], &self.description());
        self.expect("ACK");
        invite
    }

    /// Every packet that waits on our RTP port.
    pub fn rtp_received(&self) -> Vec<Vec<u8>> {
        drain(&self.rtp)
    }

    pub fn rtcp_received(&self) -> Vec<Vec<u8>> {
        drain(&self.rtcp)
    }
}

fn drain(socket: &UdpSocket) -> Vec<Vec<u8>> {
    let mut buffer = [0; 2048];
    std::iter::from_fn(|| socket.recv_from(&mut buffer).ok().map(|(n, _)| buffer[..n].to_vec())).collect()
}

/// An RTP packet of 20 ms of PCMU (RFC 3550 §5.1).
pub fn rtp_packet(ssrc: u32, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(payload);
    packet
}
