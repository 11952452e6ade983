//! Receivers of webhooks: one of somebody else, which judges signatures, and one that behaves as a test says.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Server, poll, require_tool};

/// What came to a receiver.
#[derive(Debug, Clone)]
pub struct Request {
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Value,
    /// Whether it was told that this is delivered.
    pub taken: bool,
}

impl Request {
    pub fn id(&self) -> String {
        self.headers["webhook-id"].clone()
    }

    pub fn kind(&self) -> &str {
        self.body["type"].as_str().unwrap_or_default()
    }

    pub fn call(&self) -> &str {
        self.body["data"]["id"].as_str().unwrap_or_default()
    }
}

/// What a receiver does with a request.
#[derive(Debug, Clone)]
pub enum Reply {
    Status(u16),
    /// After a while.
    Late(Duration, u16),
    Redirect(String),
    /// Takes the request and closes.
    Hangup,
    /// Says nothing for as long as the other side waits.
    Silence,
}

/// A receiver that does with each request, the first being number 0, what the test says.
pub struct Receiver {
    pub address: SocketAddr,
    got: Arc<Mutex<Vec<Request>>>,
    connections: Arc<AtomicUsize>,
}

impl Receiver {
    pub fn new(address: Ipv4Addr, reply: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("the receiver listens");
        let receiver = Self {
            address: listener.local_addr().expect("an address"),
            got: Arc::default(),
            connections: Arc::default(),
        };
        let (got, connections, reply) = (receiver.got.clone(), receiver.connections.clone(), Arc::new(reply));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                connections.fetch_add(1, Ordering::SeqCst);
                let (got, reply) = (got.clone(), reply.clone());
                std::thread::spawn(move || serve(stream, &got, &*reply));
            }
        });
        receiver
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All that came, in order.
    pub fn got(&self) -> Vec<Request> {
        self.got.lock().expect("the receiver is well").clone()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Waits until so many were taken.
    pub fn takes(&self, count: usize, within: Duration) -> Vec<Request> {
        let taken = || self.got().into_iter().filter(|request| request.taken).collect::<Vec<_>>();
        let enough = poll(within, || Some(taken()).filter(|taken| taken.len() >= count));
        enough.unwrap_or_else(|| panic!("{} of {count} taken: {:#?}", taken().len(), self.got()))
    }
}

fn serve(stream: TcpStream, got: &Mutex<Vec<Request>>, reply: &(dyn Fn(usize, &Request) -> Reply + Send + Sync)) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(30)));
    let mut stream = BufReader::new(stream);
    let Some(mut request) = read(&mut stream) else { return };
    let reply = {
        let mut got = got.lock().expect("the receiver is well");
        let reply = reply(got.len(), &request);
        request.taken = matches!(reply, Reply::Status(200..=299) | Reply::Late(_, 200..=299));
        got.push(request);
        reply
    };
    let mut stream = stream.into_inner();
    let answer = |status: u16, more: &str| format!("HTTP/1.1 {status} So\r\n{more}content-length: 0\r\n\r\n");
    let text = match reply {
        Reply::Status(status) => answer(status, ""),
        Reply::Late(wait, status) => {
            std::thread::sleep(wait);
            answer(status, "")
        }
        Reply::Redirect(to) => answer(307, &format!("location: {to}\r\n")),
        Reply::Hangup => return,
        Reply::Silence => {
            let _ = stream.read(&mut [0]);
            return;
        }
    };
    let _ = stream.write_all(text.as_bytes());
}

fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let headers: BTreeMap<_, _> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    stream.read_exact(&mut body).ok()?;
    Some(Request { headers, body: serde_json::from_slice(&body).ok()?, taken: false })
}

/// `tests/account/receiver/receiver.py`, with the `standardwebhooks` package.
pub struct Verifier {
    child: Child,
    said: Arc<Mutex<Vec<Value>>>,
    pub url: String,
}

