//! SIP as the phones read and write it: by rsip, which shares no code with the server's own layer.

use rsip::prelude::*;
use rsip::{Header, Headers, Method, Request, Response, SipMessage, StatusCode, Version};

/// A message that arrived, with the fields by which SIP finds its way.
#[derive(Debug, Clone)]
pub struct Incoming {
    pub message: SipMessage,
    pub call_id: String,
    pub branch: String,
    /// Of the top Via.
    pub sent_by: String,
    pub from_tag: String,
    pub to_tag: Option<String>,
    pub cseq: u32,
    pub method: Method,
}

impl Incoming {
    /// `Err` says what rsip does not understand.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let message = SipMessage::try_from(bytes).map_err(|e| e.to_string())?;
        let text = |e: rsip::Error| e.to_string();
        let via = message.via_header().map_err(text)?.typed().map_err(text)?;
        let from = message.from_header().map_err(text)?.typed().map_err(text)?;
        let to = message.to_header().map_err(text)?.typed().map_err(text)?;
        let cseq = message.cseq_header().map_err(text)?.typed().map_err(text)?;
        Ok(Self {
            call_id: message.call_id_header().map_err(text)?.value().to_owned(),
            sent_by: via.uri.host_with_port.to_string(),
            branch: via.branch().ok_or("Via without a branch")?.value().to_owned(),
            from_tag: from.tag().ok_or("From without a tag")?.value().to_owned(),
            to_tag: to.tag().map(|tag| tag.value().to_owned()),
            cseq: cseq.seq,
            method: cseq.method,
            message,
        })
    }

    pub fn request(&self) -> Option<&Request> {
        match &self.message {
            SipMessage::Request(request) => Some(request),
            SipMessage::Response(_) => None,
        }
    }

    pub fn status(&self) -> Option<u16> {
        match &self.message {
            SipMessage::Request(_) => None,
            SipMessage::Response(response) => Some(response.status_code.code()),
        }
    }

    pub fn body(&self) -> &[u8] {
        match &self.message {
            SipMessage::Request(request) => &request.body,
            SipMessage::Response(response) => &response.body,
        }
    }

    /// The start line without numbers, for a ladder.
    pub fn summary(&self) -> String {
        let dialog = self.to_tag.as_deref().map_or(String::new(), |tag| format!(" to {tag}"));
        match &self.message {
            SipMessage::Request(r) => {
                format!("{} ({} {}{dialog})", r.method, self.cseq, short(&self.call_id))
            }
            SipMessage::Response(r) => {
                format!("{} ({} {} {}{dialog})", r.status_code, self.cseq, self.method, short(&self.call_id))
            }
        }
    }
}

fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// The user part of a URI, as dialled or shown.
pub fn user(uri: &rsip::Uri) -> String {
    uri.user().unwrap_or_default().to_owned()
}

/// An answer to `request`: Via, From, To, Call-ID, CSeq and Record-Route as RFC 3261 §8.2.6.2 says,
/// and what the phone adds.
pub fn response(request: &Request, status: u16, to_tag: Option<&str>, extra: &[Header], sdp: Option<&str>) -> String {
    let mut headers = Headers::default();
    for header in request.headers.iter() {
        match header {
            Header::Via(_) | Header::From(_) | Header::CallId(_) | Header::CSeq(_) | Header::RecordRoute(_) => {
                headers.push(header.clone());
            }
            Header::To(to) => headers.push(Header::To(with_tag(to, to_tag))),
            _ => {}
        }
    }
    headers.extend(extra.to_vec());
    let body = finish(&mut headers, sdp);
    Response { status_code: StatusCode::from(status), version: Version::V2, headers, body }.to_string()
}

fn with_tag(to: &rsip::headers::To, tag: Option<&str>) -> rsip::headers::To {
    match tag {
        Some(tag) if !to.value().contains(";tag=") => rsip::headers::To::new(format!("{};tag={tag}", to.value())),
        Some(_) | None => to.clone(),
    }
}

/// Content-Type and Content-Length for an SDP body or none.
fn finish(headers: &mut Headers, sdp: Option<&str>) -> Vec<u8> {
    if sdp.is_some() {
        headers.push(Header::ContentType("application/sdp".into()));
    }
    let body = sdp.unwrap_or_default().as_bytes().to_vec();
    headers.push(Header::ContentLength((body.len() as u32).into()));
    body
}

/// The fields of a request that a phone sends.
pub struct Outgoing<'a> {
    pub method: Method,
    pub uri: &'a str,
    pub transport: &'a str,
    pub via: &'a str,
    pub branch: &'a str,
    pub from: &'a str,
    pub to: &'a str,
    pub call_id: &'a str,
    pub cseq: u32,
    pub extra: Vec<Header>,
    pub sdp: Option<&'a str>,
}

impl Outgoing<'_> {
    pub fn write(self) -> String {
        let mut headers = Headers::default();
        headers.push(Header::Via(format!("SIP/2.0/{} {};branch={}", self.transport, self.via, self.branch).into()));
        headers.push(Header::MaxForwards(70.into()));
        headers.push(Header::From(self.from.into()));
        headers.push(Header::To(self.to.into()));
        headers.push(Header::CallId(self.call_id.into()));
        headers.push(Header::CSeq(format!("{} {}", self.cseq, self.method).into()));
        headers.extend(self.extra);
        let body = finish(&mut headers, self.sdp);
        let uri = rsip::Uri::try_from(self.uri).unwrap_or_default();
        Request { method: self.method, uri, version: Version::V2, headers, body }.to_string()
    }
}
