//! One server with a switch, an organization, and the browsers of its users.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use revbridge::api::{Api, BrowserApi, Edge, ServeLimits, router, serve};
use revbridge::config::Config;
use revbridge::media::MediaEvent;
use revbridge::model::CallId;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::switchboard::{Clock, Running};
use crate::client::{Response, connect, exchange, request};

/// May have tokens issued, and read.
pub const KEY: &str = "key-of-alice";
/// May not.
pub const DIALER: &str = "key-of-a-dialer";
pub const FROM: &str = "+12025550100";
pub const TO: &str = "+12125550123";

pub struct World {
    pub address: SocketAddr,
    pub running: Running,
    pub clock: Clock,
    pub directory: TempDir,
    settings: String,
    _runtime: Runtime,
}

/// A browser that has come to its call.
#[derive(Debug, Clone)]
pub struct Browser {
    pub call: CallId,
    pub location: String,
    pub secret: String,
}

impl World {
    pub fn new() -> Self {
        Self::with("")
    }

    /// With more lines in `[webrtc]`.
    pub fn with(settings: &str) -> Self {
        Self::start(settings, tempfile::tempdir().unwrap(), Clock::default())
    }

    fn start(settings: &str, directory: TempDir, clock: Clock) -> Self {
        let config = Config::parse(&config(settings), "world").unwrap();
        let running = Running::start(&config, &directory.path().join("calls.db"), clock.clone());
        let time = clock.clone();
        let limits = ServeLimits { max_connections: 1_200, read_timeout: Duration::from_secs(5) };
        let api = Api {
            switch: Box::new(running.board.clone()),
            store: running.store.clone(),
            clock: Box::new(move || time.now()),
            default_ring_timeout: config.calls.default_ring_timeout,
            read_timeout: limits.read_timeout,
            currency: config.calls.currency.into(),
            edge: Edge::new(&config.api),
            browser: config.webrtc.map(BrowserApi::new),
            webhooks: crate::world::webhooks(),
            traces: None,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(serve(listener, router(api), limits, std::future::pending()));
        Self { address, running, clock, directory, settings: settings.to_owned(), _runtime: runtime }
    }

    /// The process dies and starts again.
    pub fn restart(self) -> Self {
        let Self { running, clock, directory, settings, _runtime, .. } = self;
        _runtime.shutdown_timeout(Duration::from_secs(5));
        drop(running);
        Self::start(&settings, directory, clock)
    }

    pub fn ask(&self, method: &str, path: &str, bearer: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let bearer = format!("Bearer {bearer}");
        let mut all = vec![("Authorization", bearer.as_str())];
        if !body.is_empty() && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            all.push(("Content-Type", if body.starts_with('{') { "application/json" } else { "application/sdp" }));
        }
        all.extend_from_slice(headers);
        exchange(self.address, &request(method, path, &all, body.as_bytes()))
    }

    pub fn webrtc_token(&self) -> Response {
        self.ask("POST", "/v1/webrtc-token", KEY, &[], &numbers(TO))
    }

    pub fn room_token(&self) -> Response {
        self.ask("POST", "/v1/room-token", KEY, &[], &numbers(TO))
    }

    pub fn connect(&self, token: &str) -> Response {
        self.ask("POST", "/v1/webrtc/connections", token, &[], &offer("AA"))
    }

    pub fn on(&self, browser: &Browser, method: &str, path: &str, body: &str) -> Response {
        self.ask(method, &format!("{}{path}", browser.location), &browser.secret, &[], body)
    }

    /// A browser that has connected with a token of its own.
    pub fn browser(&self) -> Browser {
        let token = self.webrtc_token();
        browser(&self.connect(&text(&token, "token")), &token)
    }

    pub fn joiner(&self) -> Browser {
        let token = self.room_token();
        let path = format!("/v1/rooms/{}", text(&token, "room_name"));
        browser(&self.ask("POST", &path, &text(&token, "token"), &[], &offer("AA")), &token)
    }

    pub fn media(&self, browser: &Browser, event: MediaEvent) {
        self.running.board.media(browser.call, event);
    }

    pub fn events(&self, browser: &Browser, last: Option<u64>) -> Stream {
        Stream::open(self.address, &format!("{}/events", browser.location), &browser.secret, last)
    }

