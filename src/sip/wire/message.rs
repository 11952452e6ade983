//! A message, read in one pass over its bytes.

use memchr::memmem;

use super::error::{Answerable, Fault, ParseError};
use super::headers::{Headers, crlf};
use super::lex::{Cursor, TOKEN, cut, elements, is_token, number, trim};
use super::{Header, HeaderName, Method, NameAddr, Uri, Via, limits};

/// The first line (RFC 3261 §7.1, §7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartLine<'a> {
    Request {
        method: Method,
        /// The method as it was written, for [`Method::Other`].
        method_text: &'a str,
        uri: &'a str,
    },
    /// 100–699.
    Response { status: u16, reason: &'a str },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// Below 2³¹ (RFC 3261 §8.1.1.5).
    pub number: u32,
    pub method: Method,
    pub method_text: &'a str,
}

impl<'a> CSeq<'a> {
    fn parse(value: &'a str) -> Option<Self> {
        let mut cursor = Cursor(value);
        let number = number(cursor.digits()).filter(|n| *n < 1 << 31)?;
        // At least one white space between the two.
        let apart = cursor.spaces();
        let method_text = cursor.run(TOKEN);
        (apart && !method_text.is_empty() && cursor.is_empty()).then(|| CSeq {
            number,
            method: Method::parse(method_text),
            method_text,
        })
    }
}

/// A whole message. The fields are those that every transaction needs; all others are behind
/// [`Message::header`] and its sisters.
#[derive(Debug, Clone, PartialEq)]
pub struct Message<'a> {
    pub start: StartLine<'a>,
    /// The top one: of a request the last hop, of a response ourselves.
    pub via: Via<'a>,
    pub from: NameAddr<'a>,
    pub to: NameAddr<'a>,
    pub call_id: &'a str,
    pub cseq: CSeq<'a>,
    pub max_forwards: Option<u8>,
    /// The first value; `None` also for `*`.
    pub contact: Option<NameAddr<'a>>,
    /// `type/subtype` and its parameters.
    pub content_type: Option<&'a str>,
    pub body: &'a [u8],
    headers: Headers<'a>,
}

impl<'a> Message<'a> {
    /// Reads a datagram, or what [`super::Framer`] cut out of a stream. Bytes after the body are
    /// ignored (RFC 3261 §18.3).
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError<'a>> {
        Self::read(bytes).map_err(|fault| refuse(bytes, fault))
    }

    fn read(bytes: &'a [u8]) -> Result<Self, Fault> {
        let text = text(bytes)?;
        let line = crlf(text.as_bytes(), 0)?;
        let start = StartLine::parse(&text[..line])?;
        let mut headers = Headers::of(text);
        let end = headers.scan(line + 2)?;
        let single = Single::read(&headers)?;
        let via = vias(&headers)?;
        let cseq = single.cseq.ok_or(Fault::Missing(HeaderName::CSeq))?;
        let cseq = CSeq::parse(cseq).ok_or(Fault::Value(HeaderName::CSeq))?;
        if let StartLine::Request { method_text, .. } = start
            && method_text != cseq.method_text
        {
            return Err(Fault::MethodMismatch);
        }
        Ok(Message {
            start,
            via,
            from: address(single.from, HeaderName::From)?,
            to: address(single.to, HeaderName::To)?,
            call_id: call_id(single.call_id)?,
            cseq,
            max_forwards: max_forwards(single.max_forwards)?,
            contact: contact(&headers)?,
            content_type: single.content_type,
            body: body(single.content_length, &bytes[end..])?,
            headers,
        })
    }

    pub fn method(&self) -> Option<Method> {
        match self.start {
            StartLine::Request { method, .. } => Some(method),
            StartLine::Response { .. } => None,
        }
    }

    pub fn status(&self) -> Option<u16> {
        match self.start {
            StartLine::Request { .. } => None,
            StartLine::Response { status, .. } => Some(status),
        }
    }

    /// Every header line in its order.
    pub fn all_headers(&self) -> impl Iterator<Item = Header<'a>> {
        self.headers.iter()
    }

    /// The value of the first line of that name.
    pub fn header(&self, name: HeaderName) -> Option<&'a str> {
        self.headers(name).next()
    }

    /// The value of each line of that name.
    pub fn headers(&self, name: HeaderName) -> impl Iterator<Item = &'a str> {
        self.headers.values(name)
    }

    /// Each element of the comma-separated lists in all lines of that name. Not for
    /// `WWW-Authenticate` and its like, where a comma separates parameters.
    pub fn list(&self, name: HeaderName) -> impl Iterator<Item = &'a str> {
        self.headers(name).flat_map(elements)
    }

    /// Every Via value, top first. They have been read once, so none is faulty.
    pub fn vias(&self) -> impl Iterator<Item = Via<'a>> {
        self.list(HeaderName::Via).filter_map(|text| Via::parse(text).ok())
    }

    /// Name and address of each element: Route, Record-Route, Contact, P-Asserted-Identity.
    pub fn addresses(&self, name: HeaderName) -> impl Iterator<Item = Result<NameAddr<'a>, Fault>> {
        self.list(name).map(NameAddr::parse)
    }

    /// A header that is one decimal number, parameters ignored: RSeq, Min-SE, Expires, Retry-After.
    /// `None` when it is missing or not below 2³².
    pub fn number(&self, name: HeaderName) -> Option<u32> {
        let value = self.header(name)?;
        number(trim(value.split([';', '(']).next()?))
    }

    /// Whether an option tag is in a list header such as Supported or Require.
    pub fn has_option(&self, name: HeaderName, tag: &str) -> bool {
        self.list(name).any(|t| t.eq_ignore_ascii_case(tag))
    }

    /// Whether the body is of that media type, such as `application/sdp`.
    pub fn has_body(&self, media_type: &str) -> bool {
        let essence = self.content_type.and_then(|t| t.split(';').next()).map(trim);
        !self.body.is_empty() && essence.is_some_and(|t| t.eq_ignore_ascii_case(media_type))
    }
}

