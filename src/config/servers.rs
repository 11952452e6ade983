//! What the process itself opens: `[api]`, `[admin]`, `[store]`, `[sip]`, `[media]`, `[calls]`, `[log]`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::bounds;
use super::section::{At, Section};
use super::tenants::sha256;
use super::trunks::id;
use super::webrtc::origins;
use super::{
    AdminConfig, AdminKey, Allowance, ApiConfig, CallConfig, Listener, LogConfig, MediaConfig, StoreConfig, Transport,
};

const SOCKET: &str = "expected an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080";

pub(super) fn api(mut s: Section<'_, '_>) -> Option<At<ApiConfig>> {
    let listen = s.parsed_or("listen", bounds::API_LISTEN, socket);
    let max_connections = s.size("max_connections", &bounds::API_CONNECTIONS_BOUND, bounds::API_CONNECTIONS);
    let read_timeout = s.seconds("read_timeout_seconds", &bounds::API_READ_TIMEOUT_BOUND, bounds::API_READ_TIMEOUT);
    let max_waiting = s.size("max_waiting", &bounds::API_WAITING_BOUND, bounds::API_WAITING);
    let requests = Allowance {
        per_second: s.whole("requests_per_second", &bounds::API_REQUESTS_BOUND).unwrap_or(bounds::API_REQUESTS),
        burst: s.whole("request_burst", &bounds::API_REQUEST_BURST_BOUND).unwrap_or(bounds::API_REQUEST_BURST),
    };
    let allowed_origins = origins(&mut s);
    s.finish();
    listen.map(|l| {
        l.with(|listen| ApiConfig { listen, max_connections, read_timeout, max_waiting, requests, allowed_origins })
    })
}

pub(super) fn admin(mut s: Section<'_, '_>) -> Option<At<AdminConfig>> {
    let listen = s.parsed_or("listen", bounds::ADMIN_LISTEN, socket);
    let mut keys: Vec<AdminKey> = Vec::new();
    let one = s.parsed("key_sha256", sha256);
    keys.extend(one.map(|key| AdminKey { name: "admin".into(), sha256: key.value }));
    let (mut names, mut digests) =
        (keys.iter().map(|k| Arc::clone(&k.name)).collect(), keys.iter().map(|k| k.sha256).collect());
    if s.is_text("key") {
        s.later(
            "key",
            "the file holds only a key's hash: give key_sha256, which `revbridge key new --for-admin` prints",
        );
        s.finish();
        return None;
    }
    keys.extend(s.each("key", |s| {
        let name = s.required("name", "\"alice\"", admin_name);
        let sha256 = s.required("sha256", "the line that `revbridge key new --for-admin` prints", sha256);
        let unique = name.as_ref().is_some_and(|name| s.unique("name", name, &mut names));
        let new = sha256.as_ref().is_some_and(|sha256| s.unique("sha256", sha256, &mut digests));
        Some(AdminKey { name: name.filter(|_| unique)?.value, sha256: sha256.filter(|_| new)?.value })
    }));
    s.finish();
    listen.map(|l| l.with(|listen| AdminConfig { listen, keys }))
}

/// The configuration file has a name of its own in the audit log.
fn admin_name(text: &str) -> Result<Arc<str>, String> {
    id(text)
        .and_then(|name| if &*name == "file" { Err("this is what the file itself is called".into()) } else { Ok(name) })
}

pub(super) fn store(mut s: Section<'_, '_>) -> Option<StoreConfig> {
    let url = s.parsed_or("url", bounds::STORE_URL, str::parse);
    let mut days = |key, bound, default| {
        let days = s.whole(key, bound).unwrap_or(default);
        (days > 0).then(|| Duration::from_secs(days * 24 * 3600))
    };
    let keep_records = days("keep_records_days", &bounds::KEEP_BOUND, bounds::KEEP_RECORDS);
    let keep_events = days("keep_events_days", &bounds::KEEP_BOUND, bounds::KEEP_EVENTS);
    if keep_events.is_some_and(|kept| kept < Duration::from_secs(bounds::KEEP_EVENTS_LEAST * 24 * 3600)) {
        s.wrong(s.at, "keep_events_days", "webhooks are tried for a day; expected at least 2, or 0 for ever");
    }
    s.finish();
    url.map(|url| StoreConfig { url: url.value, keep_records, keep_events })
}

