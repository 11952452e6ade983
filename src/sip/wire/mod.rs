//! SIP on the wire: bytes to messages and typed fields to bytes (RFC 3261 §7, §25).
//!
//! ```text
//!  datagram ───────────────┐
//!  stream ──▶ Framer ──────┴▶ Message::parse ──▶ start line, core headers, body
//!                                   └▶ ParseError ──▶ garbage: drop    answerable: 400, 505, 513
//!  typed fields ──▶ Writer ──▶ bytes in a reused buffer
//! ```
//!
//! [`Message`] borrows from the bytes that it was read from. One pass finds the lines and names the
//! headers; the headers that every message must have are read at once, the others when they are asked
//! for. A folded value (§7.3.1) is kept as it came: inside a value every reader takes CR and LF for
//! white space, so unfolding costs nothing.
//!
//! The [`Writer`] lets no byte through that could end a line, so there is no value, whoever chose it,
//! that could become a header of its own.
//!
//! Deliberately absent: bodies (see [`crate::sdp`]), what a header means to a transaction or a dialog,
//! and any copying of a message from one leg to another.

mod error;
mod framer;
mod headers;
mod lex;
mod message;
mod name;
mod names;
mod params;
mod uri;
mod via;
mod writer;

#[cfg(test)]
mod torture;

pub use error::{Answerable, Fault, ParseError};
pub use framer::{Frame, FrameError, Framer};
pub use headers::Header;
pub use lex::{elements, unfold};
pub use message::{CSeq, Message, StartLine};
pub use name::NameAddr;
pub use names::{HeaderName, Method};
pub use params::Params;
pub use uri::{Host, Scheme, Uri};
pub use via::Via;
pub use writer::{Address, HostPort, Injection, Quoted, Writer};

/// How much one message may hold. Whatever is beyond is refused before it is read.
pub mod limits {
    /// Start line and headers: room for a signed INVITE over several proxies.
    pub const HEAD_BYTES: usize = 16 * 1024;
    /// What one datagram can carry, and no stream more.
    pub const BODY_BYTES: usize = 64 * 1024;
    /// Header lines.
    pub const HEADERS: usize = 128;
    /// Via values: Max-Forwards starts at 70 (RFC 3261 §8.1.1.6), so no honest message has more.
    pub const VIAS: usize = 70;
    /// Call-ID, a tag, a branch: kept for the length of a call.
    pub const IDENTIFIER_BYTES: usize = 256;
}
