//! REGISTER: telling a trunk where its calls may reach us, for trunks that take none of ours otherwise (RFC 3261 §10).
//!
//! ```text
//! waiting ── due ──▶ REGISTER ──┬ 2xx with our Contact ──▶ registered; due at three quarters of what was granted
//!    ▲                          ├ 401, 407, 423 ─────────▶ REGISTER again, answered, or for longer
//!    │                          └ anything else, none ───▶ due later and later
//!    └──────────────────────────────────┘
//! ```
//!
//! A binding holds until it runs out, also while a refresh fails: until then the trunk is in service.
//!
//! Deliberately absent: following a redirection (credentials are for one trunk), other contacts of the same name
//! (they may be another node's), and calls that come to the contact: no call begins at a peer.

use std::fmt::{self, Display, Write as _};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::digest::Subject;
use super::ident::Token;
use super::leg::{Branch, Over, TrunkHost};
use super::nonces::{Authorization, Nonces};
use super::transaction::{Class, Client, ClientInput, ClientStep};
use super::wire::{HeaderName, Host, HostPort, Message, Method, Writer};
use super::{EndpointAction, Flow};
use crate::config::{Listener, Trunk};
use crate::model::{Secret, Timestamp};

/// A challenge, a stale nonce, a time that is too short: more requests in a row get a registrar nowhere.
const MAX_TRIES: u8 = 4;
/// However short a binding is granted, and whatever fails, a registrar hears from us no sooner.
const LEAST_PAUSE: Duration = Duration::from_secs(5);
/// After failures the pause doubles up to here: a carrier that is back is used within some minutes.
const MOST_PAUSE: Duration = Duration::from_secs(300);
/// What Retry-After may ask for.
const MOST_RETRY_AFTER: Duration = Duration::from_secs(3_600);
/// What 423 may ask for, and the longest binding that is believed: whoever forgets it is noticed within a day.
const MOST_SECONDS: u32 = 86_400;
/// Contacts in one answer that are looked at.
const MAX_CONTACTS: usize = 64;

#[derive(Debug)]
pub struct Registration {
    secret: Secret,
    call_id: Token,
    trunk: Arc<Trunk>,
    flow: Flow,
    listener: Listener,
    /// What is asked for, in seconds.
    expires: u32,
    cseq: u32,
    nonces: Nonces,
    /// Attempts that came to nothing since the last that did not.
    failures: u32,
    /// The binding that the registrar has granted.
    bound_until: Option<Timestamp>,
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting(Timestamp),
    Asking { transaction: Client, branch: Token, bytes: Bytes, tries: u8 },
}

/// What a registrar says.
#[derive(Clone, Copy)]
pub struct Answer<'a> {
    pub flow: Flow,
    pub message: &'a Message<'a>,
    pub status: u16,
    pub retry_after: Option<Duration>,
}

impl Registration {
    /// `None` for a trunk that asks for none. The first REGISTER leaves at once.
    pub fn new(trunk: &Arc<Trunk>, listener: Listener, secret: Secret, now: Timestamp) -> Option<Self> {
        let expires = u32::try_from(trunk.register?.as_secs()).ok()?;
        trunk.credentials.as_ref()?;
        Some(Self {
            secret,
            call_id: Token::derive(secret, "register", &[trunk.name.as_bytes(), trunk.target.to_string().as_bytes()]),
            flow: Flow { transport: trunk.transport, local: listener.local, remote: trunk.target },
            trunk: Arc::clone(trunk),
            listener,
            expires,
            cseq: 0,
            nonces: Nonces::default(),
            failures: 0,
            bound_until: None,
            state: State::Waiting(now),
        })
    }

    pub fn trunk(&self) -> &Arc<Trunk> {
        &self.trunk
    }

    pub fn call_id(&self) -> Token {
        self.call_id
    }

    pub fn is_registered(&self) -> bool {
        self.bound_until.is_some()
    }