/// The text with which a message begins: its head and, if it is text too, its body. Only the first
/// [`limits::HEAD_BYTES`] are ever looked at.
fn text(bytes: &[u8]) -> Result<&str, Fault> {
    let window = &bytes[..bytes.len().min(limits::HEAD_BYTES + 4)];
    std::str::from_utf8(window).or_else(|error| {
        let (valid, _) = window.split_at(error.valid_up_to());
        std::str::from_utf8(valid).map_err(|_| Fault::Text)
    })
}

impl<'a> StartLine<'a> {
    fn parse(line: &'a str) -> Result<Self, Fault> {
        let mut cursor = Cursor(line);
        let first = cursor.until(b' ').ok_or(Fault::StartLine)?;
        if first.eq_ignore_ascii_case("SIP/2.0") {
            let (code, reason) = cut(cursor.0, b' ').unwrap_or((cursor.0, ""));
            let status = number(code).filter(|s| code.len() == 3 && (100..700).contains(s)).ok_or(Fault::StartLine)?;
            return Ok(StartLine::Response { status: status as u16, reason });
        }
        if !is_token(first) || cursor.peek() == Some(b' ') {
            return Err(Fault::StartLine);
        }
        let uri = Uri::read(&mut cursor)?;
        match cursor.0.strip_prefix(' ') {
            None => Err(Fault::Uri),
            Some(version) if version.contains(' ') => Err(Fault::StartLine),
            Some(version) if !version.eq_ignore_ascii_case("SIP/2.0") => Err(Fault::Version),
            Some(_) if uri.headers.is_some() => Err(Fault::Uri),
            Some(_) => Ok(StartLine::Request { method: Method::parse(first), method_text: first, uri: uri.text }),
        }
    }
}

/// The lines of the headers that may occur once.
#[derive(Default)]
struct Single<'a> {
    from: Option<&'a str>,
    to: Option<&'a str>,
    call_id: Option<&'a str>,
    cseq: Option<&'a str>,
    max_forwards: Option<&'a str>,
    content_type: Option<&'a str>,
    content_length: Option<&'a str>,
}

impl<'a> Single<'a> {
    /// RFC 4475 §3.3.8: more than one of these is an error, even if they say the same.
    fn read(headers: &Headers<'a>) -> Result<Self, Fault> {
        let mut single = Single::default();
        for line in headers.lines() {
            let Some(slot) = single.slot(line.name) else { continue };
            if slot.replace(headers.value(line)).is_some() {
                return Err(Fault::Doubled(line.name));
            }
        }
        Ok(single)
    }

    fn slot(&mut self, name: HeaderName) -> Option<&mut Option<&'a str>> {
        match name {
            HeaderName::From => Some(&mut self.from),
            HeaderName::To => Some(&mut self.to),
            HeaderName::CallId => Some(&mut self.call_id),
            HeaderName::CSeq => Some(&mut self.cseq),
            HeaderName::MaxForwards => Some(&mut self.max_forwards),
            HeaderName::ContentType => Some(&mut self.content_type),
            HeaderName::ContentLength => Some(&mut self.content_length),
            _ => None,
        }
    }
}

