//! Where a test lives: addresses, files, and the configuration of its server.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};

use sha2::{Digest, Sha256};

/// The API key of user alice; the configuration holds its SHA-256.
pub const KEY: &str = "rvk_a-key-for-the-lab";
/// Opens `/v1/admin`.
pub const ADMIN_KEY: &str = "rvk_an-admin-key-for-the-lab";

/// Four loopback addresses and a folder of its own. All of 127/8 is loopback, so with addresses of its
/// own every lab uses the same well-known ports, and no two runs can take each other's.
pub struct Lab {
    base: [u8; 4],
    folder: tempfile::TempDir,
}

impl Lab {
    pub fn new() -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let pid = std::process::id();
        let lab = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(lab < 126, "one test program has at most 125 labs");
        let base = [127, 1 + (pid / 250 % 125) as u8 * 2 + lab / 63, 1 + (pid % 250) as u8, lab % 63 * 4];
        Self { base, folder: tempfile::tempdir().expect("a temporary folder") }
    }

    fn address(&self, host: u8) -> Ipv4Addr {
        let [a, b, c, d] = self.base;
        Ipv4Addr::new(a, b, c, d + host)
    }

    pub fn server(&self) -> Ipv4Addr {
        self.address(0)
    }

    /// The user's phone: leg A.
    pub fn user(&self) -> Ipv4Addr {
        self.address(1)
    }

    /// The destination's phone: leg B.
    pub fn destination(&self) -> Ipv4Addr {
        self.address(2)
    }

    /// Somebody who has no business here.
    pub fn stranger(&self) -> Ipv4Addr {
        self.address(3)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A server between this lab's two phones.
    pub fn settings(&self) -> Settings {
        Settings::new(self.folder(), self.server(), self.user(), self.destination())
    }
}

/// What a test may want different from one server to the next; the rest of the file is constant.
#[derive(Debug, Clone)]
pub struct Settings {
    pub folder: PathBuf,
    pub address: Ipv4Addr,
    /// Where calls to `+1415` go: leg A's phone.
    pub user_phone: SocketAddr,
    /// Where every other call goes: leg B's phone.
    pub destination: SocketAddr,
    /// `udp`, `tcp` or `tls`; the server listens on all that are used here.
    pub user_transport: &'static str,
    pub destination_transport: &'static str,
    /// The lines of `[tls]`; empty without TLS.
    pub tls: String,
    /// More lines of the destination's `[[trunk]]`.
    pub carrier: String,
    /// In place of the destination's address: a URI.
    pub carrier_uri: Option<String>,
    /// Further `[[trunk]]`s.
    pub trunks: String,
    /// More lines of `[sip]`.
    pub sip_lines: String,
    pub media_timeout_seconds: u32,
    pub failure_tone_seconds: u32,
    pub confirm_timeout_seconds: u32,
    pub drain_deadline_seconds: u32,
    pub max_concurrent_legs: u32,
    pub max_calls_per_minute: u32,
    pub daily_spend_limit: &'static str,
    /// A call takes two pairs.
    pub media_ports: &'static str,
    /// The lines of `[store]`.
    pub store: String,
    /// What a leg costs: lines of `[[price]]`.
    pub price: &'static str,
    /// More lines of `[[organization]]`.
    pub organization: String,
    /// The lines of `[webrtc]` and of its `[[webrtc.turn]]`; empty without browsers.
    pub webrtc: String,
    /// The lines of `[webhooks]`; empty for none but the defaults.
    pub webhooks: String,
    /// The lines of `[cluster]`; empty for a node that is alone.
    pub cluster: String,
}

impl Settings {
    pub fn new(folder: &Path, address: Ipv4Addr, user: Ipv4Addr, destination: Ipv4Addr) -> Self {
        Self {
            folder: folder.to_owned(),
            address,
            user_phone: (user, 5060).into(),
            destination: (destination, 5060).into(),
            user_transport: "udp",
            destination_transport: "udp",
            tls: String::new(),
            carrier: String::new(),
            carrier_uri: None,
            trunks: String::new(),
            sip_lines: String::new(),
            media_timeout_seconds: 60,
            failure_tone_seconds: 0,
            confirm_timeout_seconds: 3,
            drain_deadline_seconds: 25,
            max_concurrent_legs: 20,
            max_calls_per_minute: 300,
            daily_spend_limit: "50.00",
            media_ports: "20000-21999",
            store: format!("url = \"{}\"", super::engine::url_of(&folder.join("revbridge.db"))),
            price: "per_minute = \"0.0100\"\nfirst_seconds = 60\nstep_seconds = 6",
            organization: String::new(),
            webrtc: String::new(),
            webhooks: String::new(),
            cluster: String::new(),
        }
    }

