//! One leg's audio: what its party sends, and what its party hears.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::fast_path::Passed;
use super::formats::{Formats, Incoming};
use super::g711::Law;
use super::keypad::{EVENT, Key, Keypad};
use super::line::{Line, Link, Phone, Remote};
use super::reception::{Place, Reception};
use super::rtcp::{self, Report, Sent};
use super::sender::{Sender, Stamp};
use super::tones::{FRAME, Tone};
use super::wire::{HEADER, Header};
use super::{BrowserReport, DropCause, Drops, LegStats, Quality, Rules, Source, quality};
use crate::model::{Secret, Timestamp};
use crate::sdp::{Agreed, Codec, Direction};

/// How often we say how a browser's audio fares.
const QUALITY: Duration = Duration::from_secs(5);
const FRAME_TIME: Duration = Duration::from_millis(20);
/// A tone that is later than this goes on from now instead of catching up.
const TOO_LATE: Duration = Duration::from_millis(100);

/// RFC 7022 §4.2: at least 96 random bits, here as hexadecimal digits.
const CNAME: usize = 24;

#[derive(Debug)]
pub(super) struct Stream {
    cname: [u8; CNAME],
    line: Line,
    formats: Option<Formats>,
    /// What the party's description says: whether it sends, whether it wants to hear.
    sends: bool,
    hears: bool,
    reception: Reception,
    keypad: Keypad,
    codec: Option<Codec>,
    /// The payload type of the party's last audio.
    speaks: Option<u8>,
    flowed: bool,
    last_sender_report: Option<(u32, Timestamp)>,
    sender: Sender,
    source: Source,
    /// Samples of the tone that have been played.
    position: u32,
    dropped: Drops,
    frame_at: Option<Timestamp>,
    report_at: Option<Timestamp>,
    quality_at: Option<Timestamp>,
    /// The last packet of the party, or the last change that gave it a reason to start sending.
    quiet_since: Timestamp,
}

/// A believed packet of the party.
#[derive(Debug)]
pub(super) struct Heard {
    pub header: Header,
    pub place: Place,
    pub content: Content,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Audio(Law),
    Key(Key),
    /// Of the party's stream, but nothing that was agreed: comfort noise, an event that is no key.
    Foreign,
}

/// What a stream's deadline came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Rtp(Remote, usize),
    Rtcp(SocketAddr, usize),
    Quality(Quality),
    Silent,
}

impl Stream {
    /// The numbers that identify us towards the party come from the secret alone, so nothing of one leg
    /// is in the other's, and a restarted server goes on under the same SSRC.
    pub fn phone(now: Timestamp, secret: Secret) -> Self {
        Self::new(now, secret, Line::Phone(Phone::default()))
    }

    /// A browser that is not up yet.
    pub fn browser(now: Timestamp, secret: Secret) -> Self {
        Self::new(now, secret, Line::Browser(Link::default()))
    }

    fn new(now: Timestamp, secret: Secret, line: Line) -> Self {
        let digest = Sha256::new().chain_update(b"media").chain_update(secret.0).finalize();
        let number = |at: usize| u32::from_be_bytes([digest[at], digest[at + 1], digest[at + 2], digest[at + 3]]);
        let mut cname = String::with_capacity(CNAME);
        digest[12..].iter().take(CNAME / 2).for_each(|byte| _ = write!(cname, "{byte:02x}"));
        let cname = cname.as_bytes().first_chunk().copied().unwrap_or([b'0'; CNAME]);
        Self {
            cname,
            line,
            formats: None,
            sends: false,
            hears: false,
            reception: Reception::default(),
            keypad: Keypad::default(),
            codec: None,
            speaks: None,
            flowed: false,
            last_sender_report: None,
            sender: Sender::new(number(0), number(4) as u16, number(8)),
            source: Source::Nothing,
            position: 0,
            dropped: Drops::default(),
            frame_at: None,
            report_at: None,
            quality_at: None,
            quiet_since: now,
        }
    }