/// All listeners that could be read; a mistake was noted when there is none.
pub(super) fn sip(mut s: Section<'_, '_>) -> (Vec<At<Listener>>, Duration, Vec<SocketAddr>) {
    let advertise = s.parsed("advertise", advertised);
    let mut texts = s.texts("listen");
    if !s.has("listen") {
        texts.push(At { value: bounds::SIP_LISTEN, at: s.at });
    } else if texts.is_empty() {
        s.missing("listen", r#"["udp:127.0.0.1:5060"]"#);
    }
    let mut listeners: Vec<At<Listener>> = Vec::new();
    for At { value, at } in texts {
        match listener(value, advertise.map(|a| a.value)) {
            Ok(l) if listeners.iter().any(|o| collide(&o.value, &l)) => {
                s.wrong(at, "listen", format_args!("{} is listed twice; remove one", l.local));
            }
            Ok(value) => listeners.push(At { value, at }),
            Err(message) => s.wrong(at, "listen", message),
        }
    }
    let failover = s.seconds("failover_seconds", &bounds::FAILOVER_BOUND, bounds::FAILOVER);
    let dns_servers = s.list("dns_servers", |text| {
        let with_port = text.parse::<SocketAddr>().or_else(|_| text.parse().map(|ip| SocketAddr::new(ip, 53)));
        with_port.map_err(|_| "expected the address of a DNS server, such as \"192.0.2.53\" or \"127.0.0.1:5353\"")
    });
    s.finish();
    (listeners, failover, dns_servers.into_iter().map(|server| server.value).collect())
}

/// Both would be bound to the same port: TCP and TLS share theirs.
fn collide(a: &Listener, b: &Listener) -> bool {
    a.local == b.local && a.transport.is_reliable() == b.transport.is_reliable()
}

fn listener(text: &str, advertise: Option<(IpAddr, Option<u16>)>) -> Result<Listener, &'static str> {
    const EXPECTED: &str = "expected udp:, tcp: or tls: before ADDRESS:PORT, such as udp:127.0.0.1:5060";
    let (transport, address) = text.split_once(':').ok_or(EXPECTED)?;
    let transport = match transport {
        "ws" | "wss" => return Err("browsers do not speak SIP here, see [webrtc]; use udp:, tcp: or tls:"),
        other => Transport::parse(other).ok_or(EXPECTED)?,
    };
    let local = address.parse::<SocketAddr>().map_err(
        |_| "expected an IP address and a port after the transport, such as udp:127.0.0.1:5060 or tls:[::1]:5061",
    )?;
    // Port 0 would be another port after a restart, and dialogs would be lost with the old one.
    if local.port() == 0 {
        return Err("port 0 is not a fixed port; give one from 1 to 65535, such as 5060");
    }
    let (host, port) = match advertise {
        // TLS has a port of its own, so the one that is advertised cannot be its.
        Some((host, port)) if host.is_ipv4() == local.is_ipv4() => match transport {
            Transport::Udp | Transport::Tcp => (host, port.unwrap_or(local.port())),
            Transport::Tls => (host, local.port()),
        },
        Some(_) | None if local.ip().is_unspecified() => {
            return Err("peers cannot be told this address; listen on one of this host's own, or set sip.advertise \
                        to an address of the same family");
        }
        Some(_) | None => (local.ip(), local.port()),
    };
    Ok(Listener { transport, local, advertised: SocketAddr::new(host, port) })
}

