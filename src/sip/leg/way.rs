//! The ways between a leg and its peer.
//!
//! A leg has one way, its trunk's. A request that is too long for UDP takes another, TCP to the same address (RFC 3261
//! §18.1.1), and the peer may take that one too. On TCP and TLS the way is not one connection: whichever leads to the
//! trunk serves, and when it is lost, the next request opens another.
//!
//! Deliberately absent: connections. The shell has them, and says when one is lost or could not be made.

use std::net::SocketAddr;

use bytes::Bytes;

use super::compose::Words;
use super::{Context, Facts, Leg, Phase};
use crate::config::{Listener, Transport};
use crate::leg::Loss;
use crate::sip::route::listener_for;
use crate::sip::transaction::{ClientInput, ClientStep};
use crate::sip::{Down, Flow};

/// RFC 3261 §18.1.1: a longer request goes by TCP where the path's MTU is not known.
pub const MOST_UDP_BYTES: usize = 1_300;

/// Which way a request takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Way {
    #[default]
    Usual,
    /// TCP in place of UDP.
    Large,
}

/// The way of requests that are too long for UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detour {
    pub flow: Flow,
    /// For Via.
    pub sent_by: SocketAddr,
}

impl Detour {
    /// Of a leg whose usual way is `usual`; `None` where that is no UDP, or we do not listen on TCP.
    pub fn beside(listeners: &[Listener], usual: Flow) -> Option<Self> {
        let flow = match usual.transport {
            Transport::Udp => Flow { transport: Transport::Tcp, ..usual },
            Transport::Tcp | Transport::Tls => return None,
        };
        let listener = listener_for(listeners, flow.transport, flow.remote)?;
        Some(Self { flow: Flow { local: listener.local, ..flow }, sent_by: listener.advertised })
    }
}

impl Facts {
    pub fn flow(&self, way: Way) -> Flow {
        match (way, self.detour) {
            (Way::Large, Some(detour)) => detour.flow,
            (Way::Usual | Way::Large, _) => self.flow,
        }
    }

    /// Whether what comes on this flow comes from the peer.
    pub fn hears(&self, flow: Flow) -> bool {
        self.flow.is_heard_on(flow) || self.detour.is_some_and(|detour| detour.flow.is_heard_on(flow))
    }

    pub fn is_secure(&self) -> bool {
        self.flow.transport == Transport::Tls
    }

    /// Whether a connection can be part of a way of this leg.
    pub fn connects(&self) -> bool {
        self.flow.transport.is_reliable() || self.detour.is_some()
    }
}

impl Leg {
    /// A connection is lost, or could not be made.
    pub fn flow_down(&mut self, flow: Flow, why: Down, cx: &mut Context<'_>) {
        self.answer_elsewhere(flow, cx);
        for index in 0..self.requests.len() {
            let request = &mut self.requests[index];
            if self.facts.flow(request.way) == flow {
                // Whatever became of it, such a request is tried again until timer F.
                request.transaction.handle(cx.now, ClientInput::Disconnected);
            }
        }
        if let Some(reinvite) = &mut self.reinvite
            && self.facts.flow(Way::Usual) == flow
        {
            reinvite.transaction.handle(cx.now, ClientInput::Disconnected);
        }
        for index in 0..self.invites.len() {
            let invite = &self.invites[index];
            if self.facts.flow(invite.way) == flow && invite.transaction.is_calling() {
                self.invite_unsent(index, why, cx);
            }
        }
    }

    fn invite_unsent(&mut self, index: usize, why: Down, cx: &mut Context<'_>) {
        let invite = &mut self.invites[index];
        invite.doubtful |= why == Down::Closed;
        if invite.doubtful {
            // It may have arrived, and a phone may ring: the same INVITE again finds its transaction there.
            let step = invite.transaction.handle(cx.now, ClientInput::Disconnected);
            debug_assert_eq!(step, ClientStep::Nothing);
            return;
        }
        let loss = match (why, invite.way) {
            (Down::Closed, Way::Usual | Way::Large) => return,
            (Down::Unreachable | Down::Certificate, Way::Large) => return self.invite_by_udp(index, cx),
            (Down::Unreachable, Way::Usual) => Loss::Transport,
            (Down::Certificate, Way::Usual) => Loss::Certificate,
        };
        invite.transaction.terminate();
        invite.bytes = Bytes::new();
        match self.phase {
            Phase::Calling => self.lose(loss, cx),
            Phase::Ending { .. } => self.settle(cx),
            Phase::Prepared | Phase::Answered | Phase::Confirmed | Phase::Over => {}
        }
    }

    /// RFC 3261 §18.1.1: a peer without TCP gets the long request by UDP after all.
    fn invite_by_udp(&mut self, index: usize, cx: &mut Context<'_>) {
        let invite = &self.invites[index];
        let (cseq, authorization) = (invite.cseq, invite.authorization.clone());
        let identity = self.identity(cx);
        let words = Words {
            authorization: &authorization,
            identity: identity.as_ref(),
            product: cx.product,
            offer: &self.said,
            min_se: self.min_se,
        };
        let bytes = self.facts.invite_by(Way::Usual, cseq, words);
        let Some(bytes) = bytes else { return };
        let invite = &mut self.invites[index];
        invite.way = Way::Usual;
        invite.bytes = bytes.clone();
        invite.transaction = crate::sip::transaction::InviteClient::start(cx.now, false);
        self.send_request(bytes, Way::Usual, "INVITE", cx);
    }
}