    pub fn next_timeout(&self) -> Timestamp {
        let next = match &self.state {
            State::Waiting(until) => *until,
            // A transaction that asks always has a deadline.
            State::Asking { transaction, .. } => transaction.next_timeout().unwrap_or_default(),
        };
        self.bound_until.map_or(next, |until| until.min(next))
    }

    pub fn timeout(&mut self, now: Timestamp, product: &str, out: &mut Vec<EndpointAction>) {
        self.bound_until.take_if(|until| *until <= now);
        match &mut self.state {
            State::Waiting(until) if *until <= now => self.ask(now, 1, product, out),
            State::Waiting(_) => {}
            State::Asking { transaction, bytes, .. } => match transaction.handle(now, ClientInput::Timeout) {
                ClientStep::Retransmit => {
                    let bytes = bytes.clone();
                    out.push(self.transmit(bytes));
                }
                ClientStep::Expired => self.failed(now, None),
                ClientStep::Nothing | ClientStep::Tell | ClientStep::AckAndTell | ClientStep::Ack => {}
            },
        }
    }

    pub fn response(&mut self, now: Timestamp, answer: Answer<'_>, product: &str, out: &mut Vec<EndpointAction>) {
        let Answer { flow, message, status, retry_after } = answer;
        let State::Asking { transaction, branch, tries, .. } = &mut self.state else { return };
        let ours = self.flow.is_heard_on(flow)
            && message.cseq.method == Method::Register
            && message.cseq.number == self.cseq
            && message.via.branch.and_then(Branch::parse) == Some(*branch);
        if !ours {
            return;
        }
        transaction.handle(now, ClientInput::Response(Class::of(status)));
        let tries = *tries;
        match Class::of(status) {
            Class::Provisional => {}
            Class::Success => match self.granted(message) {
                Some(time) => self.bound(now, time),
                None => self.failed(now, retry_after),
            },
            Class::Failure if tries < MAX_TRIES && self.may_ask_again(message, status) => {
                self.ask(now, tries + 1, product, out);
            }
            Class::Failure => self.failed(now, retry_after),
        }
    }

    /// A connection that could not be made, or was lost with the question.
    pub fn flow_down(&mut self, now: Timestamp, flow: Flow) {
        match &self.state {
            State::Asking { .. } if flow == self.flow => self.failed(now, None),
            State::Asking { .. } | State::Waiting(_) => {}
        }
    }

    /// After a challenge that can be answered, or when more time is wanted (RFC 3261 §10.2.8).
    fn may_ask_again(&mut self, message: &Message<'_>, status: u16) -> bool {
        match status {
            401 | 407 => {
                let credentials = self.trunk.credentials.as_ref();
                credentials.is_some_and(|credentials| self.nonces.learn(credentials, self.secret, message, status))
            }
            423 => {
                let least = message.number(HeaderName::MinExpires);
                let longer = least.filter(|least| (self.expires + 1..=MOST_SECONDS).contains(least));
                self.expires = longer.unwrap_or(self.expires);
                longer.is_some()
            }
            _ => false,
        }
    }

    /// How long the registrar keeps our own Contact; `None` when it does not.
    fn granted(&self, message: &Message<'_>) -> Option<Duration> {
        let mut contacts = message.addresses(HeaderName::Contact).take(MAX_CONTACTS).peekable();
        // RFC 3261 §10.3 wants all of them in the answer. A registrar that names none keeps the one it was sent.
        let ours = match contacts.peek() {
            None => None,
            Some(_) => Some(contacts.flatten().find(|contact| {
                let port = contact.uri.port.unwrap_or(self.flow.transport.default_port());
                contact.uri.host == Some(Host::Ip(self.listener.advertised.ip()))
                    && port == self.listener.advertised.port()
                    && contact.uri.user == Some(self.user().as_str())
            })?),
        };
        let own = ours.and_then(|contact| contact.params.get("expires")?.parse().ok());
        let seconds: u32 = own.or_else(|| message.number(HeaderName::Expires)).unwrap_or(self.expires);
        (seconds > 0).then(|| Duration::from_secs(seconds.min(MOST_SECONDS).into()))
    }

