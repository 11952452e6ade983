//! A peer and a page, on a network without sockets and in a time that the test makes.
#![allow(clippy::disallowed_methods, reason = "str0m wants one moment to begin with")]

#[path = "../../../tests/support/page.rs"]
mod page;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use page::{EVENT, PCMA, PCMU, Page};
use str0m::ice::{StunMessage, TransId};
use str0m::net::Protocol;

use super::{Demux, Output, Peer, Plain, Site, Source, Timeline, Via};
use crate::media::{BrowserOffer, BrowserReport, HEADER, Header};
use crate::model::{Secret, Timestamp};

const SERVER: &str = "198.51.100.1:7000";
const BROWSER: &str = "203.0.113.5:50000";

/// Both, and what the peer has said.
struct Pair {
    base: Instant,
    now: Timestamp,
    site: Arc<Site>,
    demux: Demux<u8>,
    peer: Peer,
    page: Page,
    /// Where the page is: a NAT may move it.
    at: SocketAddr,
    heard: Vec<Header>,
    turns: Vec<bool>,
    reports: Vec<BrowserReport>,
    /// How many datagrams of audio and reports we sent.
    sent: usize,
    /// On their way to us, for one step.
    late: Vec<Vec<u8>>,
    /// What the page has sent, as it was sent.
    wire: Vec<Vec<u8>>,
}

fn begin() -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000)
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

impl Pair {
    fn new(audio: &[u8]) -> Self {
        let base = Instant::now();
        let site = Arc::new(Site::new(address(SERVER), None, Timeline::new(base, begin())));
        let mut page = Page::new(base, audio, &[(Protocol::Udp, address(BROWSER))]);
        let offer = BrowserOffer::parse(&page.offer()).unwrap();
        let (peer, answer) = Peer::connect(begin(), &site, &offer, Secret([7; 16])).unwrap();
        page.answer(&answer);
        let mut demux = Demux::default();
        demux.insert(1, peer.ufrag());
        Self {
            base,
            now: begin(),
            site,
            demux,
            peer,
            page,
            at: address(BROWSER),
            heard: Vec::new(),
            turns: Vec::new(),
            reports: Vec::new(),
            sent: 0,
            late: Vec::new(),
            wire: Vec::new(),
        }
    }

    fn up(audio: &[u8]) -> Self {
        let mut pair = Self::new(audio);
        pair.run(3_000);
        assert_eq!((pair.turns.as_slice(), pair.page.is_secured), (&[true][..], true));
        pair
    }

    fn instant(&self) -> Instant {
        self.base + self.now.since(begin())
    }

    /// A datagram as it comes to the port.
    fn arrives(&mut self, from: SocketAddr, bytes: &[u8]) -> bool {
        let source = Source { via: Via::Udp, address: from };
        let peer = &mut self.peer;
        let routed = self.demux.route(self.now, source, bytes, |_, message| peer.verify(source, message));
        if routed.is_some() {
            self.peer.receive(self.now, source, bytes);
            self.drain();
        }
        routed.is_some()
    }

    fn drain(&mut self) {
        while let Some(output) = self.peer.poll(self.now) {
            match output {
                Output::Transmit(transmit) if transmit.to.address == self.at => {
                    self.sent += usize::from(transmit.bytes[0] > 127);
                    let now = self.instant();
                    self.page.receive(now, Protocol::Udp, address(SERVER), address(BROWSER), &transmit.bytes);
                }
                Output::Transmit(_) => {}
                Output::Rtp(plain) => self.heard.push(read(&plain)),
                Output::Up => self.turns.push(true),
                Output::Down => self.turns.push(false),
                Output::Report(report) => self.reports.push(report),
            }
        }
    }