    /// The peer's half of offer/answer. `avoid` is where the other party is: nobody is sent its own
    /// words back.
    pub fn agree(&mut self, now: Timestamp, rules: &Rules, agreed: &Agreed, avoid: Option<SocketAddr>) {
        self.line.signal(rules, agreed, avoid);
        self.formats = Formats::of(agreed);
        (self.sends, self.hears) = match agreed.peer_direction {
            Direction::SendRecv => (true, true),
            Direction::SendOnly => (true, false),
            Direction::RecvOnly => (false, true),
            Direction::Inactive => (false, false),
        };
        self.sender.interrupt();
        if !self.line.is_browser() {
            self.report_at.get_or_insert(now + rtcp::interval(self.sender.ssrc) / 2);
        }
        self.quiet_since = now;
        self.arm(now);
    }

    pub fn play(&mut self, now: Timestamp, source: Source) {
        if source != self.source {
            self.source = source;
            self.position = 0;
            self.sender.interrupt();
            self.arm(now);
        }
        self.expect(now);
    }

    /// From now on the party has a reason to send.
    pub fn expect(&mut self, now: Timestamp) {
        self.quiet_since = now;
    }

    pub fn source(&self) -> Source {
        self.source
    }

    /// Whether the party sends, by its description.
    pub fn sends(&self) -> bool {
        self.sends
    }

    /// Where the party's packets come from, once that is known.
    pub fn latched(&self) -> Option<SocketAddr> {
        self.line.latched()
    }

    /// Where the party is sent to, if it is a phone.
    pub fn address(&self) -> Option<SocketAddr> {
        self.line.address()
    }

    pub fn is_browser(&self) -> bool {
        self.line.is_browser()
    }

    /// The browser's path stands, or no longer does. Nothing is missed while it does not.
    pub fn link(&mut self, now: Timestamp, up: bool) {
        if self.line.link().is_some_and(|link| link.set(up)) {
            self.sender.interrupt();
            self.quality_at = up.then(|| now + QUALITY);
            self.quiet_since = now;
            self.arm(now);
        }
    }

    /// What the browser says of what we send.
    pub fn reported(&mut self, report: Option<BrowserReport>) {
        if let Some(link) = self.line.link() {
            link.report(report);
        }
    }

    /// Whether the party wants to hear.
    pub fn hears(&self) -> bool {
        self.hears
    }

    /// Where the party is, once no other address is to be believed without a question.
    pub fn settled(&self) -> Option<SocketAddr> {
        self.line.settled()
    }

    /// How the party's audio comes.
    pub fn speaks(&self) -> Option<(u8, Law)> {
        let payload_type = self.speaks?;
        match self.formats?.incoming(payload_type)? {
            Incoming::Audio(law) => Some((payload_type, law)),
            Incoming::Event => None,
        }
    }

    /// The payload type under which the party takes audio of this law.
    pub fn expects(&self, law: Law) -> Option<u8> {
        self.formats?.outgoing(law)
    }

    pub fn reception(&self) -> &Reception {
        &self.reception
    }

    pub fn sender(&self) -> &Sender {
        &self.sender
    }

    /// Packets of this party have passed, each as if it had been heard here.
    pub fn was_heard(&mut self, passed: &Passed) {
        if passed.packets > 0 {
            self.reception.passed(passed);
            self.line.hear(passed.last_at);
            self.quiet_since = self.quiet_since.max(passed.last_at);
        }
    }

    /// Packets to this party have passed.
    pub fn was_sent(&mut self, passed: &Passed) {
        if passed.packets > 0 {
            self.sender.passed(passed);
        }
    }

