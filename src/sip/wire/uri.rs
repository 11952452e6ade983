//! `sip:`, `sips:` and `tel:` URIs (RFC 3261 §19.1, RFC 3966), and hosts.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Fault;
use super::lex::{Cursor, HOST, TOKEN, URI, URI_PARAM, USER, USERINFO, cut, port};

/// A host as it stands in a URI or a Via.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host<'a> {
    Ip(IpAddr),
    Name(&'a str),
}

impl<'a> Host<'a> {
    /// Reads as far as a host goes.
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self, Fault> {
        if cursor.eat(b'[') {
            // RFC 5118 §4.1: in a URI and a Via an IPv6 address has brackets.
            let address = cursor.until(b']').ok_or(Fault::Host)?;
            return ipv6(address).map(|v6| Host::Ip(v6.into())).ok_or(Fault::Host);
        }
        let text = cursor.run(HOST);
        match ipv4(text) {
            Some(v4) => Ok(Host::Ip(IpAddr::V4(v4))),
            None if text.is_empty() => Err(Fault::Host),
            None => Ok(Host::Name(text)),
        }
    }

    /// Reads what may follow a host.
    pub(super) fn read_port(cursor: &mut Cursor<'a>) -> Result<Option<u16>, Fault> {
        if cursor.eat(b':') { port(cursor.digits()).map(Some) } else { Ok(None) }
    }
}

/// RFC 5118 §4.10: the grammar of RFC 3261 lets a third colon stand before an IPv4 address inside, and whoever
/// reads must bear with it.
fn ipv6(text: &str) -> Option<Ipv6Addr> {
    text.parse().ok().or_else(|| {
        let (before, v4) = text.split_once(":::")?;
        ipv4(v4)?;
        format!("{before}::{v4}").parse().ok()
    })
}

/// What the standard library takes for an address, in less time: every message has half a dozen.
fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let (mut address, mut octet, mut digits, mut dots) = (0u32, 0, 0, 0);
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' if digits == 0 || octet > 0 => {
                octet = octet * 10 + u32::from(byte - b'0');
                digits += 1;
            }
            b'.' if digits > 0 && dots < 3 => {
                address = address << 8 | octet;
                (octet, digits, dots) = (0, 0, dots + 1);
            }
            _ => return None,
        }
        if octet > 255 {
            return None;
        }
    }
    (dots == 3 && digits > 0).then(|| (address << 8 | octet).into())
}

/// What the standard library writes, in less time, for the same reason.
fn write_v4(address: Ipv4Addr, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (mut text, mut end) = ([b'.'; 15], 0);
    for (place, octet) in address.octets().into_iter().enumerate() {
        end += usize::from(place > 0);
        for unit in [100, 10, 1] {
            if octet >= unit || unit == 1 {
                text[end] = b'0' + octet / unit % 10;
                end += 1;
            }
        }
    }
    f.write_str(std::str::from_utf8(&text[..end]).map_err(|_| fmt::Error)?)
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Ip(IpAddr::V6(v6)) => write!(f, "[{v6}]"),
            Host::Ip(IpAddr::V4(v4)) => write_v4(*v4, f),
            Host::Name(name) => f.write_str(name),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Sip,
    Sips,
    Tel,
    /// Well-formed but not ours: 416 if it is the Request-URI (RFC 3261 §8.2.2.1).
    Other,
}

/// A URI, taken apart as far as routing needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uri<'a> {
    /// All of it, as it came.
    pub text: &'a str,
    pub scheme: Scheme,
    /// The user of a SIP URI without its password, the subscriber of a `tel:` URI; escapes are kept.
    pub user: Option<&'a str>,
    /// `None` unless the scheme is SIP.
    pub host: Option<Host<'a>>,
    pub port: Option<u16>,
    params: &'a str,
    /// What follows `?`; never allowed in a Request-URI (RFC 3261 §19.1.1).
    pub headers: Option<&'a str>,
}

impl<'a> Uri<'a> {
    /// Reads one URI, which must be all of `text`.
    pub fn parse(text: &'a str) -> Result<Self, Fault> {
        let mut cursor = Cursor(text);
        let uri = Self::read(&mut cursor)?;
        if cursor.is_empty() { Ok(uri) } else { Err(Fault::Uri) }
    }

    /// Reads as far as a URI goes; what follows is for the caller to judge.
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self, Fault> {
        let text = cursor.0;
        // Nearly all are spelled so.
        let scheme = if cursor.eat_all("sip:") { Scheme::Sip } else { read_scheme(cursor)? };
        let mut uri = Uri { text, scheme, user: None, host: None, port: None, params: "", headers: None };
        match scheme {
            Scheme::Sip | Scheme::Sips => uri.read_sip(cursor)?,
            Scheme::Tel => uri.read_tel(cursor),
            Scheme::Other => _ = cursor.run(URI),
        }
        uri.text = &text[..text.len() - cursor.0.len()];
        Ok(uri)
    }

