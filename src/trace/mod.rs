//! Call traces: the SIP messages of both legs, in order, as somebody may read them.
//!
//! ```text
//! switch ─ Passed ─▶ seal (numbers become marks, secrets go) ─▶ Book (bounded) ─▶ store, when the call is forgotten
//!                                                                 └──────┬──────────┘
//!                                              unseal for a reader (his numbers) ─▶ Trace ─▶ JSON, ladder, pcap
//! ```
//!
//! What is kept holds no number of the call: each is a mark that says whose it is. The numbers come from the call's
//! record when somebody reads, so one that was erased there is gone from the trace too, and each role is shown what it
//! may see. What a trunk's credentials could be guessed from is never kept.
//!
//! Deliberately absent: RTP, and messages that belong to no leg (pings, noise); any word about a trace in the core.

mod book;
mod hep;
mod ladder;
mod pcap;
mod seal;
#[cfg(test)]
mod tests;
mod unseal;

use std::net::SocketAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::config::Transport;
use crate::model::{CallId, E164, LegId, Side, Timestamp};

pub use book::{Book, MAX_BYTES, MAX_CALL_BYTES, MAX_CALL_LINES};
pub use hep::{Agent, hep};
pub use ladder::ladder;
pub use pcap::pcap;
pub use seal::{MAX_TEXT, seal};
pub use unseal::Reader;

/// Which way a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    Sent,
    Received,
    /// The outgoing guard, or a call's permit, stopped it: it has not left, and only its method is kept.
    Withheld,
}

impl Way {
    pub fn as_str(self) -> &'static str {
        match self {
            Way::Sent => "sent",
            Way::Received => "received",
            Way::Withheld => "withheld",
        }
    }
}

/// The numbers of one call; what was erased is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    pub connect: Option<E164>,
    pub from: E164,
    pub to: Option<E164>,
}

/// A message as it passed the switch.
#[derive(Debug, Clone)]
pub struct Passed {
    pub leg: LegId,
    pub at: Timestamp,
    pub way: Way,
    pub transport: Transport,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub bytes: Bytes,
    pub numbers: Numbers,
}

/// A message as it is kept, or, unsealed, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub at: Timestamp,
    pub side: Side,
    pub way: Way,
    pub transport: Transport,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    /// Of the message on the wire.
    pub size: usize,
    pub text: String,
}

impl Line {
    pub fn of(passed: &Passed) -> Self {
        let Passed { leg, at, way, transport, local, remote, ref bytes, numbers } = *passed;
        let text = match way {
            Way::Sent | Way::Received => seal(bytes, numbers),
            Way::Withheld => {
                let method = bytes.split(|byte| *byte == b' ').next().unwrap_or_default();
                String::from_utf8_lossy(&method[..method.len().min(LONGEST_METHOD)]).into_owned()
            }
        };
        Self { at, side: leg.side, way, transport, local, remote, size: bytes.len(), text }
    }

    /// `INVITE`, or `200 OK`.
    pub fn title(&self) -> &str {
        let first = self.text.lines().next().unwrap_or_default();
        match first.strip_prefix("SIP/2.0 ") {
            Some(status) => status,
            None => first.split(' ').next().unwrap_or_default(),
        }
    }

    pub fn has_sdp(&self) -> bool {
        self.text.contains("\r\n\r\nv=0")
    }
}

/// Of a method's name: no registered one is longer.
const LONGEST_METHOD: usize = 16;

/// All that is kept of one call's messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    pub call: CallId,
    pub lines: Vec<Line>,
    /// Messages that found no room, or came while the process was too busy to keep them.
    pub left_out: u64,
    /// Whether the trace was kept from the call's first message on, and nothing is left out.
    pub complete: bool,
}

impl Trace {
    /// As it is stored.
    pub fn to_bytes(&self) -> Bytes {
        // Plain data and text: there is nothing in it that could fail to be written.
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// `None` for what is no trace.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// As this reader may see it.
    pub fn shown_to(mut self, reader: Reader) -> Self {
        self.lines = self.lines.iter().map(|line| reader.line(line)).collect();
        self
    }
}