    /// A call's record, as its organization reads it.
    pub fn record(&self, call: CallId) -> serde_json::Value {
        self.ask("GET", &format!("/v1/calls/{call}"), KEY, &[], "").data()
    }

    pub fn legs(&self) -> u64 {
        let usage = self.running.store.usage(&revbridge::model::OrganizationId("acme".into()), self.clock.now());
        usage.unwrap().unwrap().legs
    }
}

pub fn browser(answer: &Response, token: &Response) -> Browser {
    assert_eq!(answer.status, 201, "{answer:?}");
    Browser {
        call: text(token, "call_id").parse().unwrap(),
        location: answer.header("location").unwrap().to_owned(),
        secret: answer.header("revbridge-reconnect").unwrap().to_owned(),
    }
}

pub fn text(response: &Response, field: &str) -> String {
    response.data()[field].as_str().unwrap_or_else(|| panic!("no {field}: {response:?}")).to_owned()
}

pub fn numbers(to: &str) -> String {
    format!(r#"{{"from_number":"{FROM}","to_number":"{to}"}}"#)
}

/// Of the page whose certificate begins with these digits.
pub fn offer(certificate: &str) -> String {
    format!(
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 0 8 126\r\n\
         c=IN IP4 0.0.0.0\r\na=ice-ufrag:Hx4T\r\na=ice-pwd:fC0bEJpR7yqjEsRMkGpP3uoS\r\n\
         a=fingerprint:sha-256 {certificate}{}\r\na=setup:actpass\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\n\
         a=rtpmap:111 opus/48000/2\r\na=rtpmap:126 telephone-event/8000\r\n",
        ":00".repeat(31)
    )
}

/// A stream of events, read as it comes.
pub struct Stream {
    socket: TcpStream,
    pub text: String,
}

impl Stream {
    fn open(address: SocketAddr, path: &str, secret: &str, last: Option<u64>) -> Self {
        let mut socket = connect(address);
        let (bearer, last) = (format!("Bearer {secret}"), last.map(|id| id.to_string()));
        let mut headers = vec![("Authorization", bearer.as_str())];
        headers.extend(last.as_deref().map(|id| ("Last-Event-ID", id)));
        socket.write_all(&request("GET", path, &headers, b"")).unwrap();
        Self { socket, text: String::new() }
    }

    /// Reads on until this stands in it.
    pub fn until(&mut self, what: &str) -> &mut Self {
        while !self.text.contains(what) {
            assert!(self.more(), "no {what} in {}", self.text);
        }
        self
    }

    /// Reads to the end.
    pub fn all(mut self) -> String {
        while self.more() {}
        self.text
    }

    fn more(&mut self) -> bool {
        let mut chunk = [0; 4_096];
        let read = self.socket.read(&mut chunk).unwrap_or(0);
        self.text.push_str(&String::from_utf8_lossy(&chunk[..read]));
        read > 0
    }

    /// The names of states so far.
    pub fn states(&self) -> Vec<String> {
        let parts = self.text.split("{\"state\":\"").skip(1);
        parts.map(|part| part.split('"').next().unwrap_or_default().to_owned()).collect()
    }
}

fn config(settings: &str) -> String {
    let key = |key: &str, scopes: &str| {
        let sha256 = hex::encode(Sha256::digest(key));
        format!("[[organization.key]]\nuser = \"alice\"\nsha256 = \"{sha256}\"\nscopes = [{scopes}]\n")
    };
    format!(
        r#"
[webrtc]
enabled = true
public_url = "https://calls.example.com"
{settings}
[[trunk]]
name = "carrier"
uri = "sip:127.0.0.1:5070"
ping_seconds = 0
[[price]]
prefix = "+1"
per_minute = "0.06"
[[organization]]
id = "acme"
allowed_destinations = ["+1"]
max_calls_per_minute = 100000
max_concurrent_legs = 2000
daily_spend_limit = "1000"
max_duration_seconds = 600
[[organization.user]]
id = "alice"
[[organization.number]]
number = "{FROM}"
{}{}"#,
        key(KEY, r#""calls:read", "calls:write", "voice:webrtc""#),
        key(DIALER, r#""calls:read", "calls:write""#)
    )
}
