//! What can be wrong with a message, and whether its sender can be told.

use super::{Header, HeaderName, Method, Via};

/// Why bytes are not a message. The words are ours alone and hold nothing of the message, so they may
/// be logged and sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    #[error("no end of headers")]
    Incomplete,
    #[error("headers too long")]
    HeadTooLong,
    #[error("too many headers")]
    TooManyHeaders,
    #[error("too many Via values")]
    TooManyVias,
    #[error("not UTF-8, or a control character")]
    Text,
    #[error("bad start line")]
    StartLine,
    #[error("not SIP/2.0")]
    Version,
    #[error("bad header line")]
    HeaderLine,
    #[error("missing header")]
    Missing(HeaderName),
    #[error("doubled header")]
    Doubled(HeaderName),
    #[error("bad header value")]
    Value(HeaderName),
    #[error("CSeq does not name the method")]
    MethodMismatch,
    #[error("body shorter than Content-Length")]
    ShortBody,
    #[error("bad URI")]
    Uri,
    #[error("bad host")]
    Host,
    #[error("bad port")]
    Port,
    #[error("bad parameter")]
    Parameter,
    #[error("bad name or address")]
    NameAddr,
}

impl Fault {
    /// The final answer to a request with this fault: status and reason phrase.
    pub fn status(self) -> (u16, &'static str) {
        match self {
            Fault::Version => (505, "Version Not Supported"),
            Fault::HeadTooLong | Fault::TooManyHeaders | Fault::TooManyVias => (513, "Message Too Large"),
            Fault::Incomplete
            | Fault::Text
            | Fault::StartLine
            | Fault::HeaderLine
            | Fault::Missing(_)
            | Fault::Doubled(_)
            | Fault::Value(_)
            | Fault::MethodMismatch
            | Fault::ShortBody
            | Fault::Uri
            | Fault::Host
            | Fault::Port
            | Fault::Parameter
            | Fault::NameAddr => (400, "Bad Request"),
        }
    }
}

/// A message that cannot be taken. Without `answerable` it is garbage, or a response, or an ACK: to be
/// dropped in silence.
#[derive(Debug, Clone, PartialEq)]
pub struct ParseError<'a> {
    pub fault: Fault,
    pub answerable: Option<Box<Answerable<'a>>>,
}

impl From<Fault> for ParseError<'_> {
    fn from(fault: Fault) -> Self {
        ParseError { fault, answerable: None }
    }
}

/// As much of a bad request as its refusal needs: a Via that says where to, and whatever of the headers
/// that a response repeats could be found (RFC 3261 §8.2.6.2).
#[derive(Debug, Clone, PartialEq)]
pub struct Answerable<'a> {
    pub method: Method,
    pub via: Via<'a>,
    pub(super) echo: Vec<Header<'a>>,
}

impl<'a> Answerable<'a> {
    /// The Via, From, To, Call-ID and CSeq lines, raw and in their order; at most one of each but Via.
    pub fn echo(&self) -> impl Iterator<Item = (HeaderName, &'a str)> {
        self.echo.iter().map(|h| (h.name, h.value))
    }
}