    fn bound(&mut self, now: Timestamp, time: Duration) {
        self.failures = 0;
        self.bound_until = Some(now + time);
        self.state = State::Waiting(now + (time * 3 / 4).max(LEAST_PAUSE));
    }

    fn failed(&mut self, now: Timestamp, retry_after: Option<Duration>) {
        let doubled = LEAST_PAUSE * 2u32.saturating_pow(self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        // Somewhere in the second half of it, so that all whom a registrar has refused do not come back together.
        let pause = doubled.min(MOST_PAUSE).max(LEAST_PAUSE);
        let part = Token::numbered(self.secret, "register-pause", self.cseq).low() % 512;
        let pause = pause / 2 + pause * u32::try_from(part).unwrap_or(0) / 1_024;
        let asked = retry_after.unwrap_or_default().min(MOST_RETRY_AFTER);
        self.state = State::Waiting(now + pause.max(asked));
    }

    fn ask(&mut self, now: Timestamp, tries: u8, product: &str, out: &mut Vec<EndpointAction>) {
        self.cseq = self.cseq.saturating_add(1);
        let name = self.trunk.name.as_bytes();
        let branch = Token::derive(self.secret, "register-branch", &[name, &self.cseq.to_be_bytes()]);
        let Some(bytes) = self.request(branch, product) else { return self.failed(now, None) };
        let transaction = Client::start(now, self.flow.transport.is_reliable());
        self.state = State::Asking { transaction, branch, bytes: bytes.clone(), tries };
        out.push(self.transmit(bytes));
    }

    fn request(&mut self, branch: Token, product: &str) -> Option<Bytes> {
        let (host, over) = (TrunkHost(&self.trunk).to_string(), Over(self.flow.transport));
        let uri = format!("sip:{host}{over}");
        let subject = Subject { method: "REGISTER", uri: &uri, body: b"" };
        let credentials = self.trunk.credentials.as_ref()?;
        let authorization: Vec<Authorization> = self.nonces.answer(credentials, subject);
        let (user, ours, via) = (self.user(), HostPort::from(self.listener.advertised), self.flow.transport.as_via());
        let tag = Token::derive(self.secret, "register-tag", &[self.trunk.name.as_bytes()]);
        let mut buffer = BytesMut::with_capacity(768);
        let mut writer = Writer::request(&mut buffer, Method::Register, &uri);
        writer
            .header(HeaderName::Via, format_args!("SIP/2.0/{via} {ours};branch={};rport", Branch(branch)))
            .header(HeaderName::MaxForwards, 70)
            .header(HeaderName::From, format_args!("<sip:{user}@{host}>;tag={tag}"))
            .header(HeaderName::To, format_args!("<sip:{user}@{host}>"))
            .header(HeaderName::CallId, self.call_id)
            .cseq(self.cseq, Method::Register)
            .header(HeaderName::Contact, format_args!("<sip:{user}@{ours}{over}>;expires={}", self.expires))
            .header(HeaderName::Expires, self.expires)
            .header(HeaderName::UserAgent, product);
        for authorization in &authorization {
            writer.header(authorization.name(), &authorization.value);
        }
        writer.finish().ok().map(|_| buffer.freeze())
    }

    fn user(&self) -> String {
        self.trunk.credentials.as_ref().map(|c| Escaped(&c.username).to_string()).unwrap_or_default()
    }

    fn transmit(&self, bytes: Bytes) -> EndpointAction {
        EndpointAction::Transmit { leg: None, flow: self.flow, bytes, request: true }
    }
}

/// A name as a URI's user (RFC 3261 §25.1): `me@carrier` is a name too.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,".contains(&byte) {
                f.write_char(byte.into())?;
            } else {
                write!(f, "%{byte:02X}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_a_users_part() {
        for (name, user) in
            [("bridge", "bridge"), ("me@carrier", "me%40carrier"), ("a b;c>\"", "a%20b%3Bc%3E%22"), ("é", "%C3%A9")]
        {
            assert_eq!(Escaped(name).to_string(), user);
        }
    }
}
