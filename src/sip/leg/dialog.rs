//! What a dialog remembers of the peer (RFC 3261 §12).
//!
//! The URIs of a dialog decide what is written into Request-URI and Route. They do not decide where a
//! request is sent: that is always the trunk's own address, so a Contact or Record-Route that names a
//! third party, ourselves or the other leg moves nothing.

use serde::{Deserialize, Serialize};

use super::known::Peer;
use crate::sip::guard;
use crate::sip::wire::{HeaderName, HostPort, Message, NameAddr, Scheme, Uri};

/// Proxies on the way. A longer route set is not kept: the trunk has to know its own way.
const MAX_ROUTES: usize = 16;
/// One URI of a dialog. What a call costs in memory must not be the peer's choice.
const MAX_URI_BYTES: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialog {
    pub remote_tag: Box<str>,
    /// Of the INVITE whose 2xx made this dialog.
    pub invite_cseq: u32,
    /// Its 2xx was acknowledged.
    pub acknowledged: bool,
    /// `None` until the peer's first request (RFC 3261 §12.1.2).
    pub remote_cseq: Option<u32>,
    /// The peer has said last that it takes UPDATE (RFC 3311 §4).
    #[serde(default)]
    pub takes_update: bool,
    /// The peer's Contact; without one, requests are for the number itself.
    remote_target: Option<Box<str>>,
    route_set: Box<[Box<str>]>,
}

impl Dialog {
    /// RFC 3261 §12.1.2: the dialog that a 2xx to our INVITE makes.
    /// `secure`: the trunk is on TLS, where a peer may name itself by sips: (RFC 3261 §12.1.1).
    pub fn of_response(response: &Message<'_>, secure: bool) -> Self {
        Self {
            remote_tag: response.to.tag().unwrap_or_default().into(),
            invite_cseq: response.cseq.number,
            acknowledged: false,
            remote_cseq: None,
            takes_update: takes_update(response).unwrap_or(false),
            remote_target: target(response.contact, secure),
            route_set: route_set(response, secure).unwrap_or_default(),
        }
    }

    /// RFC 3261 §12.2.1.2: a target refresh moves the remote target and nothing else.
    pub fn refresh_target(&mut self, message: &Message<'_>, secure: bool) {
        self.takes_update = takes_update(message).unwrap_or(self.takes_update);
        if let Some(target) = target(message.contact, secure) {
            self.remote_target = Some(target);
        }
    }

    /// RFC 3261 §12.2.1.1: the remote target, or the first route when that is a strict router.
    /// `None` when the peer has named no target.
    pub fn request_uri(&self) -> Option<&str> {
        match self.route_set.first() {
            Some(first) if !is_loose(first) => Some(first),
            Some(_) | None => self.remote_target.as_deref(),
        }
    }

    /// The Route header's URIs: all of them, or for a strict router the others and then the target.
    pub fn route_headers(&self) -> impl Iterator<Item = &str> {
        let strict = self.route_set.first().is_some_and(|first| !is_loose(first));
        let target = if strict { self.remote_target.as_deref() } else { None };
        self.route_set.iter().skip(usize::from(strict)).map(AsRef::as_ref).chain(target)
    }

    /// What the peer has named, and the other leg must not say.
    pub fn peer(&self) -> Peer<'_> {
        Peer { tag: &self.remote_tag, target: self.remote_target.as_deref(), routes: &self.route_set }
    }
}

/// `None` without an Allow header.
fn takes_update(message: &Message<'_>) -> Option<bool> {
    message.header(HeaderName::Allow)?;
    Some(message.list(HeaderName::Allow).any(|method| method == "UPDATE"))
}

fn is_loose(uri: &str) -> bool {
    Uri::parse(uri).is_ok_and(|uri| uri.param("lr").is_some())
}

/// A URI that may stand in a request of ours: no embedded headers (RFC 3261 §19.1.1), no sips: towards a trunk
/// without TLS, and nothing that the outgoing guard cannot read, or no BYE could be sent.
fn usable(uri: Uri<'_>, secure: bool) -> Option<Box<str>> {
    let readable = is_plain(uri, secure) && uri.text.len() <= MAX_URI_BYTES && guard::reads_uri(uri.text);
    readable.then(|| uri.text.into())
}

fn is_plain(uri: Uri<'_>, secure: bool) -> bool {
    let scheme = uri.scheme == Scheme::Sip || (secure && uri.scheme == Scheme::Sips);
    scheme && uri.headers.is_none()
}

/// The peer's Contact; one that is not usable as it is, without its parameters. The trunk knows the
/// dialog by its tags.
fn target(contact: Option<NameAddr<'_>>, secure: bool) -> Option<Box<str>> {
    let uri = contact?.uri;
    usable(uri, secure).or_else(|| {
        let host = HostPort { host: uri.host.filter(|_| is_plain(uri, secure))?, port: uri.port };
        let scheme = if uri.scheme == Scheme::Sips { "sips" } else { "sip" };
        let bare = match uri.user {
            Some(user) => format!("{scheme}:{user}@{host}"),
            None => format!("{scheme}:{host}"),
        };
        usable(Uri::parse(&bare).ok()?, secure)
    })
}

/// RFC 3261 §12.1.2: Record-Route from the last to the first.
fn route_set(response: &Message<'_>, secure: bool) -> Option<Box<[Box<str>]>> {
    let routes = response.addresses(HeaderName::RecordRoute).take(MAX_ROUTES + 1);
    let mut routes: Vec<_> = routes.map(|address| usable(address.ok()?.uri, secure)).collect::<Option<_>>()?;
    if routes.len() > MAX_ROUTES {
        return None;
    }
    routes.reverse();
    Some(routes.into())
}
