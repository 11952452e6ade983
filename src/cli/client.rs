//! One HTTP request to the admin listener.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)] // The command line: it has a socket, and an environment.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use revbridge::config::Config;
use serde_json::Value;
use tokio::net::TcpStream;

use super::Access;

/// The whole of it: a change waits for the disk and for nothing else.
const PATIENCE: Duration = Duration::from_secs(30);
/// A page of the audit log is the longest answer.
const MOST_BYTES: usize = 16 << 20;

const KEY_VARIABLE: &str = "REVBRIDGE_ADMIN_KEY";

/// Why nothing was done, or nobody knows.
pub enum Failure {
    /// By the server: code, message, and what is wrong with each field.
    Refused {
        code: String,
        message: String,
        fields: Vec<(String, String)>,
    },
    Unreachable {
        address: SocketAddr,
        why: String,
    },
    NoKey(String),
    Config(String),
}

impl Failure {
    /// Of the process.
    pub fn code(&self) -> u8 {
        match self {
            Failure::Refused { .. } => 1,
            Failure::Config(_) => 2,
            Failure::Unreachable { .. } => 3,
            Failure::NoKey(_) => 4,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Refused { code, message, fields } => {
                write!(f, "{message} ({code})")?;
                fields.iter().try_for_each(|(name, text)| write!(f, "\n  {name}: {text}"))
            }
            Failure::Unreachable { address, why } => {
                write!(f, "no answer from {address} ({why}); is the server running, and is this its [admin] listen?")
            }
            Failure::NoKey(text) | Failure::Config(text) => f.write_str(text),
        }
    }
}

pub struct Client {
    address: SocketAddr,
    key: String,
}

impl Client {
    pub fn new(access: &Access) -> Result<Self, Failure> {
        let address = match access.admin {
            Some(address) => address,
            None => Config::load(&access.config).map_err(|errors| Failure::Config(errors.to_string()))?.admin.listen,
        };
        Ok(Self { address: reachable(address), key: key(access)? })
    }

    /// The body of a success, whatever it is.
    pub fn fetch(&self, path: &str) -> Result<Bytes, Failure> {
        let (status, bytes) = self.answer("GET", path, None)?;
        if status.is_success() { Ok(bytes) } else { Err(refused(status, &parsed(&bytes))) }
    }

    /// The JSON of a success.
    pub fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let (status, bytes) = self.answer(method, path, body)?;
        let json = parsed(&bytes);
        if status.is_success() { Ok(json) } else { Err(refused(status, &json)) }
    }

    fn answer(&self, method: &str, path: &str, body: Option<&Value>) -> Result<(StatusCode, Bytes), Failure> {
        let unreachable = |why: String| Failure::Unreachable { address: self.address, why };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| unreachable(error.to_string()))?;
        let exchange = async { tokio::time::timeout(PATIENCE, self.exchange(method, path, body)).await };
        let answered = runtime.block_on(exchange).map_err(|_| unreachable("it takes too long".into()))?;
        answered.map_err(|error| unreachable(error.to_string()))
    }

    async fn exchange(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect(self.address).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.to_string())
            .header(AUTHORIZATION, format!("Bearer {}", self.key));
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let bytes = body.map(Value::to_string).unwrap_or_default();
        let answer = sender.send_request(request.body(Full::new(Bytes::from(bytes)))?).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MOST_BYTES).collect().await?.to_bytes();
        driver.abort();
        Ok((status, body))
    }
}

/// Nothing for what is no JSON.
fn parsed(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_default()
}

/// Where a server that listens everywhere is found from this host.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// Never on the command line: every user of the machine sees those.
fn key(access: &Access) -> Result<String, Failure> {
    let key = match &access.key_file {
        Some(file) => std::fs::read_to_string(file)
            .map_err(|error| Failure::NoKey(format!("{}: cannot be read ({error})", file.display())))?,
        None => std::env::var(KEY_VARIABLE).map_err(|_| {
            Failure::NoKey(format!("give the admin key in {KEY_VARIABLE}, or a file of it by --key-file"))
        })?,
    };
    let key = key.trim();
    let usable = !key.is_empty() && key.bytes().all(|b| b.is_ascii_graphic());
    if usable { Ok(key.to_owned()) } else { Err(Failure::NoKey("this is no key; a key is one line".to_owned())) }
}

fn refused(status: StatusCode, json: &Value) -> Failure {
    let error = &json["error"];
    let text = |name: &str| error[name].as_str().map(str::to_owned);
    let message = text("message").unwrap_or_else(|| format!("the server answers {status}"));
    match status {
        StatusCode::UNAUTHORIZED => Failure::NoKey("the server does not know this admin key".to_owned()),
        _ => Failure::Refused {
            code: text("code").unwrap_or_else(|| status.as_u16().to_string()),
            message,
            fields: error["fields"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, text)| (name.clone(), text.as_str().unwrap_or_default().to_owned()))
                .collect(),
        },
    }
}