    /// One step of the page: what it says reaches us.
    fn step(&mut self, connected: bool) {
        let now = self.instant();
        for bytes in std::mem::take(&mut self.late) {
            self.arrives(self.at, &bytes);
        }
        self.page.poll(now);
        let said = std::mem::take(&mut self.page.outbox).into_iter().map(|datagram| datagram.bytes);
        if connected {
            self.late.extend(said);
            self.wire.extend_from_slice(&self.late);
        }
        if self.peer.next_timeout().is_some_and(|at| at <= self.now) {
            self.peer.elapse(self.now);
        }
        self.drain();
    }

    fn run(&mut self, milliseconds: u64) {
        self.run_while(milliseconds, true);
    }

    fn run_while(&mut self, milliseconds: u64, connected: bool) {
        for _ in 0..milliseconds / 5 {
            self.now = self.now + Duration::from_millis(5);
            self.step(connected);
        }
    }

    /// The page speaks for a while, and so do we.
    fn talk(&mut self, packets: u16) {
        for _ in 0..packets {
            let now = self.instant();
            self.page.say(now, PCMU, 0x11);
            let sequence = self.page.heard.len() as u16;
            self.tell(sequence, 0x22);
            self.run(20);
        }
    }

    /// We speak, and the page is not reached and not heard.
    fn talk_to_nobody(&mut self, packets: u16) {
        for sequence in 0..packets {
            self.tell(1_000 + sequence, 0x22);
            self.run_while(20, false);
        }
    }

    /// A packet from the other side of the call.
    fn tell(&mut self, sequence: u16, fill: u8) {
        let timestamp = u32::from(sequence) * 160;
        let header =
            Header { marker: false, payload_type: PCMU, sequence, timestamp, ssrc: 0xdead_beef, payload: HEADER..172 };
        let packet = [&header.bytes()[..], &[fill; 160]].concat();
        self.peer.send(self.now, &packet);
        self.drain();
    }
}

fn read(plain: &Plain) -> Header {
    let mut buffer = [0; 2_048];
    let length = plain.write(&mut buffer).unwrap();
    Header::read(&buffer[..length]).unwrap()
}

#[test]
fn audio_and_keys_pass_both_ways() {
    let mut pair = Pair::up(&[PCMU, PCMA]);
    pair.talk(50);
    assert_eq!((pair.heard.len(), pair.page.heard.len()), (50, 50));
    assert_eq!(pair.page.heard[7].payload, [0x22; 160]);
    assert_ne!(pair.page.heard[7].ssrc, 0xdead_beef, "the SSRC is ours");
    let now = pair.instant();
    pair.page.press(now, 5, 77, false, 160);
    pair.run(20);
    assert_eq!(pair.heard.last().map(|h| (h.payload_type, h.timestamp, h.marker)), Some((EVENT, 77, true)));
}

#[test]
fn numbers_are_sent_without_a_jump_from_whatever_they_begin_with() {
    let mut pair = Pair::up(&[PCMU]);
    for sequence in (65_500..=65_535).chain(0..40) {
        pair.tell(sequence, 0);
        pair.run(20);
    }
    assert_eq!(pair.page.heard.len(), 76, "across the wrap, with nothing undecipherable");
    assert_eq!(pair.page.heard.last().map(|heard| heard.sequence), Some(39));
}

#[test]
fn silence_is_down_and_a_word_is_up_again() {
    let mut pair = Pair::up(&[PCMU]);
    pair.talk(10);
    pair.run_while(9_900, false);
    assert_eq!(pair.turns, [true]);
    pair.run_while(300, false);
    assert_eq!(pair.turns, [true, false]);
    let sent = pair.sent;
    pair.talk_to_nobody(100);
    assert_eq!(pair.sent, sent, "nobody has consented");
    pair.run(5_000);
    assert_eq!(pair.turns, [true, false, true], "the page had not given up yet");
    pair.run_while(60_000, false);
    pair.restart();
    pair.run(1_000);
    assert_eq!(pair.turns, [true, false, true, false, true]);
    let before = pair.heard.len();
    pair.talk(10);
    assert_eq!((pair.heard.len() - before, pair.page.heard.len()), (10, 20));
}

