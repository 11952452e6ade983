//! Session descriptions (RFC 8866) and offer/answer (RFC 3264), as typed values.
//!
//! A description is read into these types and written from them; no line of a peer's description is
//! ever carried to another peer. What a G.711 B2BUA has no use for is read over, not kept.
//!
//! ```text
//!  peer's bytes ──▶ parse ──▶ Description ──▶ negotiate ──▶ Agreed, and our Description ──▶ write
//! ```
//!
//! Deliberately absent: video, bundle, ICE and DTLS attributes (the browser legs have their own), and
//! the judgement whether an address that a peer names may be sent to.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

pub(crate) mod attribute;
mod negotiate;
mod parse;
mod write;

pub use negotiate::{NegotiationError, accept_answer, answer_offer, offer};
pub use parse::SdpError;

/// How much one description may hold; what is beyond is refused.
pub mod limits {
    /// What one datagram can carry.
    pub const BYTES: usize = 64 * 1024;
    pub const LINES: usize = 512;
    /// `m=` sections.
    pub const MEDIA: usize = 32;
    /// `a=` lines in all.
    pub const ATTRIBUTES: usize = 256;
    /// Formats of one section: there are 128 payload types.
    pub const FORMATS: usize = 128;
    /// A media kind or a protocol, which an answer has to repeat.
    pub const TOKEN_BYTES: usize = 32;
}

/// One session description.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Description {
    pub origin: Origin,
    /// In order of the `m=` lines; an answer has as many as its offer (RFC 3264 §6).
    pub media: SmallVec<[Media; 1]>,
}

/// `o=` without the user name, which we always write as `-`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub session_id: u64,
    /// Goes up by one when the description changes (RFC 3264 §8).
    pub version: u64,
    pub address: IpAddr,
}

/// One `m=` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Media {
    pub kind: MediaKind,
    /// 0 refuses the stream.
    pub port: u16,
    /// From the section's `c=` line or else the session's; `None` when neither is there, or it names
    /// a host or a multicast group.
    pub address: Option<IpAddr>,
    /// `a=rtcp` (RFC 3605); otherwise RTCP goes to `port + 1`.
    pub rtcp: Option<(u16, Option<IpAddr>)>,
    pub protocol: Protocol,
    /// Payload types in order of preference.
    pub formats: SmallVec<[Format; 4]>,
    pub direction: Direction,
    /// `a=ptime`, milliseconds.
    pub ptime: Option<u8>,
    pub rtcp_mux: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MediaKind {
    Audio,
    /// Anything else, by its token, so that it can be refused in its own place.
    Other(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    RtpAvp,
    Other(String),
}

/// One payload type and what it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    pub payload_type: u8,
    pub codec: Codec,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Codec {
    /// G.711 µ-law, 8 kHz, static payload type 0 (RFC 3551 §6).
    Pcmu,
    /// G.711 A-law, 8 kHz, static payload type 8.
    Pcma,
    /// Named telephone events at 8 kHz (RFC 4733).
    TelephoneEvent,
    /// Something that we do not speak.
    Other,
}

impl Codec {
    pub fn name(self) -> Option<&'static str> {
        match self {
            Codec::Pcmu => Some("PCMU"),
            Codec::Pcma => Some("PCMA"),
            Codec::TelephoneEvent => Some("telephone-event"),
            Codec::Other => None,
        }
    }
}

/// Which way audio flows, as the writer of the description sees it (RFC 3264 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Direction {
    #[default]
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    /// The same stream as the other side sees it (RFC 3264 §6.1).
    pub fn mirrored(self) -> Direction {
        match self {
            Direction::SendRecv => Direction::SendRecv,
            Direction::SendOnly => Direction::RecvOnly,
            Direction::RecvOnly => Direction::SendOnly,
            Direction::Inactive => Direction::Inactive,
        }
    }

    pub fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }
}

/// Our own end of one audio stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Local {
    pub session_id: u64,
    pub version: u64,
    /// The address that peers are told (the advertised one), with the RTP port.
    pub rtp: SocketAddr,
}

/// What an offer and its answer came to, seen from our side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreed {
    /// Where the peer says it receives RTP; `None` while it is on hold by `c=0.0.0.0` or gave no
    /// usable address.
    pub remote: Option<SocketAddr>,
    pub remote_rtcp: Option<SocketAddr>,
    /// The audio formats that both speak, the answerer's preference first. The payload types are those
    /// that the *peer* expects to receive. Never empty.
    pub audio: SmallVec<[Format; 2]>,
    /// The peer's payload type for telephone-event.
    pub telephone_event: Option<u8>,
    /// As the peer sees it: `SendOnly` means that it sends and does not want to hear.
    pub peer_direction: Direction,
}

impl Agreed {
    /// What this peer accepted, in its order: what a second leg may be offered.
    pub fn codecs(&self) -> SmallVec<[Codec; 3]> {
        let event = self.telephone_event.map(|_| Codec::TelephoneEvent);
        self.audio.iter().map(|f| f.codec).chain(event).collect()
    }
}

#[cfg(test)]
mod tests;
