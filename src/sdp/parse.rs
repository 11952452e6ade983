//! Bytes to a [`Description`] (RFC 8866 §5, §9).
//!
//! Forgiving where peers are known to be careless (line ends, unknown lines, numbers in `o=`), strict
//! where a wrong guess would send audio astray.

use std::net::{IpAddr, Ipv4Addr};

use smallvec::SmallVec;

use super::attribute::{direction, format, is_token, rtpmap};
use super::{Description, Direction, Format, Media, MediaKind, Origin, Protocol, limits};

/// Why bytes are not a session description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    #[error("not a session description")]
    NotSdp,
    #[error("description too long")]
    TooLong,
    #[error("too many media sections")]
    TooManyMedia,
    #[error("too many attributes")]
    TooManyAttributes,
    #[error("bad m= line")]
    MediaLine,
    #[error("bad c= line")]
    Connection,
}

impl Description {
    /// Reads a whole body. One pass; refused as soon as a limit is reached.
    pub fn parse(bytes: &[u8]) -> Result<Self, SdpError> {
        if bytes.len() > limits::BYTES {
            return Err(SdpError::TooLong);
        }
        let mut lines = bytes.split(|b| *b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l));
        if lines.next() != Some(b"v=0") {
            return Err(SdpError::NotSdp);
        }
        let mut reader = Reader::default();
        for (count, line) in lines.enumerate() {
            if count == limits::LINES {
                return Err(SdpError::TooLong);
            }
            // Text may be in any character set (RFC 8866 §6.10), but no line that we read is.
            let &[kind, b'=', ref value @ ..] = line else { continue };
            if let Ok(value) = std::str::from_utf8(value) {
                reader.line(kind, value.trim_ascii_end())?;
            }
        }
        reader.finish()
    }
}

/// What the lines so far have said.
#[derive(Default)]
struct Reader<'a> {
    origin: Option<Origin>,
    /// Of the session.
    address: Option<IpAddr>,
    direction: Option<Direction>,
    attributes: usize,
    media: SmallVec<[Section<'a>; 2]>,
}

/// An `m=` section in the making.
struct Section<'a> {
    kind: &'a str,
    port: u16,
    protocol: &'a str,
    payload_types: SmallVec<[u8; 8]>,
    /// A `c=` line of its own, and what it came to.
    address: Option<Option<IpAddr>>,
    rtcp: Option<(u16, Option<IpAddr>)>,
    rtpmap: SmallVec<[Format; 8]>,
    direction: Option<Direction>,
    ptime: Option<u8>,
    rtcp_mux: bool,
}

impl<'a> Reader<'a> {
    fn line(&mut self, kind: u8, value: &'a str) -> Result<(), SdpError> {
        match kind {
            b'o' if self.origin.is_none() => self.origin = Some(origin(value)),
            b'c' => {
                let address = connection(value)?;
                match self.media.last_mut() {
                    // More than one per section is for layered multicast (RFC 8866 §5.7): the first counts.
                    Some(section) => _ = section.address.get_or_insert(address),
                    None => self.address = address,
                }
            }
            b'm' if self.media.len() == limits::MEDIA => return Err(SdpError::TooManyMedia),
            b'm' => self.media.push(Section::parse(value).ok_or(SdpError::MediaLine)?),
            b'a' => {
                self.attributes += 1;
                if self.attributes > limits::ATTRIBUTES {
                    return Err(SdpError::TooManyAttributes);
                }
                self.attribute(value);
            }
            _ => {}
        }
        Ok(())
    }

    fn attribute(&mut self, attribute: &'a str) {
        let direction = direction(attribute);
        match self.media.last_mut() {
            Some(section) => {
                section.direction = direction.or(section.direction);
                section.attribute(attribute);
            }
            None => self.direction = direction.or(self.direction),
        }
    }

    fn finish(self) -> Result<Description, SdpError> {
        let Reader { origin, address, direction, media, .. } = self;
        let origin = origin.ok_or(SdpError::NotSdp)?;
        let media = media.into_iter().map(|section| section.finish(address, direction)).collect();
        Ok(Description { origin, media })
    }
}

