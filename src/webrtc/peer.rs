//! One browser: an offer in, an answer out, and from then on packets.
//!
//! ```text
//!              ICE and DTLS stand
//!   connecting ──────────────────▶ up ◀──────────────┐
//!       │                          │ silence         │ heard again
//!       └── nothing came of it ──▶ down ─────────────┘
//!                                  ▲ └─ another fingerprint: another peer takes the leg
//!       DTLS closed, at any time ──┘
//! ```
//!
//! Whether a browser is there is told by what only it can send: STUN requests with our password, and SRTP.
//! Each is its consent to be sent to (RFC 7675 §5.1 counts STUN alone, which it sends every five seconds).
//!
//! Audio goes where the latest request with USE-CANDIDATE came from, which is the one path that a browser
//! uses (RFC 8445 §8.1.1), once audio comes from there too: requests can be copied and sent from elsewhere,
//! new SRTP cannot. It goes on there while credentials are changed. str0m on its own would stay with a
//! nominated path of higher priority until it is fifteen seconds old.

use std::sync::Arc;
use std::time::Duration;

use base64ct::{Base64Unpadded, Encoding};
use str0m::config::Fingerprint as DtlsFingerprint;
use str0m::format::{Codec as Format, FormatParams};
use str0m::ice::StunMessage;
use str0m::media::{Frequency, MediaKind, Mid};
use str0m::net::{DatagramSend, Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Reason, Rtc, RtcConfig};

use super::answer::Answer;
use super::names::{as_str0m, credentials, derive};
use super::path::{Checks, Path};
use super::receiving::Receiving;
use super::{Site, Source, Via};
use crate::media::{BrowserOffer, BrowserReport, Fingerprint, HEADER, Header, IceCredentials, OfferError};
use crate::model::{Secret, Timestamp};
use crate::sdp::Codec;

/// A browser that sent nothing for this long is not there: it checks its path at least every six seconds
/// (RFC 7675 §5.1), and sends fifty packets a second besides, muted or not.
const SILENCE: Duration = Duration::from_secs(10);
/// How long a browser may take to come after its offer.
const ARRIVAL: Duration = Duration::from_secs(30);
/// How often we say how the audio fares.
const REPORTS: Duration = Duration::from_secs(5);
/// Packets that wait in str0m between one call and the next: each is sent at once.
const SENDING: usize = 8;
/// After a failure that str0m survived.
const AGAIN: Duration = Duration::from_millis(100);
/// str0m may ask for this very moment; it gets the next.
const TICK: Duration = Duration::from_millis(5);
/// Its pacer asks for this very moment after each packet.
const PACING: Duration = Duration::from_secs(1);
/// A stream is never called paused; our own silence tells.
const NEVER: Duration = Duration::from_secs(366 * 24 * 3_600);

/// One browser.
#[derive(Debug)]
pub struct Peer {
    rtc: Rtc,
    site: Arc<Site>,
    secret: Secret,
    mid: Mid,
    ssrc: u32,
    fingerprint: Fingerprint,
    ours: IceCredentials,
    theirs: IceCredentials,
    version: u64,
    receiving: Receiving,
    /// The last sequence number sent, without wraps. RFC 3711 §3.3.1: the browser starts with ROC 0.
    sequence: Option<u64>,
    checks: Checks,
    path: Path,
    /// When it was last heard, and from when on it had to be.
    heard: Option<Timestamp>,
    since: Timestamp,
    /// DTLS stands.
    secured: bool,
    closed: bool,
    state: State,
    due: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting,
    Up,
    Down,
}

/// What a peer has to say.
#[derive(Debug)]
pub enum Output {
    Transmit(Transmit),
    /// The browser's audio.
    Rtp(Plain),
    Up,
    Down,
    Report(BrowserReport),
}

/// A datagram for the browser.
#[derive(Debug)]
pub struct Transmit {
    pub to: Source,
    pub bytes: DatagramSend,
}

/// An RTP packet of the browser, in the clear.
#[derive(Debug)]
pub struct Plain {
    header: Header,
    payload: Arc<[u8]>,
}

impl Plain {
    /// Writes the packet and returns its length; `None` when it does not fit.
    pub fn write(&self, buffer: &mut [u8]) -> Option<usize> {
        let (header, rest) = buffer.split_first_chunk_mut::<HEADER>()?;
        *header = self.header.bytes();
        rest.get_mut(..self.payload.len())?.copy_from_slice(&self.payload);
        Some(HEADER + self.payload.len())
    }
}

