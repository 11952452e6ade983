//! All that a call and a leg say to each other.
//!
//! A call knows its legs only through these types: it commands, the leg reports. Whether a phone or
//! a browser is behind the leg, and which protocol carries the words, is not its business. Nothing
//! here can carry a header, a display name or an address of the other party, so nothing of one leg
//! can reach the other by way of its call.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::guardrails::Permit;
use crate::model::EndReason;
use crate::sdp::Description;

/// What the call wants of a leg.
#[derive(Debug)]
pub enum LegCommand {
    /// Ring. The permit holds the number to dial and the number to show, and is used up.
    Invite { permit: Permit, offer: Description },
    /// Acknowledge the answer that [`LegEvent::Answered`] reported (RFC 3261 §13.2.2.4). It waits for
    /// this word because the answer must be durable before it is acknowledged.
    Ack,
    /// Answer the peer's [`LegEvent::Offer`] with 200 and this description.
    Answer(Description),
    /// Refuse the peer's offer: 488 with the session unchanged (RFC 3261 §14.2).
    RefuseOffer,
    /// End the leg whatever its state: CANCEL before a final answer, ACK + BYE for an answer that
    /// crosses, BYE afterwards. Ends in [`LegEvent::Gone`].
    End(Cause),
    /// Take down the first `known` dialogs that [`LegEvent::Stray`] reported: ACK, then BYE.
    TakeDown { known: u32 },
}

/// What a leg reports.
#[derive(Debug, Clone, PartialEq)]
pub enum LegEvent {
    /// A provisional answer above 100. `early` tells forked early dialogs apart (RFC 3261 §12.1).
    Progress { status: u16, early: u32, sdp: Option<Description> },
    /// The first 2xx. It is not acknowledged until [`LegCommand::Ack`]. `early`: its early dialog, where one was told.
    Answered { early: Option<u32>, sdp: Option<Description> },
    /// A final answer of 300 or more. The leg is over.
    Refused { status: u16, q850: Option<u8> },
    /// The INVITE reached nobody, for a reason of its trunk's, and another trunk takes the number: the leg may be prepared
    /// and invited again. What still comes of this INVITE is taken down.
    Unreached(Failure),
    /// The peer wants to change the session; without a description it asks us to offer (RFC 3264 §5). `early`: of a dialog
    /// that is not answered yet (RFC 3311 §5.1).
    Offer { early: Option<u32>, sdp: Option<Description> },
    /// The answer to the offer that we made after the INVITE: in the ACK of our 2xx (RFC 3261 §13.2.1), or in the 2xx to
    /// our re-INVITE.
    LateAnswer(Description),
    /// A digit by SIP INFO (`application/dtmf-relay`, `application/dtmf`).
    Digit(char),
    /// The peer hung up. The leg is over.
    Hangup(Cause),
    /// The leg is over without a word from the peer.
    Lost(Loss),
    /// Another 2xx than the one that is wanted: of a second fork, or crossing the CANCEL (RFC 3261
    /// §13.2.2.4). Its dialog is neither acknowledged nor ended before [`LegCommand::TakeDown`], because
    /// until it is durable a restart would not know of it. `known`: how many there are by now. Said
    /// again each time the peer repeats its 2xx.
    Stray { known: u32 },
    /// After [`LegCommand::End`]: the peer has agreed, or the time for it has run out.
    Gone,
}

/// Why an INVITE came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    Refused { status: u16, q850: Option<u8> },
    Lost(Loss),
}

/// Why a leg is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// No final answer within 64·T1 of a request, or to none of its retransmissions.
    Timeout,
    /// The dialog does not exist at the peer any more: 481 or 408 inside it.
    Dialog,
    /// The transport cannot deliver.
    Transport,
    /// The trunk's TLS certificate was refused.
    Certificate,
    /// Our 2xx to the peer's re-INVITE was not acknowledged within 64·T1 (RFC 3261 §14.2).
    NoAck,
    /// Nobody has refreshed the session in time (RFC 4028 §10).
    Expired,
    /// The outgoing guard stopped a request of this leg.
    MaskingGuard,
    /// No credentials for the challenge, or they were refused.
    Unauthorized,
}

/// A cause of release as both protocols of the field know it (RFC 3326): rebuilt for each leg, never
/// copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// ITU-T Q.850 cause value, 1–127.
    pub q850: u8,
}

impl Cause {
    pub const NORMAL_CLEARING: Cause = Cause { q850: 16 };
    pub const USER_BUSY: Cause = Cause { q850: 17 };
    pub const NO_ANSWER: Cause = Cause { q850: 19 };
    pub const RECOVERY_ON_TIMER_EXPIRY: Cause = Cause { q850: 102 };
    pub const TEMPORARY_FAILURE: Cause = Cause { q850: 41 };
    pub const BEARER_NOT_AVAILABLE: Cause = Cause { q850: 65 };

    /// What the other party of a call that ended for `reason` is told.
    pub fn of(reason: EndReason) -> Cause {
        match reason {
            EndReason::UserNoAnswer | EndReason::DestinationNoAnswer => Cause::NO_ANSWER,
            EndReason::UserBusy | EndReason::DestinationBusy => Cause::USER_BUSY,
            EndReason::MediaTimeout | EndReason::LegLost | EndReason::BrowserGone => Cause::RECOVERY_ON_TIMER_EXPIRY,
            EndReason::NoCommonCodec => Cause::BEARER_NOT_AVAILABLE,
            EndReason::StoreUnavailable
            | EndReason::ServerRestart
            | EndReason::InternalError
            | EndReason::CertificateRefused
            | EndReason::MediaFailed
            | EndReason::MaskingGuard => Cause::TEMPORARY_FAILURE,
            EndReason::Hangup
            | EndReason::ApiHangup
            | EndReason::MaxDuration
            | EndReason::SpendLimit
            | EndReason::UserDeclined
            | EndReason::UserUnreachable
            | EndReason::UserFailed
            | EndReason::UserHangup
            | EndReason::NotConfirmed
            | EndReason::TokenExpired
            | EndReason::DestinationDeclined
            | EndReason::DestinationUnreachable
            | EndReason::DestinationFailed
            | EndReason::CallerIdNotVerified
            | EndReason::DestinationNotAllowed
            | EndReason::ConcurrencyLimit
            | EndReason::SpendLimitExceeded
            | EndReason::RedirectRefused
            | EndReason::Drained => Cause::NORMAL_CLEARING,
        }
    }
}

/// RFC 3261 §17.1.1.1: an estimate of the round-trip time.
pub const T1: Duration = Duration::from_millis(500);
/// RFC 3261 §17.1.2.2: the longest interval between retransmissions.
pub const T2: Duration = Duration::from_secs(4);
/// RFC 3261 §17.1.2.2: how long a message may stay in the network.
pub const T4: Duration = Duration::from_secs(5);
/// 64·T1: how long a transaction waits, and how long an ended call takes down late answers.
pub const LINGER: Duration = Duration::from_secs(32);