impl<'a> Section<'a> {
    /// `audio 49170[/2] RTP/AVP 0 8 101`.
    fn parse(value: &'a str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let kind = words.next().filter(|t| is_token(t))?;
        let port = words.next()?;
        let port = port.split_once('/').map_or(port, |(first, _count)| first).parse().ok()?;
        let protocol = words.next().filter(|t| t.split('/').all(is_token))?;
        if kind.len() > limits::TOKEN_BYTES || protocol.len() > limits::TOKEN_BYTES {
            return None;
        }
        let mut payload_types = SmallVec::new();
        for payload_type in words.take(limits::FORMATS).filter_map(|w| w.parse().ok()).filter(|t| *t < 128) {
            // One that is named again is no further format: an answer would repeat it as often.
            if !payload_types.contains(&payload_type) {
                payload_types.push(payload_type);
            }
        }
        Some(Section {
            kind,
            port,
            protocol,
            payload_types,
            address: None,
            rtcp: None,
            rtpmap: SmallVec::new(),
            direction: None,
            ptime: None,
            rtcp_mux: false,
        })
    }

    fn attribute(&mut self, attribute: &str) {
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        match name {
            "rtpmap" => self.rtpmap.extend(rtpmap(value)),
            "rtcp" => self.rtcp = rtcp(value),
            "ptime" => self.ptime = value.trim().parse().ok().filter(|ms| *ms > 0),
            "rtcp-mux" => self.rtcp_mux = true,
            _ => {}
        }
    }

    fn finish(self, session: Option<IpAddr>, direction: Option<Direction>) -> Media {
        let formats = self.payload_types.iter().map(|t| format(&self.rtpmap, *t)).collect();
        let kind = match self.kind {
            kind if kind.eq_ignore_ascii_case("audio") => MediaKind::Audio,
            kind => MediaKind::Other(kind.to_owned()),
        };
        let protocol = match self.protocol {
            "RTP/AVP" => Protocol::RtpAvp,
            protocol => Protocol::Other(protocol.to_owned()),
        };
        Media {
            kind,
            port: self.port,
            address: self.address.unwrap_or(session),
            rtcp: self.rtcp,
            protocol,
            formats,
            direction: self.direction.or(direction).unwrap_or_default(),
            ptime: self.ptime,
            rtcp_mux: self.rtcp_mux,
        }
    }
}

/// `- 3724394400 3724394405 IN IP4 198.51.100.1`. Nothing depends on a peer's numbers but whether they
/// changed, so what is not a number is 0, and what is not an address unspecified.
fn origin(value: &str) -> Origin {
    let mut words = value.split_ascii_whitespace().skip(1);
    let mut number = || words.next().and_then(|w| w.parse().ok()).unwrap_or(0);
    let (session_id, version) = (number(), number());
    let address = words.nth(2).and_then(|w| w.parse().ok()).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    Origin { session_id, version, address }
}

/// `IN IP4 198.51.100.1[/ttl]`. A host name or a multicast group is no address that we send to.
fn connection(value: &str) -> Result<Option<IpAddr>, SdpError> {
    let mut words = value.split_ascii_whitespace();
    let (Some("IN"), Some(family), Some(address)) = (words.next(), words.next(), words.next()) else {
        return Err(SdpError::Connection);
    };
    Ok(address_of(family, address))
}

fn address_of(family: &str, address: &str) -> Option<IpAddr> {
    let address: IpAddr = address.split('/').next()?.parse().ok()?;
    let matches = match family {
        "IP4" => address.is_ipv4(),
        "IP6" => address.is_ipv6(),
        _ => false,
    };
    (matches && !address.is_multicast()).then_some(address)
}

/// RFC 3605: `53020 [IN IP6 2001:db8::1]`.
fn rtcp(value: &str) -> Option<(u16, Option<IpAddr>)> {
    let mut words = value.split_ascii_whitespace();
    let port = words.next()?.parse().ok().filter(|p| *p != 0)?;
    match (words.next(), words.next(), words.next()) {
        (None, _, _) => Some((port, None)),
        (Some("IN"), Some(family), Some(address)) => Some((port, Some(address_of(family, address)?))),
        _ => None,
    }
}
