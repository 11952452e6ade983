//! What a bank of phones is reached by: UDP, or one TLS connection that the server makes.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::header;

pub enum Wire {
    Udp(UdpSocket),
    Tls(Box<Secure>),
}

/// The connection, once it is made.
pub struct Secure {
    listener: TcpListener,
    config: Arc<ServerConfig>,
    stream: Option<StreamOwned<ServerConnection, TcpStream>>,
    unread: Vec<u8>,
}

impl Wire {
    pub fn udp(address: SocketAddr) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).expect("a socket");
        let _ = socket.set_recv_buffer_size(8 << 20);
        socket.bind(&address.into()).expect("a free port");
        Self::Udp(socket.into())
    }

    /// With the certificate of this folder.
    pub fn tls(address: SocketAddr, folder: &Path) -> Self {
        let chain = CertificateDer::pem_file_iter(folder.join("cert.pem")).expect("a certificate");
        let chain = chain.collect::<Result<Vec<_>, _>>().expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a key of this certificate");
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.set_reuse_address(true).expect("an option");
        socket.bind(&address.into()).expect("a free port");
        socket.listen(4).expect("a listener");
        let listener = TcpListener::from(socket);
        listener.set_nonblocking(true).expect("a listener that does not block");
        Self::Tls(Box::new(Secure { listener, config: Arc::new(config), stream: None, unread: Vec::new() }))
    }

    pub fn transport(&self) -> &'static str {
        match self {
            Wire::Udp(_) => "UDP",
            Wire::Tls(_) => "TLS",
        }
    }

    /// The next message, if one comes in time.
    pub fn receive(&mut self, wait: Duration) -> Option<(String, SocketAddr)> {
        match self {
            Wire::Udp(socket) => {
                let _ = socket.set_read_timeout(Some(wait));
                let mut buffer = [0; 4096];
                let (length, peer) = socket.recv_from(&mut buffer).ok()?;
                Some((std::str::from_utf8(&buffer[..length]).ok()?.to_owned(), peer))
            }
            Wire::Tls(secure) => secure.receive(wait),
        }
    }

    pub fn send(&mut self, text: &str, peer: SocketAddr) {
        match self {
            Wire::Udp(socket) => _ = socket.send_to(text.as_bytes(), peer),
            Wire::Tls(secure) => {
                if let Some(stream) = &mut secure.stream {
                    let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
                }
            }
        }
    }
}

impl Secure {
    fn receive(&mut self, wait: Duration) -> Option<(String, SocketAddr)> {
        let nobody = SocketAddr::from(([127, 0, 0, 1], 0));
        if let Some(message) = self.cut() {
            return Some((message, nobody));
        }
        if let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(false).expect("a stream that blocks");
            stream.set_nodelay(true).expect("an option");
            let connection = ServerConnection::new(Arc::clone(&self.config)).expect("TLS");
            self.stream = Some(StreamOwned::new(connection, stream));
        }
        let Some(stream) = &mut self.stream else {
            std::thread::sleep(wait);
            return None;
        };
        stream.sock.set_read_timeout(Some(wait)).expect("a timeout");
        let mut buffer = [0; 16_384];
        match stream.read(&mut buffer) {
            Ok(0) => self.stream = None,
            Ok(length) => self.unread.extend_from_slice(&buffer[..length]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => self.stream = None,
        }
        self.cut().map(|message| (message, nobody))
    }

    /// One message of what was read.
    fn cut(&mut self) -> Option<String> {
        let end = self.unread.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&self.unread[..end]).into_owned();
        let length: usize = header(&head, "Content-Length")?.parse().ok()?;
        (self.unread.len() >= end + length)
            .then(|| String::from_utf8_lossy(&self.unread.drain(..end + length).collect::<Vec<_>>()).into_owned())
    }
}

/// A certificate for loopback, signed by itself.
pub fn certificate(folder: &Path) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(made.is_ok_and(|status| status.success()), "openssl makes a certificate");
}
