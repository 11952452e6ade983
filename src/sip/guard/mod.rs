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

mod digits;
mod forbidden;
mod identities;
mod reader;
mod skips;
mod vocabulary;

use std::borrow::Cow;
use std::net::Ipv6Addr;

use memchr::{memchr, memmem};
use rsip::Method;

pub use forbidden::{Forbidden, Party};

use self::identities::Identities;

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
    #[error("the signed statement does not say who calls whom")]
    Statement,
    #[error("something of the other party")]
    OtherParty,
}

/// Reads a request that is about to leave. `shown` is the owned number of its leg; `None` for a request
/// that belongs to no leg.
pub fn check(bytes: &[u8], shown: Option<E164>, forbidden: &Forbidden) -> Result<(), Leak> {
    let head = head(bytes).map(readable).ok_or(Leak::Unreadable)?;
    let (method, headers) = reader::read(&head).ok_or(Leak::Unreadable)?;
    // A leg never registers: its party would become reachable by our name.
    if !is_sent(method) || (method == Method::Register && shown.is_some()) {
        return Err(Leak::Method);
    }
    let shown = shown.map(E164::text);
    let mut seen = Identities::default();
    for header in headers {
        let (name, value) = header.ok_or(Leak::Unreadable)?;
        if !is_allowed(method, name) {
            return Err(Leak::Header(name.to_owned()));
        }
        if name == "RAck" && !is_rack(value) {
            return Err(Leak::Header(name.to_owned()));
        }
        if let Some(number) = &shown {
            seen.see(name, value, number)?;
        }
    }
    let digits = shown.as_ref().map_or("", |number| number.digits());
    if shown.is_some() {
        seen.agree(method, digits, forbidden)?;
    }
    let leaks = around_rack(bytes).into_iter().any(|part| forbidden.occurs_in(part, digits.as_bytes()));
    if leaks { Err(Leak::OtherParty) } else { Ok(()) }
}

/// What is searched: all but the value of RAck. Of its two numbers one is the peer's own RSeq and one is ours, and with
/// the space between them they may read like the end of anybody's number.
fn around_rack(bytes: &[u8]) -> [&[u8]; 2] {
    const NAME: &[u8] = b"\r\nRAck: ";
    if !bytes.starts_with(b"PRACK ") {
        return [bytes, &[]];
    }
    let Some(at) = memmem::find(bytes, NAME) else { return [bytes, &[]] };
    let (before, value) = bytes.split_at(at + NAME.len());
    let end = memchr(b'\r', value).unwrap_or(value.len());
    [before, &value[end..]]
}

/// RFC 3262 §7.2, as our writer spells it: nothing but two numbers of 32 bits, and the INVITE.
fn is_rack(value: &str) -> bool {
    let is_number = |text: &str| text.parse::<u32>().is_ok_and(|number| number.to_string() == text);
    let numbers = value.strip_suffix(" INVITE").and_then(|numbers| numbers.split_once(' '));
    numbers.is_some_and(|(rseq, cseq)| is_number(rseq) && is_number(cseq))
}

/// Whether a Request-URI would be read. Who writes a peer's URI into a request asks first, since a
/// request that cannot be read is not sent.
pub fn reads_uri(uri: &str) -> bool {
    let request = format!("BYE {uri} SIP/2.0\r\n\r\n");
    head(request.as_bytes()).is_some_and(|head| reader::read(&readable(head)).is_some())
}

fn is_sent(method: Method) -> bool {
    match method {
        Method::Invite
        | Method::Update
        | Method::Ack
        | Method::PRack
        | Method::Bye
        | Method::Cancel
        | Method::Options
        | Method::Register => true,
        Method::Info | Method::Message | Method::Notify | Method::Publish | Method::Refer | Method::Subscribe => false,
    }
}

/// By name, as our writer spells it: the methods that may have the header.
fn is_allowed(method: Method, name: &str) -> bool {
    match name {
        "Via"
        | "Max-Forwards"
        | "From"
        | "To"
        | "Call-ID"
        | "CSeq"
        | "Route"
        | "User-Agent"
        | "Authorization"
        | "Proxy-Authorization"
        | "Content-Length" => true,
        "Contact" => {
            matches!(method, Method::Invite | Method::Update | Method::Ack | Method::Options | Method::Register)
        }
        "Expires" => method == Method::Register,
        "Content-Type" => matches!(method, Method::Invite | Method::Update | Method::Ack | Method::PRack),
        "Allow" | "Supported" => matches!(method, Method::Invite | Method::Update | Method::Options),
        "Accept" => matches!(method, Method::Invite | Method::Options),
        "Require" | "Session-Expires" | "Min-SE" => matches!(method, Method::Invite | Method::Update),
        "P-Asserted-Identity" | "Privacy" | "Identity" | "Date" => method == Method::Invite,
        "RAck" => method == Method::PRack,
        "Reason" => matches!(method, Method::Bye | Method::Cancel),
        _ => false,
    }
}

/// The start line and the headers, each with the end of its line.
fn head(bytes: &[u8]) -> Option<&[u8]> {
    memmem::find(bytes, b"\r\n\r\n").map(|end| &bytes[..end + 2])
}

/// The head with each IPv6 reference replaced by a name that rsip can read.
fn readable(head: &[u8]) -> Cow<'_, [u8]> {
    let Some(mut open) = memchr(b'[', head) else { return head.into() };
    let mut rest = head;
    let mut copy = Vec::with_capacity(head.len() + 64);
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
    copy.into()
}

fn is_v6(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|t| t.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests;
