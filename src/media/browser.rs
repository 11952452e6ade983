//! What a browser offers, what can be wrong with it, and how its audio fares: plain values.
//!
//! ```text
//!  offer's text ──▶ parse ──▶ BrowserOffer ──▶ webrtc: one peer ──▶ answer's text
//! ```
//!
//! An offer is read into these types once and its text is not kept: what is to be repeated in the answer
//! is a checked token, everything else is a number or a credential. A browser that can reach us says so
//! by its connectivity checks (we are ICE-lite, RFC 8445 §2.5), so candidates are counted and passed over,
//! and `.local` names with them. Deliberately absent: ICE, DTLS and SRTP themselves (`webrtc`), and video.

mod read;
#[cfg(test)]
pub(super) mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::sdp::{Agreed, Codec, Direction, Format, limits};
use read::Reader;

/// A browser's offer (RFC 8866, RFC 8829): one section of audio, and what it takes to connect to it.
#[derive(Debug, Clone, PartialEq)]
pub struct BrowserOffer {
    ice: IceCredentials,
    fingerprint: Fingerprint,
    /// G.711 only, in the browser's order, with the browser's payload types. Never empty.
    audio: SmallVec<[Format; 2]>,
    telephone_event: Option<u8>,
    direction: Direction,
    /// In order of the `m=` lines; an answer has as many (RFC 3264 §6).
    sections: SmallVec<[OfferedSection; 1]>,
    bundle: bool,
}

/// One `m=` section as the answer has to repeat it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedSection {
    pub kind: Box<str>,
    pub protocol: Box<str>,
    /// Its first format, a token.
    pub format: Box<str>,
    pub mid: Option<Box<str>>,
    /// The one section that is used; the others are refused.
    pub is_used: bool,
}

/// RFC 8445 §5.3. The password is a secret; neither is shown.
#[derive(Clone, PartialEq, Eq)]
pub struct IceCredentials {
    pub ufrag: Box<str>,
    pub pwd: Box<str>,
}

/// The SHA-256 of a certificate (RFC 8122): who the browser is for as long as its page lives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

/// Why an offer is not taken; each says what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum OfferError {
    #[error("the offer is longer than 64 kB; send what createOffer() returned, without more candidates")]
    TooLong,
    #[error("not a session description; send the sdp of the offer as it is, beginning with v=0")]
    NotSdp,
    #[error("more than 1,000 candidates; send none, the server finds the browser by its checks")]
    TooManyCandidates,
    #[error("more than 32 m= sections; offer one section of audio")]
    TooManySections,
    #[error("an m= line or a mid that is not of RFC 8866's shape; send the offer unchanged")]
    Section,
    #[error("no audio over UDP/TLS/RTP/SAVPF; add a microphone track or an audio transceiver before createOffer()")]
    NoAudio,
    #[error("no usable ice-ufrag and ice-pwd; send the offer after setLocalDescription()")]
    NoIce,
    #[error("the offer is of an ICE-lite agent; only full ICE agents can connect to this server")]
    IceLite,
    #[error("no sha-256 fingerprint; use the browser's default certificate")]
    NoFingerprint,
    #[error("setup is not actpass or active; the server is the passive side of DTLS")]
    Setup,
    #[error("no rtcp-mux; set rtcpMuxPolicy to \"require\"")]
    NoRtcpMux,
    #[error("neither PCMU nor PCMA at 8000 Hz; do not remove G.711 from the offer")]
    NoCommonCodec,
    /// Nothing is wrong with the offer.
    #[error("this server has no room for another browser just now; try again later")]
    Unavailable,
}

/// How a browser's audio fares: what came from it, and what it says that came to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quality {
    /// What we received from the browser.
    pub received: Flow,
    /// What we sent, and what of it the browser missed by its last report (RFC 3550 §6.4.1).
    pub sent: Flow,
    /// Of the worse of both ways by the E-model (G.107), in hundredths; 0 without packets.
    pub mos_hundredths: u16,
    /// RFC 3550 §6.4.1; `None` before the browser's first report.
    pub rtt_ms: Option<u32>,
}

/// One way of the audio, since the leg began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    pub packets: u64,
    pub lost: u64,
    /// RFC 3550 §A.8, milliseconds.
    pub jitter_ms: u32,
}

/// What a browser says of what we send (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BrowserReport {
    pub lost: u64,
    pub jitter_ms: u32,
    pub rtt_ms: Option<u32>,
}

impl BrowserOffer {
    /// Reads a whole offer. One pass; refused as soon as a limit is reached.
    pub fn parse(text: &str) -> Result<Self, OfferError> {
        if text.len() > limits::BYTES {
            return Err(OfferError::TooLong);
        }
        let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        if lines.next() != Some("v=0") {
            return Err(OfferError::NotSdp);
        }
        let mut reader = Reader::default();
        lines.try_for_each(|line| reader.line(line))?;
        reader.finish()
    }

    pub fn ice(&self) -> &IceCredentials {
        &self.ice
    }

    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The G.711 formats, in the browser's order, with its payload types.
    pub fn audio(&self) -> &[Format] {
        &self.audio
    }

    /// The browser's payload type for telephone-event at 8 kHz.
    pub fn telephone_event(&self) -> Option<u8> {
        self.telephone_event
    }

    /// What the browser speaks, in its order: what a second leg may be offered.
    pub fn codecs(&self) -> SmallVec<[Codec; 3]> {
        let event = self.telephone_event.map(|_| Codec::TelephoneEvent);
        self.audio.iter().map(|format| format.codec).chain(event).collect()
    }

    /// What the offer and our answer to it come to: all that the browser speaks of what we do.
    pub fn agreed(&self) -> Agreed {
        Agreed {
            remote: None,
            remote_rtcp: None,
            audio: self.audio.clone(),
            telephone_event: self.telephone_event,
            peer_direction: self.direction,
        }
    }

    /// As the browser sees it.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    pub fn sections(&self) -> &[OfferedSection] {
        &self.sections
    }

    /// Whether the used section is in a group of RFC 9143.
    pub fn bundle(&self) -> bool {
        self.bundle
    }
}

impl fmt::Debug for IceCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IceCredentials(…)")
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(…)")
    }
}
