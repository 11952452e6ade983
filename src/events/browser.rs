//! What a browser is told of its call while it lasts.

use serde::Serialize;

use crate::media::Quality;
use crate::model::{EndReason, EndedBy, Status, Timestamp};

/// One event of the stream that the browser's page reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum BrowserEvent {
    State {
        state: BrowserState,
        at: Timestamp,
        /// With [`BrowserState::Ended`].
        end: Option<BrowserEnd>,
    },
    /// Whether audio can pass between the browser and us.
    Peer {
        connected: bool,
    },
    Quality(Quality),
}

/// How far the call is, seen from the browser. Goes forward only; a call that fails skips to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BrowserState {
    Connecting,
    /// The audio path stands.
    Ready,
    /// The destination is called.
    Ringing,
    /// The destination's own sounds are heard.
    EarlyMedia,
    Answered,
    Ended,
}

/// As the record has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrowserEnd {
    pub reason: EndReason,
    pub by: EndedBy,
    pub status: Status,
}
