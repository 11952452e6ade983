//! config.toml → [`Config`]: every limit and every default, parsed into types.
//!
//! ```text
//! text ─ toml ─▶ tables with positions ─ servers, trunks, tenants ─▶ Config ─ checks ─▶ Config, or all mistakes
//! ```
//!
//! A file with mistakes gives no [`Config`], but all of them at once, each with its line and column
//! and what to do about it. Nothing is guessed: a key that does not exist, or does not exist yet, is a
//! mistake, so that nobody relies on a limit that is not kept.
//!
//! Deliberately absent: environment variables, includes, and other formats.

pub mod bounds;
mod checks;
mod cluster;
mod database;
mod section;
mod servers;
mod stir;
mod tenants;
#[cfg(test)]
mod tests;
mod tls;
mod trace;
mod trunks;
mod webhooks;
mod webrtc;

pub use database::{Password, PostgresUrl, StoreUrl, Tls};
pub use section::{ConfigErrors, Problem};
pub use tenants::{DEMO_KEY, SCOPES};
pub use trace::{HepConfig, TraceConfig};
pub use trunks::{id, prefix};

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::guardrails::{LegPrice, Limits};
use serde::{Deserialize, Serialize};

use crate::model::{Confirm, E164, OrganizationId, UserId};

/// The whole configuration, valid as a whole.
#[derive(Debug, Clone)]
pub struct Config {
    pub api: ApiConfig,
    pub admin: AdminConfig,
    pub store: StoreConfig,
    pub cluster: ClusterConfig,
    pub sip: SipConfig,
    pub tls: TlsConfig,
    /// `None`: no trunk has its INVITEs signed.
    pub stir: Option<StirConfig>,
    pub media: MediaConfig,
    /// `None`: calls come from phones only.
    pub webrtc: Option<WebrtcConfig>,
    pub webhooks: WebhooksConfig,
    pub trace: TraceConfig,
    pub calls: CallConfig,
    pub log: LogConfig,
    pub trunks: Vec<Arc<Trunk>>,
    /// Prefix with `+`, and the price of a leg to it.
    pub prices: Vec<(String, LegPrice)>,
    pub organizations: Vec<OrganizationConfig>,
}

/// The HTTP edge for clients.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    pub listen: SocketAddr,
    /// Connections open at once; more wait to be accepted.
    pub max_connections: usize,
    /// For a request's head, and again for its body.
    pub read_timeout: Duration,
    /// Requests that may wait for the switch.
    pub max_waiting: usize,
    /// Of one key, and of one address without a key.
    pub requests: Allowance,
    /// Pages of these origins may speak to the client paths; `*` for all.
    pub allowed_origins: Vec<String>,
}

/// How often somebody may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// At once, after a rest.
    pub burst: u64,
    pub per_second: u64,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { burst: bounds::API_REQUEST_BURST, per_second: bounds::API_REQUESTS }
    }
}

#[derive(Debug, Clone)]
pub struct AdminConfig {
    pub listen: SocketAddr,
    /// Who may use `/v1/admin`; nobody when empty.
    pub keys: Vec<AdminKey>,
}

/// A key for `/v1/admin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminKey {
    /// Who the audit log says it was.
    pub name: Arc<str>,
    pub sha256: [u8; 32],
}

#[derive(Debug, Clone)]
pub struct StoreConfig {
    pub url: StoreUrl,
    /// Records of calls that are over, from their creation; `None` for ever.
    pub keep_records: Option<Duration>,
    /// Events and the records that they hold; `None` for ever.
    pub keep_events: Option<Duration>,
}

impl StoreConfig {
    /// Whether several nodes can use it.
    fn is_shared(&self) -> bool {
        matches!(self.url, StoreUrl::Postgres(_))
    }
}

/// One of several nodes on one store, or the only one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterConfig {
    /// No two processes have the same one at a time.
    pub node: Arc<str>,
    /// How other nodes reach `[api]`, without a slash at its end.
    pub url: Option<Arc<str>>,
    /// A node that is not heard for so long is dead.
    pub lease: Duration,
}

#[derive(Debug, Clone)]
pub struct SipConfig {
    pub listeners: Vec<Listener>,
    /// After so long without any response another trunk is tried, where there is one.
    pub failover: Duration,
    /// Whom trunks' names are asked of; empty for those of this machine.
    pub dns_servers: Vec<SocketAddr>,
}

