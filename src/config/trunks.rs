//! `[[trunk]]` and `[[price]]`: who carries calls, and what they cost.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::section::{At, Section};
use super::{Credentials, Name, Privacy, Transport, Trunk, bounds};
use crate::guardrails::LegPrice;
use crate::model::Money;
use crate::sdp::Codec;

const URI: &str = "expected sip:HOST[:PORT];transport=udp, tcp or tls, such as \"sip:192.0.2.10:5060;transport=udp\"";

pub(super) fn trunks(root: &mut Section<'_, '_>) -> Vec<At<Trunk>> {
    if !root.has("trunk") {
        root.missing("trunk", "[[trunk]] with name and uri; without one no call can be placed");
    }
    let mut names: Vec<Arc<str>> = Vec::new();
    root.each("trunk", |s| {
        let name = s.required("name", "\"carrier\"", id);
        if let Some(name) = &name {
            s.unique("name", name, &mut names);
        }
        let uri = s.required("uri", "\"sip:192.0.2.10:5060;transport=udp\"", uri);
        let credentials = credentials(s);
        let prefixes = s.list("prefixes", prefix);
        let codecs = codecs(s);
        let ping = s.seconds("ping_seconds", &bounds::TRUNK_PING_BOUND, bounds::TRUNK_PING);
        let expires = s.seconds("register_expires_seconds", &bounds::REGISTER_BOUND, bounds::REGISTER);
        let register = s.flag("register").unwrap_or(false);
        if register && credentials.is_none() {
            s.wrong(s.at, "register", "needs username, password and realm; a registrar knows us by them");
        }
        let session_expires = session_expires(s);
        let reliable_provisionals = s.flag("reliable_provisionals").unwrap_or(true);
        let priority = s.whole("priority", &bounds::TRUNK_ORDER_BOUND).unwrap_or(bounds::TRUNK_PRIORITY.into());
        let weight = s.whole("weight", &bounds::TRUNK_ORDER_BOUND).unwrap_or(bounds::TRUNK_WEIGHT.into());
        let trusted = s.flag("trusted").unwrap_or(false);
        let privacy = s.parsed_or("privacy", "none", privacy).map_or(Privacy::None, |p| p.value);
        if privacy == Privacy::Id && !trusted {
            s.wrong(s.at, "privacy", "\"id\" needs trusted = true: only a trunk that is told the number can keep it");
        }
        let sign = s.flag("sign").unwrap_or(false);
        let mut most = |key| s.whole(key, &bounds::TRUNK_CALLS_BOUND).and_then(|most| u32::try_from(most).ok());
        let (max_calls, max_calls_per_second) = (most("max_calls"), most("max_calls_per_second"));
        let certificate_name = s.parsed("certificate_name", certificate_name);
        let (name, Place { host, port, target, transport, name_to_resolve }) = (name?.value, uri?.value);
        Some(At {
            at: s.at,
            value: Trunk {
                name,
                certificate_name: certificate_name.map_or_else(|| bare(&host).into(), |name| name.value),
                host,
                target,
                transport,
                name_to_resolve,
                port,
                credentials,
                trusted,
                privacy,
                sign,
                prefixes: prefixes.into_iter().map(|p| p.value).collect(),
                priority: u16::try_from(priority).unwrap_or(u16::MAX),
                weight: u16::try_from(weight).unwrap_or(u16::MAX),
                max_calls,
                max_calls_per_second,
                register: register.then_some(expires),
                reliable_provisionals,
                session_expires,
                ping: (!ping.is_zero()).then_some(ping),
                codecs,
            },
        })
    })
}

/// All three of username, password and realm, or none: a password without a realm would be hashed for
/// whoever asks.
fn credentials(s: &mut Section<'_, '_>) -> Option<Credentials> {
    let any = ["username", "password", "realm"].into_iter().any(|k| s.has(k));
    let mut part = |key| {
        if any && !s.has(key) {
            s.missing(key, "\"…\"; username, password and realm belong together");
        }
        s.parsed(key, |text| {
            let printable = !text.is_empty() && text.len() <= 255 && !text.chars().any(char::is_control);
            if printable { Ok(Arc::<str>::from(text)) } else { Err("expected 1 to 255 characters, none of control") }
        })
    };
    let (username, password, realm) = (part("username"), part("password"), part("realm"));
    Some(Credentials { username: username?.value, password: password?.value, realm: realm?.value })
}

/// `None` asks for no session timer.
fn session_expires(s: &mut Section<'_, '_>) -> Option<u32> {
    const KEY: &str = "session_expires_seconds";
    let seconds = s.whole(KEY, &bounds::SESSION_EXPIRES_BOUND).unwrap_or(bounds::SESSION_EXPIRES.into());
    if (1..bounds::SESSION_EXPIRES_LEAST).contains(&seconds) {
        s.wrong(s.at, KEY, "expected 0 or at least 90: no session may expire faster (RFC 4028 §5)");
    }
    u32::try_from(seconds).ok().filter(|seconds| *seconds > 0)
}

fn privacy(text: &str) -> Result<Privacy, &'static str> {
    match text {
        "none" => Ok(Privacy::None),
        "id" => Ok(Privacy::Id),
        _ => Err("expected \"none\" or \"id\""),
    }
}

fn codecs(s: &mut Section<'_, '_>) -> Vec<Codec> {
    let named = s.list("codecs", |text| match text {
        "PCMU" => Ok(Codec::Pcmu),
        "PCMA" => Ok(Codec::Pcma),
        _ => Err("expected \"PCMU\" or \"PCMA\""),
    });
    if named.is_empty() { vec![Codec::Pcmu, Codec::Pcma] } else { named.into_iter().map(|c| c.value).collect() }
}