#[test]
fn a_browser_that_never_comes_is_down() {
    let mut pair = Pair::new(&[PCMU]);
    pair.run_while(29_900, false);
    assert!(pair.turns.is_empty());
    pair.run_while(200, false);
    assert_eq!(pair.turns, [false]);
}

#[test]
fn a_page_that_closes_is_down_at_once_and_for_good() {
    let mut pair = Pair::up(&[PCMU]);
    pair.page.rtc.close().unwrap();
    pair.run(100);
    assert_eq!(pair.turns, [true, false]);
    let offer = pair.page_offer_again();
    assert!(!pair.peer.is_of(&offer), "the same page has to connect anew");
    assert_eq!(pair.peer.next_timeout(), None);
}

#[test]
fn we_say_goodbye_too() {
    let mut pair = Pair::up(&[PCMU]);
    pair.peer.close(pair.now);
    pair.drain();
    pair.run(100);
    assert!(pair.page.is_closed);
}

impl Pair {
    fn page_offer_again(&mut self) -> BrowserOffer {
        BrowserOffer::parse(&self.page.restart(true)).unwrap()
    }

    fn restart(&mut self) {
        let offer = self.page_offer_again();
        assert!(self.peer.is_of(&offer));
        let answer = self.peer.restart(self.now, &offer);
        self.demux.rename(1, self.peer.ufrag());
        self.page.answer(&answer);
    }
}

#[test]
fn a_restart_has_other_credentials_and_no_gap() {
    let mut pair = Pair::up(&[PCMU]);
    pair.talk(20);
    let before = pair.peer.ufrag().to_owned();
    pair.restart();
    assert_ne!(pair.peer.ufrag(), before);
    for _ in 0..10 {
        pair.talk(50);
        // Each of ours finds the page, whatever it is just checking.
        assert_eq!(pair.page.heard.len() % 10, 0);
    }
    assert_eq!((pair.heard.len(), pair.page.heard.len()), (520, 520));
    assert_eq!(pair.turns, [true]);
}

#[test]
fn a_browser_that_moves_is_followed_at_once() {
    let mut pair = Pair::up(&[PCMU]);
    pair.talk(20);
    // Another network, and the page says so by an offer.
    pair.at = address("192.0.2.77:1234");
    pair.restart();
    pair.run(500);
    let before = (pair.heard.len(), pair.page.heard.len());
    pair.talk(50);
    // The first of ours still went to where the audio had last come from.
    assert_eq!((pair.heard.len() - before.0, pair.page.heard.len() - before.1), (50, 49));
    assert_eq!(pair.turns, [true]);
}

#[test]
fn what_was_sent_is_heard_once() {
    let mut pair = Pair::up(&[PCMU]);
    pair.talk(150);
    let heard = pair.heard.len();
    for packet in std::mem::take(&mut pair.wire) {
        pair.arrives(pair.at, &packet);
    }
    assert_eq!(pair.heard.len(), heard);
    pair.talk(5);
    assert_eq!(pair.heard.len(), heard + 5);
}

impl Pair {
    /// A request in the page's name, of a transaction of its own.
    fn request(&mut self, password: &str) -> Vec<u8> {
        let theirs = self.page.rtc.direct_api().local_ice_credentials().ufrag;
        let username = format!("{}:{theirs}", self.peer.ufrag());
        let hmac = self.site.crypto.sha1_hmac_provider;
        let mut bytes = vec![0; 512];
        let length = StunMessage::binding_request(&username, TransId::new(), true, 1, 7, true)
            .to_bytes(Some(password.as_bytes()), &mut bytes, |key, parts| hmac.sha1_hmac(key, parts))
            .unwrap();
        bytes.truncate(length);
        bytes
    }
}