/// Who we are to peers on TLS, and whom we believe.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// Certificate chain and private key, PEM: of our listeners, and shown to a trunk that asks for one.
    pub identity: Option<TlsIdentity>,
    /// Authorities that sign the trunks' certificates, in place of those of the machine.
    pub ca_file: Option<PathBuf>,
    /// Whether whoever connects to us must have a certificate of such an authority.
    pub verify_clients: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsIdentity {
    pub certificate_file: PathBuf,
    pub key_file: PathBuf,
}

/// With what INVITEs are signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StirConfig {
    /// A private key on P-256, PEM.
    pub key_file: PathBuf,
    /// Where whoever verifies finds the certificate.
    pub certificate_url: Arc<str>,
}

#[derive(Debug, Clone)]
pub struct MediaConfig {
    /// Bound.
    pub address: IpAddr,
    /// Told to peers.
    pub advertised: IpAddr,
    /// First even port and last odd port, inclusive.
    pub ports: (u16, u16),
    /// A released pair is not used again before this.
    pub rest: Duration,
    /// A party that sends nothing for this long, not on hold, ends the call.
    pub timeout: Duration,
    /// 0: one per core.
    pub threads: usize,
    /// A WAV file that a user hears in place of the tone of a destination that failed.
    pub failure_wav: Option<PathBuf>,
    /// Whether the kernel may relay known streams, if it can.
    pub fast_path: bool,
}

/// Browsers in place of the user's phone.
#[derive(Debug, Clone)]
pub struct WebrtcConfig {
    /// Bound, UDP; media thread n takes this port plus n.
    pub listen: SocketAddr,
    /// Whether browsers may come over TCP too (RFC 6544), on the same ports.
    pub tcp: bool,
    /// Told to browsers.
    pub advertised: IpAddr,
    /// How browsers reach `[api]`: the beginning of every `room_url`, without a slash at its end.
    pub public_url: Arc<str>,
    /// Pages of these origins may speak to the browser paths; `*` for all.
    pub allowed_origins: Vec<String>,
    /// How long a browser that was lost may take to come back.
    pub grace: Duration,
    /// Whether `/try` is served.
    pub try_page: bool,
    pub turn: Vec<TurnServer>,
}

impl WebrtcConfig {
    /// Browsers on this address, with every default.
    pub fn on(listen: SocketAddr) -> Self {
        Self {
            listen,
            tcp: true,
            advertised: listen.ip(),
            public_url: format!("http://{}", bounds::API_LISTEN).into(),
            allowed_origins: Vec::new(),
            grace: Duration::from_secs(bounds::GRACE),
            try_page: false,
            turn: Vec::new(),
        }
    }
}

/// Events for those who subscribed.
#[derive(Debug, Clone)]
pub struct WebhooksConfig {
    /// Loopback receivers too, with http or https: for tests.
    pub allow_http_loopback: bool,
    /// Certificates of authorities that are trusted besides those of the machine.
    pub ca_file: Option<PathBuf>,
    /// What signing secrets are made with; the same on every node.
    pub key_file: PathBuf,
    /// Tries at once, of all and of one receiver.
    pub max_in_flight: usize,
    pub max_in_flight_per_receiver: usize,
    /// Of one organization.
    pub max_subscriptions: usize,
}

/// A relay for browsers that cannot reach us, with coturn's `use-auth-secret`.
#[derive(Clone, PartialEq, Eq)]
pub struct TurnServer {
    /// RFC 7065.
    pub uri: Arc<str>,
    pub secret: Arc<str>,
    /// How long a credential is good for.
    pub ttl: Duration,
}

/// Bounds of calls, with the reason at each default in `config.example.toml`.
#[derive(Debug, Clone)]
pub struct CallConfig {
    pub max_calls: usize,
    pub default_ring_timeout: Duration,
    pub failure_tone: Duration,
    pub confirm_timeout: Duration,
    pub drain_deadline: Duration,
    pub currency: String,
}

#[derive(Debug, Clone)]
pub struct LogConfig {
    pub json: bool,
    /// Whole numbers in logs: for a lab only.
    pub debug_numbers: bool,
}

