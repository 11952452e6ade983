//! OPTIONS pings: is a trunk alive (RFC 3261 §11)?
//!
//! ```text
//! waiting ── interval ──▶ OPTIONS ──┬ any final response but 503 ──▶ in service
//!    ▲                              └ 503, or none in 64·T1 ───────▶ out of service
//!    └──────────────────────────────────────┘
//! ```

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::ident::Token;
use super::leg::{Branch, Over, TrunkHost};
use super::transaction::{Class, Client, ClientInput, ClientStep};
use super::wire::{HeaderName, HostPort, Message, Method, Writer};
use super::{EndpointAction, Flow};
use crate::config::{Listener, Trunk};
use crate::model::{Secret, Timestamp};

#[derive(Debug)]
pub struct Ping {
    secret: Secret,
    /// At the address that is asked.
    trunk: Arc<Trunk>,
    call_id: Token,
    interval: Duration,
    flow: Flow,
    listener: Listener,
    host: String,
    cseq: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting(Timestamp),
    Asking { transaction: Client, branch: Token, bytes: Bytes },
}

impl Ping {
    /// `None` for a trunk that is never asked. The first ping leaves at once.
    pub fn new(trunk: &Arc<Trunk>, listener: Listener, secret: Secret, now: Timestamp) -> Option<Self> {
        let place = format!("{} {}", trunk.transport.as_str(), trunk.target);
        Some(Self {
            secret,
            trunk: Arc::clone(trunk),
            call_id: Token::derive(secret, "ping", &[trunk.name.as_bytes(), place.as_bytes()]),
            interval: trunk.ping?,
            flow: Flow { transport: trunk.transport, local: listener.local, remote: trunk.target },
            listener,
            host: TrunkHost(trunk).to_string(),
            cseq: 0,
            state: State::Waiting(now),
        })
    }

    pub fn trunk(&self) -> &Arc<Trunk> {
        &self.trunk
    }

    pub fn call_id(&self) -> Token {
        self.call_id
    }

    pub fn next_timeout(&self) -> Timestamp {
        match &self.state {
            State::Waiting(until) => *until,
            // A transaction that asks always has a deadline.
            State::Asking { transaction, .. } => transaction.next_timeout().unwrap_or_default(),
        }
    }

    /// `Some` when it is now known whether the trunk is in service.
    pub fn timeout(&mut self, now: Timestamp, product: &str, out: &mut Vec<EndpointAction>) -> Option<bool> {
        match &mut self.state {
            State::Waiting(until) if *until <= now => {
                self.ask(now, product, out);
                None
            }
            State::Waiting(_) => None,
            State::Asking { transaction, bytes, .. } => match transaction.handle(now, ClientInput::Timeout) {
                ClientStep::Retransmit => {
                    let bytes = bytes.clone();
                    out.push(self.transmit(bytes));
                    None
                }
                ClientStep::Expired => self.learned(now, false),
                ClientStep::Nothing | ClientStep::Tell | ClientStep::AckAndTell | ClientStep::Ack => None,
            },
        }
    }

    pub fn response(&mut self, now: Timestamp, flow: Flow, message: &Message<'_>, status: u16) -> Option<bool> {
        let State::Asking { transaction, branch, .. } = &mut self.state else { return None };
        let ours = self.flow.is_heard_on(flow)
            && message.cseq.method == Method::Options
            && message.cseq.number == self.cseq
            && message.via.branch.and_then(Branch::parse) == Some(*branch);
        if !ours {
            return None;
        }
        transaction.handle(now, ClientInput::Response(Class::of(status)));
        match Class::of(status) {
            Class::Provisional => None,
            Class::Success | Class::Failure => self.learned(now, status != 503),
        }
    }

    /// Whoever cannot be connected to, or hangs up on a question, is not in service.
    pub fn flow_down(&mut self, now: Timestamp, flow: Flow) -> Option<bool> {
        match &self.state {
            State::Asking { .. } if flow == self.flow => self.learned(now, false),
            State::Asking { .. } | State::Waiting(_) => None,
        }
    }

    fn learned(&mut self, now: Timestamp, in_service: bool) -> Option<bool> {
        self.state = State::Waiting(now + self.interval);
        Some(in_service)
    }

    fn ask(&mut self, now: Timestamp, product: &str, out: &mut Vec<EndpointAction>) {
        self.cseq += 1;
        let branch = Token::derive(self.secret, "ping-branch", &[self.host.as_bytes(), &self.cseq.to_be_bytes()]);
        let Some(bytes) = self.options(branch, product) else {
            self.state = State::Waiting(now + self.interval);
            return;
        };
        self.state = State::Asking {
            transaction: Client::start(now, self.flow.transport.is_reliable()),
            branch,
            bytes: bytes.clone(),
        };
        out.push(self.transmit(bytes));
    }

    fn options(&self, branch: Token, product: &str) -> Option<Bytes> {
        let (host, ours) = (&self.host, HostPort::from(self.listener.advertised));
        let tag = Token::derive(self.secret, "ping-tag", &[host.as_bytes(), &self.cseq.to_be_bytes()]);
        let mut buffer = BytesMut::with_capacity(512);
        let (via, over) = (self.flow.transport.as_via(), Over(self.flow.transport));
        let mut writer = Writer::request(&mut buffer, Method::Options, format_args!("sip:{host}{over}"));
        writer
            .header(HeaderName::Via, format_args!("SIP/2.0/{via} {ours};branch={};rport", Branch(branch)))
            .header(HeaderName::MaxForwards, 70)
            .header(HeaderName::From, format_args!("<sip:{ours}>;tag={tag}"))
            .header(HeaderName::To, format_args!("<sip:{host}>"))
            .header(HeaderName::CallId, self.call_id)
            .cseq(self.cseq, Method::Options)
            .header(HeaderName::Contact, format_args!("<sip:{ours}{over}>"))
            .header(HeaderName::Accept, "application/sdp")
            .header(HeaderName::UserAgent, product);
        writer.finish().ok().map(|_| buffer.freeze())
    }

    fn transmit(&self, bytes: Bytes) -> EndpointAction {
        EndpointAction::Transmit { leg: None, flow: self.flow, bytes, request: true }
    }
}
