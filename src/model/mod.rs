//! The shared nouns: numbers, identifiers, money, time, and what a call comes to.
//!
//! Everything here is a plain value without behaviour over time. Nothing in this module reads a
//! clock or draws a random number; both are handed in.

mod event;
mod id;
mod money;
mod number;
mod outcome;
mod schema;
mod subscription;
mod time;
mod token;

pub use event::EventId;
pub use id::{CallId, CommitId, IdSource, KeyId, LegId, OrganizationId, RequestId, Secret, Side, UserId};
pub use money::{Money, MoneyError};
pub use number::{E164, NumberError, NumberText};
pub use outcome::{CallRecord, Confirm, CredentialType, EndReason, EndedBy, LegRecord, Path, Status};
pub use subscription::SubscriptionId;
pub use time::{Day, Timestamp};
pub use token::{ConnectionId, Opener, RoomName, Token, TokenDigest, TokenKind, TokenSeed};
