//! The lines of an offer (RFC 8866 §5, RFC 8839, RFC 8842), one after the other.

use smallvec::SmallVec;

use super::{BrowserOffer, Fingerprint, IceCredentials, OfferError, OfferedSection};
use crate::sdp::{Codec, Direction, Format, attribute, limits};

/// More than a browser with many interfaces, relays and both protocols gathers.
const MAX_CANDIDATES: usize = 1_000;
/// RFC 8445 §5.3 and RFC 8839 §5.4: lengths of the credentials, in characters.
const UFRAG: std::ops::RangeInclusive<usize> = 4..=256;
const PWD: std::ops::RangeInclusive<usize> = 22..=256;
/// RFC 9143 §9.1 wants one to three bytes; nobody writes more than this.
const MAX_MID: usize = 16;

/// What the lines so far have said.
#[derive(Default)]
pub(super) struct Reader<'a> {
    session: Transport<'a>,
    direction: Option<Direction>,
    bundle: Option<&'a str>,
    ice_lite: bool,
    candidates: usize,
    sections: Vec<Section<'a>>,
}

/// Attributes that stand for the whole session or in one section.
#[derive(Clone, Copy, Default)]
struct Transport<'a> {
    ufrag: Option<&'a str>,
    pwd: Option<&'a str>,
    fingerprint: Option<Fingerprint>,
    setup: Option<&'a str>,
}

/// An `m=` section in the making.
struct Section<'a> {
    kind: &'a str,
    port: u16,
    protocol: &'a str,
    formats: Vec<&'a str>,
    mid: Option<&'a str>,
    bundle_only: bool,
    rtcp_mux: bool,
    direction: Option<Direction>,
    rtpmap: Vec<Format>,
    transport: Transport<'a>,
}

impl<'a> Reader<'a> {
    pub fn line(&mut self, line: &'a str) -> Result<(), OfferError> {
        match line.split_once('=') {
            Some(("m", _)) if self.sections.len() == limits::MEDIA => Err(OfferError::TooManySections),
            Some(("m", value)) => {
                self.sections.push(Section::parse(value).ok_or(OfferError::Section)?);
                Ok(())
            }
            Some(("a", value)) => self.attribute(value.trim_ascii_end()),
            Some(_) | None => Ok(()),
        }
    }

    fn attribute(&mut self, line: &'a str) -> Result<(), OfferError> {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let direction = attribute::direction(line);
        let section = self.sections.last_mut();
        match name {
            "candidate" => {
                self.candidates += 1;
                if self.candidates > MAX_CANDIDATES {
                    return Err(OfferError::TooManyCandidates);
                }
            }
            "group" => self.bundle = self.bundle.or(value.strip_prefix("BUNDLE ")),
            "ice-lite" => self.ice_lite = true,
            "mid" if value.len() > MAX_MID || !attribute::is_token(value) => return Err(OfferError::Section),
            _ => match section {
                Some(section) => {
                    section.transport.attribute(name, value);
                    section.direction = direction.or(section.direction);
                    section.attribute(name, value);
                }
                None => {
                    self.session.attribute(name, value);
                    self.direction = direction.or(self.direction);
                }
            },
        }
        if let ("mid", Some(section)) = (name, self.sections.last_mut()) {
            section.mid = Some(value);
        }
        Ok(())
    }

    pub fn finish(self) -> Result<BrowserOffer, OfferError> {
        let used = self.sections.iter().position(Section::is_audio).ok_or(OfferError::NoAudio)?;
        let section = &self.sections[used];
        if self.ice_lite {
            return Err(OfferError::IceLite);
        }
        if !section.rtcp_mux {
            return Err(OfferError::NoRtcpMux);
        }
        let transport = section.transport.or(self.session);
        if !matches!(transport.setup, None | Some("actpass" | "active")) {
            return Err(OfferError::Setup);
        }
        let formats = section.g711_and_events();
        let of = |codec| formats.iter().find(|format| format.codec == codec);
        let audio: SmallVec<[Format; 2]> =
            formats.iter().copied().filter(|format| matches!(format.codec, Codec::Pcmu | Codec::Pcma)).collect();
        if audio.is_empty() {
            return Err(OfferError::NoCommonCodec);
        }
        let in_group = |mid: &str| self.bundle.is_some_and(|group| group.split(' ').any(|other| other == mid));
        Ok(BrowserOffer {
            ice: transport.ice().ok_or(OfferError::NoIce)?,
            fingerprint: transport.fingerprint.ok_or(OfferError::NoFingerprint)?,
            telephone_event: of(Codec::TelephoneEvent).map(|format| format.payload_type),
            direction: section.direction.or(self.direction).unwrap_or_default(),
            bundle: section.mid.is_some_and(in_group),
            sections: self.sections.iter().enumerate().map(|(at, section)| section.offered(at == used)).collect(),
            audio,
        })
    }
}

