//! SIP as text, for phones that are written by hand: what was received, and answers to it.

use std::fmt;
use std::net::SocketAddr;

/// One received message. Lines end in CRLF, header names are compared without case; folded lines and
/// compact names are not understood, because the server under test writes neither.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    pub text: String,
    pub from: SocketAddr,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.start(), self.header("CSeq"))
    }
}

impl Message {
    pub fn new(bytes: &[u8], from: SocketAddr) -> Self {
        Self { text: String::from_utf8_lossy(bytes).into_owned(), from }
    }

    pub fn start(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }

    /// The method of a request, the empty string for an answer.
    pub fn method(&self) -> &str {
        if self.status().is_some() { "" } else { self.start().split(' ').next().unwrap_or_default() }
    }

    pub fn status(&self) -> Option<u16> {
        self.start().strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// The request URI.
    pub fn uri(&self) -> &str {
        self.start().split(' ').nth(1).unwrap_or_default()
    }

    /// The first header of this name, or the empty string.
    pub fn header(&self, name: &str) -> &str {
        self.headers(name).next().unwrap_or_default()
    }

    pub fn headers<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.head()
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .filter(move |(n, _)| n.trim().eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    fn head(&self) -> &str {
        self.text.split_once("\r\n\r\n").map_or(&self.text, |(head, _)| head)
    }

    pub fn body(&self) -> &str {
        self.text.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    pub fn call_id(&self) -> &str {
        self.header("Call-ID")
    }

    /// `INVITE` of `CSeq: 1 INVITE`.
    pub fn cseq_method(&self) -> &str {
        self.header("CSeq").split(' ').nth(1).unwrap_or_default()
    }

    /// The URI inside the Contact's angle brackets.
    pub fn contact(&self) -> &str {
        let contact = self.header("Contact");
        contact.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or(contact, |(uri, _)| uri)
    }

    /// Where the description says that RTP is received.
    pub fn rtp(&self) -> Option<SocketAddr> {
        let value = |prefix| self.body().lines().find_map(|line| line.strip_prefix(prefix));
        let address = value("c=IN IP4 ")?.trim().parse().ok()?;
        let port = value("m=audio ")?.split(' ').next()?.parse().ok()?;
        Some(SocketAddr::new(address, port))
    }
}

/// An answer to `request`: its Via, From, Call-ID and CSeq, its To with `tag` when it has none.
pub fn answer(request: &Message, status: &str, tag: &str, more: &[String], body: &str) -> String {
    let mut lines = vec![format!("SIP/2.0 {status}")];
    lines.extend(request.headers("Via").map(|via| format!("Via: {via}")));
    lines.extend(request.headers("Record-Route").map(|route| format!("Record-Route: {route}")));
    let to = request.header("To");
    let tag = if to.contains(";tag=") { String::new() } else { format!(";tag={tag}") };
    lines.push(format!("From: {}", request.header("From")));
    lines.push(format!("To: {to}{tag}"));
    lines.push(format!("Call-ID: {}", request.call_id()));
    lines.push(format!("CSeq: {}", request.header("CSeq")));
    lines.extend_from_slice(more);
    finish(lines, body)
}

/// A request inside the dialog that `invite` opened and that the phone answered with `tag`.
pub fn request_in_dialog(
    invite: &Message,
    tag: &str,
    method: &str,
    cseq: u32,
    me: SocketAddr,
    more: &[String],
    body: &str,
) -> String {
    let mut lines = vec![
        format!("{method} {} SIP/2.0", invite.contact()),
        format!("Via: SIP/2.0/UDP {me};branch=z9hG4bK{tag}{method}{cseq}"),
        "Max-Forwards: 70".into(),
        format!("From: {};tag={tag}", invite.header("To")),
        format!("To: {}", invite.header("From")),
        format!("Call-ID: {}", invite.call_id()),
        format!("CSeq: {cseq} {method}"),
    ];
    lines.extend_from_slice(more);
    finish(lines, body)
}

fn finish(mut lines: Vec<String>, body: &str) -> String {
    lines.push(format!("Content-Length: {}", body.len()));
    lines.join("\r\n") + "\r\n\r\n" + body
}

/// A description that offers or answers PCMU and telephone-event at this address.
pub fn description(rtp: SocketAddr) -> String {
    let ip = rtp.ip();
    format!(
        "v=0\r\no=phone 7 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {} RTP/AVP 0 101\r\n\
         a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n",
        rtp.port()
    )
}