    /// Judges a packet on the RTP port. `joined`: the other party listens.
    pub fn hear(&mut self, now: Timestamp, from: Remote, packet: &[u8], joined: bool) -> Result<Heard, DropCause> {
        let mut header = Header::read(packet).ok_or(DropCause::Malformed)?;
        let formats = self.formats.ok_or(DropCause::Stranger)?;
        if !self.line.believes(now, from, &header, &self.reception, self.sends) {
            return Err(DropCause::Stranger);
        }
        self.quiet_since = now;
        let format = formats.incoming(header.payload_type);
        if format.is_none() && !self.reception.is_current(&header) {
            return Err(DropCause::PayloadType);
        }
        if !self.reception.is_current(&header) {
            self.keypad.reset();
        }
        let place = self.reception.receive(&header);
        let content = match format {
            None => Content::Foreign,
            Some(Incoming::Audio(law)) => {
                self.reception.time(now, &header);
                self.codec.get_or_insert(law.codec());
                self.speaks = Some(header.payload_type);
                Content::Audio(law)
            }
            Some(Incoming::Event) => {
                let key = self.keypad.hear(&header, &packet[header.payload.clone()], joined);
                // RFC 4733 §2.5.1.5 would let more events follow; what is not read is not relayed.
                header.payload.end = header.payload.end.min(header.payload.start + EVENT);
                key.map_or(Content::Foreign, Content::Key)
            }
        };
        Ok(Heard { header, place, content })
    }

    /// Makes a packet of the other party one of ours, in place; what is to be sent where.
    pub fn relay(
        &mut self,
        now: Timestamp,
        heard: &Heard,
        packet: &mut [u8],
    ) -> Result<(Remote, Range<usize>), DropCause> {
        let (Some(target), Some(formats), true) = (self.line.target(), self.formats, self.hears) else {
            return Err(DropCause::Nowhere);
        };
        let payload = heard.header.payload.clone();
        let payload_type = match heard.content {
            Content::Audio(law) => match formats.outgoing(law) {
                Some(payload_type) => payload_type,
                None => {
                    law.transpose(&mut packet[payload.clone()]);
                    formats.outgoing(law.other()).ok_or(DropCause::PayloadType)?
                }
            },
            Content::Key(key) if !key.relayed => return Err(DropCause::Nowhere),
            Content::Key(_) => formats.event.ok_or(DropCause::PayloadType)?,
            Content::Foreign => return Err(DropCause::PayloadType),
        };
        let stamp = self.sender.relay(now, heard.place, &heard.header).ok_or(DropCause::Nowhere)?;
        self.sender.count(payload.len());
        Ok((target, self.header(stamp, payload_type, payload).write(packet)))
    }

    /// A packet of the other party was held back.
    pub fn skip(&mut self, place: Place) {
        self.sender.skip(place);
    }

    /// Whether this is the first time that this party is heard by the other.
    pub fn begins_to_flow(&mut self) -> bool {
        !std::mem::replace(&mut self.flowed, true)
    }

    pub fn drop(&mut self, cause: DropCause) {
        self.dropped.count(cause);
    }

    /// The socket did not take a packet.
    pub fn unsent(&mut self) {
        self.sender.packets = self.sender.packets.saturating_sub(1);
        self.dropped.send += 1;
    }

    /// Judges a packet on the RTCP port.
    pub fn control(&mut self, now: Timestamp, from: SocketAddr, packet: &[u8]) -> Result<(), DropCause> {
        if !self.line.knows(from) {
            return Err(DropCause::Stranger);
        }
        let sender_report = rtcp::read(packet).ok_or(DropCause::Malformed)?;
        if let Some(middle) = sender_report {
            self.last_sender_report = Some((middle, now));
        }
        Ok(())
    }

    pub fn next_timeout(&self, rules: &Rules) -> Option<Timestamp> {
        [self.frame_at, self.report_at, self.quality_at, self.silent_at(rules)].into_iter().flatten().min()
    }

    /// What is due; to be asked again until nothing is.
    pub fn poll(&mut self, now: Timestamp, rules: &Rules, buffer: &mut [u8]) -> Option<Due> {
        if self.frame_at.is_some_and(|at| at <= now)
            && let Some(due) = self.frame(now, rules, buffer)
        {
            return Some(due);
        }
        if self.report_at.is_some_and(|at| at <= now)
            && let Some(due) = self.report(now, buffer)
        {
            return Some(due);
        }
        if self.quality_at.is_some_and(|at| at <= now) {
            self.quality_at = Some(now + QUALITY);
            let stats = self.stats();
            return self.line.link().map(|link| Due::Quality(link.quality(&stats)));
        }
        if self.silent_at(rules).is_some_and(|at| at <= now) {
            self.quiet_since = now;
            return Some(Due::Silent);
        }
        None
    }

