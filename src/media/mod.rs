//! Audio: who may send to whom, packet by packet.
//!
//! [`MediaCommand`]s say what a leg's audio is to be, [`MediaEvent`]s what became of it. The decisions
//! (latching, rewriting, tones, RTCP, counting) are pure and live here; `server::media` owns the
//! sockets and the threads and asks this module about every packet.

mod bridge;
mod browser;
mod fast_path;
mod formats;
mod g711;
mod keypad;
mod latch;
mod line;
mod ports;
mod quality;
mod reception;
mod recording;
mod rtcp;
mod rules;
mod sender;
mod stream;
#[cfg(test)]
mod tests;
mod tones;
mod wire;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::Secret;
use crate::sdp::{Agreed, Codec};

pub use bridge::{Bridge, Channel, PACKET, Transmit, Verdict};
pub use browser::{
    BrowserOffer, BrowserReport, Fingerprint, Flow, IceCredentials, OfferError, OfferedSection, Quality,
};
pub use fast_path::{Passage, Passed};
pub use line::Remote;
pub use ports::PortPool;
pub use recording::{NoRecording, Recording};
pub use rules::Rules;
pub(crate) use wire::{HEADER, Header};

/// A pair of UDP ports: RTP on this even number, RTCP on the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PortPair(pub u16);

/// What a leg's audio is to be. Addressed to one leg; the two legs of a call live on one thread.
#[derive(Debug, Clone, PartialEq)]
pub enum MediaCommand {
    /// Bind the pair. The SSRC, CNAME and first sequence number derive from the secret. Until
    /// [`MediaCommand::Remote`] nothing is sent.
    Open { port: PortPair, secret: Secret },
    /// The peer's half of offer/answer: where it says it receives, with which payload types, which way.
    /// Sent again after every change; each one allows one new latch.
    Remote(Agreed),
    /// A browser is this leg's party, in place of [`MediaCommand::Open`] and [`MediaCommand::Remote`]: all
    /// browsers share a port. Answered by [`MediaEvent::BrowserAnswer`] or [`MediaEvent::BrowserRefused`].
    /// A second one on a live leg is an ICE restart when the fingerprint is the same, and otherwise the
    /// browser after a reload. Our own credentials, SSRC and CNAME derive from the secret.
    Connect { offer: Box<BrowserOffer>, secret: Secret },
    /// What this leg hears.
    Play(Source),
    /// Stop, close the sockets, report [`MediaEvent::Closed`] once.
    Close,
}

/// What a leg hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    Nothing,
    /// Ringing tone by the called number's country.
    Ringback(ToneRegion),
    Busy(ToneRegion),
    /// Congestion, the tone of a call that failed.
    Reorder(ToneRegion),
    /// "Press 1."
    Prompt,
    /// The money is running out: a short beep over what is heard, then [`Source::Peer`] again.
    Warning,
    /// The other side is on hold.
    Hold,
    /// The other leg of the same call.
    Peer,
}

/// Whose tones (ITU-T E.180 supplement 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToneRegion {
    NorthAmerica,
    UnitedKingdom,
    /// 425 Hz, one second on, four off: CEPT and most of the rest.
    Europe,
    Japan,
    Australia,
}

/// What became of a leg's audio.
#[derive(Clone, PartialEq)]
pub enum MediaEvent {
    /// The ports could not be bound.
    Failed,
    /// One press of a key, however many packets carried it (RFC 4733 §2.5.1.2).
    Digit(char),
    /// The first packet of this leg that reached the other leg.
    Flowing,
    /// Nothing from this leg for the configured time, although it is not on hold.
    Silent,
    /// The answer to the latest [`MediaCommand::Connect`], as SDP. It holds our ICE password.
    BrowserAnswer(Box<str>),
    /// The latest [`MediaCommand::Connect`] could not be carried out; an earlier browser lives on.
    BrowserRefused(OfferError),
    /// ICE and DTLS stand: audio can pass, for the first time or again.
    BrowserUp,
    /// Consent was lost (RFC 7675), or the page closed its side. The leg waits for another
    /// [`MediaCommand::Connect`], or for consent to come back.
    BrowserDown,
    /// Every five seconds while the browser is up.
    Quality(Quality),
    Closed(LegStats),
}

impl fmt::Debug for MediaEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MediaEvent::Failed => f.write_str("Failed"),
            MediaEvent::Digit(digit) => f.debug_tuple("Digit").field(digit).finish(),
            MediaEvent::Flowing => f.write_str("Flowing"),
            MediaEvent::Silent => f.write_str("Silent"),
            MediaEvent::BrowserAnswer(_) => f.write_str("BrowserAnswer(…)"),
            MediaEvent::BrowserRefused(error) => f.debug_tuple("BrowserRefused").field(error).finish(),
            MediaEvent::BrowserUp => f.write_str("BrowserUp"),
            MediaEvent::BrowserDown => f.write_str("BrowserDown"),
            MediaEvent::Quality(quality) => f.debug_tuple("Quality").field(quality).finish(),
            MediaEvent::Closed(stats) => f.debug_tuple("Closed").field(stats).finish(),
        }
    }
}

/// One leg's counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct LegStats {
    /// What this party sent, as its first accepted packet said.
    pub codec: Option<Codec>,
    pub packets_received: u64,
    pub packets_sent: u64,
    /// RFC 3550 §A.3, from the sequence numbers of what this party sent.
    pub lost: u64,
    /// RFC 3550 §A.8, microseconds.
    pub jitter_us: u32,
    /// Estimated from loss and jitter by the E-model (G.107), in hundredths; 0 without packets.
    pub mos_hundredths: u16,
    pub dropped: Drops,
}

/// Packets that went nowhere, by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drops {
    /// Not from the party: another source than the one latched or allowed.
    pub stranger: u64,
    /// Not RTP or RTCP of the shape that RFC 3550 demands.
    pub malformed: u64,
    /// A payload type that was not agreed.
    pub payload_type: u64,
    /// The other side is not there or does not listen.
    pub nowhere: u64,
    /// The socket's buffer was full.
    pub send: u64,
}

/// Why a packet went nowhere; one for each count of [`Drops`] that a packet from a party can end in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropCause {
    Stranger,
    Malformed,
    PayloadType,
    Nowhere,
}

impl Drops {
    pub fn count(&mut self, cause: DropCause) {
        *match cause {
            DropCause::Stranger => &mut self.stranger,
            DropCause::Malformed => &mut self.malformed,
            DropCause::PayloadType => &mut self.payload_type,
            DropCause::Nowhere => &mut self.nowhere,
        } += 1;
    }
}