impl Peer {
    /// A new browser, and the answer to its offer.
    pub fn connect(
        now: Timestamp,
        site: &Arc<Site>,
        offer: &BrowserOffer,
        secret: Secret,
    ) -> Result<(Self, String), OfferError> {
        let ours = credentials(secret, offer);
        let mut rtc = configure(site, offer).build(site.timeline.instant(now));
        let mid = Mid::from("0");
        let ssrc = u32::from_be_bytes(derive(secret, b"ssrc"));
        for (via, address) in [(Protocol::Udp, Some(site.udp)), (Protocol::Tcp, site.tcp)] {
            let candidate = address.and_then(|address| Candidate::host(address, via).ok());
            candidate.and_then(|candidate| rtc.add_local_candidate(candidate).map(|_| ()));
        }
        let mut direct = rtc.direct_api();
        direct.set_ice_controlling(false);
        direct.set_local_ice_credentials(as_str0m(&ours));
        direct.set_remote_ice_credentials(as_str0m(offer.ice()));
        let fingerprint = offer.fingerprint();
        direct
            .set_remote_fingerprint(DtlsFingerprint { hash_func: "sha-256".to_owned(), bytes: fingerprint.0.to_vec() });
        direct.declare_media(mid, MediaKind::Audio);
        direct.declare_stream_tx(ssrc.into(), None, mid, None);
        direct.start_dtls(false).map_err(|_| OfferError::Unavailable)?;
        let mut peer = Self {
            rtc,
            site: Arc::clone(site),
            secret,
            mid,
            ssrc,
            fingerprint,
            ours,
            theirs: offer.ice().clone(),
            version: 0,
            receiving: Receiving::default(),
            sequence: None,
            checks: Checks::default(),
            path: Path::default(),
            heard: None,
            since: now,
            secured: false,
            closed: false,
            state: State::Connecting,
            due: Some(now),
        };
        peer.elapse(now);
        let answer = peer.answer(offer);
        Ok((peer, answer))
    }

    /// Whether an offer is this browser's, to go on with what stands.
    pub fn is_of(&self, offer: &BrowserOffer) -> bool {
        !self.closed && self.rtc.is_alive() && self.fingerprint == offer.fingerprint()
    }

    /// Another offer of the same browser, and the answer to it. New credentials are an ICE restart
    /// (RFC 8839 §4.4.1.1): audio goes on by the old path until the browser has chosen a new one.
    pub fn restart(&mut self, now: Timestamp, offer: &BrowserOffer) -> String {
        if self.theirs != *offer.ice() {
            self.theirs = offer.ice().clone();
            self.ours = credentials(self.secret, offer);
            let mut direct = self.rtc.direct_api();
            direct.set_local_ice_credentials(as_str0m(&self.ours));
            direct.set_remote_ice_credentials(as_str0m(&self.theirs));
        }
        if self.state == State::Down {
            self.since = now;
        }
        self.answer(offer)
    }

    /// What STUN requests for this peer begin their user name with.
    pub fn ufrag(&self) -> &str {
        &self.ours.ufrag
    }

    /// Whether a STUN request comes from the browser: RFC 8445 §7.3, by both names and our password.
    pub fn verify(&mut self, source: Source, message: &StunMessage<'_>) -> bool {
        let hmac = self.site.crypto.sha1_hmac_provider;
        let of_both = message.split_username() == Some((&*self.ours.ufrag, &*self.theirs.ufrag));
        of_both
            && message.verify(self.ours.pwd.as_bytes(), |key, parts| hmac.sha1_hmac(key, parts))
            && self.checks.admit(source, message.trans_id())
    }

    /// A datagram that is this peer's, as [`Demux`](super::Demux) says.
    pub fn receive(&mut self, now: Timestamp, source: Source, datagram: &[u8]) {
        let destination = match source.via {
            Via::Udp => Some(self.site.udp),
            Via::Tcp => self.site.tcp,
        };
        let (proto, Some(destination)) = (protocol(source.via), destination) else { return };
        match datagram.first() {
            Some(0..=3) => {
                self.heard = Some(now);
                let nominates = StunMessage::parse(datagram).is_ok_and(|message| message.use_candidate());
                self.path.checked(now, source, nominates);
            }
            Some(128..=191) if !self.may_come(datagram) => return,
            Some(_) | None => self.path.comes_from = Some(source),
        }
        // What str0m cannot read says nothing about the peer.
        if let Ok(received) = Receive::new(proto, source.address, destination, datagram) {
            let _ = self.rtc.handle_input(Input::Receive(self.site.timeline.instant(now), received));
        }
    }