    pub fn api(&self) -> SocketAddr {
        (IpAddr::V4(self.address), 8080).into()
    }

    pub fn admin(&self) -> SocketAddr {
        (IpAddr::V4(self.address), 9090).into()
    }

    pub fn sip(&self) -> SocketAddr {
        (IpAddr::V4(self.address), 5060).into()
    }

    /// `[sip] listen`: UDP always, and what the trunks need.
    fn listeners(&self) -> String {
        let address = self.address;
        let needs = |transport| [self.user_transport, self.destination_transport].contains(&transport);
        let mut listeners = vec![format!("\"udp:{address}:5060\"")];
        listeners.extend(needs("tcp").then(|| format!("\"tcp:{address}:5060\"")));
        listeners.extend(needs("tls").then(|| format!("\"tls:{address}:5061\"")));
        listeners.join(", ")
    }

    /// Both trunks have credentials; a phone that never challenges never sees them.
    pub fn config(&self) -> String {
        let Self { address, user_phone, media_ports, .. } = self;
        let carrier_uri = self
            .carrier_uri
            .clone()
            .unwrap_or_else(|| format!("sip:{};transport={}", self.destination, self.destination_transport));
        let credentials = "username = \"bridge\"\npassword = \"s3cret\"\nrealm = \"trunk.example\"\nping_seconds = 0";
        format!(
            r#"
[api]
listen = "{api}"
[admin]
listen = "{admin}"
key_sha256 = "{admin_key}"
[store]
{store}
[sip]
listen = [{listeners}]
{sip_lines}
[tls]
{tls}
[media]
address = "{address}"
ports = "{media_ports}"
rest_seconds = 1
timeout_seconds = {media_timeout}
threads = 1
[calls]
failure_tone_seconds = {failure_tone}
confirm_timeout_seconds = {confirm_timeout}
drain_deadline_seconds = {drain_deadline}
[[trunk]]
name = "phones"
uri = "sip:{user_phone};transport={user_transport}"
prefixes = ["+1415"]
{credentials}
[[trunk]]
name = "carrier"
uri = "{carrier_uri}"
{credentials}
{carrier}
{trunks}
[[price]]
prefix = "+1"
{price}
[[organization]]
id = "acme"
allowed_destinations = ["+1"]
max_concurrent_legs = {legs}
max_calls_per_minute = {rate}
daily_spend_limit = "{spend}"
{organization}
[[organization.user]]
id = "alice"
phone = "{user}"
[[organization.number]]
number = "{owned}"
[[organization.key]]
user = "alice"
sha256 = "{key}"
scopes = ["calls:read", "calls:trace", "calls:write", "voice:webrtc", "webhooks:write"]
{webrtc}
{webhooks}
{cluster}
"#,
            api = self.api(),
            admin = self.admin(),
            listeners = self.listeners(),
            tls = self.tls,
            user_transport = self.user_transport,
            carrier = self.carrier,
            trunks = self.trunks,
            sip_lines = self.sip_lines,
            store = self.store,
            price = self.price,
            media_timeout = self.media_timeout_seconds,
            failure_tone = self.failure_tone_seconds,
            confirm_timeout = self.confirm_timeout_seconds,
            drain_deadline = self.drain_deadline_seconds,
            legs = self.max_concurrent_legs,
            rate = self.max_calls_per_minute,
            spend = self.daily_spend_limit,
            user = super::USER,
            owned = super::OWNED,
            organization = self.organization,
            webrtc = self.webrtc,
            webhooks = self.webhooks,
            cluster = self.cluster,
            key = hex::encode(Sha256::digest(KEY)),
            admin_key = hex::encode(Sha256::digest(ADMIN_KEY)),
        )
    }
}