/// What the file declares of one organization.
#[derive(Debug, Clone, PartialEq)]
pub struct OrganizationConfig {
    pub id: OrganizationId,
    pub limits: Limits,
    /// `+1`, `!+1900`.
    pub allowed_destinations: Vec<String>,
    pub numbers: Vec<E164>,
    pub users: Vec<UserConfig>,
    pub keys: Vec<KeyConfig>,
    pub confirm: Confirm,
    pub max_duration: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub struct UserConfig {
    pub id: UserId,
    pub phone: Option<E164>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct KeyConfig {
    pub user: UserId,
    pub sha256: [u8; 32],
    pub scopes: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    pub transport: Transport,
    pub local: SocketAddr,
    /// Host and port for Via and Contact.
    pub advertised: SocketAddr,
}

/// One carrier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trunk {
    pub name: Arc<str>,
    /// Host as configured, for request URIs.
    pub host: Arc<str>,
    pub target: SocketAddr,
    pub transport: Transport,
    /// Where the DNS has to say where it is; until then it has no address, and `target` and `transport` mean nothing.
    pub name_to_resolve: Option<Name>,
    /// As its URI shows it.
    pub port: Option<u16>,
    /// On TLS: the name that its certificate must have (RFC 5922 §7.1). A host name, or an address.
    pub certificate_name: Arc<str>,
    pub credentials: Option<Credentials>,
    /// May be sent P-Asserted-Identity (RFC 3325 §9).
    pub trusted: bool,
    /// Whether it is asked to show the number to nobody (RFC 3323).
    pub privacy: Privacy,
    /// Whether its INVITEs are signed (RFC 8224).
    pub sign: bool,
    /// Numbers by prefix, digits with `+`; empty takes every number.
    pub prefixes: Vec<String>,
    /// Lower first.
    pub priority: u16,
    pub weight: u16,
    /// Legs that it takes at once, and that may begin in any second; `None` without a bound.
    pub max_calls: Option<u32>,
    pub max_calls_per_second: Option<u32>,
    /// How often it is asked whether it is alive; `None` never.
    pub ping: Option<Duration>,
    /// For how long it is asked to know where we are (RFC 3261 §10); `None` for one that does not ask for that.
    pub register: Option<Duration>,
    /// Whether its provisional responses may be reliable (RFC 3262).
    pub reliable_provisionals: bool,
    /// Seconds after which a session that nobody refreshes ends, as it is asked for (RFC 4028); `None` asks for none.
    pub session_expires: Option<u32>,
    pub codecs: Vec<crate::sdp::Codec>,
}

impl Trunk {
    /// One at this address, with every default, that is never asked whether it is alive.
    pub fn at(name: &str, transport: Transport, target: SocketAddr) -> Self {
        let host = match target.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        Self {
            name: name.into(),
            host: host.into(),
            target,
            transport,
            name_to_resolve: None,
            port: (target.port() != transport.default_port()).then_some(target.port()),
            certificate_name: target.ip().to_string().into(),
            credentials: None,
            trusted: false,
            privacy: Privacy::None,
            sign: false,
            prefixes: Vec::new(),
            priority: bounds::TRUNK_PRIORITY,
            weight: bounds::TRUNK_WEIGHT,
            max_calls: None,
            max_calls_per_second: None,
            ping: None,
            register: None,
            reliable_provisionals: true,
            session_expires: Some(bounds::SESSION_EXPIRES),
            codecs: vec![crate::sdp::Codec::Pcmu, crate::sdp::Codec::Pcma],
        }
    }
}

/// What the DNS is asked (RFC 3263 §4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    pub host: Arc<str>,
    /// Then addresses are asked for, and nothing else.
    pub port: Option<u16>,
    /// Then no NAPTR is asked for.
    pub transport: Option<Transport>,
}

/// What a trusted trunk is asked to do with the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Privacy {
    /// Show it.
    #[default]
    None,
    /// Keep it to those whom it trusts itself.
    Id,
}

/// For this realm at this trunk and nowhere else.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub username: Arc<str>,
    pub password: Arc<str>,
    pub realm: Arc<str>,
}

