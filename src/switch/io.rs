//! All that can enter or leave the program.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::events::{BrowserEvent, Notice};
use crate::guardrails::Refusal;
use crate::media::{BrowserOffer, MediaCommand, MediaEvent, OfferError};
use crate::model::{
    CallId, CommitId, Confirm, ConnectionId, E164, LegId, Opener, OrganizationId, Path, RequestId, RoomName, Status,
    Timestamp, Token, TokenDigest, TokenSeed, UserId,
};
use crate::sip::{Candidate, Down, Flow, Target};
use crate::store::{Answer, Commit, Committed, Recovered};
use crate::trace::Passed;

/// All that can enter.
#[derive(Debug)]
pub enum Input<'a> {
    Api(RequestId, Command),
    Packet(Flow, &'a [u8]),
    /// A connection is lost, or could not be made.
    FlowDown(Flow, Down),
    /// The DNS has said where a trunk is, by its name.
    Targets(&'a str, &'a [Target]),
    Committed(CommitId, Committed),
    Media(LegId, MediaEvent),
    /// Until then nobody takes this node for dead, so until then INVITEs may leave. One that is alone never
    /// hears of it and needs no lease.
    Lease(Timestamp),
    /// The calls of a node that is dead are ours now.
    TakeOver(Recovered),
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
    /// A message of a leg, where traces are kept. Nothing waits for it and nothing answers it.
    Trace(Box<Passed>),
}

/// What the HTTP edge asks for, already parsed and authorised.
#[derive(Debug, Clone)]
pub enum Command {
    Dial(Box<Dial>),
    Hangup {
        organization: OrganizationId,
        call: CallId,
    },
    Browser(Box<BrowserRequest>),
    /// Which trunk would take a call to this number.
    Route(E164),
    /// No new calls from now on; `deadline` from now, live ones are ended.
    Drain {
        deadline: Duration,
    },
}

/// `POST /v1/calls/dial`, and both token endpoints.
#[derive(Debug, Clone)]
pub struct Dial {
    pub organization: OrganizationId,
    pub user: UserId,
    pub from: E164,
    pub to: E164,
    pub connect: UserLeg,
    pub confirm: Confirm,
    /// For each leg.
    pub ring_timeout: Duration,
    pub max_duration: Duration,
    pub client_name: Option<Arc<str>>,
    pub client_label: Option<Arc<str>>,
    /// Writes the answer, which is stored with the call so that a repetition gets the same. A browser's token
    /// is not in it, only the seed from which its client makes it again.
    pub answer: fn(CallId, &Dial) -> Answer,
    pub idempotency: Option<IdempotencyKey>,
}

/// Who is to take leg A.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserLeg {
    Phone(E164),
    Browser(TokenOrder),
}

/// A browser's token, to be issued with the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenOrder {
    /// [`Path::Browser`] or [`Path::Join`].
    pub path: Path,
    pub valid: Duration,
    pub opener: Opener,
    /// Drawn by the switch.
    pub seed: Option<TokenSeed>,
}

impl UserLeg {
    pub fn phone(&self) -> Option<E164> {
        match self {
            UserLeg::Phone(number) => Some(*number),
            UserLeg::Browser(_) => None,
        }
    }
}

/// What comes from a browser, with the digest of the secret that it shows.
#[derive(Debug, Clone)]
pub struct BrowserRequest {
    pub secret: TokenDigest,
    pub command: BrowserCommand,
}

#[derive(Debug, Clone)]
pub enum BrowserCommand {
    /// With a token; everything else with the secret that comes with its answer.
    Connect {
        path: Path,
        room: Option<RoomName>,
        offer: Box<BrowserOffer>,
    },
    Reconnect {
        connection: ConnectionId,
        offer: Box<BrowserOffer>,
    },
    /// `to` is what the browser takes for its destination.
    Dial {
        connection: ConnectionId,
        to: Option<E164>,
    },
    Hangup {
        connection: ConnectionId,
    },
    /// The events after this one; answered when there is one.
    Watch {
        connection: ConnectionId,
        after: u64,
    },
}

/// What a browser is told.
#[derive(Debug, Clone, PartialEq)]
pub enum BrowserReply {
    /// The token is used; `answer` as SDP.
    Connected {
        call: CallId,
        answer: Box<str>,
        returning: Token,
    },
    Answer(Box<str>),
    Refused(OfferError),
    Dialing {
        call: CallId,
        status: Status,
    },
    /// Numbered events; none when no more will come.
    Events(Vec<(u64, BrowserEvent)>),
    /// No call in memory has this secret.
    Unknown,
    /// The token was used before.
    Spent,
    /// Its call is over.
    Over,
    /// The token is for the other path, or for another room.
    WrongPath,
    /// The token's call goes to another number.
    OtherDestination,
    /// Not the connection of this secret.
    NotFound,
    /// Another offer is being answered.
    Busy,
    StoreDown,
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
    Browser(BrowserReply),
    /// The state after the hang-up was taken.
    Hangup {
        call: CallId,
        status: Status,
    },
    /// No such live call of this organization.
    NotLive,
    /// First what is asked first.
    Route(Vec<Candidate>),
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
