//! Real media threads, a phone on one side of each call and a browser on the other.

use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use revbridge::config::{MediaConfig, WebrtcConfig};
use revbridge::media::{BrowserOffer, LegStats, MediaCommand, MediaEvent, OfferError, PortPair, Source};
use revbridge::model::{CallId, IdSource, LegId, Secret, Side, Timestamp};
use revbridge::sdp::{Agreed, Codec, Direction, Format};
use revbridge::server::clock::Clock;
use revbridge::server::media::MediaThreads;

use crate::browser::Browser;
use crate::page::PCMU;

pub const PATIENCE: Duration = Duration::from_secs(10);
/// Where phones are, so that their address is nobody else's.
pub const CARRIER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 8);
/// The phone's payload type for telephone-event, which is not the browser's.
pub const EVENT: u8 = 101;
const SERVER: Ipv4Addr = Ipv4Addr::LOCALHOST;

pub struct Scene {
    threads: RefCell<MediaThreads>,
    events: Receiver<(LegId, MediaEvent)>,
    /// Events that came while another one was waited for.
    missed: RefCell<Vec<(LegId, MediaEvent)>>,
    ids: RefCell<IdSource>,
    calls: Cell<u64>,
    pub server: SocketAddr,
}

/// The phone of a call, and what it has heard.
pub struct Phone {
    pub call: CallId,
    rtp: UdpSocket,
    rtcp: UdpSocket,
    server: SocketAddr,
    next: u16,
    pub ssrc: u32,
    pub heard: Vec<Vec<u8>>,
    pub arrivals: Vec<Instant>,
    pub reports: Vec<Vec<u8>>,
}

/// Two ports in a row that nobody has, by UDP and TCP.
fn free_pair(address: Ipv4Addr) -> u16 {
    let is_free = |port: u16| UdpSocket::bind((address, port)).is_ok() && TcpListener::bind((address, port)).is_ok();
    std::iter::repeat_with(|| UdpSocket::bind((address, 0)).and_then(|socket| socket.local_addr()).expect("a port"))
        .map(|at| at.port() & !1)
        .find(|port| is_free(*port) && is_free(port + 1))
        .expect("two ports")
}

impl Scene {
    pub fn new() -> Self {
        let config = MediaConfig {
            address: SERVER.into(),
            advertised: SERVER.into(),
            ports: (1, 1),
            rest: Duration::ZERO,
            timeout: Duration::from_secs(30),
            threads: 2,
            failure_wav: None,
            fast_path: false,
        };
        let server = SocketAddr::new(SERVER.into(), free_pair(SERVER));
        let browsers = WebrtcConfig { advertised: SERVER.into(), ..WebrtcConfig::on(server) };
        let (sender, events) = channel();
        let report = move |leg, event| _ = sender.send((leg, event));
        let threads = MediaThreads::start(&config, Some(&browsers), Clock::start(None), report).expect("threads");
        Self {
            threads: threads.into(),
            events,
            missed: RefCell::default(),
            ids: IdSource::new([5; 32]).into(),
            calls: Cell::new(0),
            server,
        }
    }

    /// A call whose phone speaks this law, and whose browser has yet to come.
    pub fn call(&self, codec: Codec) -> Phone {
        let number = self.calls.replace(self.calls.get() + 1);
        let call = self.ids.borrow_mut().call(Timestamp::from_millis(number + 1));
        let port = free_pair(CARRIER);
        let bind = |port| {
            let socket = UdpSocket::bind((CARRIER, port)).expect("a port");
            socket.set_nonblocking(true).expect("a flag");
            socket
        };
        let pair = PortPair(free_pair(SERVER));
        let phone = Phone {
            call,
            rtp: bind(port),
            rtcp: bind(port + 1),
            server: SocketAddr::new(SERVER.into(), pair.0),
            next: 0,
            ssrc: 0x5ca1_ab1e + number as u32,
            heard: Vec::new(),
            arrivals: Vec::new(),
            reports: Vec::new(),
        };
        let leg = LegId { call, side: Side::Destination };
        self.command(leg, MediaCommand::Open { port: pair, secret: self.secret() });
        self.command(
            leg,
            MediaCommand::Remote(Agreed {
                remote: Some(SocketAddr::new(CARRIER.into(), port)),
                remote_rtcp: None,
                audio: [Format { payload_type: if codec == Codec::Pcma { 8 } else { 0 }, codec }].into_iter().collect(),
                telephone_event: Some(EVENT),
                peer_direction: Direction::SendRecv,
            }),
        );
        self.command(leg, MediaCommand::Play(Source::Peer));
        phone
    }

    fn secret(&self) -> Secret {
        self.ids.borrow_mut().secret()
    }

    fn command(&self, leg: LegId, command: MediaCommand) {
        self.threads.borrow_mut().command(leg, command);
    }

    /// The answer to an offer's text.
    pub fn offered(&self, phone: &Phone, text: &str) -> Result<String, OfferError> {
        let offer = Box::new(BrowserOffer::parse(text)?);
        self.command(phone.user(), MediaCommand::Connect { offer, secret: self.secret() });
        match self.event(phone, |e| matches!(e, MediaEvent::BrowserAnswer(_) | MediaEvent::BrowserRefused(_))) {
            MediaEvent::BrowserAnswer(answer) => Ok(answer.into()),
            MediaEvent::BrowserRefused(error) => Err(error),
            other => panic!("{other:?}"),
        }
    }

    /// A call that talks.
    pub fn talking(&self, codec: Codec, mut browser: Browser) -> (Phone, Browser) {
        let mut phone = self.call(codec);
        self.connect(&phone, &mut browser);
        self.talk(&mut phone, &mut browser, 10);
        (phone, browser)
    }

