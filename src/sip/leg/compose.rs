//! The requests of a leg, written from typed fields alone.

use std::fmt::{self, Display};

use bytes::{Bytes, BytesMut};

use super::Facts;
use super::dialog::Dialog;
use super::early::RAck;
use super::way::{MOST_UDP_BYTES, Way};
use crate::config::{Privacy, Transport, Trunk};
use crate::leg::Cause;
use crate::model::E164;
use crate::sip::ident::Token;
use crate::sip::identity::Identity;
use crate::sip::nonces::Authorization;
use crate::sip::session_timer::{self, Role};
use crate::sip::wire::{Address, HeaderName, HostPort, Method, Writer};

/// RFC 3261 §8.1.1.6.
const MAX_FORWARDS: u8 = 70;

/// What a peer may send us within a dialog (RFC 3261 §20.5).
pub const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, PRACK, UPDATE, INFO";

/// What a peer may require of us (RFC 3261 §20.37).
pub const SUPPORTED: &str = "100rel, timer";

/// The only body that we read as a session.
pub const SDP: &str = "application/sdp";

/// Enough for an INVITE with its offer, so that a message is one allocation.
const USUAL_BYTES: usize = 1_024;

/// The magic cookie and the token (RFC 3261 §8.1.1.7).
pub struct Branch(pub Token);

impl Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "z9hG4bK{}", self.0)
    }
}

impl Branch {
    pub fn parse(text: &str) -> Option<Token> {
        let cookie = text.get(..7).filter(|c| c.eq_ignore_ascii_case("z9hG4bK"))?;
        Token::parse(&text.as_bytes()[cookie.len()..])
    }
}

/// A trunk's host, and its port unless that is the default.
pub struct TrunkHost<'a>(pub &'a Trunk);

impl Display for TrunkHost<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.host)?;
        self.0.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// A number at the trunk: To, and without a transport, which a To may not name (RFC 3261 §19.1.1).
struct Callee<'a>(&'a Facts);

/// The same in a Request-URI.
struct Target<'a>(&'a Facts);

impl Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Callee(self.0), Over(self.0.trunk.transport))
    }
}

impl Display for Callee<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sip:{}@{};user=phone", &*self.0.to.text(), TrunkHost(&self.0.trunk))
    }
}

/// A URI's parameter that names the transport, unless that is the usual one (RFC 3261 §19.1.1).
pub struct Over(pub Transport);

impl Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Transport::Udp => Ok(()),
            other => write!(f, ";transport={}", other.as_str()),
        }
    }
}

/// The owned number at a host of ours.
struct Shown<'a>(E164, HostPort<'a>);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sip:{}@{}", &*self.0.text(), self.1)
    }
}

/// What tells the requests of a leg apart.
struct Head<'a> {
    way: Way,
    method: Method,
    cseq: u32,
    branch: Token,
    dialog: Option<&'a Dialog>,
    /// Of a response that is acknowledged.
    to_tag: Option<&'a str>,
    authorization: &'a [Authorization],
}

/// What an INVITE says beside its facts.
#[derive(Clone, Copy)]
pub struct Words<'a> {
    pub authorization: &'a [Authorization],
    pub identity: Option<&'a Identity>,
    pub product: &'a str,
    pub offer: &'a [u8],
    pub min_se: Option<u32>,
}

impl Facts {
    /// The INVITE, and the way that is wide enough for it.
    pub fn invite(&self, cseq: u32, words: Words<'_>) -> Option<(Way, Bytes)> {
        let usual = self.invite_by(Way::Usual, cseq, words)?;
        if self.detour.is_none() || usual.len() <= MOST_UDP_BYTES {
            return Some((Way::Usual, usual));
        }
        Some((Way::Large, self.invite_by(Way::Large, cseq, words)?))
    }

    pub fn invite_by(&self, way: Way, cseq: u32, words: Words<'_>) -> Option<Bytes> {
        let Words { authorization, identity, product, offer, min_se } = words;
        let branch = self.branch(cseq);
        let head = Head { way, method: Method::Invite, cseq, branch, dialog: None, to_tag: None, authorization };
        let mut buffer = BytesMut::with_capacity(USUAL_BYTES);
        let mut writer = self.start(&mut buffer, &head);
        self.contact(&mut writer);
        writer.header(HeaderName::Allow, ALLOW).header(HeaderName::UserAgent, product);
        self.session_expires(&mut writer, min_se, None);
        if self.trunk.trusted {
            // RFC 3325 §9.1: only within the domain that trusts us.
            let shown = Shown(self.shown, self.advertised.ip().into());
            writer.header(HeaderName::PAssertedIdentity, Address { display: None, uri: shown, tag: None });
        }
        if self.is_anonymous() {
            // RFC 3325 §9.3: the trunk knows the number, and tells it to nobody outside of its trust.
            writer.header(HeaderName::Privacy, "id");
        }
        if let Some(Identity { value, at }) = identity {
            writer.header(HeaderName::Date, at.rfc1123()).header(HeaderName::Identity, value);
        }
        writer.finish_with(SDP, offer).ok().map(|_| buffer.freeze())
    }

