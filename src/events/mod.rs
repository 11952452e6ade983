//! Facts: what happened, once, for everybody who wants to know.
//!
//! The pure core states facts; the shell turns them into metrics and log lines, the store writes those
//! that are for clients into the outbox. No fact holds a telephone number.

mod browser;
mod record;
mod told;
mod webhook;

pub use browser::{BrowserEnd, BrowserEvent, BrowserState};
pub use record::{Record, record};
pub use told::Told;
pub use webhook::{
    GIVE_UP_AFTER, KeyPrint, Reach, ReceiverId, SecretSeed, Signatures, SigningKey, TryEnd, TryError, UrlProblem,
    Verdict, WebhookSecret, WebhookUrl, is_public, retry_after, sign, verdict,
};

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::guardrails::{Guardrail, TripReason};
use crate::media::LegStats;
use crate::model::{CallId, EndReason, OrganizationId, Path, Side, Status};

/// A change of a call that clients may subscribe to; written with the commit that makes it true.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    pub call: CallId,
    pub kind: FactKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FactKind {
    NewCall,
    CallAnswered,
    /// Every end, exactly once.
    CallCompleted,
    CallNoAnswer,
    CallBusy,
    CallFailed,
    /// Any other change of the status; for streams only, webhooks know no such type.
    CallStatus,
}

impl FactKind {
    pub const ALL: [FactKind; 7] = [
        FactKind::NewCall,
        FactKind::CallAnswered,
        FactKind::CallCompleted,
        FactKind::CallNoAnswer,
        FactKind::CallBusy,
        FactKind::CallFailed,
        FactKind::CallStatus,
    ];

    /// What a webhook may subscribe to.
    pub fn webhooks() -> impl Iterator<Item = FactKind> {
        Self::ALL.into_iter().filter(|kind| kind.is_webhook())
    }

    /// Whether a webhook may subscribe to it.
    pub fn is_webhook(self) -> bool {
        match self {
            FactKind::NewCall
            | FactKind::CallAnswered
            | FactKind::CallCompleted
            | FactKind::CallNoAnswer
            | FactKind::CallBusy
            | FactKind::CallFailed => true,
            FactKind::CallStatus => false,
        }
    }

    /// Reads what [`FactKind::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            FactKind::NewCall => "new_call",
            FactKind::CallAnswered => "call_answered",
            FactKind::CallCompleted => "call_completed",
            FactKind::CallNoAnswer => "call_no_answer",
            FactKind::CallBusy => "call_busy",
            FactKind::CallFailed => "call_failed",
            FactKind::CallStatus => "call_status",
        }
    }
}

/// Something an operator counts or reads. Leaves the switch as `Output::Notice`, is never stored.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    CallAdmitted {
        call: CallId,
        organization: OrganizationId,
    },
    /// Of a browser's token, which is not shown.
    Token {
        call: CallId,
        path: Path,
        news: TokenNews,
    },
    /// A browser's audio path stands for the first time.
    BrowserJoined {
        call: CallId,
        path: Path,
    },
    AttemptRefused {
        organization: OrganizationId,
        guardrail: Guardrail,
    },
    /// A breaker paused a prefix, with the end of a call.
    BreakerTripped {
        organization: OrganizationId,
        reason: TripReason,
    },
    /// Leg B, or an extension, was refused while the call lived.
    LegRefused {
        call: CallId,
        guardrail: Guardrail,
    },
    /// A message of a ladder: `sent` by us, or received; `summary` is a start line without any number,
    /// such as `INVITE`, `183 Session Progress`.
    Signal {
        call: CallId,
        side: Side,
        sent: bool,
        summary: Arc<str>,
    },
    CallStatus {
        call: CallId,
        status: Status,
    },
    /// dial → A's INVITE, A's 200 → B's INVITE, B's 200 → audio both ways.
    Setup {
        stage: SetupStage,
        took: Duration,
    },
    InviteAnswered {
        trunk: Arc<str>,
        status: u16,
    },
    MediaClosed {
        call: CallId,
        side: Side,
        stats: LegStats,
    },
    CallEnded {
        call: CallId,
        status: Status,
        reason: EndReason,
        duration: Duration,
    },
    MaskingBlocked {
        call: CallId,
        side: Side,
        method: &'static str,
        /// What the guard found; names our own headers only.
        what: Arc<str>,
    },
    /// Its node's lease had run out.
    InviteWithheld {
        call: CallId,
        side: Side,
    },
    TrunkHealth {
        trunk: Arc<str>,
        in_service: bool,
    },
    /// An INVITE came to nothing because of its trunk; another trunk is asked if one takes the number.
    TrunkFailed {
        trunk: Arc<str>,
        elsewhere: bool,
    },
    /// A packet that was not a message for us: answered cheaply or dropped.
    Noise {
        kind: NoiseKind,
    },
    CommitFailed {
        call: CallId,
    },
    CallRestored {
        call: CallId,
    },
    /// A broken invariant ended this call.
    CallPoisoned {
        call: CallId,
        what: &'static str,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SetupStage {
    DialToUserInvite,
    UserAnswerToDestinationInvite,
    DestinationAnswerToAudio,
}

impl SetupStage {
    pub fn as_str(self) -> &'static str {
        match self {
            SetupStage::DialToUserInvite => "dial_to_user_invite",
            SetupStage::UserAnswerToDestinationInvite => "user_answer_to_destination_invite",
            SetupStage::DestinationAnswerToAudio => "destination_answer_to_audio",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenNews {
    Issued,
    Used,
    Expired,
}

impl TokenNews {
    pub fn as_str(self) -> &'static str {
        match self {
            TokenNews::Issued => "issued",
            TokenNews::Used => "used",
            TokenNews::Expired => "expired",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoiseKind {
    Malformed,
    UnknownDialog,
    UnknownTransaction,
    OutOfDialog,
    Stranger,
    /// Of a source that has had its answers.
    Flood,
}

impl NoiseKind {
    pub fn as_str(self) -> &'static str {
        match self {
            NoiseKind::Malformed => "malformed",
            NoiseKind::UnknownDialog => "unknown_dialog",
            NoiseKind::UnknownTransaction => "unknown_transaction",
            NoiseKind::OutOfDialog => "out_of_dialog",
            NoiseKind::Stranger => "stranger",
            NoiseKind::Flood => "flood",
        }
    }
}