pub(super) fn media(mut s: Section<'_, '_>) -> Option<At<MediaConfig>> {
    let address = s.parsed_or("address", bounds::MEDIA_ADDRESS, ip);
    let advertise = s.parsed("advertise", |text| ip(text).and_then(concrete));
    let ports = s.parsed_or("ports", bounds::MEDIA_PORTS, ports);
    let fast_path = s.text("fast_path");
    if let Some(path) = fast_path.as_ref().filter(|p| !["auto", "off"].contains(&p.value)) {
        s.wrong(path.at, "fast_path", "expected \"auto\" or \"off\"");
    }
    let fast_path = fast_path.is_none_or(|path| path.value == "auto");
    let failure_wav = s.text("failure_wav").map(|path| path.value.into());
    let rest = s.seconds("rest_seconds", &bounds::MEDIA_REST_BOUND, bounds::MEDIA_REST);
    let timeout = s.seconds("timeout_seconds", &bounds::MEDIA_TIMEOUT_BOUND, bounds::MEDIA_TIMEOUT);
    let threads = s.size("threads", &bounds::MEDIA_THREADS_BOUND, 0);
    if let Some(a) = address.filter(|a| a.value.is_unspecified() && !s.has("advertise")) {
        s.wrong(a.at, "address", "peers cannot be told this address; set media.advertise to one that they can reach");
    }
    s.finish();
    let (address, ports) = (address?, ports?);
    let advertised = advertise.map_or(address.value, |a| a.value);
    let ports = ports.value;
    Some(address.with(|address| MediaConfig {
        address,
        advertised,
        ports,
        rest,
        timeout,
        threads,
        failure_wav,
        fast_path,
    }))
}

pub(super) fn calls(mut s: Section<'_, '_>) -> CallConfig {
    let currency = s.parsed_or("currency", bounds::CURRENCY, |text| {
        let known = text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase());
        if known { Ok(text.to_owned()) } else { Err("expected the three letters of ISO 4217, such as \"USD\"") }
    });
    let calls = CallConfig {
        max_calls: s.size("max_calls", &bounds::MAX_CALLS_BOUND, bounds::MAX_CALLS),
        default_ring_timeout: s.seconds("ring_timeout_seconds", &bounds::RING_TIMEOUT_BOUND, bounds::RING_TIMEOUT),
        failure_tone: s.seconds("failure_tone_seconds", &bounds::FAILURE_TONE_BOUND, bounds::FAILURE_TONE),
        confirm_timeout: s.seconds("confirm_timeout_seconds", &bounds::CONFIRM_TIMEOUT_BOUND, bounds::CONFIRM_TIMEOUT),
        drain_deadline: s.seconds("drain_deadline_seconds", &bounds::DRAIN_DEADLINE_BOUND, bounds::DRAIN_DEADLINE),
        currency: currency.map(|c| c.value).unwrap_or_default(),
    };
    s.finish();
    calls
}

pub(super) fn log(mut s: Section<'_, '_>) -> LogConfig {
    let json = s.parsed("format", |text| match text {
        "human" => Ok(false),
        "json" => Ok(true),
        _ => Err("expected \"human\" or \"json\""),
    });
    let debug_numbers = s.flag("debug_numbers").unwrap_or(false);
    s.finish();
    LogConfig { json: json.is_some_and(|j| j.value), debug_numbers }
}

pub(super) fn socket(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| SOCKET)
}

pub(super) fn ip(text: &str) -> Result<IpAddr, &'static str> {
    text.parse().map_err(|_| "expected an IP address, such as 192.0.2.10; names come in a later release")
}

/// An address that a peer can send to.
pub(super) fn concrete(address: IpAddr) -> Result<IpAddr, &'static str> {
    if address.is_unspecified() || address.is_multicast() {
        Err("peers cannot send to this address; give the one under which they reach this host")
    } else {
        Ok(address)
    }
}

/// `host[:port]`.
fn advertised(text: &str) -> Result<(IpAddr, Option<u16>), &'static str> {
    let (host, port) = match text.parse::<SocketAddr>() {
        Ok(a) => (a.ip(), Some(a.port())),
        Err(_) => (ip(text)?, None),
    };
    if port == Some(0) {
        Err("port 0 cannot be reached; give one from 1 to 65535")
    } else {
        Ok((concrete(host)?, port))
    }
}

/// `first-last`, both inclusive, of which whole even/odd pairs are used.
fn ports(text: &str) -> Result<(u16, u16), &'static str> {
    let expected = "expected two ports from 1024 to 65535, the smaller first, such as \"20000-29999\"";
    let (first, last) = text.split_once('-').ok_or(expected)?;
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|p| *p >= 1024).ok_or(expected);
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        return Err(expected);
    }
    // RFC 3550 §11: RTP on an even port, RTCP on the next.
    let (even, odd) = (first.next_multiple_of(2), if last % 2 == 1 { last } else { last - 1 });
    // A call takes two pairs.
    if odd < even || (odd - even) < 3 {
        Err("a call needs two even/odd pairs of ports; give more")
    } else {
        Ok((even, odd))
    }
}