#[test]
fn strangers_move_nothing() {
    let mut pair = Pair::new(&[PCMU]);
    let stranger = address("192.0.2.66:6666");
    let hello = [&[22, 254, 253, 0, 0][..], &[0; 60]].concat();
    assert!(!pair.arrives(stranger, &hello), "before the browser has come");
    pair.run(3_000);
    assert_eq!(pair.turns, [true]);
    for first in [0, 22, 63, 128, 200, 255] {
        assert!(!pair.arrives(stranger, &[first; 100]));
    }
    // What the browser itself sends by another way is the browser's only with a request before.
    let (media, checks): (Vec<_>, Vec<_>) = std::mem::take(&mut pair.wire).into_iter().partition(|w| w[0] > 3);
    assert!(media.iter().all(|packet| !pair.arrives(stranger, packet)));
    for password in ["", "guess"] {
        let request = pair.request(password);
        assert!(!pair.arrives(stranger, &request), "wrong integrity");
    }
    let last = checks.iter().rev().find(|check| check.len() > 20).unwrap();
    assert!(!pair.arrives(stranger, last), "a copy");
    pair.talk(20);
    assert_eq!((pair.heard.len(), pair.page.heard.len()), (20, 20));
}

#[test]
fn one_who_knows_the_address_but_no_key_moves_nothing() {
    let mut pair = Pair::up(&[PCMU]);
    pair.talk(10);
    for n in 0..200u32 {
        let header = Header {
            marker: false,
            payload_type: PCMU,
            sequence: n as u16,
            timestamp: n,
            ssrc: n / 2,
            payload: HEADER..172,
        };
        let at = pair.at;
        pair.arrives(at, &[&header.bytes()[..], &[0; 170]].concat());
        pair.arrives(at, &[0x80, 200, 0, 6, 1, 2, 3, 4, n as u8, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9]);
        pair.arrives(
            at,
            &[
                22, 254, 253, 0, 1, 0, 0, 0, 0, n as u8, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9,
                1, 2, 3,
            ],
        );
        pair.arrives(at, &[21, 254, 253, 0, 0, 0, 0, 0, 0, 0, n as u8, 0, 2, 2, 40]);
    }
    assert_eq!(pair.heard.len(), 10);
    pair.talk(20);
    assert_eq!((pair.heard.len(), pair.page.heard.len(), pair.turns.as_slice()), (30, 30, &[true][..]));
}

#[test]
fn reports_say_how_we_are_heard_and_nothing_of_the_other_side() {
    let mut pair = Pair::up(&[PCMU]);
    pair.talk(700);
    let last = pair.reports.last().unwrap();
    assert!(pair.reports.len() >= 2 && last.rtt_ms.is_some_and(|ms| (4..=6).contains(&ms)), "{:?}", pair.reports);
    let said = pair.page.reports.join("\n");
    assert!(said.contains("SenderReport") && !said.contains(&0xdead_beef_u32.to_string()), "{said}");
}

#[test]
fn another_leg_has_other_names() {
    let base = Instant::now();
    let site = Arc::new(Site::new(address(SERVER), Some(address(SERVER)), Timeline::new(base, begin())));
    let mut page = Page::new(base, &[PCMU], &[(Protocol::Udp, address(BROWSER))]);
    let offer = BrowserOffer::parse(&page.offer()).unwrap();
    let names = |secret: u8| Peer::connect(begin(), &site, &offer, Secret([secret; 16])).unwrap().1;
    let (one, two) = (names(1), names(2));
    let lines = ["o=", "a=ice-ufrag", "a=ice-pwd", "a=fingerprint", "a=msid:", "a=ssrc"];
    for (line, other) in one.lines().zip(two.lines()) {
        assert_eq!(line != other, lines.iter().any(|name| line.starts_with(name)), "{line}");
    }
    assert!(one.contains("tcptype passive") && one.contains("a=ice-lite") && one.contains("a=setup:passive"));
}

#[test]
fn the_sockets_of_the_site_are_what_it_tells() {
    let pair = Pair::new(&[PCMU]);
    assert_eq!((pair.site.udp, pair.site.tcp), (address(SERVER), None));
}