impl<'a> Transport<'a> {
    /// The first of each counts: a second one could only be there to confuse.
    fn attribute(&mut self, name: &str, value: &'a str) {
        match name {
            "ice-ufrag" => _ = self.ufrag.get_or_insert(value),
            "ice-pwd" => _ = self.pwd.get_or_insert(value),
            "setup" => _ = self.setup.get_or_insert(value),
            "fingerprint" => self.fingerprint = self.fingerprint.or(Fingerprint::read(value)),
            _ => {}
        }
    }

    fn or(self, session: Self) -> Self {
        Self {
            ufrag: self.ufrag.or(session.ufrag),
            pwd: self.pwd.or(session.pwd),
            fingerprint: self.fingerprint.or(session.fingerprint),
            setup: self.setup.or(session.setup),
        }
    }

    fn ice(&self) -> Option<IceCredentials> {
        let is_ice = |text: &&str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/');
        let ufrag = self.ufrag.filter(is_ice).filter(|text| UFRAG.contains(&text.len()))?;
        let pwd = self.pwd.filter(is_ice).filter(|text| PWD.contains(&text.len()))?;
        Some(IceCredentials { ufrag: ufrag.into(), pwd: pwd.into() })
    }
}

impl Fingerprint {
    /// `sha-256 4A:AD:…`; `None` for another hash or another shape.
    fn read(value: &str) -> Option<Self> {
        let (hash, digits) = value.split_once(' ')?;
        let mut bytes = [0; 32];
        let mut pairs = digits.split(':');
        for byte in &mut bytes {
            let pair = pairs.next().filter(|pair| pair.len() == 2 && !pair.starts_with('+'))?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        (hash.eq_ignore_ascii_case("sha-256") && pairs.next().is_none()).then_some(Self(bytes))
    }
}

impl<'a> Section<'a> {
    /// `audio 9 UDP/TLS/RTP/SAVPF 111 0 8 126`.
    fn parse(value: &'a str) -> Option<Self> {
        let is_token = |text: &&str| text.len() <= limits::TOKEN_BYTES && attribute::is_token(text);
        let mut words = value.split_ascii_whitespace();
        let kind = words.next().filter(is_token)?;
        let port = words.next()?;
        let port = port.split_once('/').map_or(port, |(first, _count)| first).parse().ok()?;
        let protocol = words.next().filter(|text| text.split('/').all(|part| is_token(&part)))?;
        let formats: Vec<_> = words.take(limits::FORMATS).filter(is_token).collect();
        (protocol.len() <= limits::TOKEN_BYTES && !formats.is_empty()).then(|| Self {
            kind,
            port,
            protocol,
            formats,
            mid: None,
            bundle_only: false,
            rtcp_mux: false,
            direction: None,
            rtpmap: Vec::new(),
            transport: Transport::default(),
        })
    }

    fn attribute(&mut self, name: &str, value: &str) {
        match name {
            "bundle-only" => self.bundle_only = true,
            "rtcp-mux" => self.rtcp_mux = true,
            "rtpmap" if self.rtpmap.len() < limits::FORMATS => self.rtpmap.extend(attribute::rtpmap(value)),
            _ => {}
        }
    }

    /// RFC 5764 §8. A section that is only there within a group has port 0 and is not refused.
    fn is_audio(&self) -> bool {
        let is_open = self.port != 0 || self.bundle_only;
        self.kind == "audio" && is_open && matches!(self.protocol, "UDP/TLS/RTP/SAVPF" | "UDP/TLS/RTP/SAVP")
    }

    /// What we speak of it, each once.
    fn g711_and_events(&self) -> SmallVec<[Format; 3]> {
        let mut known: SmallVec<[Format; 3]> = SmallVec::new();
        // RFC 5761 §4: with RTCP on the same port, these would be taken for it.
        let is_rtp = |payload_type: &u8| *payload_type < 128 && !(64..=95).contains(payload_type);
        for payload_type in self.formats.iter().filter_map(|word| word.parse().ok()).filter(is_rtp) {
            let format = attribute::format(&self.rtpmap, payload_type);
            let is_new = known.iter().all(|other| other.codec != format.codec && other.payload_type != payload_type);
            if format.codec != Codec::Other && is_new {
                known.push(format);
            }
        }
        known
    }

    fn offered(&self, is_used: bool) -> OfferedSection {
        OfferedSection {
            kind: self.kind.into(),
            protocol: self.protocol.into(),
            format: self.formats[0].into(),
            mid: self.mid.map(Into::into),
            is_used,
        }
    }
}
