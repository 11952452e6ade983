//! A message, read in one pass over its bytes.

use memchr::memmem;
use smallvec::SmallVec;

use super::error::{Answerable, Fault, ParseError};
use super::lex::{elements, is_token, is_token_byte, number, trim};
use super::{HeaderName, Method, NameAddr, Uri, Via, limits};

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

/// One header line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    pub name: HeaderName,
    pub name_text: &'a str,
    /// Trimmed; may hold folds. [`super::unfold`] takes them out.
    pub value: &'a str,
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
        let (digits, method) = value.split_at(value.find(|c: char| !c.is_ascii_digit())?);
        let method_text = trim(method);
        let number = number(digits).filter(|n| *n < 1 << 31)?;
        // At least one white space between the two.
        (method_text.len() < method.len() && is_token(method_text)).then(|| CSeq {
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

type Headers<'a> = SmallVec<[Header<'a>; 32]>;

impl<'a> Message<'a> {
    /// Reads a datagram, or what [`super::Framer`] cut out of a stream. Bytes after the body are
    /// ignored (RFC 3261 §18.3).
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError<'a>> {
        let (head, rest) = split_head(bytes)?;
        let (line, lines) = head.split_once("\r\n").unwrap_or((head, ""));
        let mut headers = Headers::new();
        let scanned = scan(lines, &mut headers);
        let result = StartLine::parse(line)
            .and_then(|start| scanned.map(|()| start))
            .and_then(|start| Core::read(start, &headers, rest));
        match result {
            Ok(core) => Ok(core.with(headers)),
            Err(fault) => Err(ParseError { fault, answerable: answerable(line, &headers) }),
        }
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
    pub fn all_headers(&self) -> &[Header<'a>] {
        &self.headers
    }

    /// The value of the first line of that name.
    pub fn header(&self, name: HeaderName) -> Option<&'a str> {
        self.headers(name).next()
    }

    /// The value of each line of that name.
    pub fn headers(&self, name: HeaderName) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |h| h.name == name).map(|h| h.value)
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

/// Splits at the empty line. Only the first [`limits::HEAD_BYTES`] are ever looked at.
fn split_head(bytes: &[u8]) -> Result<(&str, &[u8]), Fault> {
    let window = &bytes[..bytes.len().min(limits::HEAD_BYTES + 4)];
    let end = memmem::find(window, b"\r\n\r\n").ok_or(if bytes.len() > limits::HEAD_BYTES {
        Fault::HeadTooLong
    } else {
        Fault::Incomplete
    })?;
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| Fault::Text)?;
    Ok((head, &bytes[end + 4..]))
}

impl<'a> StartLine<'a> {
    fn parse(line: &'a str) -> Result<Self, Fault> {
        let (first, rest) = line.split_once(' ').ok_or(Fault::StartLine)?;
        if first.eq_ignore_ascii_case("SIP/2.0") {
            let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
            let status = number(code).filter(|s| code.len() == 3 && (100..700).contains(s)).ok_or(Fault::StartLine)?;
            return Ok(StartLine::Response { status: status as u16, reason });
        }
        let (uri, version) = rest.split_once(' ').ok_or(Fault::StartLine)?;
        if !is_token(first) || uri.is_empty() || version.contains(' ') {
            return Err(Fault::StartLine);
        }
        if !version.eq_ignore_ascii_case("SIP/2.0") {
            return Err(Fault::Version);
        }
        if Uri::parse(uri)?.headers.is_some() {
            return Err(Fault::Uri);
        }
        Ok(StartLine::Request { method: Method::parse(first), method_text: first, uri })
    }
}

/// Names each header line and joins folded ones. Linear: each byte is looked at by one search for the
/// end of its line and one for a stray control character.
fn scan<'a>(lines: &'a str, headers: &mut Headers<'a>) -> Result<(), Fault> {
    let mut rest = lines;
    while !rest.is_empty() {
        let end = line_end(rest)?;
        let (line, tail) = (&rest[..end], rest.get(end + 2..).unwrap_or(""));
        rest = tail;
        if headers.len() == limits::HEADERS {
            return Err(Fault::TooManyHeaders);
        }
        headers.push(Header::parse(line)?);
    }
    Ok(())
}

/// Where the header line ends that begins here: the first CRLF that no white space follows.
fn line_end(text: &str) -> Result<usize, Fault> {
    let bytes = text.as_bytes();
    let mut from = 0;
    loop {
        let Some(at) = memchr::memchr3(b'\r', b'\n', 0, &bytes[from..]).map(|at| from + at) else {
            return Ok(bytes.len());
        };
        if bytes[at] != b'\r' || bytes.get(at + 1) != Some(&b'\n') {
            return Err(Fault::Text);
        }
        match bytes.get(at + 2) {
            Some(b' ' | b'\t') => from = at + 3,
            _ => return Ok(at),
        }
    }
}

