//! The two legs of one call: every packet of one is judged, and made a packet of the other.
//!
//! ```text
//!   RTP in ─▶ shape? ─▶ the party? ─▶ agreed? ─▶ does the other listen? ─▶ rewritten ─▶ RTP out
//!             malformed  stranger      payload_type    nowhere
//! ```
//!
//! Deliberately absent: sockets, and any buffer of packets. A packet leaves at once or never.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use super::fast_path::{Passage, Passed};
use super::stream::{Content, Due, Stream};
use super::{BrowserOffer, BrowserReport, DropCause, LegStats, MediaEvent, Remote, Rules, Source};
use crate::model::{Secret, Side, Timestamp};
use crate::sdp::Agreed;

/// Room for any packet of our own: a frame of a tone, or a report.
pub const PACKET: usize = 256;

/// The audio of one call.
#[derive(Debug)]
pub struct Bridge {
    rules: Arc<Rules>,
    /// By side.
    legs: [Option<Stream>; 2],
}

/// What is to be done with a packet from a party.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Send this part of the buffer, which has been rewritten, from the port of the leg `to`.
    Forward {
        to: Side,
        remote: Remote,
        range: Range<usize>,
    },
    /// It was meant for us, or nobody is to hear it just now.
    Consumed,
    Dropped(DropCause),
}

/// A packet of our own in the buffer that [`Bridge::poll`] was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    pub side: Side,
    pub channel: Channel,
    pub remote: Remote,
    pub length: usize,
}

/// Which port of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    Rtp,
    Rtcp,
}

impl Bridge {
    pub fn new(rules: Arc<Rules>) -> Self {
        Self { rules, legs: [None, None] }
    }

    /// A leg whose ports are bound. Opened again, it starts anew.
    pub fn open(&mut self, now: Timestamp, side: Side, secret: Secret) {
        self.legs[index(side)] = Some(Stream::phone(now, secret));
    }

    /// A browser's offer that has been answered. The leg goes on as it was if it had a browser before: the
    /// same one, or the page after a reload.
    pub fn connect(&mut self, now: Timestamp, side: Side, secret: Secret, offer: &BrowserOffer) {
        let leg = &mut self.legs[index(side)];
        let leg = match leg.take_if(|leg| leg.is_browser()) {
            Some(stream) => leg.insert(stream),
            None => leg.insert(Stream::browser(now, secret)),
        };
        leg.agree(now, &self.rules, &offer.agreed(), None);
    }

    /// The path to the leg's browser stands, or no longer does.
    pub fn link(&mut self, now: Timestamp, side: Side, up: bool, events: &mut Vec<(Side, MediaEvent)>) {
        if let Some(leg) = self.leg(side) {
            leg.link(now, up);
            events.push((side, if up { MediaEvent::BrowserUp } else { MediaEvent::BrowserDown }));
        }
    }

    /// What the leg's browser says of what we send; `None` when it is another browser from now on.
    pub fn reported(&mut self, side: Side, report: Option<BrowserReport>) {
        if let Some(leg) = self.leg(side) {
            leg.reported(report);
        }
    }

    /// The peer's half of offer/answer.
    pub fn remote(&mut self, now: Timestamp, side: Side, agreed: &Agreed) {
        let avoid = self.leg(side.other()).and_then(|other| other.address());
        let rules = Arc::clone(&self.rules);
        if let Some(leg) = self.leg(side) {
            leg.agree(now, &rules, agreed, avoid);
        }
    }

    pub fn play(&mut self, now: Timestamp, side: Side, source: Source) {
        if let Some(leg) = self.leg(side) {
            leg.play(now, source);
        }
        if let (Source::Peer, Some(other)) = (source, self.leg(side.other())) {
            other.expect(now);
        }
    }

    /// The leg is over. `None` when it was not open. The buffer takes an RTCP BYE.
    pub fn close(&mut self, now: Timestamp, side: Side, buffer: &mut [u8]) -> Option<(LegStats, Option<Transmit>)> {
        let (stats, bye) = self.legs[index(side)].take()?.close(now, buffer);
        let bye = bye.map(|(remote, length)| Transmit {
            side,
            channel: Channel::Rtcp,
            remote: Remote::Phone(remote),
            length,
        });
        Some((stats, bye))
    }

    pub fn is_empty(&self) -> bool {
        self.legs.iter().all(Option::is_none)
    }

    /// Where this leg's packets come from, once that is known.
    pub fn latched(&self, side: Side) -> Option<SocketAddr> {
        self.legs[index(side)].as_ref()?.latched()
    }

    /// Where this leg's phone is sent to.
    pub fn target(&self, side: Side) -> Option<SocketAddr> {
        self.legs[index(side)].as_ref()?.address()
    }

    /// How what `side` sends could reach the other party without a look at it.
    pub fn passage(&self, side: Side) -> Option<Passage> {
        let [leg, other] = [side, side.other()].map(|side| self.legs[index(side)].as_ref());
        Passage::between(leg?, other?)
    }

