//! Sans-IO signalling (RFC 3261 and its relatives).
//!
//! Bytes and the time go in; bytes for a flow, and [`LegEvent`]s, come out.
//!
//! ```text
//! packet ──▶ wire ──▶ endpoint ──┬▶ leg ──▶ dialogs, transactions ──▶ LegEvent, Transmit
//! command ──────────────┘        ├▶ ping ─▶ route                 ──▶ TrunkHealth
//!                                ├▶ register ─▶ route             ──▶ TrunkHealth
//!                                └▶ noise ─▶ stray                ──▶ one cheap answer, or none
//! ```
//!
//! A request that leaves is read once more by [`guard`], outside of the endpoint, before it is sent.
//!
//! Deliberately absent: being registered at, forwarding, and any call that a peer begins.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::config::{Listener, Transport, Trunk};
use crate::events::Notice;
use crate::leg::LegEvent;
use crate::model::LegId;

mod attempts;
pub mod digest;
mod endpoint;
pub mod guard;
mod ident;
pub mod identity;
mod leg;
mod noise;
mod nonces;
mod ping;
mod public;
mod register;
mod reply;
mod route;
mod session_timer;
mod status;
mod stray;
mod transaction;
pub mod wire;

pub use endpoint::Endpoint;
pub use leg::LegSnapshot;
pub use route::{Candidate, Target};

/// How messages reach a peer: our socket's address and the peer's. On TCP and TLS our address is the listener's, also
/// where we have connected, so that a flow says the same before and after a connection is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Flow {
    pub transport: Transport,
    /// The listener's own address, not the advertised one.
    pub local: SocketAddr,
    pub remote: SocketAddr,
}

impl Flow {
    /// Whether what comes on `other` comes from this flow's peer. On UDP it must be the flow itself; a connection is
    /// proven by its handshake, so there the peer's port may be any, as it is when the peer connects to us. TLS is
    /// never replaced by anything weaker.
    fn is_heard_on(self, other: Flow) -> bool {
        match self.transport {
            Transport::Udp => other == self,
            Transport::Tcp | Transport::Tls => {
                other.transport == self.transport && other.remote.ip() == self.remote.ip()
            }
        }
    }
}

/// What became of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Down {
    /// It stood, and was closed or cut: what was sent last may have arrived or not.
    Closed,
    /// It could not be made: nothing has arrived.
    Unreachable,
    /// Likewise, because the peer's certificate was refused.
    Certificate,
}

/// What leaves the endpoint.
#[derive(Debug, Clone, PartialEq)]
pub enum EndpointAction {
    /// Send. `leg` is the leg to which the message belongs, if any. `request` says that the outgoing
    /// guard must read it first.
    Transmit {
        leg: Option<LegId>,
        flow: Flow,
        bytes: Bytes,
        request: bool,
    },
    Leg(LegId, LegEvent),
    Notice(Notice),
    /// A message that came for this leg, where traces are kept.
    Heard(LegId, Flow, Bytes),
}

/// What the endpoint needs to know of our own side and of the trunks.
#[derive(Debug, Clone)]
pub struct EndpointConfig {
    pub listeners: Vec<Listener>,
    pub trunks: Vec<Arc<Trunk>>,
    /// After so long without any response to an INVITE another trunk is tried, where there is one.
    pub failover: Duration,
    /// `Server` and `User-Agent`.
    pub product: Arc<str>,
    /// For trunks whose INVITEs are signed; the configuration has none without it.
    pub signer: Option<Arc<identity::Signer>>,
}