    /// `[user[:password]@]host[:port][;params][?headers]`.
    fn read_sip(&mut self, cursor: &mut Cursor<'a>) -> Result<(), Fault> {
        let start = *cursor;
        let user = cursor.run(USER);
        if cursor.peek() == Some(b':') {
            // A password, or the port of a host.
            cursor.run(USERINFO);
        }
        if cursor.eat(b'@') {
            self.user = Some(user).filter(|user| !user.is_empty());
            self.user.ok_or(Fault::Uri)?;
        } else {
            *cursor = start;
        }
        self.host = Some(Host::read(cursor)?);
        self.port = Host::read_port(cursor)?;
        if cursor.eat(b';') {
            self.params = cursor.run(URI_PARAM);
        }
        if cursor.eat(b'?') {
            self.headers = Some(cursor.run(USERINFO));
        }
        Ok(())
    }

    fn read_tel(&mut self, cursor: &mut Cursor<'a>) {
        let rest = cursor.run(URI);
        let (subscriber, params) = cut(rest, b';').unwrap_or((rest, ""));
        self.user = Some(subscriber);
        self.params = params;
    }

    /// Names and values of the URI's own parameters.
    pub fn params(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> + use<'a> {
        self.params.split(';').filter(|p| !p.is_empty()).map(|p| match p.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (p, None),
        })
    }

    /// The value of a parameter; `Some("")` when it has none, as `;lr`.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        self.params().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.unwrap_or(""))
    }
}

fn read_scheme(cursor: &mut Cursor<'_>) -> Result<Scheme, Fault> {
    let scheme = match cursor.run(TOKEN) {
        s if s.eq_ignore_ascii_case("sip") => Scheme::Sip,
        s if s.eq_ignore_ascii_case("sips") => Scheme::Sips,
        s if s.eq_ignore_ascii_case("tel") => Scheme::Tel,
        s if s.starts_with(|first: char| first.is_ascii_alphabetic()) => Scheme::Other,
        _ => return Err(Fault::Uri),
    };
    if cursor.eat(b':') { Ok(scheme) } else { Err(Fault::Uri) }
}

impl fmt::Display for Uri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sip_uri_is_taken_apart() {
        let uri = Uri::parse("sip:+14155550100:pw@[2001:db8::1]:5070;transport=udp;lr?Subject=x").unwrap();
        assert_eq!(uri.user, Some("+14155550100"));
        assert_eq!(uri.host, Some(Host::Ip("2001:db8::1".parse().unwrap())));
        assert_eq!(uri.port, Some(5070));
        assert_eq!(uri.param("Transport"), Some("udp"));
        assert_eq!(uri.param("lr"), Some(""));
        assert_eq!(uri.headers, Some("Subject=x"));
    }

    #[test]
    fn a_user_may_hold_what_a_host_may_not() {
        let uri = Uri::parse("sip:user;par=u%40example.net@example.com").unwrap();
        assert_eq!(uri.user, Some("user;par=u%40example.net"));
        assert_eq!(uri.host, Some(Host::Name("example.com")));
        assert_eq!(Uri::parse("tel:+1-201-555-0123;phone-context=x").unwrap().user, Some("+1-201-555-0123"));
        assert_eq!(Uri::parse("nobodyKnowsThisScheme:totallyopaquecontent").unwrap().scheme, Scheme::Other);
    }

    proptest::proptest! {
        #[test]
        fn an_address_is_written_as_the_standard_library_writes_it(bits: u32) {
            let address = Ipv4Addr::from(bits);
            proptest::prop_assert_eq!(Host::Ip(address.into()).to_string(), address.to_string());
        }

        #[test]
        fn an_address_is_what_the_standard_library_takes_for_one(text in "[0-2]?[0-9]{0,2}([.][0-2]?[0-9]{0,2}){2,4}") {
            proptest::prop_assert_eq!(ipv4(&text), text.parse().ok());
        }

        #[test]
        fn every_address_is_read(address: Ipv4Addr) {
            proptest::prop_assert_eq!(ipv4(&address.to_string()), Some(address));
        }
    }

    #[test]
    fn what_is_not_a_uri_is_refused() {
        for text in [
            "",
            "sip",
            "sip:",
            "sip:@h",
            "sip:a@",
            "sip:a@b@c",
            "sip:a@h:0",
            "sip:a@h:65536",
            "sip:a@h:-1",
            "sip:a@h:",
            "sip:a@[::1",
            "sip:a@[::1]x",
            "sip:a@2001:db8::1",
            "sip:a b@h",
            "sip:<a>@h",
            "sip:a@h\r\nX: y",
            "1sip:x",
            "sip:a@hé",
            "sip:a@[1.2.3.4]",
            "sip:a@[fe80::1%25eth0]",
            "sip:a@[2001:db8:::10]",
            "sip:a@[2001:db8::::192.0.2.1]",
            "sip:a@[2001::db8:::192.0.2.1]",
        ] {
            assert!(Uri::parse(text).is_err(), "{text}");
        }
    }
}
