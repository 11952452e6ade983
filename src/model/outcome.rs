//! What a call comes to: its status, its end reason, its record.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CallId, Day, E164, Money, OrganizationId, Timestamp, UserId};

/// Where a call stands. Moves forward only; the last six are terminal and exactly one of them is
/// ever reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Queued,
    CallingUser,
    Confirming,
    CallingDestination,
    InProgress,
    Completed,
    NoAnswer,
    Busy,
    Failed,
    Canceled,
    Rejected,
}

impl Status {
    pub const ALL: [Status; 11] = [
        Status::Queued,
        Status::CallingUser,
        Status::Confirming,
        Status::CallingDestination,
        Status::InProgress,
        Status::Completed,
        Status::NoAnswer,
        Status::Busy,
        Status::Failed,
        Status::Canceled,
        Status::Rejected,
    ];

    pub fn is_terminal(self) -> bool {
        self >= Status::Completed
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Status::Queued => "queued",
            Status::CallingUser => "calling_user",
            Status::Confirming => "confirming",
            Status::CallingDestination => "calling_destination",
            Status::InProgress => "in_progress",
            Status::Completed => "completed",
            Status::NoAnswer => "no_answer",
            Status::Busy => "busy",
            Status::Failed => "failed",
            Status::Canceled => "canceled",
            Status::Rejected => "rejected",
        }
    }

    pub fn parse(text: &str) -> Option<Status> {
        Status::ALL.into_iter().find(|s| s.as_str() == text)
    }
}

/// Why a call ended: the closed list behind `end_reason`. Each reason belongs to one terminal
/// status, but for the reasons that can end a call before or after its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// A party of a joined call hung up.
    Hangup,
    /// `POST /v1/calls/{id}/hangup`.
    ApiHangup,
    MaxDuration,
    /// The reserved money was used up and no more could be reserved.
    SpendLimit,
    /// No audio from one party for the configured time.
    MediaTimeout,
    /// A party's dialog is gone: 481, or no answer to a request inside the dialog.
    LegLost,
    UserNoAnswer,
    UserBusy,
    UserDeclined,
    UserUnreachable,
    UserFailed,
    /// The user hung up before the destination had answered.
    UserHangup,
    /// `press_1` was asked for and not pressed.
    NotConfirmed,
    /// No browser used the token in its time, or it did and did not dial.
    TokenExpired,
    /// The browser was lost and did not come back in its time.
    BrowserGone,
    DestinationNoAnswer,
    DestinationBusy,
    DestinationDeclined,
    DestinationUnreachable,
    DestinationFailed,
    /// A guardrail refused leg B when it was decided again.
    CallerIdNotVerified,
    DestinationNotAllowed,
    ConcurrencyLimit,
    SpendLimitExceeded,
    /// A party answered without a codec that we offered.
    NoCommonCodec,
    /// A party answered 3xx; redirections are never followed.
    RedirectRefused,
    /// The TLS certificate of a party's trunk was refused.
    CertificateRefused,
    /// The media port could not be opened.
    MediaFailed,
    /// The outgoing guard found the other party's identity in a request.
    MaskingGuard,
    StoreUnavailable,
    /// The server stopped without warning while the call lived.
    ServerRestart,
    /// The server was told to stop and the call did not end before the deadline.
    Drained,
    InternalError,
}

impl EndReason {
    pub const ALL: [EndReason; 33] = [
        EndReason::Hangup,
        EndReason::ApiHangup,
        EndReason::MaxDuration,
        EndReason::SpendLimit,
        EndReason::MediaTimeout,
        EndReason::LegLost,
        EndReason::UserNoAnswer,
        EndReason::UserBusy,
        EndReason::UserDeclined,
        EndReason::UserUnreachable,
        EndReason::UserFailed,
        EndReason::UserHangup,
        EndReason::NotConfirmed,
        EndReason::TokenExpired,
        EndReason::BrowserGone,
        EndReason::DestinationNoAnswer,
        EndReason::DestinationBusy,
        EndReason::DestinationDeclined,
        EndReason::DestinationUnreachable,
        EndReason::DestinationFailed,
        EndReason::CallerIdNotVerified,
        EndReason::DestinationNotAllowed,
        EndReason::ConcurrencyLimit,
        EndReason::SpendLimitExceeded,
        EndReason::NoCommonCodec,
        EndReason::RedirectRefused,
        EndReason::CertificateRefused,
        EndReason::MediaFailed,
        EndReason::MaskingGuard,
        EndReason::StoreUnavailable,
        EndReason::ServerRestart,
        EndReason::Drained,
        EndReason::InternalError,
    ];

