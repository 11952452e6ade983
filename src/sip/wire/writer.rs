//! Typed fields to bytes, in a buffer that is used again and again.

use std::fmt::{self, Display, Write};
use std::net::{IpAddr, SocketAddr};

use bytes::{BufMut, BytesMut};

use super::{HeaderName, Host, Method};

/// A value held CR, LF, NUL or another control character; nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a value holds a control character")]
pub struct Injection;

/// Writes one message to the end of a buffer.
///
/// Every value goes through a filter that takes no control character, so no value can end its own
/// line. A refused value poisons the message: [`Writer::finish`] then takes back what was written.
#[derive(Debug)]
pub struct Writer<'b> {
    buffer: &'b mut BytesMut,
    /// The buffer's length before this message.
    start: usize,
    refused: bool,
}

impl<'b> Writer<'b> {
    /// `uri` is the Request-URI, without angle brackets.
    pub fn request(buffer: &'b mut BytesMut, method: Method, uri: impl Display) -> Self {
        let mut writer = Self::new(buffer);
        match method.as_str() {
            Some(name) => writer.raw(name),
            None => writer.refused = true,
        }
        writer.raw(" ");
        writer.word(uri);
        writer.raw(" SIP/2.0\r\n");
        writer
    }

    pub fn response(buffer: &'b mut BytesMut, status: u16, reason: impl Display) -> Self {
        let mut writer = Self::new(buffer);
        writer.raw("SIP/2.0 ");
        writer.value(status, is_control);
        writer.raw(" ");
        writer.value(reason, is_control);
        writer.raw("\r\n");
        writer
    }

    fn new(buffer: &'b mut BytesMut) -> Self {
        let start = buffer.len();
        Self { buffer, start, refused: false }
    }

    /// One header line. [`HeaderName::Other`] has no name to write and is refused.
    pub fn header(&mut self, name: HeaderName, value: impl Display) -> &mut Self {
        self.line(name, value, is_control)
    }

    fn line(&mut self, name: HeaderName, value: impl Display, barred: fn(u8) -> bool) -> &mut Self {
        match name.as_str() {
            Some(name) => self.raw(name),
            None => self.refused = true,
        }
        self.raw(": ");
        self.value(value, barred);
        self.raw("\r\n");
        self
    }

    /// Our own Via, which always asks for the source port (RFC 3581).
    pub fn via(&mut self, transport: &str, sent_by: impl Display, branch: &str) -> &mut Self {
        self.header(HeaderName::Via, format_args!("SIP/2.0/{transport} {sent_by};branch={branch};rport"))
    }

    pub fn cseq(&mut self, number: u32, method: Method) -> &mut Self {
        match method.as_str() {
            Some(method) => self.header(HeaderName::CSeq, format_args!("{number} {method}")),
            None => {
                self.refused = true;
                self
            }
        }
    }

    /// Repeats a value of the message that is being answered; a fold in it becomes a space. What was read there
    /// goes back as it was, escaped control characters too (RFC 4475 §3.1.1.2).
    pub fn echo(&mut self, name: HeaderName, value: &str) -> &mut Self {
        self.line(name, Unfolded(value), |b| matches!(b, 0 | b'\r' | b'\n'))
    }

    /// Content-Type, Content-Length and the body. Returns the message's length.
    pub fn finish_with(mut self, content_type: &str, body: &[u8]) -> Result<usize, Injection> {
        self.header(HeaderName::ContentType, content_type);
        self.end(body)
    }

    /// `Content-Length: 0`. Returns the message's length.
    pub fn finish(self) -> Result<usize, Injection> {
        self.end(b"")
    }

    fn end(mut self, body: &[u8]) -> Result<usize, Injection> {
        self.header(HeaderName::ContentLength, body.len());
        self.raw("\r\n");
        self.buffer.put_slice(body);
        if self.refused {
            self.buffer.truncate(self.start);
            return Err(Injection);
        }
        Ok(self.buffer.len() - self.start)
    }

    fn raw(&mut self, text: &str) {
        self.buffer.put_slice(text.as_bytes());
    }

    /// A value without any of the bytes that are `barred`.
    fn value(&mut self, value: impl Display, barred: fn(u8) -> bool) {
        if write!(Filter { buffer: self.buffer, barred }, "{value}").is_err() {
            self.refused = true;
        }
    }

    /// A value within which a space would begin the next field.
    fn word(&mut self, value: impl Display) {
        self.value(value, |b| is_control(b) || b == b' ');
    }
}

fn is_control(byte: u8) -> bool {
    byte < b' ' || byte == 0x7f
}

struct Filter<'b> {
    buffer: &'b mut BytesMut,
    barred: fn(u8) -> bool,
}

impl fmt::Write for Filter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.bytes().any(self.barred) {
            return Err(fmt::Error);
        }
        self.buffer.put_slice(text.as_bytes());
        Ok(())
    }
}

struct Unfolded<'a>(&'a str);

impl Display for Unfolded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, part) in self.0.split("\r\n").enumerate() {
            if i > 0 {
                f.write_char(' ')?;
            }
            // A tab is white space, but not a character that the writer lets through.
            for (i, part) in part.split('\t').enumerate() {
                if i > 0 {
                    f.write_char(' ')?;
                }
                f.write_str(part)?;
            }
        }
        Ok(())
    }
}

/// `host:port`, an IPv6 address in brackets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostPort<'a> {
    pub host: Host<'a>,
    pub port: Option<u16>,
}

impl From<SocketAddr> for HostPort<'_> {
    fn from(address: SocketAddr) -> Self {
        HostPort { host: Host::Ip(address.ip()), port: Some(address.port()) }
    }
}

impl From<IpAddr> for HostPort<'_> {
    fn from(address: IpAddr) -> Self {
        HostPort { host: Host::Ip(address), port: None }
    }
}

impl Display for HostPort<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => self.host.fmt(f),
        }
    }
}

/// `<uri>;tag=…`, with an optional display name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address<'a, U> {
    pub display: Option<&'a str>,
    pub uri: U,
    pub tag: Option<&'a str>,
}

impl<U: Display> Display for Address<'_, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(display) = self.display {
            write!(f, "{} ", Quoted(display))?;
        }
        write!(f, "<{}>", self.uri)?;
        match self.tag {
            Some(tag) => write!(f, ";tag={tag}"),
            None => Ok(()),
        }
    }
}

/// A quoted-string: what would end it is escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quoted<'a>(pub &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for part in self.0.split_inclusive(['"', '\\']) {
            match part.as_bytes().last() {
                Some(last @ (b'"' | b'\\')) => {
                    f.write_str(&part[..part.len() - 1])?;
                    f.write_char('\\')?;
                    f.write_char(char::from(*last))?;
                }
                Some(_) | None => f.write_str(part)?,
            }
        }
        f.write_char('"')
    }
}
