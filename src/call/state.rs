//! The states, with the data that each needs, and the ways to end.

use serde::{Deserialize, Serialize};

use super::Ending;
use crate::leg::{Failure, Loss};
use crate::model::{EndReason, EndedBy, Side, Timestamp};

#[derive(Debug)]
pub(super) enum State {
    Committing(Committing),
    AwaitingBrowser(AwaitingBrowser),
    Arriving(Arriving),
    CallingUser(Ringing),
    Confirming(Confirming),
    CallingDestination(Ringing),
    Bridged(Bridged),
    Failing(Failing),
    Ending(Ending),
}

/// A step is on its way to the disk.
#[derive(Debug)]
pub(super) struct Committing {
    pub next: Next,
    /// What happened meanwhile and makes the next step pointless.
    pub end: Option<End>,
}

/// What the step allows once it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Next {
    RingUser,
    /// The token is issued.
    AwaitBrowser,
    /// The token is used.
    Connect,
    Confirm,
    RingDestination,
    /// By another trunk, for the rest of the time.
    RingAgain {
        side: Side,
        until: Timestamp,
    },
    Join,
    /// The destination failed before A's answer was durable: A hears the tone once it is.
    Tone(End),
}

/// The token is not used yet.
#[derive(Debug)]
pub(super) struct AwaitingBrowser {
    pub until: Timestamp,
}

/// A browser has come: its audio path does not stand yet, or it has not said `dial`.
#[derive(Debug)]
pub(super) struct Arriving {
    /// The end of its token's time, where it dials.
    pub until: Option<Timestamp>,
}

#[derive(Debug)]
pub(super) struct Ringing {
    pub until: Timestamp,
}

#[derive(Debug)]
pub(super) struct Confirming {
    pub until: Timestamp,
    /// Prompts that may still be played.
    pub tries_left: u8,
}

#[derive(Debug)]
pub(super) struct Bridged {
    /// The longest the call may last.
    pub until: Timestamp,
}

#[derive(Debug)]
pub(super) struct Failing {
    pub until: Timestamp,
    pub end: End,
}

/// How a call ends: the one place from which status, `end_reason` and `ended_by` come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct End {
    pub reason: EndReason,
    pub by: EndedBy,
    pub sip_status: Option<u16>,
    pub q850: Option<u8>,
}

impl End {
    pub fn new(reason: EndReason, by: EndedBy) -> Self {
        Self { reason, by, sip_status: None, q850: None }
    }

    pub fn by_api() -> Self {
        Self::new(EndReason::ApiHangup, EndedBy::Api)
    }

    pub fn drained() -> Self {
        Self::new(EndReason::Drained, EndedBy::Failure)
    }

    pub fn max_duration() -> Self {
        Self::new(EndReason::MaxDuration, EndedBy::Timeout)
    }

    pub fn media_failed() -> Self {
        Self::new(EndReason::MediaFailed, EndedBy::Failure)
    }

    pub fn store_unavailable() -> Self {
        Self::new(EndReason::StoreUnavailable, EndedBy::Failure)
    }

    pub fn no_common_codec() -> Self {
        Self { sip_status: Some(488), ..Self::new(EndReason::NoCommonCodec, EndedBy::Failure) }
    }

    /// A party said BYE.
    pub fn hung_up(side: Side, joined: bool) -> Self {
        match side {
            Side::User if !joined => Self::new(EndReason::UserHangup, EndedBy::User),
            Side::User => Self::new(EndReason::Hangup, EndedBy::User),
            Side::Destination => Self::new(EndReason::Hangup, EndedBy::Destination),
        }
    }

    /// An INVITE came to nothing, and no other is sent.
    pub fn unreached(side: Side, failure: Failure) -> Self {
        match failure {
            Failure::Refused { status, q850 } => Self::refused(side, status, q850),
            Failure::Lost(loss) => Self::lost(side, loss, true),
        }
    }

    /// A leg went away without a word.
    pub fn lost(side: Side, loss: Loss, ringing: bool) -> Self {
        let reason = match (loss, side) {
            (Loss::MaskingGuard, _) => EndReason::MaskingGuard,
            (Loss::Certificate, _) => EndReason::CertificateRefused,
            (Loss::Timeout | Loss::Transport, Side::User) if ringing => EndReason::UserUnreachable,
            (Loss::Timeout | Loss::Transport, Side::Destination) if ringing => EndReason::DestinationUnreachable,
            (Loss::Unauthorized, Side::User) if ringing => EndReason::UserFailed,
            (Loss::Unauthorized, Side::Destination) if ringing => EndReason::DestinationFailed,
            (Loss::Timeout | Loss::Transport | Loss::Unauthorized | Loss::Dialog | Loss::NoAck | Loss::Expired, _) => {
                EndReason::LegLost
            }
        };
        Self::new(reason, EndedBy::Failure)
    }
}