impl Config {
    /// Reads the file; one that cannot be read is a mistake at its start.
    pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
        let file = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, &file),
            Err(e) => {
                let message = format!("cannot be read ({e}); give the path of a config.toml");
                Err(ConfigErrors { file, problems: vec![Problem { line: 1, column: 1, message }] })
            }
        }
    }

    /// Reads `text`; `file` is what the mistakes call it.
    pub fn parse(text: &str, file: &str) -> Result<Config, ConfigErrors> {
        let mut problems = section::Problems::default();
        let (table, syntax) = toml::de::DeTable::parse_recoverable(text);
        problems.broken = !syntax.is_empty();
        for error in syntax {
            problems.add(error.span().map_or(0, |s| s.start), format!("not TOML: {}", error.message()));
        }
        let config = Self::read(section::Section::root(&mut problems, table.get_ref()), Path::new(file));
        match (problems.into_errors(file, text), config) {
            (None, Some(config)) => Ok(config),
            (Some(errors), _) => Err(errors),
            (None, None) => {
                let message = "cannot be understood; compare it with config.example.toml".to_owned();
                Err(ConfigErrors { file: file.to_owned(), problems: vec![Problem { line: 1, column: 1, message }] })
            }
        }
    }

    /// `None` only when a mistake was noted.
    fn read(mut root: section::Section<'_, '_>, file: &Path) -> Option<Config> {
        let api = servers::api(root.table("api"));
        let admin = servers::admin(root.table("admin"));
        let store = servers::store(root.table("store"));
        let cluster = cluster::cluster(root.table("cluster"), store.as_ref().is_none_or(StoreConfig::is_shared));
        let (listeners, failover, dns_servers) = servers::sip(root.table("sip"));
        let tls = tls::tls(root.table("tls"));
        let stir = stir::stir(root.table("stir"));
        let media = servers::media(root.table("media"));
        let webrtc = webrtc::webrtc(root.table("webrtc"), api.as_ref().map(|api| api.value.listen));
        let webhooks = webhooks::webhooks(root.table("webhooks"));
        let trace = trace::trace(root.table("trace"));
        let calls = servers::calls(root.table("calls"));
        let log = servers::log(root.table("log"));
        let trunks = trunks::trunks(&mut root);
        let prices = trunks::prices(&mut root);
        let tenants = tenants::organizations(&mut root, &prices);
        if let (Some(api), Some(admin), Some(media)) = (&api, &admin, &media) {
            checks::addresses(&mut root, api, admin, &listeners, media);
            checks::loopback_webhooks(&mut root, api, webhooks.at, &webhooks.value.config);
            checks::demo_keys(&mut root, api, admin, &listeners, media, webrtc.as_ref(), &tenants.demo_keys);
            if let Some(webrtc) = &webrtc {
                checks::webrtc_ports(&mut root, webrtc, api, admin, &listeners, media);
            }
        }
        checks::trunk_ways(&mut root, &listeners, &trunks);
        checks::signed_trunks(&mut root, stir.as_ref(), &trunks);
        checks::tls_identity(&mut root, &listeners, &tls);
        root.finish();
        let store = store?;
        let key_file = webhooks.value.key_file.unwrap_or_else(|| match &store.url {
            StoreUrl::Sqlite(path) => beside(path, ".webhooks-key"),
            // Beside the configuration. Every node has a copy of the same file.
            StoreUrl::Postgres(_) => file.with_file_name("revbridge.webhooks-key"),
        });
        Some(Config {
            api: api?.value,
            admin: admin?.value,
            store,
            cluster,
            sip: SipConfig { listeners: listeners.into_iter().map(|l| l.value).collect(), failover, dns_servers },
            tls,
            stir,
            media: media?.value,
            webrtc: webrtc.map(|w| w.value),
            trace,
            webhooks: WebhooksConfig { key_file, ..webhooks.value.config },
            calls,
            log,
            trunks: trunks.into_iter().map(|t| Arc::new(t.value)).collect(),
            prices,
            organizations: tenants.organizations,
        })
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials {{ realm: {:?} }}", self.realm)
    }
}

impl std::fmt::Debug for TurnServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TurnServer {{ uri: {:?}, ttl: {:?} }}", self.uri, self.ttl)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
}

impl Transport {
    pub const ALL: [Transport; 3] = [Transport::Udp, Transport::Tcp, Transport::Tls];

    /// As a Via names it (RFC 3261 §20.42).
    pub fn as_via(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
        }
    }

    /// As a URI's parameter, the configuration and metrics name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Transport::ALL.into_iter().find(|transport| transport.as_str() == text)
    }

    /// What is sent arrives, or the connection is lost: nothing is sent again by a timer (RFC 3261 §17).
    pub fn is_reliable(self) -> bool {
        match self {
            Transport::Udp => false,
            Transport::Tcp | Transport::Tls => true,
        }
    }

    /// RFC 3261 §19.1.2.
    pub fn default_port(self) -> u16 {
        match self {
            Transport::Udp | Transport::Tcp => 5060,
            Transport::Tls => 5061,
        }
    }
}