    pub fn connect(&self, phone: &Phone, browser: &mut Browser) {
        let offer = browser.page.offer();
        let answer = self.offered(phone, &offer).expect("an answer");
        self.answered(phone, browser, &answer);
    }

    /// The browser comes, and hears the phone from now on.
    pub fn answered(&self, phone: &Phone, browser: &mut Browser, answer: &str) {
        browser.page.answer(answer);
        self.command(phone.user(), MediaCommand::Play(Source::Peer));
        let end = Instant::now() + PATIENCE;
        while !self.has(phone, &MediaEvent::BrowserUp) {
            assert!(Instant::now() < end, "the browser never came up: ICE {:?}", browser.page.ice);
            browser.run(10);
        }
    }

    /// Both speak for so many packets.
    pub fn talk(&self, phone: &mut Phone, browser: &mut Browser, packets: u16) {
        self.talk_by(phone, browser, PCMU, packets);
    }

    pub fn talk_by(&self, phone: &mut Phone, browser: &mut Browser, payload_type: u8, packets: u16) {
        let mut due = Instant::now();
        for _ in 0..packets {
            due += Duration::from_millis(20);
            browser.page.say(Instant::now(), payload_type, 0x11);
            phone.say(0x22);
            browser.run_until(due);
            phone.listen();
        }
        browser.run(30);
        phone.listen();
    }

    pub fn restart(&self, phone: &Phone, browser: &mut Browser, offer: &str) {
        let answer = self.offered(phone, offer).expect("an answer");
        browser.page.answer(&answer);
    }

    pub fn event(&self, phone: &Phone, wanted: impl Fn(&MediaEvent) -> bool) -> MediaEvent {
        let end = Instant::now() + PATIENCE;
        loop {
            self.gather(Duration::from_millis(20));
            let mut missed = self.missed.borrow_mut();
            if let Some(at) = missed.iter().position(|(leg, event)| leg.call == phone.call && wanted(event)) {
                return missed.remove(at).1;
            }
            assert!(Instant::now() < end, "the event never came, but {missed:?}");
        }
    }

    /// Whether this event has come, which is then forgotten.
    pub fn has(&self, phone: &Phone, event: &MediaEvent) -> bool {
        self.gather(Duration::ZERO);
        let mut missed = self.missed.borrow_mut();
        let at = missed.iter().position(|(leg, other)| leg.call == phone.call && other == event);
        at.map(|at| missed.remove(at)).is_some()
    }

    fn gather(&self, wait: Duration) {
        let first = self.events.recv_timeout(wait).ok();
        self.missed.borrow_mut().extend(first.into_iter().chain(self.events.try_iter()));
    }

    pub fn strangers(&self) -> u64 {
        self.threads.borrow().counts().dropped.stranger
    }

    pub fn close(&self, phone: &Phone, side: Side) -> LegStats {
        self.command(LegId { call: phone.call, side }, MediaCommand::Close);
        match self.event(phone, |event| matches!(event, MediaEvent::Closed(_))) {
            MediaEvent::Closed(stats) => stats,
            other => panic!("{other:?}"),
        }
    }
}

impl Phone {
    pub fn user(&self) -> LegId {
        LegId { call: self.call, side: Side::User }
    }

    pub fn say(&mut self, fill: u8) {
        let timestamp = u32::from(self.next) * 160;
        self.send(PCMU, timestamp, &[fill; 160]);
    }

    /// One packet of a key's press.
    pub fn press(&mut self, event: u8, began: u32, end: bool) {
        self.send(EVENT, began, &[event, if end { 0x8a } else { 0x0a }, 3, 0x20]);
    }

    fn send(&mut self, payload_type: u8, timestamp: u32, payload: &[u8]) {
        let mut packet = vec![0x80, payload_type];
        packet.extend(self.next.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend(payload);
        self.next += 1;
        self.rtp.send_to(&packet, self.server).expect("sent");
    }

    /// A sender report with the name of the phone (RFC 3550 §6.4.1, §6.5).
    pub fn report(&self, cname: &str) {
        let mut packet = vec![0x80, 200, 0, 6];
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend([0; 20]);
        let mut item = vec![1, cname.len() as u8];
        item.extend(cname.as_bytes());
        item.push(0);
        item.resize(item.len().next_multiple_of(4), 0);
        packet.extend([0x81, 202, 0, (1 + item.len() / 4) as u8]);
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend(item);
        self.rtcp.send_to(&packet, (self.server.ip(), self.server.port() + 1)).expect("sent");
    }

    /// Takes what has come.
    pub fn listen(&mut self) {
        let mut buffer = [0; 2_048];
        while let Ok(length) = self.rtp.recv(&mut buffer) {
            self.heard.push(buffer[..length].to_vec());
            self.arrivals.push(Instant::now());
        }
        while let Ok(length) = self.rtcp.recv(&mut buffer) {
            self.reports.push(buffer[..length].to_vec());
        }
    }

    /// The packets of audio of this fill.
    pub fn heard_of(&self, fill: u8) -> usize {
        self.heard.iter().filter(|packet| packet.len() == 172 && packet[100] == fill).count()
    }

    pub fn ssrcs(&self) -> Vec<u32> {
        let mut all: Vec<_> = self.heard.iter().map(|p| u32::from_be_bytes([p[8], p[9], p[10], p[11]])).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// The longest time between two of these.
pub fn longest_gap(arrivals: &[Instant]) -> Duration {
    arrivals.windows(2).map(|pair| pair[1] - pair[0]).max().expect("at least two")
}