/// The top Via, after all have been read and counted.
fn vias<'a>(headers: &Headers<'a>) -> Result<Via<'a>, Fault> {
    let mut top = None;
    for (count, text) in headers.values(HeaderName::Via).flat_map(elements).enumerate() {
        if count == limits::VIAS {
            return Err(Fault::TooManyVias);
        }
        let via = Via::parse(text)?;
        if via.branch.is_some_and(|b| b.len() > limits::IDENTIFIER_BYTES) {
            return Err(Fault::Value(HeaderName::Via));
        }
        top.get_or_insert(via);
    }
    top.ok_or(Fault::Missing(HeaderName::Via))
}

fn address<'a>(value: Option<&'a str>, name: HeaderName) -> Result<NameAddr<'a>, Fault> {
    let address = NameAddr::parse(value.ok_or(Fault::Missing(name))?);
    let is_tag = |tag: &str| is_token(tag) && tag.len() <= limits::IDENTIFIER_BYTES;
    match &address {
        Ok(read) if read.tag().is_none_or(is_tag) => address,
        Ok(_) | Err(_) => Err(Fault::Value(name)),
    }
}

fn call_id(value: Option<&str>) -> Result<&str, Fault> {
    let id = value.ok_or(Fault::Missing(HeaderName::CallId))?;
    let word = |b: u8| b > b' ' && b < 0x7f;
    if id.is_empty() || id.len() > limits::IDENTIFIER_BYTES || !id.bytes().all(word) {
        return Err(Fault::Value(HeaderName::CallId));
    }
    Ok(id)
}

fn max_forwards(value: Option<&str>) -> Result<Option<u8>, Fault> {
    let read = |text| number(text).and_then(|n| u8::try_from(n).ok()).ok_or(Fault::Value(HeaderName::MaxForwards));
    value.map(read).transpose()
}

fn contact<'a>(headers: &Headers<'a>) -> Result<Option<NameAddr<'a>>, Fault> {
    let first = headers.values(HeaderName::Contact).next().and_then(|value| elements(value).next());
    match first {
        None | Some("*") => Ok(None),
        Some(text) => NameAddr::parse(text).map(Some).map_err(|_| Fault::Value(HeaderName::Contact)),
    }
}

/// RFC 3261 §18.3: what is beyond Content-Length is ignored, what is missing is an error; without the
/// header the body reaches to the end of the datagram.
fn body<'a>(content_length: Option<&str>, rest: &'a [u8]) -> Result<&'a [u8], Fault> {
    let Some(text) = content_length else { return Ok(rest) };
    let length = number(text).ok_or(Fault::Value(HeaderName::ContentLength))?;
    rest.get(..length as usize).ok_or(Fault::ShortBody)
}

/// Looks again at bytes that are not a message. Unless they have a whole head, which is text, that and
/// nothing else is what is wrong with them.
fn refuse(bytes: &[u8], fault: Fault) -> ParseError<'_> {
    let window = &bytes[..bytes.len().min(limits::HEAD_BYTES + 4)];
    let fault = match memmem::find(window, b"\r\n\r\n") {
        None if bytes.len() > limits::HEAD_BYTES => Fault::HeadTooLong,
        None => Fault::Incomplete,
        Some(end) => match std::str::from_utf8(&bytes[..end + 4]) {
            Err(_) => Fault::Text,
            Ok(head) => return ParseError { fault, answerable: answerable(head) },
        },
    };
    fault.into()
}

/// RFC 3261 §8.2.6, RFC 4475 §3.3.1: a bad request is answered if its Via says where to. An ACK never
/// is (§17.1.1.3).
fn answerable(head: &str) -> Option<Box<Answerable<'_>>> {
    let line = &head[..crlf(head.as_bytes(), 0).ok()?];
    let (method, rest) = line.split_once(' ')?;
    let is_request = is_token(method) && rest.trim_end().rsplit_once(' ').is_some_and(|(_, v)| starts_with_sip(v));
    let method = Method::parse(method);
    if !is_request || method == Method::Ack {
        return None;
    }
    let mut headers = Headers::of(head);
    headers.salvage(line.len() + 2);
    let via = headers.values(HeaderName::Via).flat_map(elements).next()?;
    let via = Via::of_any_version(via).ok()?;
    let mut echo: Vec<Header<'_>> = Vec::new();
    for header in headers.iter() {
        let repeats = match header.name {
            HeaderName::Via => echo.len() < limits::VIAS,
            HeaderName::From | HeaderName::To | HeaderName::CallId | HeaderName::CSeq => {
                echo.iter().all(|h| h.name != header.name)
            }
            _ => false,
        };
        if repeats {
            echo.push(header);
        }
    }
    Some(Box::new(Answerable { method, via, echo }))
}

fn starts_with_sip(version: &str) -> bool {
    version.get(..4).is_some_and(|p| p.eq_ignore_ascii_case("SIP/"))
}
