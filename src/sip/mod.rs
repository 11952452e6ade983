//! Sans-IO signalling (RFC 3261 and its relatives).
//!
//! Bytes and the time go in; bytes for a flow, and [`LegEvent`]s, come out.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::config::{Listener, Transport, Trunk};
use crate::events::Notice;
use crate::leg::{LegCommand, LegEvent};
use crate::model::{E164, LegId, Secret, Timestamp};

pub mod digest;
pub mod guard;
pub mod wire;

/// How messages reach a peer: our socket's address and the peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Flow {
    pub transport: Transport,
    /// The listener's own address, not the advertised one.
    pub local: SocketAddr,
    pub remote: SocketAddr,
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
}

/// What the endpoint needs to know of our own side and of the trunks.
#[derive(Debug, Clone)]
pub struct EndpointConfig {
    pub listeners: Vec<Listener>,
    pub trunks: Vec<Arc<Trunk>>,
    /// `Server` and `User-Agent`.
    pub product: Arc<str>,
}

/// All of SIP: transactions, dialogs, legs, trunks.
#[derive(Debug)]
pub struct Endpoint {
    config: EndpointConfig,
}

/// All that is needed to take a leg up after a restart: its identifiers (as the secret they derive
/// from), the dialogs, transactions in flight, CSeq block, route sets, SDP versions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LegSnapshot {}

impl Endpoint {
    /// `secret` feeds what belongs to no leg: tags of stray answers, OPTIONS pings, weighted choice.
    pub fn new(config: EndpointConfig, secret: Secret, now: Timestamp) -> Self {
        let _ = (secret, now);
        Self { config }
    }

    /// The trunk that takes calls to this number now: longest prefix, then priority, then weight, among
    /// those in service.
    pub fn route(&mut self, number: E164) -> Option<Arc<Trunk>> {
        let _ = number;
        self.config.trunks.first().cloned()
    }

    /// Makes a leg that has not spoken yet, so that a snapshot can hold it before its INVITE leaves.
    /// From here on [`Endpoint::snapshot`] knows it.
    pub fn prepare(&mut self, leg: LegId, secret: Secret, trunk: Arc<Trunk>, to: E164, shown: E164) {
        let _ = (leg, secret, trunk, to, shown);
        unimplemented!()
    }

    pub fn command(&mut self, now: Timestamp, leg: LegId, command: LegCommand, out: &mut Vec<EndpointAction>) {
        let _ = (now, leg, command, out);
        unimplemented!()
    }

    pub fn packet(&mut self, now: Timestamp, flow: Flow, packet: &[u8], out: &mut Vec<EndpointAction>) {
        let _ = (now, flow, packet, out);
        unimplemented!()
    }

    pub fn timeout(&mut self, now: Timestamp, out: &mut Vec<EndpointAction>) {
        let _ = (now, out);
        unimplemented!()
    }

    /// The earliest moment at which [`Endpoint::timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Timestamp> {
        unimplemented!()
    }

    pub fn snapshot(&self, leg: LegId) -> Option<LegSnapshot> {
        let _ = leg;
        unimplemented!()
    }

    /// Takes a leg up. It may have sent anything that a leg can have sent after that snapshot: an
    /// INVITE of which it does not know whether it left, requests up to the end of its CSeq block.
    pub fn restore(&mut self, now: Timestamp, leg: LegId, snapshot: LegSnapshot) {
        let _ = (now, leg, snapshot);
        unimplemented!()
    }

    /// The call is over for good: drop what is left of its legs.
    pub fn forget(&mut self, leg: LegId) {
        let _ = leg;
        unimplemented!()
    }

    /// Strings that identify this leg's party or its dialog (numbers, hosts, addresses, Call-ID, tags):
    /// none of them may occur in a request of the other leg.
    pub fn identity(&self, leg: LegId) -> Vec<String> {
        let _ = leg;
        unimplemented!()
    }

    pub fn trunks_in_service(&self) -> usize {
        unimplemented!()
    }
}
