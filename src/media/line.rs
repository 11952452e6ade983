//! How a party is reached: a phone by an address that has to be believed, a browser by its own peer.

use std::net::SocketAddr;
use std::time::Duration;

use super::browser::{BrowserReport, Flow, Quality};
use super::latch::Latch;
use super::reception::Reception;
use super::wire::Header;
use super::{LegStats, Rules, quality};
use crate::model::Timestamp;
use crate::sdp::Agreed;

/// Where a packet goes, or where one came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remote {
    Phone(SocketAddr),
    /// The leg's browser, wherever it is: `webrtc` knows, and vouches for what comes from it.
    Browser,
}

#[derive(Debug)]
pub(super) enum Line {
    Phone(Phone),
    Browser(Link),
}

#[derive(Debug, Default)]
pub(super) struct Phone {
    pub latch: Latch,
    rtcp: Option<SocketAddr>,
}

/// A browser's path.
#[derive(Debug, Default)]
pub(super) struct Link {
    up: bool,
    report: Option<BrowserReport>,
}

impl Line {
    /// The peer's half of offer/answer. `avoid` is where the other party is: nobody is sent its own words
    /// back. A browser's address is no matter of its description.
    pub fn signal(&mut self, rules: &Rules, agreed: &Agreed, avoid: Option<SocketAddr>) {
        let Line::Phone(phone) = self else { return };
        let remote = agreed.remote.and_then(|at| rules.admit(at)).filter(|&at| Some(at) != avoid);
        phone.latch.signal(remote);
        // RTCP follows RTP to the same host only, so that nobody can point it at a third party.
        phone.rtcp = agreed
            .remote_rtcp
            .and_then(|at| rules.admit(at))
            .filter(|rtcp| remote.is_some_and(|rtp| rtp.ip() == rtcp.ip()));
    }

    /// Whether this packet is the party's. `sends`: it may send at all just now.
    pub fn believes(&mut self, now: Timestamp, from: Remote, header: &Header, stream: &Reception, sends: bool) -> bool {
        match (self, from) {
            (Line::Phone(phone), Remote::Phone(from)) => phone.latch.believes(now, from, header, stream, sends),
            (Line::Browser(_), Remote::Browser) => true,
            (Line::Phone(_), Remote::Browser) | (Line::Browser(_), Remote::Phone(_)) => false,
        }
    }

    /// Whether a control packet comes from where the party is.
    pub fn knows(&self, from: SocketAddr) -> bool {
        [self.latched(), self.address()].into_iter().flatten().any(|at| at.ip() == from.ip())
    }

    /// Where the party's packets come from, once that is known.
    pub fn latched(&self) -> Option<SocketAddr> {
        match self {
            Line::Phone(phone) => phone.latch.source(),
            Line::Browser(_) => None,
        }
    }

    /// Where a phone is sent to.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Line::Phone(phone) => phone.latch.target(),
            Line::Browser(_) => None,
        }
    }

    /// Where a phone is, once no other address is to be believed without a question.
    pub fn settled(&self) -> Option<SocketAddr> {
        match self {
            Line::Phone(phone) => phone.latch.settled(),
            Line::Browser(_) => None,
        }
    }

    /// Where packets for the party go.
    pub fn target(&self) -> Option<Remote> {
        match self {
            Line::Phone(phone) => phone.latch.target().map(Remote::Phone),
            Line::Browser(link) => link.up.then_some(Remote::Browser),
        }
    }

    /// Where our reports go. RFC 3605: the signalled address; RFC 3550 §11: or else the next port. A
    /// browser gets its peer's own.
    pub fn rtcp_target(&self) -> Option<SocketAddr> {
        let Line::Phone(phone) = self else { return None };
        let rtp = phone.latch.target()?;
        let next = SocketAddr::new(rtp.ip(), rtp.port().checked_add(1)?);
        Some(phone.rtcp.filter(|_| !phone.latch.is_elsewhere()).unwrap_or(next))
    }

    /// The believed address was heard without a question here.
    pub fn hear(&mut self, at: Timestamp) {
        match self {
            Line::Phone(phone) => phone.latch.hear(at),
            Line::Browser(_) => {}
        }
    }

    pub fn is_browser(&self) -> bool {
        matches!(self, Line::Browser(_))
    }

    pub fn link(&mut self) -> Option<&mut Link> {
        match self {
            Line::Phone(_) => None,
            Line::Browser(link) => Some(link),
        }
    }
}