    /// UPDATE, or re-INVITE with our description as it was: nothing changes but the time (RFC 4028 §7.4).
    pub fn refresh(&self, dialog: &Dialog, cseq: u32, seconds: u32, words: Words<'_>) -> Option<Bytes> {
        let Words { authorization, product, offer, min_se, identity: _ } = words;
        let method = if offer.is_empty() { Method::Update } else { Method::Invite };
        let (way, branch, dialog) = (Way::Usual, self.branch(cseq), Some(dialog));
        let head = Head { way, method, cseq, branch, dialog, to_tag: None, authorization };
        let mut buffer = BytesMut::with_capacity(USUAL_BYTES);
        let mut writer = self.start(&mut buffer, &head);
        self.contact(&mut writer);
        writer.header(HeaderName::Allow, ALLOW).header(HeaderName::UserAgent, product);
        self.session_expires(&mut writer, min_se, Some(seconds));
        let written = if offer.is_empty() { writer.finish() } else { writer.finish_with(SDP, offer) };
        written.ok().map(|_| buffer.freeze())
    }

    /// What we can do, and for how long the session shall stand: `refresh` where we refresh it, else what the trunk is
    /// asked for (RFC 4028 §7.1).
    fn session_expires(&self, writer: &mut Writer<'_>, min_se: Option<u32>, refresh: Option<u32>) {
        writer.header(
            HeaderName::Supported,
            if self.trunk.reliable_provisionals { SUPPORTED } else { session_timer::OPTION },
        );
        let least = min_se.unwrap_or(0);
        if let Some(seconds) = refresh {
            let role = Role::Uac.as_str();
            writer.header(HeaderName::SessionExpires, format_args!("{};refresher={role}", seconds.max(least)));
        } else if let Some(seconds) = self.trunk.session_expires {
            writer.header(HeaderName::SessionExpires, seconds.max(least));
        }
        if let Some(least) = min_se {
            writer.header(HeaderName::MinSe, least);
        }
    }

    /// RFC 3262 §7.2.
    pub fn prack(&self, dialog: &Dialog, cseq: u32, rack: RAck, authorization: &[Authorization]) -> Option<Bytes> {
        let (way, branch, dialog) = (Way::Usual, self.branch(cseq), Some(dialog));
        let head = Head { way, method: Method::Prack, cseq, branch, dialog, to_tag: None, authorization };
        let mut buffer = BytesMut::with_capacity(USUAL_BYTES / 2);
        let mut writer = self.start(&mut buffer, &head);
        writer.header(HeaderName::RAck, format_args!("{} {} INVITE", rack.rseq, rack.invite_cseq));
        writer.finish().ok().map(|_| buffer.freeze())
    }

    /// The ACK of a response of 300 or more: part of its INVITE's transaction (RFC 3261 §17.1.1.3). `dialog`: of a
    /// re-INVITE.
    pub fn ack_failure(
        &self,
        way: Way,
        cseq: u32,
        dialog: Option<&Dialog>,
        to_tag: Option<&str>,
        authorization: &[Authorization],
    ) -> Option<Bytes> {
        let branch = self.branch(cseq);
        self.bare(&Head { way, method: Method::Ack, cseq, branch, dialog, to_tag, authorization })
    }

    /// RFC 3261 §9.1: as its INVITE, whose branch it carries.
    pub fn cancel(&self, way: Way, cseq: u32) -> Option<Bytes> {
        let branch = self.branch(cseq);
        self.bare(&Head { way, method: Method::Cancel, cseq, branch, dialog: None, to_tag: None, authorization: &[] })
    }