    /// An RTP packet for the browser: our own header and the payload.
    pub fn send(&mut self, now: Timestamp, packet: &[u8]) {
        let Some(header) = Header::read(packet).filter(|_| self.secured) else { return };
        let sequence = extend(self.sequence, header.sequence);
        self.sequence = Some(self.sequence.map_or(sequence, |highest| highest.max(sequence)));
        let at = self.site.timeline.instant(now);
        let payload = &packet[header.payload];
        let write = RtpWrite::new(header.payload_type.into(), sequence.into(), header.timestamp, at, payload);
        if let Some(stream) = self.rtc.direct_api().stream_tx(&self.ssrc.into()) {
            stream.write_rtp(write.marker(header.marker));
        }
        self.elapse(now);
    }

    /// Time has passed.
    pub fn elapse(&mut self, now: Timestamp) {
        let _ = self.rtc.handle_input(Input::Timeout(self.site.timeline.instant(now)));
    }

    /// What there is to say; to be asked after everything until there is nothing.
    pub fn poll(&mut self, now: Timestamp) -> Option<Output> {
        loop {
            match self.rtc.poll_output() {
                Ok(str0m::Output::Timeout(at)) => {
                    // There is nothing to be paced; what str0m wants to look at it will see with the next packet.
                    self.due = Some(match self.rtc.last_timeout_reason() {
                        Reason::Pacer(_) => now + PACING,
                        _ => self.site.timeline.timestamp(at).max(now + TICK),
                    });
                    return self.turn(now);
                }
                Ok(str0m::Output::Transmit(transmit)) => {
                    if let Some(to) = self.target(now, &transmit) {
                        return Some(Output::Transmit(Transmit { to, bytes: transmit.contents }));
                    }
                }
                Ok(str0m::Output::Event(event)) => {
                    if let Some(output) = self.hear(now, event) {
                        return Some(output);
                    }
                }
                // A failed handshake. str0m has closed itself, or goes on.
                Err(_) => {
                    self.due = Some(now + AGAIN);
                    return self.turn(now);
                }
            }
        }
    }

