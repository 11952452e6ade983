//! What no section can know alone: addresses that collide, and the demo key outside loopback.

use std::net::IpAddr;

use super::section::{At, Section};
use super::{
    AdminConfig, ApiConfig, Listener, MediaConfig, StirConfig, TlsConfig, Transport, Trunk, WebhooksConfig,
    WebrtcConfig,
};

/// Two listeners on one port, and media ports in the way of a SIP listener.
pub(super) fn addresses(
    root: &mut Section<'_, '_>,
    api: &At<ApiConfig>,
    admin: &At<AdminConfig>,
    listeners: &[At<Listener>],
    media: &At<MediaConfig>,
) {
    let (a, b) = (api.value.listen, admin.value.listen);
    if a.port() == b.port() && a.port() != 0 && overlap(a.ip(), b.ip()) {
        root.wrong(admin.at, "admin.listen", format_args!("{b} is already taken by api.listen; give another port"));
    }
    let (first, last) = media.value.ports;
    for listener in listeners {
        let local = listener.value.local;
        if (first..=last).contains(&local.port()) && overlap(local.ip(), media.value.address) {
            let message = format!("port {} lies in media.ports; give one outside {first}-{last}", local.port());
            root.wrong(listener.at, "sip.listen", message);
        }
    }
}

/// Browsers' ports, one for each media thread, in the way of others. As many threads as there are cores
/// are not known here, so of those only the first port is checked.
pub(super) fn webrtc_ports(
    root: &mut Section<'_, '_>,
    webrtc: &At<WebrtcConfig>,
    api: &At<ApiConfig>,
    admin: &At<AdminConfig>,
    listeners: &[At<Listener>],
    media: &At<MediaConfig>,
) {
    let WebrtcConfig { listen, tcp, .. } = webrtc.value;
    let threads = u16::try_from(media.value.threads.max(1)).unwrap_or(u16::MAX);
    let Some(last) = listen.port().checked_add(threads - 1) else {
        let message = format!("{threads} media threads need as many ports from {} on; give a lower one", listen.port());
        return root.wrong(webrtc.at, "webrtc.listen", message);
    };
    let taken = |ip: IpAddr, ports: (u16, u16)| overlap(ip, listen.ip()) && ports.0 <= last && listen.port() <= ports.1;
    let one = |at: std::net::SocketAddr| (at.ip(), (at.port(), at.port()));
    let mut others = vec![("media.ports", (media.value.address, media.value.ports))];
    others.extend(listeners.iter().map(|l| ("sip.listen", one(l.value.local))));
    if tcp {
        others.extend([("api.listen", one(api.value.listen)), ("admin.listen", one(admin.value.listen))]);
    }
    for (name, (ip, ports)) in others {
        if taken(ip, ports) {
            let message =
                format!("port {} and those of further media threads meet {name}; give another", listen.port());
            root.wrong(webrtc.at, "webrtc.listen", message);
        }
    }
}

/// Whoever may subscribe could have this host speak to itself: that is for those who sit at it.
pub(super) fn loopback_webhooks(root: &mut Section<'_, '_>, api: &At<ApiConfig>, at: usize, webhooks: &WebhooksConfig) {
    let listen = api.value.listen;
    if webhooks.allow_http_loopback && !listen.ip().is_loopback() {
        let message = format!("is for tests on loopback, and api.listen is {listen}; remove it");
        root.wrong(at, "webhooks.allow_http_loopback", message);
    }
}

/// Both would be bound to the same address.
fn overlap(a: IpAddr, b: IpAddr) -> bool {
    a == b || a.is_unspecified() || b.is_unspecified()
}

/// A trunk is reached from a listener of its own transport and address family. On TCP and TLS we connect to it, but
/// Via and Contact must name where it can connect to us when that connection is lost (RFC 3261 §18.1.1, §18.2.2).
pub(super) fn trunk_ways(root: &mut Section<'_, '_>, listeners: &[At<Listener>], trunks: &[At<Trunk>]) {
    for trunk in trunks {
        if let Some(name) = &trunk.value.name_to_resolve {
            let over = |transport: Transport| listeners.iter().any(|l| l.value.transport == transport);
            if let Some(transport) = name.transport.filter(|transport| !listeners.is_empty() && !over(*transport)) {
                let (name, port) = (transport.as_str(), transport.default_port());
                root.wrong(trunk.at, "trunk.uri", format_args!("no sip.listen has {name}; add {name}:ADDRESS:{port}"));
            }
            continue;
        }
        let (v4, transport) = (trunk.value.target.is_ipv4(), trunk.value.transport);
        let reaches = |l: &At<Listener>| l.value.local.is_ipv4() == v4 && l.value.transport == transport;
        if !listeners.is_empty() && !listeners.iter().any(reaches) {
            let (family, example) = if v4 { ("IPv4", "ADDRESS") } else { ("IPv6", "[ADDRESS]") };
            let (name, port) = (transport.as_str(), transport.default_port());
            let message = format_args!("no sip.listen has {name} and an {family} address; add {name}:{example}:{port}");
            root.wrong(trunk.at, "trunk.uri", message);
        }
    }
}

/// Whoever signs needs a key.
pub(super) fn signed_trunks(root: &mut Section<'_, '_>, stir: Option<&StirConfig>, trunks: &[At<Trunk>]) {
    if let Some(trunk) = trunks.iter().find(|t| t.value.sign).filter(|_| stir.is_none()) {
        root.wrong(trunk.at, "trunk.sign", "needs key_file and certificate_url in [stir]; add them");
    }
}

/// Whoever connects to a TLS listener asks who we are.
pub(super) fn tls_identity(root: &mut Section<'_, '_>, listeners: &[At<Listener>], tls: &TlsConfig) {
    let listener = listeners.iter().find(|l| l.value.transport == Transport::Tls);
    if let Some(listener) = listener.filter(|_| tls.identity.is_none()) {
        let message = "tls: needs certificate_file and key_file in [tls]; add them";
        root.wrong(listener.at, "sip.listen", message);
    }
}

/// Everybody can read the demo key, so it is refused as soon as anybody could use it.
pub(super) fn demo_keys(
    root: &mut Section<'_, '_>,
    api: &At<ApiConfig>,
    admin: &At<AdminConfig>,
    listeners: &[At<Listener>],
    media: &At<MediaConfig>,
    webrtc: Option<&At<WebrtcConfig>>,
    keys: &[usize],
) {
    let mut open = vec![
        ("api.listen", api.value.listen.ip()),
        ("admin.listen", admin.value.listen.ip()),
        ("media.address", media.value.address),
    ];
    open.extend(webrtc.map(|w| ("webrtc.listen", w.value.listen.ip())));
    open.extend(listeners.iter().map(|l| ("sip.listen", l.value.local.ip())));
    let Some((name, address)) = open.into_iter().find(|(_, ip)| !ip.is_loopback()) else { return };
    for at in keys {
        let message = format!(
            "this is the demo key of config.example.toml, which everybody knows, and {name} is {address}, not \
             loopback; make a key of your own with `revbridge key new`"
        );
        root.wrong(*at, "organization.key.sha256", message);
    }
}
