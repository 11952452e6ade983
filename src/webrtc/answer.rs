//! Our answer, written from typed fields (RFC 8866, RFC 8829 §5.3, RFC 8839).

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::Site;
use crate::media::{BrowserOffer, IceCredentials, OfferedSection};
use crate::sdp::{Codec, Direction};

/// What the answer says of us.
pub(super) struct Answer<'a> {
    pub offer: &'a BrowserOffer,
    pub site: &'a Site,
    pub session_id: u64,
    pub version: u64,
    pub ice: &'a IceCredentials,
    pub fingerprint: &'a [u8],
    pub ssrc: u32,
    pub cname: &'a str,
    /// The names of our stream and its track.
    pub msid: [&'a str; 2],
}

/// RFC 8445 §5.1.2.1: host, the first choice, and the second.
const UDP_PRIORITY: u32 = 126 << 24 | 65_535 << 8 | 255;
const TCP_PRIORITY: u32 = 90 << 24 | 65_535 << 8 | 255;

impl Answer<'_> {
    pub fn write(&self) -> String {
        let mut text = String::with_capacity(1_024);
        let address = connection(self.site.udp);
        line(&mut text, format_args!("v=0"));
        line(&mut text, format_args!("o=- {} {} {address}", self.session_id, self.version));
        line(&mut text, format_args!("s=-"));
        line(&mut text, format_args!("t=0 0"));
        line(&mut text, format_args!("a=ice-lite"));
        let used = self.offer.sections().iter().find(|section| section.is_used).and_then(|s| s.mid.as_deref());
        if let Some(mid) = used.filter(|_| self.offer.bundle()) {
            line(&mut text, format_args!("a=group:BUNDLE {mid}"));
        }
        for section in self.offer.sections() {
            match section.is_used {
                true => self.audio(&mut text, section, &address),
                false => refused(&mut text, section),
            }
        }
        text
    }

    fn audio(&self, text: &mut String, section: &OfferedSection, address: &str) {
        let OfferedSection { protocol, mid, .. } = section;
        let event = self.offer.telephone_event();
        let _ = write!(text, "m=audio {} {protocol}", self.site.udp.port());
        let payload_types = self.offer.audio().iter().map(|format| format.payload_type).chain(event);
        payload_types.for_each(|payload_type| _ = write!(text, " {payload_type}"));
        line(text, format_args!(""));
        line(text, format_args!("c={address}"));
        if let Some(mid) = mid {
            line(text, format_args!("a=mid:{mid}"));
        }
        line(text, format_args!("a={}", self.offer.direction().mirrored().as_str()));
        line(text, format_args!("a=rtcp-mux"));
        line(text, format_args!("a=ice-ufrag:{}", self.ice.ufrag));
        line(text, format_args!("a=ice-pwd:{}", self.ice.pwd));
        let pairs: Vec<_> = self.fingerprint.iter().map(|byte| format!("{byte:02X}")).collect();
        line(text, format_args!("a=fingerprint:sha-256 {}", pairs.join(":")));
        line(text, format_args!("a=setup:passive"));
        for format in self.offer.audio() {
            let name = format.codec.name().unwrap_or_default();
            line(text, format_args!("a=rtpmap:{} {name}/8000", format.payload_type));
        }
        if let Some(event) = event {
            let name = Codec::TelephoneEvent.name().unwrap_or_default();
            line(text, format_args!("a=rtpmap:{event} {name}/8000"));
            line(text, format_args!("a=fmtp:{event} 0-15"));
        }
        line(text, format_args!("a=ptime:20"));
        if self.offer.direction().receives() {
            let [stream, track] = self.msid;
            line(text, format_args!("a=msid:{stream} {track}"));
            line(text, format_args!("a=ssrc:{} cname:{}", self.ssrc, self.cname));
        }
        let Site { udp, tcp, .. } = self.site;
        line(text, format_args!("a=candidate:1 1 udp {UDP_PRIORITY} {} {} typ host", udp.ip(), udp.port()));
        if let Some(tcp) = tcp {
            let (ip, port) = (tcp.ip(), tcp.port());
            line(text, format_args!("a=candidate:2 1 tcp {TCP_PRIORITY} {ip} {port} typ host tcptype passive"));
        }
        line(text, format_args!("a=end-of-candidates"));
    }
}

/// RFC 3264 §6: in its own place, with port 0.
fn refused(text: &mut String, section: &OfferedSection) {
    let OfferedSection { kind, protocol, format, mid, .. } = section;
    line(text, format_args!("m={kind} 0 {protocol} {format}"));
    line(text, format_args!("c=IN IP4 0.0.0.0"));
    if let Some(mid) = mid {
        line(text, format_args!("a=mid:{mid}"));
    }
    line(text, format_args!("a={}", Direction::Inactive.as_str()));
}

fn connection(at: SocketAddr) -> String {
    let family = if at.is_ipv4() { "IP4" } else { "IP6" };
    format!("IN {family} {}", at.ip())
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    let _ = write!(text, "{line}\r\n");
}
