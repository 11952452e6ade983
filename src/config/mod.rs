//! config.toml → [`Config`]: every limit and every default, parsed into types.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
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
    pub sip: SipConfig,
    pub media: MediaConfig,
    pub calls: CallConfig,
    pub log: LogConfig,
    pub trunks: Vec<Arc<Trunk>>,
    /// Prefix with `+`, and the price of a leg to it.
    pub prices: Vec<(String, LegPrice)>,
    pub organizations: Vec<OrganizationConfig>,
}

#[derive(Debug, Clone)]
pub struct ApiConfig {
    pub listen: SocketAddr,
}

#[derive(Debug, Clone)]
pub struct AdminConfig {
    pub listen: SocketAddr,
}

#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The SQLite file.
    pub path: PathBuf,
}

#[derive(Debug, Clone)]
pub struct SipConfig {
    pub listeners: Vec<Listener>,
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
#[derive(Debug, Clone)]
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

#[derive(Debug, Clone)]
pub struct UserConfig {
    pub id: UserId,
    pub phone: Option<E164>,
}

#[derive(Debug, Clone)]
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
    pub credentials: Option<Credentials>,
    /// May be sent P-Asserted-Identity (RFC 3325 §9).
    pub trusted: bool,
    /// Numbers by prefix, digits with `+`; empty takes every number.
    pub prefixes: Vec<String>,
    /// Lower first.
    pub priority: u16,
    pub weight: u16,
    /// How often it is asked whether it is alive; `None` never.
    pub ping: Option<Duration>,
    pub codecs: Vec<crate::sdp::Codec>,
}

/// For this realm at this trunk and nowhere else.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub username: Arc<str>,
    pub password: Arc<str>,
    pub realm: Arc<str>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials {{ realm: {:?} }}", self.realm)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    Udp,
}
