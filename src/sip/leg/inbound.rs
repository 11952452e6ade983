//! The server transactions of a leg (RFC 3261 §17.2).

use bytes::Bytes;

use super::{Context, Facts, Leg};
use crate::events::NoiseKind;
use crate::model::Timestamp;
use crate::sip::ident::Token;
use crate::sip::transaction::{Class, InviteServer, Server, ServerInput, ServerStep};
use crate::sip::wire::{Message, Method, Writer};
use crate::sip::{EndpointAction, Flow, reply};

/// Requests of the peer that may be remembered at once. Each lives for 64·T1, so a peer that asks more
/// often than every two seconds gets 503 until the oldest are forgotten.
const MAX_INBOUND: usize = 16;

/// A request as it came from the trunk's own address.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a, 'b> {
    pub message: &'a Message<'b>,
    pub method: Method,
    pub bytes: &'a [u8],
    /// It came on.
    pub flow: Flow,
}

#[derive(Debug)]
pub struct Inbound {
    key: Token,
    method: Method,
    machine: Machine,
    /// The last response, and where it goes.
    response: Bytes,
    destination: Flow,
    /// Where it goes when that connection is lost (RFC 3261 §18.2.2).
    otherwise: Flow,
}

#[derive(Debug, Clone, Copy)]
enum Machine {
    Invite(InviteServer),
    Other(Server),
}

impl Inbound {
    pub fn next_timeout(&self) -> Option<Timestamp> {
        match self.machine {
            Machine::Invite(machine) => machine.next_timeout(),
            Machine::Other(machine) => machine.next_timeout(),
        }
    }

    fn is_terminated(&self) -> bool {
        match self.machine {
            Machine::Invite(machine) => machine.is_terminated(),
            Machine::Other(machine) => machine.is_terminated(),
        }
    }

    fn handle(&mut self, now: Timestamp, input: ServerInput) -> ServerStep {
        match &mut self.machine {
            Machine::Invite(machine) => machine.handle(now, input),
            Machine::Other(machine) => machine.handle(now, input),
        }
    }
}

/// RFC 3261 §17.2.3: branch, sent-by and method; without the magic cookie, the fields of RFC 2543. An
/// ACK and a CANCEL are found under the INVITE to which they belong.
pub fn key(facts: &Facts, message: &Message<'_>, method: Method) -> Token {
    let via = &message.via;
    let branch = via.branch.unwrap_or_default();
    let sent_by = format!("{}:{}", via.host, via.port.unwrap_or(5060)).to_ascii_lowercase();
    let method = match method {
        Method::Ack | Method::Cancel => "INVITE",
        _ => message.cseq.method_text,
    };
    if branch.get(..7).is_some_and(|c| c.eq_ignore_ascii_case("z9hG4bK")) {
        let branch = branch.to_ascii_lowercase();
        return Token::derive(facts.secret, "inbound", &[branch.as_bytes(), sent_by.as_bytes(), method.as_bytes()]);
    }
    let (number, tag) = (message.cseq.number.to_be_bytes(), message.from.tag().unwrap_or_default());
    Token::derive(facts.secret, "inbound-2543", &[&number, tag.as_bytes(), sent_by.as_bytes(), method.as_bytes()])
}

impl Leg {
    pub(super) fn has_inbound_invite(&self, key: Token) -> bool {
        self.inbound.iter().any(|i| i.key == key && i.method == Method::Invite)
    }

    /// Hands a request that was seen before to its transaction.
    pub(super) fn absorb(&mut self, key: Token, cx: &mut Context<'_>) -> bool {
        let Some(index) = self.inbound.iter().position(|i| i.key == key) else { return false };
        self.serve(index, ServerInput::Retransmission, cx);
        true
    }

