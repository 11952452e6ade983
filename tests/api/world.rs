//! One server on loopback with two organizations.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use revbridge::api::{Api, Edge, ServeLimits, WebhookApi, router, serve};
use revbridge::config::Config;
use revbridge::events::{Reach, SigningKey};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::backend::{Backend, Door, now};
use crate::client::{Response, exchange, request};

/// May do everything.
pub const ALICE: &str = "key-of-alice";
/// May only read.
pub const READER: &str = "key-of-a-reader";
/// May only write, and has no phone of its own.
pub const WRITER: &str = "key-of-a-writer";
/// Of another organization.
pub const MALLORY: &str = "key-of-mallory";

pub const FROM: &str = "+12025550100";
pub const TO: &str = "+12125550123";
pub const PHONE: &str = "+14155550100";

/// Short, so that tests of slow peers are quick.
pub const READ_TIMEOUT: Duration = Duration::from_millis(700);
pub const MAX_CONNECTIONS: usize = 400;
pub const MAX_SUBSCRIPTIONS: usize = 5;

pub struct World {
    pub address: SocketAddr,
    pub backend: Arc<Backend>,
    _runtime: Runtime,
}

impl World {
    pub fn new() -> Self {
        Self::with(GENEROUS)
    }

    /// With these limits for the first organization.
    pub fn with(limits: &str) -> Self {
        Self::on("", limits)
    }

    /// With more lines in `[api]`.
    pub fn on(api: &str, limits: &str) -> Self {
        let config = Config::parse(&format!("[api]\n{api}{}", config(limits)), "world").unwrap();
        let backend = Backend::new(&config);
        let api = Api {
            switch: Box::new(Door(Arc::clone(&backend))),
            store: Arc::clone(&backend) as Arc<dyn revbridge::store::Store>,
            clock: Box::new(now),
            default_ring_timeout: config.calls.default_ring_timeout,
            read_timeout: READ_TIMEOUT,
            currency: config.calls.currency.into(),
            edge: Edge::new(&config.api),
            browser: None,
            webhooks: webhooks(),
            traces: None,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let limits = ServeLimits { max_connections: MAX_CONNECTIONS, read_timeout: READ_TIMEOUT };
        runtime.spawn(serve(listener, router(api), limits, std::future::pending()));
        Self { address, backend, _runtime: runtime }
    }

    pub fn raw(&self, bytes: &[u8]) -> Response {
        exchange(self.address, bytes)
    }

    pub fn call(&self, method: &str, path: &str, key: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let bearer = format!("Bearer {key}");
        let mut all = vec![("Authorization", bearer.as_str())];
        if !body.is_empty() && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            all.push(("Content-Type", "application/json"));
        }
        all.extend_from_slice(headers);
        self.raw(&request(method, path, &all, body))
    }

    pub fn get(&self, path: &str) -> Response {
        self.call("GET", path, ALICE, &[], b"")
    }

    pub fn post(&self, path: &str, body: &str) -> Response {
        self.call("POST", path, ALICE, &[], body.as_bytes())
    }

    pub fn dial(&self, body: &str) -> Response {
        self.post("/v1/calls/dial", body)
    }

    /// After whatever was refused: nothing rang, nothing is held, and a normal call still succeeds.
    pub fn is_unhurt(&self) {
        let before = self.backend.admitted();
        let usage = self.backend.usage_of("acme");
        assert_eq!((usage.legs as usize, usage.calls), (before * 2, before), "something was consumed");
        let response = self.dial(&good());
        assert_eq!(response.status, 202, "{response:?}");
        assert_eq!(self.backend.admitted(), before + 1);
    }
}

/// Names of the test's own: the first label is the address, with dashes.
pub fn webhooks() -> WebhookApi {
    let lookup = |host: String, _: u16| {
        let label = host.split('.').next().unwrap_or_default().replace('-', ".").replace('x', ":");
        let found = label.parse::<std::net::IpAddr>().map(|address| vec![address]).map_err(std::io::Error::other);
        Box::pin(async move { found }) as std::pin::Pin<Box<dyn Future<Output = _> + Send>>
    };
    WebhookApi {
        key: SigningKey::new([7; 32]),
        reach: Reach::default(),
        lookup: Arc::new(lookup),
        max_subscriptions: MAX_SUBSCRIPTIONS,
    }
}

/// A dial that is as it should be.
pub fn good() -> String {
    format!(r#"{{"to_number":"{TO}","from_number":"{FROM}"}}"#)
}

/// With which each world begins.
pub const GENEROUS: &str = "max_calls_per_minute = 1000\nmax_concurrent_legs = 2000\ndaily_spend_limit = \"1000\"";

pub fn config(limits: &str) -> String {
    let key = |user: &str, key: &str, scopes: &str| {
        let sha256 = hex::encode(Sha256::digest(key));
        format!("[[organization.key]]\nuser = \"{user}\"\nsha256 = \"{sha256}\"\nscopes = [{scopes}]\n")
    };
    let all = r#""calls:read", "calls:write", "webhooks:write""#;
    format!(
        r#"
[[trunk]]
name = "carrier"
uri = "sip:127.0.0.1:5070"
[[price]]
prefix = "+1"
per_minute = "0.06"
[[organization]]
id = "acme"
allowed_destinations = ["+1"]
{limits}
[[organization.user]]
id = "alice"
phone = "{PHONE}"
[[organization.user]]
id = "homeless"
[[organization.number]]
number = "{FROM}"
{alice}{reader}{writer}
[[organization]]
id = "other"
allowed_destinations = ["+1"]
daily_spend_limit = "50"
[[organization.user]]
id = "mallory"
phone = "+14155550199"
[[organization.number]]
number = "+12025550199"
{mallory}"#,
        alice = key("alice", ALICE, all),
        reader = key("alice", READER, r#""calls:read""#),
        writer = key("homeless", WRITER, r#""calls:write""#),
        mallory = key("mallory", MALLORY, all),
    )
}
