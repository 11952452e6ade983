//! `sip:`, `sips:` and `tel:` URIs (RFC 3261 §19.1, RFC 3966), and hosts.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::Fault;
use super::lex::{is_host, is_token, is_uri, port};

/// A host as it stands in a URI or a Via.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host<'a> {
    Ip(IpAddr),
    Name(&'a str),
}

impl<'a> Host<'a> {
    /// Reads `host[:port]`, an IPv6 address in brackets.
    pub(super) fn parse_with_port(text: &'a str) -> Result<(Self, Option<u16>), Fault> {
        if let Some(rest) = text.strip_prefix('[') {
            // RFC 5118 §4.1: in a URI and a Via an IPv6 address has brackets.
            let (address, tail) = rest.split_once(']').ok_or(Fault::Host)?;
            let address: Ipv6Addr = address.parse().map_err(|_| Fault::Host)?;
            return Ok((Host::Ip(address.into()), colon_port(tail)?));
        }
        let (host, tail) = match text.find(':') {
            Some(at) => text.split_at(at),
            None => (text, ""),
        };
        Ok((Host::parse_bare(host)?, colon_port(tail)?))
    }

    fn parse_bare(text: &'a str) -> Result<Self, Fault> {
        if !is_host(text) {
            return Err(Fault::Host);
        }
        // Only digits can begin the last label of an address, and never that of a name (RFC 1123 §2.1).
        match text.as_bytes()[0].is_ascii_digit().then(|| text.parse().ok()).flatten() {
            Some(v4) => Ok(Host::Ip(IpAddr::V4(v4))),
            None => Ok(Host::Name(text)),
        }
    }
}

fn colon_port(tail: &str) -> Result<Option<u16>, Fault> {
    match tail.strip_prefix(':') {
        Some(text) => port(text.trim()).map(Some),
        None if tail.trim().is_empty() => Ok(None),
        None => Err(Fault::Host),
    }
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Ip(IpAddr::V6(v6)) => write!(f, "[{v6}]"),
            Host::Ip(IpAddr::V4(v4)) => v4.fmt(f),
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
    pub fn parse(text: &'a str) -> Result<Self, Fault> {
        if !is_uri(text) {
            return Err(Fault::Uri);
        }
        let (scheme_text, rest) = text.split_once(':').ok_or(Fault::Uri)?;
        let scheme = match scheme_text {
            s if s.eq_ignore_ascii_case("sip") => Scheme::Sip,
            s if s.eq_ignore_ascii_case("sips") => Scheme::Sips,
            s if s.eq_ignore_ascii_case("tel") => Scheme::Tel,
            s if is_token(s) && s.as_bytes()[0].is_ascii_alphabetic() => Scheme::Other,
            _ => return Err(Fault::Uri),
        };
        let opaque = Uri { text, scheme, user: None, host: None, port: None, params: "", headers: None };
        match scheme {
            Scheme::Sip | Scheme::Sips => opaque.sip(rest),
            Scheme::Tel => Ok(opaque.tel(rest)),
            Scheme::Other => Ok(opaque),
        }
    }

    /// `[user[:password]@]host[:port][;params][?headers]`.
    fn sip(mut self, rest: &'a str) -> Result<Self, Fault> {
        let rest = match rest.split_once('@') {
            // Neither a host, nor a parameter, nor a header can hold `@`, so the first is the only one.
            Some((user, rest)) => {
                let user = user.split_once(':').map_or(user, |(user, _password)| user);
                if user.is_empty() || rest.contains('@') || user.contains(['[', ']', '#']) {
                    return Err(Fault::Uri);
                }
                self.user = Some(user);
                rest
            }
            None => rest,
        };
        let rest = match rest.split_once('?') {
            Some((rest, headers)) => {
                self.headers = Some(headers);
                rest
            }
            None => rest,
        };
        let (host, params) = rest.split_once(';').unwrap_or((rest, ""));
        let (host, port) = Host::parse_with_port(host)?;
        Ok(Uri { host: Some(host), port, params, ..self })
    }

    fn tel(self, rest: &'a str) -> Self {
        let (subscriber, params) = rest.split_once(';').unwrap_or((rest, ""));
        Uri { user: Some(subscriber), params, ..self }
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
        ] {
            assert!(Uri::parse(text).is_err(), "{text}");
        }
    }
}