impl Link {
    /// Whether that is news.
    pub fn set(&mut self, up: bool) -> bool {
        std::mem::replace(&mut self.up, up) != up
    }

    /// What the browser says of what we send; for as long as it lives, not its successor.
    pub fn report(&mut self, report: Option<BrowserReport>) {
        self.report = report;
    }

    /// How both ways fare, as far as is known.
    pub fn quality(&self, stats: &LegStats) -> Quality {
        let report = self.report.unwrap_or_default();
        let jitter_ms = stats.jitter_us / 1_000;
        let received = Flow { packets: stats.packets_received, lost: stats.lost, jitter_ms };
        let sent = Flow { packets: stats.packets_sent, lost: report.lost, jitter_ms: report.jitter_ms };
        let jitter = Duration::from_millis(u64::from(report.jitter_ms));
        let heard = self.report.map(|report| quality::mos_hundredths(sent.packets, report.lost, jitter));
        let worse = [Some(stats.mos_hundredths), heard].into_iter().flatten().filter(|mos| *mos > 0).min();
        Quality { received, sent, mos_hundredths: worse.unwrap_or(0), rtt_ms: report.rtt_ms }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::browser::tests::CHROMIUM;
    use super::super::tests::{PCMU, agreed, phone, rtp};
    use super::*;
    use crate::media::{Bridge, BrowserOffer, DropCause, MediaEvent, PACKET, Source, ToneRegion, Transmit, Verdict};
    use crate::model::{Secret, Side};

    /// A browser's call: the phone is the destination.
    struct Call {
        bridge: Bridge,
        now: Timestamp,
        events: Vec<(Side, MediaEvent)>,
    }

    impl Call {
        fn joined() -> Self {
            let address = "192.0.2.10".parse().unwrap();
            let mut bridge = Bridge::new(Arc::new(Rules { address, advertised: address, ..Rules::default() }));
            let now = Timestamp::from_millis(1_700_000_000_000);
            bridge.connect(now, Side::User, Secret([1; 16]), &BrowserOffer::parse(CHROMIUM).unwrap());
            bridge.open(now, Side::Destination, Secret([2; 16]));
            bridge.remote(now, Side::Destination, &agreed(Side::Destination, &[PCMU], 101));
            Side::BOTH.into_iter().for_each(|side| bridge.play(now, side, Source::Peer));
            Self { bridge, now, events: Vec::new() }
        }

        fn up() -> Self {
            let mut call = Self::joined();
            call.link(true);
            call
        }

        fn link(&mut self, up: bool) {
            self.bridge.link(self.now, Side::User, up, &mut self.events);
        }

        fn hears(&mut self, from: Remote, side: Side, mut packet: Vec<u8>) -> Verdict {
            self.now = self.now + Duration::from_millis(20);
            self.bridge.rtp(self.now, side, from, &mut packet, &mut self.events)
        }

        /// Both speak.
        fn talk(&mut self, numbers: std::ops::Range<u32>) -> usize {
            let mut forwarded = 0;
            for n in numbers {
                let there = self.hears(Remote::Browser, Side::User, rtp(7, 0, n));
                let back = self.hears(Remote::Phone(phone(Side::Destination)), Side::Destination, rtp(8, 0, n));
                forwarded += usize::from(matches!(there, Verdict::Forward { to: Side::Destination, .. }));
                forwarded += usize::from(matches!(back, Verdict::Forward { remote: Remote::Browser, .. }));
            }
            forwarded
        }

        fn run(&mut self, seconds: u64) -> Vec<Transmit> {
            let (end, mut sent) = (self.now + Duration::from_secs(seconds), Vec::new());
            while let Some(at) = self.bridge.next_timeout().filter(|at| *at <= end) {
                self.now = self.now.max(at);
                while let Some(transmit) = self.bridge.poll(self.now, &mut [0; PACKET], &mut self.events) {
                    sent.push(transmit);
                }
            }
            self.now = end;
            sent
        }

        fn count(&self, wanted: impl Fn(&MediaEvent) -> bool) -> usize {
            self.events.iter().filter(|(side, event)| *side == Side::User && wanted(event)).count()
        }
    }

    #[test]
    fn a_browser_speaks_and_hears_and_nothing_of_it_is_the_kernels() {
        let mut call = Call::up();
        assert_eq!(call.talk(0..50), 100);
        assert_eq!(Side::BOTH.map(|side| call.bridge.passage(side)), [None, None]);
        assert_eq!(Side::BOTH.map(|side| call.bridge.latched(side).is_some()), [false, true]);
        let stranger = Remote::Phone(phone(Side::User));
        assert_eq!(call.hears(stranger, Side::User, rtp(7, 0, 50)), Verdict::Dropped(DropCause::Stranger));
        assert_eq!(
            call.hears(Remote::Browser, Side::Destination, rtp(8, 0, 50)),
            Verdict::Dropped(DropCause::Stranger)
        );
    }

    #[test]
    fn one_that_is_down_is_sent_nothing_and_is_not_called_silent() {
        let mut call = Call::joined();
        assert_eq!(
            call.hears(Remote::Phone(phone(Side::Destination)), Side::Destination, rtp(8, 0, 0)),
            Verdict::Dropped(DropCause::Nowhere)
        );
        call.bridge.play(call.now, Side::User, Source::Ringback(ToneRegion::Europe));
        assert!(call.run(100).iter().all(|transmit| transmit.side == Side::Destination));
        assert_eq!(call.count(|event| *event == MediaEvent::Silent), 0);
        call.link(true);
        let tones = call.run(1);
        assert!(tones.len() >= 50 && tones.iter().all(|transmit| transmit.remote == Remote::Browser));
        call.link(false);
        assert!(call.run(1).iter().all(|transmit| transmit.side == Side::Destination));
        call.link(true);
        call.run(31);
        assert_eq!(call.count(|event| *event == MediaEvent::Silent), 1, "it is up, and should speak");
    }

    #[test]
    fn how_it_fares_is_said_every_five_seconds_while_it_is_up() {
        let mut call = Call::up();
        call.talk(0..100);
        call.bridge.reported(Side::User, Some(BrowserReport { lost: 10, jitter_ms: 4, rtt_ms: Some(30) }));
        call.run(12);
        let told: Vec<_> = call
            .events
            .iter()
            .filter_map(|(_, event)| match event {
                MediaEvent::Quality(quality) => Some(*quality),
                _ => None,
            })
            .collect();
        assert_eq!(told.len(), 3);
        assert_eq!((told[0].received.packets, told[0].sent.packets, told[0].sent.lost), (100, 100, 10));
        assert_eq!((told[0].rtt_ms, told[0].mos_hundredths < 400), (Some(30), true), "{:?}", told[0]);
        call.link(false);
        call.run(20);
        assert_eq!(call.count(|event| matches!(event, MediaEvent::Quality(_))), 3);
    }

    #[test]
    fn the_next_page_goes_on_where_the_last_one_was() {
        let mut call = Call::up();
        call.talk(0..50);
        call.link(false);
        let other = CHROMIUM.replace("ufrag:Hx4T", "ufrag:other");
        call.bridge.connect(call.now, Side::User, Secret([1; 16]), &BrowserOffer::parse(&other).unwrap());
        assert_eq!(call.talk(50..60), 10, "the browser speaks to the phone, and hears nothing before it is up");
        call.link(true);
        assert_eq!(call.talk(60..110), 100);
        let (stats, bye) = call.bridge.close(call.now, Side::User, &mut [0; PACKET]).unwrap();
        assert_eq!((stats.packets_received, stats.packets_sent, bye), (110, 100, None), "its peer says goodbye");
    }
}
