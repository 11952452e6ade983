//! A phone on TCP or TLS whose every message the test writes by hand, connection by connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{Message, poll, require_tool, sip};

/// How long [`Line::expect`] waits.
const PATIENCE: Duration = Duration::from_secs(8);

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// Where the phone is called.
pub struct Socket {
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
}

impl Socket {
    pub fn tcp(address: Ipv4Addr, port: u16) -> Self {
        let listener = TcpListener::bind((address, port)).expect("the phone's port is free");
        listener.set_nonblocking(true).expect("a listener that does not block");
        Self { listener, tls: None }
    }

    /// With the certificate of this name.
    pub fn tls(address: Ipv4Addr, port: u16, certificates: &Certificates, name: &str) -> Self {
        let chain = CertificateDer::pem_file_iter(certificates.certificate(name)).expect("a certificate");
        let chain = chain.collect::<Result<Vec<_>, _>>().expect("certificates");
        let key = PrivateKeyDer::from_pem_file(certificates.key(name)).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a key that belongs to its certificate");
        Self { tls: Some(Arc::new(config)), ..Self::tcp(address, port) }
    }

    /// The next connection; `None` when none comes.
    pub fn accept(&self, within: Duration) -> Option<Line> {
        let (stream, remote) = poll(within, || self.listener.accept().ok())?;
        stream.set_nonblocking(false).expect("a stream that blocks");
        let local = self.listener.local_addr().expect("a bound socket");
        Some(match &self.tls {
            Some(config) => {
                let connection = ServerConnection::new(Arc::clone(config)).expect("TLS");
                Line::over(StreamOwned::new(connection, timed(&stream)), stream, local, remote)
            }
            None => Line::over(timed(&stream), stream, local, remote),
        })
    }

    pub fn expect(&self) -> Line {
        self.accept(PATIENCE).expect("the server connects")
    }
}

fn timed(stream: &TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout can be set");
    stream.set_nodelay(true).expect("an option can be set");
    stream.try_clone().expect("a second handle")
}

/// One connection.
pub struct Line {
    stream: Box<dyn Stream>,
    raw: TcpStream,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    /// What came and is no whole message yet.
    pub unread: Vec<u8>,
    pub heard: Vec<Message>,
}

impl Line {
    fn over(stream: impl Stream + 'static, raw: TcpStream, local: SocketAddr, remote: SocketAddr) -> Self {
        Self { stream: Box::new(stream), raw, local, remote, unread: Vec::new(), heard: Vec::new() }
    }

    /// Connects to the server from this address.
    pub fn connect(from: Ipv4Addr, to: SocketAddr) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((from, 0)).into()).expect("an address of this machine");
        socket.connect(&to.into()).expect("the server listens");
        let stream = TcpStream::from(socket);
        let local = stream.local_addr().expect("a bound socket");
        Self::over(timed(&stream), stream, local, to)
    }

    pub fn send(&mut self, text: &str) {
        self.try_send(text.as_bytes()).expect("the connection stands");
    }

    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Cuts it as a crash does: without a word of TLS, and with what is on its way lost.
    pub fn cut(self) {
        let socket = socket2::SockRef::from(&self.raw);
        let _ = socket.set_linger(Some(Duration::ZERO));
    }

    /// Reads what is there; `false` when the other side has closed.
    pub fn read(&mut self) -> bool {
        let mut buffer = [0; 16_384];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(length) => {
                self.unread.extend_from_slice(&buffer[..length]);
                true
            }
            Err(e) => matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted),
        }
    }

    /// The next message by its Content-Length; `None` when nothing comes, or the connection is closed.
    pub fn next(&mut self, within: Duration) -> Option<Message> {
        let until = Instant::now() + within;
        loop {
            while self.unread.starts_with(b"\r\n") {
                self.unread.drain(..2);
            }
            let text = String::from_utf8_lossy(&self.unread).into_owned();
            if let Some(end) = text.find("\r\n\r\n") {
                let head = Message::new(&text.as_bytes()[..end + 4], self.remote);
                let length: usize = head.header("Content-Length").parse().expect("every message says how long it is");
                if self.unread.len() >= end + 4 + length {
                    let message = Message::new(&self.unread[..end + 4 + length], self.remote);
                    self.unread.drain(..end + 4 + length);
                    self.heard.push(message.clone());
                    return Some(message);
                }
            }
            if !self.read() || Instant::now() >= until {
                return None;
            }
        }
    }

    /// The next request of this method, or answer to one.
    pub fn expect(&mut self, method: &str) -> Message {
        let until = Instant::now() + PATIENCE;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            match self.next(left) {
                Some(message) if message.cseq_method() == method => return message,
                Some(_) => {}
                None => break,
            }
        }
        panic!("waited for {method} and heard {:?}", self.heard)
    }

    pub fn answer(&mut self, request: &Message, status: &str, body: &str) {
        let mut more = vec![format!("Contact: <sip:phone@{}>", self.local)];
        if !body.is_empty() {
            more.push("Content-Type: application/sdp".into());
        }
        self.send(&sip::answer(request, status, "line", &more, body));
    }

    /// Waits for the INVITE, answers it, waits for the ACK.
    pub fn pick_up(&mut self) -> Message {
        let invite = self.expect("INVITE");
        let rtp = SocketAddr::new(self.local.ip(), 40_000);
        self.answer(&invite, "200 OK", &sip::description(rtp));
        self.expect("ACK");
        invite
    }

    /// A request within the dialog that `invite` made.
    pub fn request(&mut self, invite: &Message, method: &str, cseq: u32) {
        let text = sip::request_in_dialog(invite, "line", method, cseq, self.local, &[], "");
        self.send(&text.replace("SIP/2.0/UDP", "SIP/2.0/TCP"));
    }

    /// Whether the other side closes within that time.
    pub fn is_closed(&mut self, within: Duration) -> bool {
        poll(within, || (!self.read()).then_some(())).is_some()
    }
}

/// An authority, and what it has signed.
pub struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// `each` is a name for the files, and what the certificate is for as OpenSSL writes it: `IP:127.0.0.1`, `DNS:a.example`.
    pub fn new(folder: &Path, each: &[(&str, String)]) -> Self {
        require_tool("openssl", "openssl");
        let certificates = Self { folder: folder.to_owned() };
        certificates.run(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
             -subj /CN=authority -keyout ca.key -out ca.pem",
        );
        for (name, subject) in each {
            std::fs::write(folder.join(format!("{name}.names")), format!("subjectAltName={subject}\n"))
                .expect("a file");
            certificates.run(&format!(
                "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
            ));
            certificates.run(&format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile {name}.names -out {name}.pem"
            ));
        }
        certificates
    }

    fn run(&self, arguments: &str) {
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .output()
            .expect("openssl runs");
        assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn authority(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    pub fn certificate(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.pem"))
    }

    pub fn key(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.key"))
    }

    /// The lines of `[tls]` of a server that is `name`.
    pub fn lines(&self, name: &str) -> String {
        format!(
            "certificate_file = \"{}\"\nkey_file = \"{}\"\nca_file = \"{}\"",
            self.certificate(name).display(),
            self.key(name).display(),
            self.authority().display()
        )
    }
}