    /// The last word: what the leg came to, and an RTCP BYE if the party has heard of us.
    pub fn close(mut self, now: Timestamp, buffer: &mut [u8]) -> (LegStats, Option<(SocketAddr, usize)>) {
        let stats = self.stats();
        let bye = (self.sender.packets > 0).then(|| self.line.rtcp_target()).flatten();
        (stats, bye.map(|target| (target, self.write_report(now, true, buffer))))
    }

    pub fn stats(&self) -> LegStats {
        let (received, lost, jitter) = (self.reception.received(), self.reception.lost(), self.reception.jitter());
        LegStats {
            codec: self.codec,
            packets_received: received,
            packets_sent: self.sender.packets,
            lost,
            jitter_us: u32::try_from(jitter.as_micros()).unwrap_or(u32::MAX),
            mos_hundredths: quality::mos_hundredths(received + lost, lost, jitter),
            dropped: self.dropped,
        }
    }

    fn header(&self, stamp: Stamp, payload_type: u8, payload: Range<usize>) -> Header {
        let Stamp { marker, sequence, timestamp } = stamp;
        Header { marker, payload_type, sequence, timestamp, ssrc: self.sender.ssrc, payload }
    }

    fn silent_at(&self, rules: &Rules) -> Option<Timestamp> {
        // Of a browser that is down nothing is expected.
        let is_expected = self.sends && self.line.target().is_some();
        is_expected.then(|| self.quiet_since + rules.timeout)
    }

    /// Starts or stops the clock of our tone.
    fn arm(&mut self, now: Timestamp) {
        let plays = Tone::of(self.source).is_some() && self.hears && self.line.target().is_some();
        self.frame_at = plays.then(|| self.frame_at.unwrap_or(now));
    }

    fn frame(&mut self, now: Timestamp, rules: &Rules, buffer: &mut [u8]) -> Option<Due> {
        let due = self.frame_at.take()?;
        let (tone, target, formats) = (Tone::of(self.source)?, self.line.target()?, self.formats?);
        if tone.over(self.position) {
            // The warning is over.
            self.source = Source::Peer;
            self.sender.interrupt();
            return None;
        }
        let law = formats.preferred;
        let payload_type = formats.outgoing(law)?;
        let (header, rest) = buffer.split_first_chunk_mut::<HEADER>()?;
        let stamp = self.sender.tone(now);
        *header = self.header(stamp, payload_type, HEADER..HEADER + FRAME).bytes();
        let frame = rest.first_chunk_mut::<FRAME>()?;
        match (&rules.failure, self.source) {
            (Some(recording), Source::Busy(_) | Source::Reorder(_)) => recording.render(law, self.position, frame),
            (Some(_) | None, _) => tone.render(law, self.position, frame),
        }
        self.position = self.position.wrapping_add(FRAME as u32);
        self.sender.count(FRAME);
        self.frame_at = Some(if now.since(due) > TOO_LATE { now } else { due } + FRAME_TIME);
        Some(Due::Rtp(target, HEADER + FRAME))
    }

    fn report(&mut self, now: Timestamp, buffer: &mut [u8]) -> Option<Due> {
        let salt = self.sender.ssrc.wrapping_add(now.as_millis() as u32);
        self.report_at = Some(now + rtcp::interval(salt));
        if self.sender.packets + self.reception.received() == 0 {
            return None;
        }
        let target = self.line.rtcp_target()?;
        Some(Due::Rtcp(target, self.write_report(now, false, buffer)))
    }

    fn write_report(&mut self, now: Timestamp, bye: bool, buffer: &mut [u8]) -> usize {
        let sent = (self.sender.packets > 0).then(|| Sent {
            ntp: rtcp::ntp(now),
            timestamp: self.sender.timestamp_at(now),
            packets: self.sender.packets,
            octets: self.sender.octets,
        });
        let report = Report {
            ssrc: self.sender.ssrc,
            cname: str::from_utf8(&self.cname).unwrap_or_default(),
            sent,
            heard: self.reception.report(),
            last_sender_report: self.last_sender_report.map(|(middle, at)| (middle, now.since(at))),
            bye,
        };
        report.write(buffer)
    }
}
