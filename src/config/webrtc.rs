//! `[webrtc]`: browsers in place of the user's phone.

use std::net::SocketAddr;
use std::sync::Arc;

use super::section::{At, Section};
use super::servers::{concrete, ip, socket};
use super::{TurnServer, WebrtcConfig, bounds};

/// `None` when it is not enabled, or when a mistake was noted. All of it is read either way, so that a
/// mistake does not wait for the day on which it is enabled.
pub(super) fn webrtc(mut s: Section<'_, '_>, api: Option<SocketAddr>) -> Option<At<WebrtcConfig>> {
    let enabled = s.flag("enabled").unwrap_or(false);
    let listen = s.parsed_or("listen", bounds::WEBRTC_LISTEN, fixed_socket);
    let tcp = s.flag("tcp").unwrap_or(true);
    let advertise = s.parsed("advertise", |text| ip(text).and_then(concrete));
    let url = s.parsed("public_url", public_url);
    let allowed_origins = origins(&mut s);
    let grace = s.seconds("grace_seconds", &bounds::GRACE_BOUND, bounds::GRACE);
    let try_page = s.flag("try_page").unwrap_or(false);
    let turn = turn(&mut s);
    if let Some(l) = listen.filter(|l| l.value.ip().is_unspecified() && !s.has("advertise")) {
        s.wrong(l.at, "listen", "browsers cannot be told this address; set webrtc.advertise to one that they reach");
    }
    if let (Some(a), Some(l)) = (advertise, listen)
        && a.value.is_ipv4() != l.value.is_ipv4()
    {
        s.wrong(a.at, "advertise", "is of another family than webrtc.listen; give one of the same");
    }
    // A room's URL must lead to [api]; where that is nobody but its operator knows behind a proxy.
    let public_url = match (url, api) {
        (Some(url), _) => Some(url.value),
        (None, Some(api)) if enabled && !s.has("public_url") && !api.ip().is_loopback() => {
            s.missing("public_url", "\"https://calls.example.com\"");
            None
        }
        (None, api) => api.map(|api| format!("http://{api}").into()),
    };
    s.finish();
    let (listen, public_url) = (listen?, public_url?);
    enabled.then(|| {
        listen.with(|listen| WebrtcConfig {
            listen,
            tcp,
            advertised: advertise.map_or(listen.ip(), |a| a.value),
            public_url,
            allowed_origins,
            grace,
            try_page,
            turn,
        })
    })
}

/// `allowed_origins`: the pages that may speak to some paths.
pub(super) fn origins(s: &mut Section<'_, '_>) -> Vec<String> {
    let origins = s.list("allowed_origins", origin);
    if let Some(first_too_many) = origins.get(bounds::ALLOWED_ORIGINS) {
        let message = format!("more than {}; allow \"*\" or fewer", bounds::ALLOWED_ORIGINS);
        s.wrong(first_too_many.at, "allowed_origins", message);
    }
    origins.into_iter().map(|origin| origin.value).collect()
}

fn turn(s: &mut Section<'_, '_>) -> Vec<TurnServer> {
    let servers = s.each("turn", |s| {
        let uri = s.required("uri", "\"turn:turn.example.com:3478?transport=udp\"", turn_uri);
        let secret = s.required("secret", "the static-auth-secret of coturn", |text| {
            if text.is_empty() { Err("expected the static-auth-secret of coturn, found nothing") } else { Ok(text) }
        });
        let ttl = s.seconds("ttl_seconds", &bounds::TURN_TTL_BOUND, bounds::TURN_TTL);
        let at = s.at;
        let (uri, secret) = (uri?.value.into(), secret?.value.into());
        Some(At { value: TurnServer { uri, secret, ttl }, at })
    });
    if let Some(first_too_many) = servers.get(bounds::TURN_SERVERS) {
        s.wrong(first_too_many.at, "turn", format_args!("more than {}; keep the nearest", bounds::TURN_SERVERS));
    }
    servers.into_iter().map(|server| server.value).collect()
}

/// Port 0 would be another port after each start, and a firewall knows only the one it was told.
fn fixed_socket(text: &str) -> Result<SocketAddr, &'static str> {
    match socket(text)? {
        at if at.port() == 0 => Err("port 0 is not a fixed port; give one from 1 to 65535, such as 7000"),
        at => Ok(at),
    }
}

/// `http[s]://host[:port][/path]`, kept without a slash at its end.
fn public_url(text: &str) -> Result<Arc<str>, &'static str> {
    let expected = "expected the URL under which browsers reach [api], such as \"https://calls.example.com\"";
    let text = text.strip_suffix('/').unwrap_or(text);
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or(expected)?;
    let host = rest.split('/').next().filter(|host| is_host(host));
    let plain = rest.bytes().all(|b| b.is_ascii_graphic() && !b"?#\"<>\\^`{|}@".contains(&b));
    if host.is_some() && plain { Ok(text.into()) } else { Err(expected) }
}

/// `*`, or exactly what a browser writes into `Origin` (RFC 6454 §6.1): scheme and host in lower case,
/// the port unless it is the scheme's own, and nothing else.
fn origin(text: &str) -> Result<String, &'static str> {
    if text == "*" {
        return Ok(text.to_owned());
    }
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let default_port =
        (text.starts_with("https:") && text.ends_with(":443")) || (text.starts_with("http:") && text.ends_with(":80"));
    match rest {
        Some(host) if is_host(host) && !host.bytes().any(|b| b.is_ascii_uppercase()) && !default_port => {
            Ok(text.to_owned())
        }
        Some(_) | None => {
            Err("expected \"*\" or an origin as browsers write it, such as \"https://app.example.com\": \
                               lower case, no path, no slash at its end, no default port")
        }
    }
}

/// `turn:` or `turns:` with a host, as RFC 7065 writes it.
fn turn_uri(text: &str) -> Result<&str, &'static str> {
    let expected = "expected a TURN URI, such as \"turn:turn.example.com:3478?transport=udp\"";
    let rest = text.strip_prefix("turn:").or_else(|| text.strip_prefix("turns:")).ok_or(expected)?;
    let (host, transport) = rest.split_once('?').map_or((rest, None), |(host, query)| (host, Some(query)));
    let known = transport.is_none_or(|query| ["transport=udp", "transport=tcp"].contains(&query));
    if is_host(host) && known { Ok(text) } else { Err(expected) }
}

/// `host`, `host:port`, `[IPv6]` or `[IPv6]:port`.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host.parse::<std::net::Ipv6Addr>().is_ok(), None),
        Some((host, port)) => (host.parse::<std::net::Ipv6Addr>().is_ok(), Some(port.strip_prefix(':').unwrap_or(""))),
        None => {
            let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
            let letters = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
            (!host.is_empty() && host.len() <= 253 && host.bytes().all(letters), port)
        }
    };
    host && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|p| p > 0) && port.bytes().all(|b| b.is_ascii_digit()))
}