impl Verifier {
    /// With a certificate and its key it speaks TLS.
    pub fn new(address: Ipv4Addr, tls: Option<&Certificate>) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = root.join("target/tools/python/bin/python");
        assert!(python.is_file(), "the standardwebhooks package is not there: make tools-python");
        // Free now, and nobody else binds on this lab's addresses.
        let port = TcpListener::bind((address, 0)).and_then(|socket| socket.local_addr()).expect("a port").port();
        let mut command = Command::new(python);
        command.arg(root.join("tests/account/receiver/receiver.py")).args([address.to_string(), port.to_string()]);
        if let Some(tls) = tls {
            command.args([&tls.certificate, &tls.key]);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python starts");
        let said: Arc<Mutex<Vec<Value>>> = Arc::default();
        let (heard, output) = (said.clone(), child.stdout.take().expect("its output"));
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                heard.lock().expect("the test is well").push(serde_json::from_str(&line).expect("a line of JSON"));
            }
        });
        let scheme = if tls.is_some() { "https" } else { "http" };
        let verifier = Self { child, said, url: format!("{scheme}://{}", SocketAddr::new(IpAddr::V4(address), port)) };
        verifier.wait("listening", |said| said.iter().any(|line| line["listening"] == true));
        verifier
    }

    /// Whoever posts to the path must sign with the secret.
    pub fn expect(&mut self, path: &str, secret: &str) {
        let line = format!("{path} {secret}\n");
        self.child.stdin.as_mut().expect("its input").write_all(line.as_bytes()).expect("python reads");
        self.wait("the secret is known", |said| said.iter().any(|line| line["ready"] == path));
    }

    fn wait(&self, what: &str, until: impl Fn(&[Value]) -> bool) {
        let reached = poll(Duration::from_secs(10), || until(&self.said.lock().expect("it is well")).then_some(()));
        assert!(reached.is_some(), "{what}: {:?}", self.said.lock());
    }

    /// Waits for so many requests; each with what the package said of its signature.
    pub fn judged(&self, count: usize) -> Vec<Value> {
        let requests = |said: &[Value]| said.iter().filter(|line| line["id"].is_string()).cloned().collect::<Vec<_>>();
        self.wait("requests", |said| requests(said).len() >= count);
        requests(&self.said.lock().expect("it is well"))
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A certificate of an authority of its own.
pub struct Certificate {
    pub authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Certificate {
    pub fn new(folder: &Path, name: &str, address: Ipv4Addr) -> Self {
        require_tool("openssl", "openssl");
        let file = |kind: &str| folder.join(format!("{name}-{kind}"));
        let (authority, authority_key) = (file("ca.pem"), file("ca.key"));
        let (certificate, key) = (file("cert.pem"), file("cert.key"));
        let run = |args: &[&str], files: &[(&str, &Path)]| {
            let mut command = Command::new("openssl");
            command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
            command.args(["-days", "1"]).args(args);
            files.iter().for_each(|(option, file)| _ = command.arg(option).arg(file));
            let made = command.stderr(Stdio::null()).status().expect("openssl runs");
            assert!(made.success(), "openssl makes a certificate");
        };
        run(&["-subj", &format!("/CN={name}")], &[("-keyout", &authority_key), ("-out", &authority)]);
        let san = format!("subjectAltName=IP:{address}");
        run(
            &["-subj", "/CN=receiver", "-addext", &san, "-addext", "basicConstraints=critical,CA:FALSE"],
            &[("-CA", &authority), ("-CAkey", &authority_key), ("-keyout", &key), ("-out", &certificate)],
        );
        Self { authority, certificate, key }
    }
}

/// Subscribes; the id and the secret.
pub fn subscribe(server: &Server, url: &str, kind: &str) -> (String, String) {
    let body = serde_json::json!({"webhook_url": url, "event_type": kind});
    let made = server.request("POST", "/v1/webhook_subscriptions", &[], Some(&body));
    assert_eq!(made.status, 201, "{url}: {}", made.body);
    let text = |name: &str| made.data()[name].as_str().expect("a text").to_owned();
    (text("id"), text("secret"))
}
