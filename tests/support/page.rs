//! A browser's page without its sockets: str0m as a full ICE agent, which offers, sends and listens.
//!
//! Not Chromium, whose turn comes with the whole server, but independent of our peer: its own SDP, its own
//! ICE, and the active side of DTLS.
#![allow(dead_code, reason = "each test program compiles this module and uses its own part of it")]

use std::net::SocketAddr;
use std::time::Instant;

use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::format::{Codec, FormatParams};
use str0m::media::{Direction, Frequency, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RawPacket;
use str0m::rtp::RtpWrite;
use str0m::rtp::rtcp::Rtcp;
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc, RtcConfig};

pub const PCMU: u8 = 0;
pub const PCMA: u8 = 8;
/// Not the number that our own offers have.
pub const EVENT: u8 = 126;

/// The page.
pub struct Page {
    pub rtc: Rtc,
    pub mid: Mid,
    pending: Option<SdpPendingOffer>,
    sequence: u64,
    pub timestamp: u32,
    /// To be sent: how, from where, to where.
    pub outbox: Vec<Datagram>,
    /// What came, in the clear.
    pub heard: Vec<Heard>,
    /// The RTCP that came, in words.
    pub reports: Vec<String>,
    pub is_secured: bool,
    pub is_closed: bool,
    pub ice: Option<IceConnectionState>,
}

#[derive(Debug, Clone)]
pub struct Datagram {
    pub protocol: Protocol,
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub bytes: Vec<u8>,
}

/// An RTP packet in the clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    pub marker: bool,
    pub payload: Vec<u8>,
}

impl Page {
    /// With these payload types for audio, and these addresses.
    pub fn new(now: Instant, audio: &[u8], addresses: &[(Protocol, SocketAddr)]) -> Self {
        Self::made(now, audio, addresses, true)
    }

    /// One that does not keep the reports that come, which is cheaper.
    pub fn plain(now: Instant, audio: &[u8], addresses: &[(Protocol, SocketAddr)]) -> Self {
        Self::made(now, audio, addresses, false)
    }

    fn made(now: Instant, audio: &[u8], addresses: &[(Protocol, SocketAddr)], keeps_reports: bool) -> Self {
        let mut config = RtcConfig::new().set_rtp_mode(true).clear_codecs().enable_raw_packets(keeps_reports);
        for payload_type in audio {
            config = match *payload_type {
                PCMU => config.enable_pcmu(true, false),
                PCMA => config.enable_pcma(true, false),
                _ => config.enable_opus(true, false),
            };
        }
        config.codec_config().add_config(
            EVENT.into(),
            None,
            Codec::Tele,
            Frequency::EIGHT_KHZ,
            None,
            FormatParams::default(),
        );
        let mut page = Self {
            rtc: config.build(now),
            mid: Mid::new(),
            pending: None,
            sequence: 60_000,
            timestamp: 4_000_000_000,
            outbox: Vec::new(),
            heard: Vec::new(),
            reports: Vec::new(),
            is_secured: false,
            is_closed: false,
            ice: None,
        };
        addresses.iter().for_each(|(protocol, address)| page.add_address(*protocol, *address));
        page
    }

    pub fn add_address(&mut self, protocol: Protocol, address: SocketAddr) {
        let candidate = Candidate::host(address, protocol).expect("an address");
        self.rtc.add_local_candidate(candidate);
    }

    /// The first offer.
    pub fn offer(&mut self) -> String {
        let mut changes = self.rtc.sdp_api();
        self.mid = changes.add_media(MediaKind::Audio, Direction::SendRecv, None, None, None);
        let (offer, pending) = changes.apply().expect("a change");
        self.pending = Some(pending);
        offer.to_sdp_string()
    }

    /// A later one, with other ICE credentials. `keep`: by the same addresses; otherwise others are to be
    /// added after the answer.
    pub fn restart(&mut self, keep: bool) -> String {
        let mut changes = self.rtc.sdp_api();
        changes.ice_restart(keep);
        let (offer, pending) = changes.apply().expect("a change");
        self.pending = Some(pending);
        offer.to_sdp_string()
    }

    pub fn answer(&mut self, text: &str) {
        let answer = SdpAnswer::from_sdp_string(text).expect("an answer that str0m reads");
        let pending = self.pending.take().expect("an offer");
        self.rtc.sdp_api().accept_answer(pending, answer).expect("an answer that fits the offer");
    }

    pub fn receive(&mut self, now: Instant, protocol: Protocol, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        if let Ok(received) = Receive::new(protocol, from, to, bytes) {
            self.rtc.handle_input(Input::Receive(now, received)).expect("input");
        }
    }

    /// Twenty milliseconds of audio.
    pub fn say(&mut self, now: Instant, payload_type: u8, fill: u8) {
        self.timestamp = self.timestamp.wrapping_add(160);
        self.write(now, payload_type, self.timestamp, false, &[fill; 160]);
    }

    /// One packet of a key's press that began at this timestamp.
    pub fn press(&mut self, now: Instant, event: u8, began: u32, end: bool, duration: u16) {
        let [d0, d1] = duration.to_be_bytes();
        self.write(now, EVENT, began, duration == 160, &[event, if end { 0x8a } else { 0x0a }, d0, d1]);
    }

    fn write(&mut self, now: Instant, payload_type: u8, timestamp: u32, marker: bool, payload: &[u8]) {
        self.sequence += 1;
        let packet = RtpWrite::new(payload_type.into(), self.sequence.into(), timestamp, now, payload).marker(marker);
        let mut direct = self.rtc.direct_api();
        direct.stream_tx_by_mid(self.mid, None).expect("a stream").write_rtp(packet);
        self.rtc.handle_input(Input::Timeout(now)).expect("time");
    }

    /// Says all that is to be said; when to come again.
    pub fn poll(&mut self, now: Instant) -> Instant {
        self.rtc.handle_input(Input::Timeout(now)).expect("time");
        loop {
            match self.rtc.poll_output().expect("output") {
                Output::Timeout(at) => return at,
                Output::Transmit(transmit) => self.outbox.push(Datagram {
                    protocol: transmit.proto,
                    from: transmit.source,
                    to: transmit.destination,
                    bytes: transmit.contents.to_vec(),
                }),
                Output::Event(event) => self.hear(event),
            }
        }
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Connected => self.is_secured = true,
            Event::Closed => self.is_closed = true,
            Event::IceConnectionStateChange(state) => self.ice = Some(state),
            Event::RtpPacket(packet) => self.heard.push(Heard {
                payload_type: *packet.header.payload_type,
                sequence: packet.header.sequence_number,
                timestamp: packet.header.timestamp,
                ssrc: *packet.header.ssrc,
                marker: packet.header.marker,
                payload: packet.payload.to_vec(),
            }),
            Event::RawPacket(packet) => {
                if let RawPacket::RtcpRx(report) = *packet {
                    self.reports.push(words(&report));
                }
            }
            _ => {}
        }
    }
}

fn words(report: &Rtcp) -> String {
    format!("{report:?}")
}