    /// What `side` sent has reached the other party by a passage.
    pub fn passed(&mut self, side: Side, passed: &Passed) {
        if let Some(leg) = self.leg(side) {
            leg.was_heard(passed);
        }
        if let Some(other) = self.leg(side.other()) {
            other.was_sent(passed);
        }
    }

    /// A packet on the RTP port of `side`, or from its browser.
    pub fn rtp(
        &mut self,
        now: Timestamp,
        side: Side,
        from: Remote,
        packet: &mut [u8],
        events: &mut Vec<(Side, MediaEvent)>,
    ) -> Verdict {
        let verdict = self.judge(now, side, from, packet, events);
        if let (Verdict::Dropped(cause), Some(leg)) = (&verdict, self.leg(side)) {
            leg.drop(*cause);
        }
        verdict
    }

    /// A packet on the RTCP port of `side`. It is never relayed.
    pub fn rtcp(&mut self, now: Timestamp, side: Side, from: SocketAddr, packet: &[u8]) -> Verdict {
        let Some(leg) = self.leg(side) else { return Verdict::Dropped(DropCause::Stranger) };
        match leg.control(now, from, packet) {
            Ok(()) => Verdict::Consumed,
            Err(cause) => {
                leg.drop(cause);
                Verdict::Dropped(cause)
            }
        }
    }

    /// The socket of `side` did not take a packet.
    pub fn unsent(&mut self, side: Side) {
        if let Some(leg) = self.leg(side) {
            leg.unsent();
        }
    }

    /// The earliest moment at which [`Bridge::poll`] may have something to say.
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.legs.iter().flatten().filter_map(|leg| leg.next_timeout(&self.rules)).min()
    }

    /// What is due of tones, reports and silence; to be asked again until it returns `None`. `buffer`
    /// has [`PACKET`] bytes.
    pub fn poll(
        &mut self,
        now: Timestamp,
        buffer: &mut [u8],
        events: &mut Vec<(Side, MediaEvent)>,
    ) -> Option<Transmit> {
        for side in Side::BOTH {
            let Some(leg) = &mut self.legs[index(side)] else { continue };
            while let Some(due) = leg.poll(now, &self.rules, buffer) {
                let (channel, remote, length) = match due {
                    Due::Rtp(remote, length) => (Channel::Rtp, remote, length),
                    Due::Rtcp(remote, length) => (Channel::Rtcp, Remote::Phone(remote), length),
                    Due::Quality(quality) => {
                        events.push((side, MediaEvent::Quality(quality)));
                        continue;
                    }
                    Due::Silent => {
                        events.push((side, MediaEvent::Silent));
                        continue;
                    }
                };
                return Some(Transmit { side, channel, remote, length });
            }
        }
        None
    }

    fn judge(
        &mut self,
        now: Timestamp,
        side: Side,
        from: Remote,
        packet: &mut [u8],
        events: &mut Vec<(Side, MediaEvent)>,
    ) -> Verdict {
        let [user, destination] = &mut self.legs;
        let (leg, other) = match side {
            Side::User => (user, destination),
            Side::Destination => (destination, user),
        };
        let Some(leg) = leg else { return Verdict::Dropped(DropCause::Stranger) };
        let joined = leg.sends() && other.as_ref().is_some_and(|other| other.source() == Source::Peer);
        let heard = match leg.hear(now, from, packet, joined) {
            Ok(heard) => heard,
            Err(cause) => return Verdict::Dropped(cause),
        };
        if let Content::Key(key) = heard.content
            && let Some(digit) = key.pressed
        {
            events.push((side, MediaEvent::Digit(digit)));
        }
        let Some(other) = other.as_mut().filter(|_| joined) else { return unheard(&heard.content) };
        match other.relay(now, &heard, packet) {
            Ok((remote, range)) => {
                if leg.begins_to_flow() {
                    events.push((side, MediaEvent::Flowing));
                }
                Verdict::Forward { to: side.other(), remote, range }
            }
            Err(cause) => {
                other.skip(heard.place);
                match heard.content {
                    Content::Key(key) if !key.relayed => Verdict::Consumed,
                    Content::Key(_) | Content::Audio(_) | Content::Foreign => Verdict::Dropped(cause),
                }
            }
        }
    }

    fn leg(&mut self, side: Side) -> Option<&mut Stream> {
        self.legs[index(side)].as_mut()
    }
}

/// What becomes of a packet that the other party does not listen to.
fn unheard(content: &Content) -> Verdict {
    match content {
        Content::Audio(_) => Verdict::Dropped(DropCause::Nowhere),
        Content::Key(_) => Verdict::Consumed,
        Content::Foreign => Verdict::Dropped(DropCause::PayloadType),
    }
}

fn index(side: Side) -> usize {
    match side {
        Side::User => 0,
        Side::Destination => 1,
    }
}