    /// The one terminal status of a call that ended for this reason. A call that both parties had
    /// joined is `completed` whatever took it down.
    pub fn status(self, joined: bool) -> Status {
        if joined {
            return Status::Completed;
        }
        match self {
            EndReason::UserNoAnswer | EndReason::DestinationNoAnswer | EndReason::NotConfirmed => Status::NoAnswer,
            EndReason::UserBusy | EndReason::DestinationBusy => Status::Busy,
            EndReason::UserHangup
            | EndReason::ApiHangup
            | EndReason::Drained
            | EndReason::Hangup
            | EndReason::TokenExpired
            | EndReason::BrowserGone => Status::Canceled,
            EndReason::UserDeclined
            | EndReason::DestinationDeclined
            | EndReason::CallerIdNotVerified
            | EndReason::DestinationNotAllowed
            | EndReason::ConcurrencyLimit
            | EndReason::SpendLimitExceeded => Status::Rejected,
            EndReason::MaxDuration
            | EndReason::SpendLimit
            | EndReason::MediaTimeout
            | EndReason::LegLost
            | EndReason::UserUnreachable
            | EndReason::UserFailed
            | EndReason::DestinationUnreachable
            | EndReason::DestinationFailed
            | EndReason::NoCommonCodec
            | EndReason::RedirectRefused
            | EndReason::CertificateRefused
            | EndReason::MediaFailed
            | EndReason::MaskingGuard
            | EndReason::StoreUnavailable
            | EndReason::ServerRestart
            | EndReason::InternalError => Status::Failed,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            EndReason::Hangup => "hangup",
            EndReason::ApiHangup => "api_hangup",
            EndReason::MaxDuration => "max_duration",
            EndReason::SpendLimit => "spend_limit",
            EndReason::MediaTimeout => "media_timeout",
            EndReason::LegLost => "leg_lost",
            EndReason::UserNoAnswer => "user_no_answer",
            EndReason::UserBusy => "user_busy",
            EndReason::UserDeclined => "user_declined",
            EndReason::UserUnreachable => "user_unreachable",
            EndReason::UserFailed => "user_failed",
            EndReason::UserHangup => "user_hangup",
            EndReason::NotConfirmed => "not_confirmed",
            EndReason::TokenExpired => "token_expired",
            EndReason::BrowserGone => "browser_gone",
            EndReason::DestinationNoAnswer => "destination_no_answer",
            EndReason::DestinationBusy => "destination_busy",
            EndReason::DestinationDeclined => "destination_declined",
            EndReason::DestinationUnreachable => "destination_unreachable",
            EndReason::DestinationFailed => "destination_failed",
            EndReason::CallerIdNotVerified => "caller_id_not_verified",
            EndReason::DestinationNotAllowed => "destination_not_allowed",
            EndReason::ConcurrencyLimit => "concurrency_limit",
            EndReason::SpendLimitExceeded => "spend_limit_exceeded",
            EndReason::NoCommonCodec => "no_common_codec",
            EndReason::RedirectRefused => "redirect_refused",
            EndReason::CertificateRefused => "certificate_refused",
            EndReason::MediaFailed => "media_failed",
            EndReason::MaskingGuard => "masking_guard",
            EndReason::StoreUnavailable => "store_unavailable",
            EndReason::ServerRestart => "server_restart",
            EndReason::Drained => "drained",
            EndReason::InternalError => "internal_error",
        }
    }
}

/// Who ended the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    User,
    Destination,
    Api,
    Guardrail,
    Timeout,
    Failure,
}

/// What takes the place of leg A.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Path {
    /// Both phones are rung.
    Bridge,
    /// A browser dials.
    Browser,
    /// A browser joins.
    Join,
}

impl Path {
    pub fn as_str(self) -> &'static str {
        match self {
            Path::Bridge => "bridge",
            Path::Browser => "browser",
            Path::Join => "join",
        }
    }

    /// Reads what [`Path::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        [Path::Bridge, Path::Browser, Path::Join].into_iter().find(|path| path.as_str() == text)
    }

    /// What authorises a call of this path.
    pub fn credential(self) -> CredentialType {
        match self {
            Path::Bridge => CredentialType::ApiKey,
            Path::Browser => CredentialType::WebrtcToken,
            Path::Join => CredentialType::RoomToken,
        }
    }
}

/// What authorised the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CredentialType {
    ApiKey,
    WebrtcToken,
    RoomToken,
}

/// One leg's part of a record.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LegRecord {
    /// INVITE sent to the final answer or the end of ringing, milliseconds.
    pub ring_ms: Option<u64>,
    /// `"PCMU"` or `"PCMA"`: what this party sends.
    pub codec: Option<String>,
    /// RTP packets received from this party.
    pub packets: u64,
    /// Of the packets that this party sent, by their sequence numbers, those that never came.
    pub lost: u64,
    /// Interarrival jitter (RFC 3550 §6.4.1) at the end, milliseconds.
    pub jitter_ms: f64,
    /// Estimated mean opinion score of what this party sent (ITU-T G.107), 1.0–4.5.
    pub mos: Option<f64>,
}

/// The one record of a call. Written by the commit that admits the call, rewritten by each commit
/// of the call, final with the commit that ends it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallRecord {
    pub id: CallId,
    pub organization_id: OrganizationId,
    pub user_id: UserId,
    pub credential_type: CredentialType,
    pub path: Path,
    pub status: Status,
    pub from_number: E164,
    /// Leg B's; `None` when it was erased, which no call is that lives.
    pub to_number: Option<E164>,
    /// Leg A's; `None` when it is a browser, or was erased.
    pub connect_number: Option<E164>,
    pub client_name: Option<Arc<str>>,
    pub client_label: Option<Arc<str>>,
    pub created_at: Timestamp,
    /// The first INVITE left.
    pub started_at: Option<Timestamp>,
    /// Leg B's answer.
    pub answered_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// The organization's calendar day to which the cost belongs: that of admission.
    pub day: Day,
    pub billable_seconds: u64,
    pub cost: Money,
    pub ended_by: Option<EndedBy>,
    pub end_reason: Option<EndReason>,
    /// The final SIP status that ended the call, when one did.
    pub sip_status: Option<u16>,
    /// ITU-T Q.850 cause, from a peer's Reason header or by the mapping of RFC 3398.
    pub q850_cause: Option<u8>,
    pub user_leg: LegRecord,
    pub destination_leg: LegRecord,
}

/// Whether the user must say yes before the destination is rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Confirm {
    #[default]
    None,
    #[serde(rename = "press_1")]
    Press1,
}
