//! Responses: what each of them repeats of its request (RFC 3261 §8.2.6), and where they go (§18.2.2,
//! RFC 3581).

use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::wire::{HeaderName, Host, Message, Via, Writer, elements};
use super::{Flow, status};

/// Where the response to a request goes that came from `source`: always back to that host, and to the
/// port that its sender asked for. On a connection, on that connection.
pub fn destination(via: &Via<'_>, flow: Flow) -> Flow {
    match via.rport {
        None if !flow.transport.is_reliable() => otherwise(via, flow),
        Some(_) | None => flow,
    }
}

/// Where it goes when the connection that the request came on is lost: to where its sender listens.
pub fn otherwise(via: &Via<'_>, flow: Flow) -> Flow {
    let port = via.port.unwrap_or(flow.transport.default_port());
    Flow { remote: SocketAddr::new(flow.remote.ip(), port), ..flow }
}

/// RFC 3261 §20.33: seconds, and perhaps a comment or parameters.
pub fn retry_after(message: &Message<'_>) -> Option<Duration> {
    let value = message.header(HeaderName::RetryAfter)?;
    let digits = value.split(|c: char| !c.is_ascii_digit()).next().filter(|digits| digits.len() <= 9)?;
    digits.parse().ok().map(Duration::from_secs)
}

/// Writes a response. `tag` is added to a To that has none; `more` writes the headers of its own.
pub fn write(
    request: &Message<'_>,
    source: SocketAddr,
    status: u16,
    tag: impl Display,
    more: impl FnOnce(&mut Writer<'_>),
    body: Option<(&str, &[u8])>,
) -> Option<Bytes> {
    let mut buffer = BytesMut::with_capacity(768);
    let mut writer = Writer::response(&mut buffer, status, status::reason(status));
    for (index, value) in request.list(HeaderName::Via).enumerate() {
        if index == 0 {
            echo_top_via(&mut writer, value, &request.via, source);
        } else {
            writer.echo(HeaderName::Via, value);
        }
    }
    for name in [HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq] {
        let Some(value) = request.header(name) else { continue };
        if name == HeaderName::To && request.to.tag().is_none() {
            writer.echo(name, &format!("{value};tag={tag}"));
        } else {
            writer.echo(name, value);
        }
    }
    more(&mut writer);
    let written = match body {
        Some((content_type, body)) => writer.finish_with(content_type, body),
        None => writer.finish(),
    };
    written.ok().map(|_| buffer.freeze())
}

/// The top Via with the source filled in (RFC 3261 §18.2.1, RFC 3581 §4).
pub fn echo_top_via(writer: &mut Writer<'_>, text: &str, via: &Via<'_>, source: SocketAddr) {
    writer.echo(HeaderName::Via, &TopVia { text, via, source }.to_string());
}

struct TopVia<'a> {
    /// The first element of the Via header.
    text: &'a str,
    via: &'a Via<'a>,
    source: SocketAddr,
}

impl Display for TopVia<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = elements(self.text).next().unwrap_or_default();
        let asks = self.via.rport == Some(None);
        for (index, part) in first.split(';').enumerate() {
            let separator = if index == 0 { "" } else { ";" };
            if asks && index > 0 && part.trim().eq_ignore_ascii_case("rport") {
                write!(f, "{separator}rport={}", self.source.port())?;
            } else {
                write!(f, "{separator}{part}")?;
            }
        }
        let differs = self.via.host != Host::Ip(self.source.ip());
        if (asks || differs) && self.via.received.is_none() {
            write!(f, ";received={}", self.source.ip())?;
        }
        Ok(())
    }
}