    /// A new request gets a transaction, or 503 when there is no room for one.
    pub(super) fn admit(&mut self, key: Token, packet: Packet<'_, '_>, cx: &mut Context<'_>) -> bool {
        self.inbound.retain(|i| !i.is_terminated());
        if self.inbound.len() >= MAX_INBOUND && packet.method == Method::Bye {
            // The end of a dialog is never refused.
            self.inbound.remove(0);
        }
        if self.inbound.len() >= MAX_INBOUND {
            self.respond_stateless(packet, 503, cx);
            return false;
        }
        let Packet { message, method, flow, .. } = packet;
        let reliable = flow.transport.is_reliable();
        let machine = match method {
            Method::Invite => Machine::Invite(InviteServer::start(reliable)),
            _ => Machine::Other(Server::start(reliable)),
        };
        let (destination, otherwise) = (reply::destination(&message.via, flow), reply::otherwise(&message.via, flow));
        self.inbound.push(Inbound { key, method, machine, response: Bytes::new(), destination, otherwise });
        true
    }

    /// Answers a request through its transaction.
    pub(super) fn respond(&mut self, key: Token, packet: Packet<'_, '_>, status: u16, cx: &mut Context<'_>) {
        self.respond_with(key, packet, status, |_| {}, None, cx);
    }

    pub(super) fn respond_with(
        &mut self,
        key: Token,
        packet: Packet<'_, '_>,
        status: u16,
        more: impl FnOnce(&mut Writer<'_>),
        body: Option<(&str, &[u8])>,
        cx: &mut Context<'_>,
    ) {
        let Some(response) = reply::write(packet.message, packet.flow.remote, status, self.facts.local_tag, more, body)
        else {
            return cx.noise(NoiseKind::Malformed);
        };
        let Some(index) = self.inbound.iter().position(|i| i.key == key) else { return };
        self.inbound[index].response = response;
        self.signal(true, super::summary(status), cx);
        self.serve(index, ServerInput::Respond(Class::of(status)), cx);
    }

    /// An answer that is not remembered: a retransmitted request gets the same one again.
    pub(super) fn respond_stateless(&mut self, packet: Packet<'_, '_>, status: u16, cx: &mut Context<'_>) {
        let tag = self.facts.local_tag;
        if let Some(bytes) = reply::write(packet.message, packet.flow.remote, status, tag, |_| {}, None) {
            self.signal(true, super::summary(status), cx);
            self.send_response(bytes, reply::destination(&packet.message.via, packet.flow), cx);
        }
    }

    pub(super) fn server_ack(&mut self, key: Token, cx: &mut Context<'_>) {
        if let Some(index) = self.inbound.iter().position(|i| i.key == key) {
            self.serve(index, ServerInput::Ack, cx);
        }
    }

    pub(super) fn send_again(&self, key: Token, cx: &mut Context<'_>) {
        if let Some(inbound) = self.inbound.iter().find(|i| i.key == key) {
            self.send_response(inbound.response.clone(), inbound.destination, cx);
        }
    }

    pub(super) fn server_timeouts(&mut self, cx: &mut Context<'_>) {
        for index in 0..self.inbound.len() {
            self.serve(index, ServerInput::Timeout, cx);
        }
        self.inbound.retain(|i| !i.is_terminated());
    }

    fn serve(&mut self, index: usize, input: ServerInput, cx: &mut Context<'_>) {
        let inbound = &mut self.inbound[index];
        match inbound.handle(cx.now, input) {
            ServerStep::Send if !inbound.response.is_empty() => {
                let (bytes, destination) = (inbound.response.clone(), inbound.destination);
                self.send_response(bytes, destination, cx);
            }
            // The ACK of a 2xx has a branch of its own and is found by its CSeq number instead.
            ServerStep::Send | ServerStep::Tell | ServerStep::Nothing => {}
        }
    }

    /// What is still to be answered on a connection that is lost, is answered on another.
    pub(super) fn answer_elsewhere(&mut self, lost: Flow, cx: &mut Context<'_>) {
        for index in 0..self.inbound.len() {
            let inbound = &mut self.inbound[index];
            if inbound.destination == lost {
                inbound.destination = inbound.otherwise;
                self.serve(index, ServerInput::Disconnected, cx);
            }
        }
    }

    fn send_response(&self, bytes: Bytes, flow: Flow, cx: &mut Context<'_>) {
        cx.out.push(EndpointAction::Transmit { leg: Some(self.facts.id), flow, bytes, request: false });
    }
}