    /// When [`Peer::elapse`] and [`Peer::poll`] may have something to do.
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let gone = match self.state {
            State::Connecting => Some(self.since + ARRIVAL),
            State::Up => self.heard.map(|heard| heard + SILENCE),
            State::Down => None,
        };
        [self.due.filter(|_| self.rtc.is_alive()), gone].into_iter().flatten().min()
    }

    /// We leave; what is to be sent is polled once more.
    pub fn close(&mut self, now: Timestamp) {
        let _ = self.rtc.close();
        self.elapse(now);
    }

    /// Whether an RTP or RTCP packet is to be looked at: RTCP always (RFC 5761 §4), RTP by its SSRC.
    fn may_come(&mut self, datagram: &[u8]) -> bool {
        let ssrc = |word: &[u8]| word.first_chunk().map(|ssrc| u32::from_be_bytes(*ssrc));
        match (datagram.get(1).map(|byte| byte & 0x7f), datagram.get(8..).and_then(ssrc)) {
            (Some(64..=95), _) => true,
            (Some(_), Some(ssrc)) => self.receiving.admit(&mut self.rtc, self.mid, ssrc),
            (Some(_) | None, _) => false,
        }
    }

    fn hear(&mut self, now: Timestamp, event: Event) -> Option<Output> {
        match event {
            Event::Connected => {
                self.secured = true;
                self.heard = Some(now);
                None
            }
            Event::RtpPacket(packet) => {
                let header = packet.header;
                self.heard = Some(now);
                self.path.heard(now);
                self.receiving.prove(&mut self.rtc, *header.ssrc);
                let header = Header {
                    marker: header.marker,
                    payload_type: *header.payload_type,
                    sequence: header.sequence_number,
                    timestamp: header.timestamp,
                    ssrc: *header.ssrc,
                    payload: HEADER..HEADER + packet.payload.len(),
                };
                Some(Output::Rtp(Plain { header, payload: packet.payload }))
            }
            Event::MediaEgressStats(stats) => stats.remote.map(|remote| {
                // Timestamp units, of which there are eight in a millisecond.
                let jitter_ms = remote.jitter / 8;
                let rtt_ms = stats.rtt.map(|rtt| u32::try_from(rtt.as_millis()).unwrap_or(u32::MAX));
                // 24 bits, signed: more came than was sent when the network doubles packets.
                let lost = Some(remote.packets_lost).filter(|lost| *lost < 1 << 23).unwrap_or(0);
                Output::Report(BrowserReport { lost, jitter_ms, rtt_ms })
            }),
            // The page has closed its side. str0m winds up.
            Event::Closed => {
                (self.secured, self.closed) = (false, true);
                None
            }
            // Its view of the path, where ours decides; and what belongs to video, data and bandwidth.
            _ => None,
        }
    }

    /// Whether what has happened makes a difference to the leg.
    fn turn(&mut self, now: Timestamp) -> Option<Output> {
        let stands = self.secured && self.path.selected.is_some() && self.is_there(now) && self.rtc.is_alive();
        let failed = !self.rtc.is_alive() || now >= self.since + ARRIVAL;
        let (state, output) = match self.state {
            State::Connecting | State::Down if stands => (State::Up, Output::Up),
            State::Up if !stands => (State::Down, Output::Down),
            State::Connecting if failed => (State::Down, Output::Down),
            State::Connecting | State::Up | State::Down => return None,
        };
        self.state = state;
        Some(output)
    }

    fn is_there(&self, now: Timestamp) -> bool {
        self.heard.is_some_and(|heard| now.since(heard) < SILENCE)
    }

    /// STUN is answered to where it came from, everything else goes where the browser wants it. One that is
    /// not heard is sent no audio and no reports either (RFC 7675 §5.1).
    fn target(&self, now: Timestamp, transmit: &str0m::net::Transmit) -> Option<Source> {
        let via = match transmit.proto {
            Protocol::Udp => Via::Udp,
            Protocol::Tcp => Via::Tcp,
            Protocol::SslTcp | Protocol::Tls => return None,
        };
        match transmit.contents.first() {
            Some(0..=3) => Some(Source { via, address: transmit.destination }),
            Some(128..) if !self.is_there(now) => None,
            Some(_) | None => self.path.selected,
        }
    }

    fn answer(&mut self, offer: &BrowserOffer) -> String {
        self.version += 1;
        let ours = self.rtc.direct_api().local_dtls_fingerprint().bytes.clone();
        let names =
            [b"stream" as &[u8], b"track"].map(|what| Base64Unpadded::encode_string(&derive::<12>(self.secret, what)));
        let cname = self.rtc.media(self.mid).map(|media| media.cname().to_owned()).unwrap_or_default();
        Answer {
            offer,
            site: &self.site,
            // RFC 8866 §5.2, and below 2^63 as RFC 8829 §5.2.1 wants it.
            session_id: u64::from_be_bytes(derive(self.secret, b"session")) >> 1,
            version: self.version,
            ice: &self.ours,
            fingerprint: &ours,
            ssrc: self.ssrc,
            cname: &cname,
            msid: [&names[0], &names[1]],
        }
        .write()
    }
}

fn configure(site: &Site, offer: &BrowserOffer) -> RtcConfig {
    let mut config = RtcConfig::new()
        .set_crypto_provider(Arc::clone(&site.crypto))
        .set_ice_lite(true)
        .set_rtp_mode(true)
        .clear_codecs()
        .clear_extension_map()
        .set_stats_interval(Some(REPORTS))
        .set_pause_threshold(NEVER)
        .set_send_buffer_audio(SENDING);
    let event = offer.telephone_event().map(|payload_type| (payload_type, Codec::TelephoneEvent));
    for (payload_type, codec) in offer.audio().iter().map(|f| (f.payload_type, f.codec)).chain(event) {
        let format = match codec {
            Codec::Pcmu => Format::PCMU,
            Codec::Pcma => Format::PCMA,
            Codec::TelephoneEvent => Format::Tele,
            Codec::Other => continue,
        };
        let codecs = config.codec_config();
        codecs.add_config(payload_type.into(), None, format, Frequency::EIGHT_KHZ, None, FormatParams::default());
    }
    config
}

fn protocol(via: Via) -> Protocol {
    match via {
        Via::Udp => Protocol::Udp,
        Via::Tcp => Protocol::Tcp,
    }
}

/// RFC 3711 §3.3.1: the number without wraps that lies nearest to the highest so far.
fn extend(highest: Option<u64>, sequence: u16) -> u64 {
    let Some(highest) = highest else { return u64::from(sequence) };
    let ahead = i64::from(sequence.wrapping_sub(highest as u16) as i16);
    // What would lie before the first number is the first of the next round.
    highest.checked_add_signed(ahead).unwrap_or(u64::from(sequence))
}