/// A name that a certificate may have: of a host, or an address.
fn certificate_name(text: &str) -> Result<Arc<str>, &'static str> {
    let labels = |name: &str| name.split('.').all(|l| (1..=63).contains(&l.len()) && !l.starts_with('-'));
    let host = |b: u8| b.is_ascii_alphanumeric() || b"-.".contains(&b);
    let name = !text.is_empty() && text.len() <= 253 && text.bytes().all(host) && labels(text);
    if name || text.parse::<IpAddr>().is_ok() {
        Ok(text.into())
    } else {
        Err("expected the name in the trunk's certificate, such as \"sip.example.com\"")
    }
}

/// A host without the brackets of an IPv6 reference.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host)
}

/// Where a trunk is.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// As written.
    host: Arc<str>,
    port: Option<u16>,
    target: SocketAddr,
    transport: Transport,
    name_to_resolve: Option<Name>,
}

/// `sip:host[:port][;transport=…]`, or `sips:host[:port]`, which is TLS.
fn uri(text: &str) -> Result<Place, String> {
    let (secure, rest) = match text.split_once(':') {
        Some(("sip", rest)) => (false, rest),
        Some(("sips", rest)) => (true, rest),
        Some(_) | None => return Err(URI.to_owned()),
    };
    let (address, parameters) = match rest.split_once(';') {
        Some((address, parameters)) => (address, Some(parameters)),
        None => (rest, None),
    };
    let named =
        parameters.map(|p| p.strip_prefix("transport=").and_then(Transport::parse).ok_or_else(|| URI.to_owned()));
    let named = match (secure, named.transpose()?) {
        (true, None | Some(Transport::Tls | Transport::Tcp)) => Some(Transport::Tls),
        (true, Some(Transport::Udp)) => return Err("sips: is TLS, which does not go over UDP; use sip:".to_owned()),
        (false, named) => named,
    };
    let transport = named.unwrap_or(Transport::Udp);
    if address.contains('@') {
        return Err(format!("a trunk has no user part, its numbers are dialled; {URI}"));
    }
    if let Some((host, port)) = host_name(address)? {
        let target = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        let name_to_resolve = Some(Name { host: host.clone(), port, transport: named });
        return Ok(Place { host, port, target, transport, name_to_resolve });
    }
    let target = target(address, transport.default_port())?;
    if target.port() == 0 || target.ip().is_unspecified() || target.ip().is_multicast() {
        return Err(format!("nothing can be sent to {target}; give the carrier's own address and port"));
    }
    let host = match target.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let port = (target.port() != transport.default_port()).then_some(target.port());
    Ok(Place { host: host.into(), port, target, transport, name_to_resolve: None })
}

fn target(address: &str, default_port: u16) -> Result<SocketAddr, String> {
    if let Ok(ip) = bare(address).parse::<IpAddr>().or_else(|_| address.parse()) {
        return Ok(SocketAddr::new(ip, default_port));
    }
    address.parse().map_err(|_| URI.to_owned())
}

/// A host, and its port where that is given.
type HostPort = (Arc<str>, Option<u16>);

/// `None` for an address.
fn host_name(address: &str) -> Result<Option<HostPort>, String> {
    let (host, port) = address.split_once(':').map_or((address, None), |(host, port)| (host, Some(port)));
    // RFC 1123 §2.1: the last label of a name is not all digits.
    let last = host.rsplit('.').next().unwrap_or_default();
    if address.starts_with('[') || !last.contains(|c: char| c.is_ascii_alphabetic()) {
        return Ok(None);
    }
    let port = port.map(|port| port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(|| URI.to_owned()));
    let host = certificate_name(host).map_err(|_| "expected a host name, such as sip.example.com".to_owned())?;
    Ok(Some((host, port.transpose()?)))
}

pub(super) fn prices(root: &mut Section<'_, '_>) -> Vec<(String, LegPrice)> {
    let mut prefixes: Vec<String> = Vec::new();
    root.each("price", |s| {
        let prefix = s.required("prefix", "\"+1\"", prefix);
        if let Some(prefix) = &prefix {
            s.unique("prefix", prefix, &mut prefixes);
        }
        let per_minute = s.required("per_minute", "\"0.0100\"", str::parse::<Money>);
        let connect = s.parsed_or("connect", "0", str::parse::<Money>);
        let first = s.whole("first_seconds", &bounds::PERIOD_BOUND).unwrap_or(bounds::FIRST_SECONDS);
        let step = s.whole("step_seconds", &bounds::PERIOD_BOUND).unwrap_or(bounds::STEP_SECONDS);
        let price = LegPrice {
            per_minute: per_minute?.value,
            connect: connect?.value,
            first_seconds: u32::try_from(first).ok()?,
            step_seconds: u32::try_from(step).ok()?,
        };
        Some((prefix?.value, price))
    })
}

/// A name or an id.
pub fn id(text: &str) -> Result<Arc<str>, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (1..=bounds::ID_CHARS).contains(&text.len()) && text.chars().all(plain) {
        Ok(text.into())
    } else {
        Err(format!("expected 1 to {} letters, digits, '-', '_' or '.'", bounds::ID_CHARS))
    }
}

/// The start of a number: `+` and 1 to 15 digits.
pub fn prefix(text: &str) -> Result<String, &'static str> {
    let digits = text.strip_prefix('+').unwrap_or_default();
    let good =
        (1..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    if good { Ok(text.to_owned()) } else { Err("expected the start of a number, such as \"+1\" or \"+4420\"") }
}
