//! All that can enter or leave the program.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::events::Notice;
use crate::guardrails::Refusal;
use crate::media::{MediaCommand, MediaEvent};
use crate::model::{CallId, CommitId, Confirm, E164, LegId, OrganizationId, RequestId, Status, UserId};
use crate::sip::Flow;
use crate::store::{Answer, Commit, Committed};

/// All that can enter.
#[derive(Debug)]
pub enum Input<'a> {
    Api(RequestId, Command),
    Packet(Flow, &'a [u8]),
    Committed(CommitId, Committed),
    Media(LegId, MediaEvent),
    /// A deadline that `next_timeout` named has passed.
    Timeout,
}

/// All that can leave.
#[derive(Debug)]
pub enum Output {
    Reply(RequestId, Reply),
    Transmit(Flow, Bytes),
    Commit(CommitId, Box<Commit>),
    /// These calls need no snapshot any more. Nothing waits for it and nothing answers it.
    Forget(Vec<CallId>),
    Media(LegId, MediaCommand),
    Notice(Notice),
}

/// What the HTTP edge asks for, already parsed and authorised.
#[derive(Debug, Clone)]
pub enum Command {
    Dial(Box<Dial>),
    Hangup {
        organization: OrganizationId,
        call: CallId,
    },
    /// No new calls from now on; `deadline` from now, live ones are ended.
    Drain {
        deadline: Duration,
    },
}

/// `POST /v1/calls/dial`.
#[derive(Debug, Clone)]
pub struct Dial {
    pub organization: OrganizationId,
    pub user: UserId,
    pub from: E164,
    pub to: E164,
    pub connect: E164,
    pub confirm: Confirm,
    /// For each leg.
    pub ring_timeout: Duration,
    pub max_duration: Duration,
    pub client_name: Option<Arc<str>>,
    pub client_label: Option<Arc<str>>,
    /// Writes the 202, which is stored with the call so that a repetition gets the same bytes.
    pub answer: fn(CallId, &Dial) -> Answer,
    pub idempotency: Option<IdempotencyKey>,
}

/// What identifies a request that may be repeated; see [`crate::store::Idempotency`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    pub key: [u8; 32],
    pub body: [u8; 32],
    pub request_id: Arc<str>,
}

/// Exactly one answers each command.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// Durable; leg A is about to ring. `answer` is the 202.
    Dialed {
        call: CallId,
        answer: Answer,
    },
    Replayed(Answer),
    Conflict {
        request_id: Arc<str>,
    },
    Refused(Refusal),
    Unavailable(Unavailable),
    /// The state after the hang-up was taken.
    Hangup {
        call: CallId,
        status: Status,
    },
    /// No such live call of this organization.
    NotLive,
    Draining,
}

/// Why nothing can be placed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unavailable {
    Draining,
    NoTrunk,
    NoMediaPort,
    Store,
    /// The configured most calls are live.
    Full,
}
