//! Transactions (RFC 3261 §17, RFC 6026): four small machines, each a value of a few words.
//!
//! ```text
//!             requests we send                     requests we receive
//!   INVITE    InviteClient  (timers A B D M)       InviteServer  (timers G H I L)
//!   others    Client        (timers E F K)         Server        (timer J)
//! ```
//!
//! A machine says what to do ([`ClientStep`], [`ServerStep`]); its owner holds the bytes and does it.
//! Which message belongs to which machine is decided by the owner too: by branch, sent-by and method
//! (§17.1.3, §17.2.3).
//!
//! On a reliable transport nothing is sent again by itself, and what only waits for retransmissions (timers I, J,
//! K) does not wait (§17.1.1.2, §17.2.1). When the connection that carried a request is lost, nobody knows
//! whether the request arrived: then it is sent again on a new one, with the same branch, as over UDP, and a peer
//! that has it already absorbs it.
//!
//! Deliberately absent: timers. A deadline is part of the state that waits for it.

mod client;
mod invite_client;
mod invite_server;
mod server;

pub use client::Client;
pub use invite_client::InviteClient;
pub use invite_server::InviteServer;
pub use server::Server;

use std::time::Duration;

use crate::leg::{LINGER, T1, T2};
use crate::model::Timestamp;

/// The classes of status codes that transactions tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// 100–199
    Provisional,
    /// 200–299
    Success,
    /// 300–699
    Failure,
}

impl Class {
    pub fn of(status: u16) -> Self {
        match status {
            ..200 => Class::Provisional,
            200..300 => Class::Success,
            300.. => Class::Failure,
        }
    }
}

/// What can happen to a client transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientInput {
    Response(Class),
    /// The connection that carried the request is lost.
    Disconnected,
    /// The time may have reached the machine's deadline.
    Timeout,
}

/// What the owner of a client transaction does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientStep {
    Nothing,
    /// Send the request again.
    Retransmit,
    /// The response is for the transaction user.
    Tell,
    /// Acknowledge the response; it is for the transaction user.
    AckAndTell,
    /// Acknowledge the response, a retransmission.
    Ack,
    /// No final response came in time; for the transaction user.
    Expired,
}

/// What can happen to a server transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerInput {
    /// The same request again.
    Retransmission,
    /// An ACK; for INVITE only.
    Ack,
    /// The transaction user answers.
    Respond(Class),
    /// The connection that carried the request is lost.
    Disconnected,
    Timeout,
}

/// What the owner of a server transaction does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerStep {
    Nothing,
    /// Send the last response, for the first time or again.
    Send,
    /// The ACK of a 2xx is for the transaction user.
    Tell,
}

/// A message that is sent again, at growing intervals, until something comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retransmission {
    /// `None` while the transport is trusted to deliver.
    next: Option<Timestamp>,
    interval: Duration,
    end: Timestamp,
}

/// What a [`Retransmission`] finds when its time may have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    NotYet,
    Again,
    End,
}

impl Retransmission {
    /// Sent now, again after T1, given up after 64·T1.
    pub fn start(now: Timestamp) -> Self {
        Self { next: Some(now + T1), interval: T1, end: now + LINGER }
    }

    /// Sent now on a transport that delivers, given up after 64·T1.
    pub fn once(now: Timestamp) -> Self {
        Self { next: None, ..Self::start(now) }
    }

    /// By the transport.
    fn on(now: Timestamp, reliable: bool) -> Self {
        if reliable { Self::once(now) } else { Self::start(now) }
    }

    /// What was sent may be lost: again after T1, if it is not sent again anyway.
    fn distrust(&mut self, now: Timestamp) {
        if self.next.is_none() {
            self.next = Some(now + T1);
            self.interval = T1;
        }
    }

    /// RFC 3261 §17.1.2.2: after a provisional response only every T2.
    pub fn slow_down(&mut self) {
        self.interval = T2;
    }

    /// Doubles the interval up to `cap`.
    pub fn poll(&mut self, now: Timestamp, cap: Duration) -> Due {
        if now >= self.end {
            return Due::End;
        }
        if self.next.is_none_or(|next| now < next) {
            return Due::NotYet;
        }
        self.interval = (self.interval * 2).min(cap);
        self.next = Some(now + self.interval);
        Due::Again
    }

    pub fn next_timeout(&self) -> Timestamp {
        self.next.map_or(self.end, |next| next.min(self.end))
    }
}