    /// The ACK of a 2xx: a transaction of its own (RFC 3261 §13.2.2.4), the same bytes each time.
    pub fn ack(&self, dialog: &Dialog, cseq: u32, authorization: &[Authorization]) -> Option<Bytes> {
        let branch = Token::derive(self.secret, "ack", &[&cseq.to_be_bytes(), dialog.remote_tag.as_bytes()]);
        let (way, dialog) = (Way::Usual, Some(dialog));
        self.bare(&Head { way, method: Method::Ack, cseq, branch, dialog, to_tag: None, authorization })
    }

    pub fn bye(&self, dialog: &Dialog, cseq: u32, cause: Cause, auth: &[Authorization]) -> Option<Bytes> {
        let branch = self.branch(cseq);
        let (way, dialog) = (Way::Usual, Some(dialog));
        let head = Head { way, method: Method::Bye, cseq, branch, dialog, to_tag: None, authorization: auth };
        let mut buffer = BytesMut::with_capacity(USUAL_BYTES / 2);
        let mut writer = self.start(&mut buffer, &head);
        // RFC 3326 §2.
        writer.header(HeaderName::Reason, format_args!("Q.850;cause={}", cause.q850));
        writer.finish().ok().map(|_| buffer.freeze())
    }

    /// The branch of the client transaction that this CSeq number begins.
    pub fn branch(&self, cseq: u32) -> Token {
        Token::numbered(self.secret, "branch", cseq)
    }

    /// The Request-URI of a request within `dialog`, or of the INVITE.
    pub fn request_uri(&self, dialog: Option<&Dialog>) -> String {
        dialog.and_then(Dialog::request_uri).map_or_else(|| Target(self).to_string(), str::to_owned)
    }

    pub fn contact(&self, writer: &mut Writer<'_>) {
        let (host, over) = (HostPort::from(self.sent_by), Over(self.flow.transport));
        if self.is_anonymous() {
            writer.header(HeaderName::Contact, format_args!("<sip:anonymous@{host}{over}>"));
        } else {
            let shown = Shown(self.shown, host);
            writer.header(HeaderName::Contact, format_args!("<{shown}{over}>"));
        }
    }

    /// Whether the trunk is asked to keep the number to itself. One that is not trusted is never told it apart.
    fn is_anonymous(&self) -> bool {
        match self.trunk.privacy {
            Privacy::Id => self.trunk.trusted,
            Privacy::None => false,
        }
    }

    fn bare(&self, head: &Head<'_>) -> Option<Bytes> {
        let mut buffer = BytesMut::with_capacity(USUAL_BYTES / 2);
        self.start(&mut buffer, head).finish().ok().map(|_| buffer.freeze())
    }

    fn start<'b>(&self, buffer: &'b mut BytesMut, head: &Head<'_>) -> Writer<'b> {
        let mut writer = match head.dialog.and_then(Dialog::request_uri) {
            Some(uri) => Writer::request(buffer, head.method, uri),
            None => Writer::request(buffer, head.method, Target(self)),
        };
        // RFC 3261 §17.2.3: without a dialog it belongs to the INVITE's transaction, which its Via must match.
        let (transport, sent_by) = match (head.way, self.detour) {
            (Way::Large, Some(detour)) => (detour.flow.transport, detour.sent_by),
            (Way::Usual | Way::Large, _) if head.dialog.is_some() => (self.flow.transport, self.sent_by),
            (Way::Usual | Way::Large, _) => (self.flow.transport, self.advertised),
        };
        let (via, sent_by, branch) = (transport.as_via(), HostPort::from(sent_by), Branch(head.branch));
        writer.header(HeaderName::Via, format_args!("SIP/2.0/{via} {sent_by};branch={branch};rport"));
        writer.header(HeaderName::MaxForwards, MAX_FORWARDS);
        let tag = self.local_tag;
        if self.is_anonymous() {
            // RFC 3323 §4.1.1.3.
            let from = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";
            writer.header(HeaderName::From, format_args!("{from};tag={tag}"));
        } else {
            let from = Shown(self.shown, self.advertised.ip().into());
            writer.header(HeaderName::From, format_args!("<{from}>;tag={tag}"));
        }
        let tag = head.dialog.map(|d| &*d.remote_tag).or(head.to_tag).filter(|tag| !tag.is_empty());
        writer.header(HeaderName::To, Address { display: None, uri: Callee(self), tag });
        writer.header(HeaderName::CallId, self.call_id);
        writer.cseq(head.cseq, head.method);
        for route in head.dialog.into_iter().flat_map(Dialog::route_headers) {
            writer.header(HeaderName::Route, format_args!("<{route}>"));
        }
        for authorization in head.authorization {
            writer.header(authorization.name(), &authorization.value);
        }
        writer
    }
}
