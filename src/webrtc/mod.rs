//! Browser legs: ICE, DTLS and SRTP around a leg's audio, without a socket or a clock.
//!
//! ```text
//!               ┌─ Framer ◀─ TCP stream (RFC 4571)
//!  datagram ────┴─▶ Demux: whose? ──▶ Peer ──▶ RTP in the clear ──▶ media: the Bridge
//!                                      ▲  └──▶ datagrams to send, up, down, reports
//!                   RTP in the clear ──┘
//! ```
//!
//! A [`Peer`] is one browser: an offer in, an answer out, and from then on packets. ICE, DTLS and SRTP are
//! str0m's, in its RTP mode and through its direct interface, so no text of an offer reaches it. We are
//! ICE-lite (RFC 8445 §2.5): browsers find us, we check nobody.
//!
//! Deliberately absent: video, data channels, header extensions, retransmission, bandwidth estimation,
//! and the SIP side's audio, which is the [`Bridge`](crate::media::Bridge)'s.
//!
//! What is random: our ICE credentials, SSRC and stream names derive from the leg's secret. The DTLS
//! certificate, the DTLS handshake and the RTCP CNAME are drawn by str0m and its cryptography, which also
//! look at the system's clock once to place time in NTP's. Certificates live as long as their peer.

mod answer;
mod demux;
mod framer;
mod names;
mod path;
mod peer;
mod receiving;
mod site;
#[cfg(test)]
mod tests;
mod turn;

pub use demux::{Demux, Source, Via};
pub use framer::{Framer, MAX_FRAME, prefix};
pub use peer::{Output, Peer, Plain, Transmit};
pub use site::{Site, Timeline};
pub use turn::{TurnCredential, turn_credential};