impl<'a> Header<'a> {
    fn parse(line: &'a str) -> Result<Self, Fault> {
        let len = line.bytes().position(|b| !is_token_byte(b)).ok_or(Fault::HeaderLine)?;
        let (name, rest) = line.split_at(len);
        // White space before the colon is allowed (RFC 3261 §7.3.1).
        let value = rest.trim_start_matches([' ', '\t']).strip_prefix(':').ok_or(Fault::HeaderLine)?;
        if name.is_empty() {
            return Err(Fault::HeaderLine);
        }
        Ok(Header { name: HeaderName::parse(name), name_text: name, value: trim(value) })
    }
}

/// What [`Message`] holds, without its lines.
struct Core<'a> {
    start: StartLine<'a>,
    via: Via<'a>,
    from: NameAddr<'a>,
    to: NameAddr<'a>,
    call_id: &'a str,
    cseq: CSeq<'a>,
    max_forwards: Option<u8>,
    contact: Option<NameAddr<'a>>,
    content_type: Option<&'a str>,
    body: &'a [u8],
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
    fn read(headers: &[Header<'a>]) -> Result<Self, Fault> {
        let mut single = Single::default();
        for header in headers {
            let Some(slot) = single.slot(header.name) else { continue };
            if slot.replace(header.value).is_some() {
                return Err(Fault::Doubled(header.name));
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

impl<'a> Core<'a> {
    fn read(start: StartLine<'a>, headers: &[Header<'a>], rest: &'a [u8]) -> Result<Self, Fault> {
        let single = Single::read(headers)?;
        let via = vias(headers)?;
        let cseq = single.cseq.ok_or(Fault::Missing(HeaderName::CSeq))?;
        let cseq = CSeq::parse(cseq).ok_or(Fault::Value(HeaderName::CSeq))?;
        if let StartLine::Request { method_text, .. } = start
            && method_text != cseq.method_text
        {
            return Err(Fault::MethodMismatch);
        }
        Ok(Core {
            start,
            via,
            from: address(single.from, HeaderName::From)?,
            to: address(single.to, HeaderName::To)?,
            call_id: call_id(single.call_id)?,
            cseq,
            max_forwards: max_forwards(single.max_forwards)?,
            contact: contact(headers)?,
            content_type: single.content_type,
            body: body(single.content_length, rest)?,
        })
    }

    fn with(self, headers: Headers<'a>) -> Message<'a> {
        let Core { start, via, from, to, call_id, cseq, max_forwards, contact, content_type, body } = self;
        Message { start, via, from, to, call_id, cseq, max_forwards, contact, content_type, body, headers }
    }
}

/// The top Via, after all have been read and counted.
fn vias<'a>(headers: &[Header<'a>]) -> Result<Via<'a>, Fault> {
    let mut top = None;
    let lines = headers.iter().filter(|h| h.name == HeaderName::Via);
    for (count, text) in lines.flat_map(|h| elements(h.value)).enumerate() {
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
    let address = NameAddr::parse(value.ok_or(Fault::Missing(name))?).map_err(|_| Fault::Value(name))?;
    match address.tag() {
        Some(tag) if !is_token(tag) || tag.len() > limits::IDENTIFIER_BYTES => Err(Fault::Value(name)),
        Some(_) | None => Ok(address),
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

fn contact<'a>(headers: &[Header<'a>]) -> Result<Option<NameAddr<'a>>, Fault> {
    let first = headers.iter().find(|h| h.name == HeaderName::Contact).and_then(|h| elements(h.value).next());
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

/// RFC 3261 §8.2.6, RFC 4475 §3.3.1: a bad request is answered if its Via says where to. An ACK never
/// is (§17.1.1.3).
fn answerable<'a>(line: &'a str, headers: &[Header<'a>]) -> Option<Box<Answerable<'a>>> {
    let (method, rest) = line.split_once(' ')?;
    let is_request = is_token(method) && rest.trim_end().rsplit_once(' ').is_some_and(|(_, v)| starts_with_sip(v));
    let method = Method::parse(method);
    if !is_request || method == Method::Ack {
        return None;
    }
    let via = headers.iter().find(|h| h.name == HeaderName::Via)?;
    let via = Via::parse(elements(via.value).next()?).ok()?;
    let mut echo: Vec<Header<'a>> = Vec::new();
    for header in headers {
        let repeats = match header.name {
            HeaderName::Via => echo.len() < limits::VIAS,
            HeaderName::From | HeaderName::To | HeaderName::CallId | HeaderName::CSeq => {
                echo.iter().all(|h| h.name != header.name)
            }
            _ => false,
        };
        if repeats {
            echo.push(*header);
        }
    }
    Some(Box::new(Answerable { method, via, echo }))
}

fn starts_with_sip(version: &str) -> bool {
    version.get(..4).is_some_and(|p| p.eq_ignore_ascii_case("SIP/"))
}
