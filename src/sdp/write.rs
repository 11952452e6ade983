//! A [`Description`] to bytes. `o=` and `s=` say nothing, and no line of a peer is repeated but, in the
//! place of a stream that we refuse, its kind and protocol (RFC 3264 §6).

use std::fmt::{self, Display};
use std::net::IpAddr;

use super::{Codec, Description, Format, Media, MediaKind, Protocol};

impl Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.origin.address;
        let (id, version) = (self.origin.session_id, self.origin.version);
        write!(f, "v=0\r\no=- {id} {version} {}\r\ns=-\r\n", Net(address))?;
        write!(f, "c={}\r\nt=0 0\r\n", Net(address))?;
        self.media.iter().try_for_each(|media| write_media(media, address, f))
    }
}

fn write_media(media: &Media, session: IpAddr, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let kind = match &media.kind {
        MediaKind::Audio => "audio",
        MediaKind::Other(kind) => kind,
    };
    let protocol = match &media.protocol {
        Protocol::RtpAvp => "RTP/AVP",
        Protocol::Other(protocol) => protocol,
    };
    write!(f, "m={kind} {} {protocol}", media.port)?;
    if media.formats.is_empty() {
        // A format there must be, even where it means nothing.
        f.write_str(" 0")?;
    }
    media.formats.iter().try_for_each(|format| write!(f, " {}", format.payload_type))?;
    f.write_str("\r\n")?;
    if media.port == 0 {
        return Ok(());
    }
    if let Some(address) = media.address.filter(|a| *a != session) {
        write!(f, "c={}\r\n", Net(address))?;
    }
    media.formats.iter().try_for_each(|format| write_format(*format, f))?;
    if let Some(ptime) = media.ptime {
        write!(f, "a=ptime:{ptime}\r\n")?;
    }
    match media.rtcp {
        Some((port, Some(address))) => write!(f, "a=rtcp:{port} {}\r\n", Net(address))?,
        Some((port, None)) => write!(f, "a=rtcp:{port}\r\n")?,
        None => {}
    }
    if media.rtcp_mux {
        f.write_str("a=rtcp-mux\r\n")?;
    }
    write!(f, "a={}\r\n", media.direction.as_str())
}

fn write_format(Format { payload_type, codec }: Format, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(name) = codec.name() else { return Ok(()) };
    write!(f, "a=rtpmap:{payload_type} {name}/8000\r\n")?;
    match codec {
        // RFC 4733 §2.4.1: the sixteen DTMF events.
        Codec::TelephoneEvent => write!(f, "a=fmtp:{payload_type} 0-15\r\n"),
        Codec::Pcmu | Codec::Pcma | Codec::Other => Ok(()),
    }
}

struct Net(IpAddr);

impl Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = if self.0.is_ipv4() { "IP4" } else { "IP6" };
        write!(f, "IN {family} {}", self.0)
    }
}
