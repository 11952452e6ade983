//! The outgoing guard: the last reader of each request before it leaves.
//!
//! ```text
//!  bytes ──▶ rsip ──▶ header names on the method's list? ──▶ identities are the shown number? ─┐
//!    └─────▶ search ──▶ nothing of the other party in any byte? ───────────────────────────────┴▶ send
//! ```
//!
//! It reads with `rsip`, which shares no code with our writer and scanner, so one mistake cannot hide
//! itself. rsip 0.4 does not know IPv6 references; before it reads, each bracketed text of the head that
//! *is* an IPv6 address is replaced by a host name, and all else is left as it was, so nothing can hide
//! in a bracket. The search looks at the bytes as they are, body included.
//!
//! Deliberately absent: repair. A message that fails is not sent.

mod forbidden;

use std::borrow::Cow;
use std::net::Ipv6Addr;

use memchr::{memchr, memmem};
use rsip::headers::{ToTypedHeader, UntypedHeader};
use rsip::{Header, Method, Request};

pub use forbidden::Forbidden;

use crate::model::E164;

/// What the guard found. Names our own headers only, so it may be logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Leak {
    #[error("the second parser cannot read the request")]
    Unreadable,
    #[error("a method that is never sent")]
    Method,
    #[error("a header that this method never has: {0}")]
    Header(String),
    #[error("{0} is not the shown number")]
    Identity(&'static str),
    #[error("something of the other party")]
    OtherParty,
}

/// Reads a request that is about to leave. `shown` is the owned number of its leg; `None` for a request
/// that belongs to no leg.
pub fn check(bytes: &[u8], shown: Option<E164>, forbidden: &Forbidden) -> Result<(), Leak> {
    let request = Request::try_from(readable(bytes).as_ref()).map_err(|_| Leak::Unreadable)?;
    let allowed = allowed(request.method).ok_or(Leak::Method)?;
    for header in request.headers.iter() {
        let name = name_of(header);
        if !COMMON.iter().chain(allowed).any(|n| n.eq_ignore_ascii_case(&name)) {
            return Err(Leak::Header(name.into_owned()));
        }
    }
    let shown = shown.map(E164::text);
    if let Some(number) = &shown {
        identities(&request, number)?;
    }
    let digits = shown.as_ref().map_or("", |number| &number[1..]);
    if forbidden.occurs_in(bytes, digits.as_bytes()) { Err(Leak::OtherParty) } else { Ok(()) }
}

/// Whether a Request-URI would be read. Who writes a peer's URI into a request asks first, since a
/// request that cannot be read is not sent.
pub fn reads_uri(uri: &str) -> bool {
    let request = format!("BYE {uri} SIP/2.0\r\n\r\n");
    Request::try_from(readable(request.as_bytes()).as_ref()).is_ok()
}

/// Headers of every request.
const COMMON: &[&str] = &[
    "Via",
    "Max-Forwards",
    "From",
    "To",
    "Call-ID",
    "CSeq",
    "Route",
    "User-Agent",
    "Authorization",
    "Proxy-Authorization",
    "Content-Length",
];

/// The other headers of a method; `None` for a method that we never send.
fn allowed(method: Method) -> Option<&'static [&'static str]> {
    match method {
        Method::Invite => Some(&[
            "Contact",
            "Content-Type",
            "Accept",
            "Allow",
            "Supported",
            "Require",
            "Session-Expires",
            "Min-SE",
            "P-Asserted-Identity",
            "Privacy",
            "Identity",
            "Date",
        ]),
        Method::Update => {
            Some(&["Contact", "Content-Type", "Allow", "Supported", "Require", "Session-Expires", "Min-SE"])
        }
        Method::Ack => Some(&["Contact", "Content-Type"]),
        Method::PRack => Some(&["RAck", "Content-Type"]),
        Method::Bye | Method::Cancel => Some(&["Reason"]),
        Method::Options => Some(&["Contact", "Accept", "Allow", "Supported"]),
        Method::Info
        | Method::Message
        | Method::Notify
        | Method::Publish
        | Method::Refer
        | Method::Register
        | Method::Subscribe => None,
    }
}

fn name_of(header: &Header) -> Cow<'_, str> {
    let name = match header {
        Header::Other(name, _) => name,
        Header::Via(_) => "Via",
        Header::From(_) => "From",
        Header::To(_) => "To",
        Header::CallId(_) => "Call-ID",
        Header::CSeq(_) => "CSeq",
        Header::MaxForwards(_) => "Max-Forwards",
        Header::Contact(_) => "Contact",
        Header::Route(_) => "Route",
        Header::Allow(_) => "Allow",
        Header::UserAgent(_) => "User-Agent",
        Header::ContentType(_) => "Content-Type",
        Header::ContentLength(_) => "Content-Length",
        // The name is not among its fields, but before the colon of what it prints.
        header => {
            let text = header.to_string();
            return text.split(':').next().unwrap_or_default().trim().to_owned().into();
        }
    };
    name.into()
}

/// From, Contact and P-Asserted-Identity: the user is the number, and there is no other name.
fn identities(request: &Request, number: &str) -> Result<(), Leak> {
    let mut from = 0;
    for header in request.headers.iter() {
        match header {
            Header::From(value) => {
                from += 1;
                is_number(value.value(), number).ok_or(Leak::Identity("From"))?;
            }
            Header::Contact(value) => is_number(value.value(), number).ok_or(Leak::Identity("Contact"))?,
            Header::Other(name, value) if name.eq_ignore_ascii_case("P-Asserted-Identity") => {
                is_number(value, number).ok_or(Leak::Identity("P-Asserted-Identity"))?;
            }
            _ => {}
        }
    }
    if from == 1 { Ok(()) } else { Err(Leak::Identity("From")) }
}

fn is_number(value: &str, number: &str) -> Option<()> {
    // The three headers have the same form, and rsip has a type for it.
    let address = rsip::headers::From::new(value).typed().ok()?;
    let user = address.uri.auth?.user;
    let display = address.display_name.as_deref().map(|d| d.trim().trim_matches('"'));
    (user == number && display.is_none_or(|d| d.is_empty() || d == number)).then_some(())
}

/// The bytes with each IPv6 reference of the head replaced by a name that rsip can read.
fn readable(bytes: &[u8]) -> Cow<'_, [u8]> {
    let head = memmem::find(bytes, b"\r\n\r\n").unwrap_or(bytes.len());
    let (mut rest, tail) = bytes.split_at(head);
    let Some(mut open) = memchr(b'[', rest) else { return bytes.into() };
    let mut copy = Vec::with_capacity(bytes.len() + 64);
    loop {
        copy.extend_from_slice(&rest[..open]);
        rest = &rest[open..];
        match memchr(b']', rest) {
            Some(close) if is_v6(&rest[1..close]) => {
                copy.extend_from_slice(b"ipv6.invalid");
                rest = &rest[close + 1..];
            }
            Some(_) | None => {
                copy.push(b'[');
                rest = &rest[1..];
            }
        }
        match memchr(b'[', rest) {
            Some(at) => open = at,
            None => break,
        }
    }
    copy.extend_from_slice(rest);
    copy.extend_from_slice(tail);
    copy.into()
}

fn is_v6(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|t| t.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests;
