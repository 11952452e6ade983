//! One connection, from its making to its end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::listener::Accepted;
use super::tls::Identities;
use crate::config::Transport;
use crate::server::inbox::Inbox;
use crate::sip::wire::{Frame, FrameError, Framer};
use crate::sip::{Down, Flow};

/// Why a connection is no more, or never was.
#[derive(Debug)]
pub enum Broken {
    Closed,
    /// RFC 3261 §18.3: what follows cannot be told from what was before.
    Unread(FrameError),
    Unreachable(io::Error),
    Handshake(io::Error),
    Certificate {
        /// What it should have named.
        name: Arc<str>,
        error: io::Error,
    },
}

impl Broken {
    pub fn down(&self) -> Down {
        match self {
            Broken::Closed | Broken::Unread(_) => Down::Closed,
            Broken::Unreachable(_) | Broken::Handshake(_) => Down::Unreachable,
            Broken::Certificate { .. } => Down::Certificate,
        }
    }

    /// For metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Broken::Closed => "closed",
            Broken::Unread(_) => "unread",
            Broken::Unreachable(_) => "unreachable",
            Broken::Handshake(_) => "handshake",
            Broken::Certificate { .. } => "certificate",
        }
    }
}

/// How a connection is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// We made it: we ask now and then whether it stands (RFC 5626 §4.4.1).
    Ours,
    /// A trunk made it, and keeps it as long as it likes.
    Trunk,
    /// Somebody made it who has nothing to say to us.
    Stranger,
}

/// From the first packet to the end of TLS. Half of the time after which a call tries elsewhere.
const CONNECT: Duration = Duration::from_secs(2);
/// A peer that takes nothing for so long is gone.
const WRITE: Duration = Duration::from_secs(10);
/// Between two questions: 80 to 100 % of two minutes, after which a peer or a NAT may forget us (RFC 5626 §4.4.1).
const KEEP_ALIVE: Duration = Duration::from_secs(100);
/// For the answer, of a peer that has answered before (RFC 5626 §4.4.1).
const PONG: Duration = Duration::from_secs(10);
const AS_LONG_AS_IT_LIKES: Duration = Duration::from_secs(365 * 24 * 3600);
/// A stranger that says nothing whole for so long.
const STRANGER: Duration = Duration::from_secs(10);
/// While the switch has no room: the peer's own buffers fill, and it waits.
const BUSY: Duration = Duration::from_millis(2);
/// What one read takes at most.
const READ_BYTES: usize = 16 * 1024;

const PING_BYTES: &[u8] = b"\r\n\r\n";
const PONG_BYTES: &[u8] = b"\r\n";

/// Connects, and serves until the end.
pub async fn open(
    flow: Flow,
    certificate_name: &Arc<str>,
    tls: &Identities,
    queue: mpsc::Receiver<Bytes>,
    inbox: &Inbox,
) -> Broken {
    match timeout(CONNECT, connect(flow)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(stream) if flow.transport == Transport::Tls => {
            let Some(connector) = &tls.client else { return Broken::Handshake(no_tls()) };
            let Ok(name) = ServerName::try_from(certificate_name.to_string()) else {
                return Broken::Handshake(io::Error::other("the certificate's name is none"));
            };
            let handshake = timeout(CONNECT, connector.connect(name, stream)).await;
            match handshake.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => Line::new(flow, Keep::Ours, inbox).serve(stream, queue).await,
                Err(error) if is_about_certificate(&error) => {
                    Broken::Certificate { name: Arc::clone(certificate_name), error }
                }
                Err(error) => Broken::Handshake(error),
            }
        }
        Ok(stream) => Line::new(flow, Keep::Ours, inbox).serve(stream, queue).await,
        Err(error) => Broken::Unreachable(error),
    }
}

/// Serves a connection that the peer has made.
pub async fn accept(
    accepted: Accepted,
    tls: &Identities,
    keep: Keep,
    queue: mpsc::Receiver<Bytes>,
    inbox: &Inbox,
) -> Broken {
    let Accepted { flow, stream } = accepted;
    if let Err(error) = tune(&stream) {
        return Broken::Unreachable(error);
    }
    let line = Line::new(flow, keep, inbox);
    if flow.transport != Transport::Tls {
        return line.serve(stream, queue).await;
    }
    let Some(acceptor) = &tls.server else { return Broken::Handshake(no_tls()) };
    match timeout(CONNECT, acceptor.accept(stream)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(stream) => line.serve(stream, queue).await,
        Err(error) => Broken::Handshake(error),
    }
}

fn no_tls() -> io::Error {
    io::Error::other("no TLS is configured")
}

/// From the listener's own address, where that is one, so that the peer knows us by it.
async fn connect(flow: Flow) -> io::Result<TcpStream> {
    let socket = if flow.remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if !flow.local.ip().is_unspecified() {
        socket.bind(SocketAddr::new(flow.local.ip(), 0))?;
    }
    let stream = socket.connect(flow.remote).await?;
    tune(&stream)?;
    Ok(stream)
}

/// A dead peer is noticed: at once by what is sent to it, else by the kernel's own questions.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(WRITE))?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10)),
    )
}

fn is_about_certificate(error: &io::Error) -> bool {
    let rustls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(rustls, Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented))
}

/// What a connection that stands remembers.
struct Line<'a> {
    flow: Flow,
    keep: Keep,
    inbox: &'a Inbox,
    framer: Framer,
    /// The peer has answered a question of ours, so it must answer each.
    answers: bool,
    /// A question of ours is open.
    asked: bool,
    next: Instant,
}

impl<'a> Line<'a> {
    fn new(flow: Flow, keep: Keep, inbox: &'a Inbox) -> Self {
        let next = Instant::now() + Self::patience(keep);
        Self { flow, keep, inbox, framer: Framer::default(), answers: false, asked: false, next }
    }

    fn patience(keep: Keep) -> Duration {
        match keep {
            Keep::Ours => KEEP_ALIVE,
            Keep::Trunk => AS_LONG_AS_IT_LIKES,
            Keep::Stranger => STRANGER,
        }
    }

    async fn serve(mut self, stream: impl AsyncRead + AsyncWrite, mut queue: mpsc::Receiver<Bytes>) -> Broken {
        let (mut read, mut write) = tokio::io::split(stream);
        let mut buffer = BytesMut::with_capacity(READ_BYTES);
        loop {
            buffer.clear();
            buffer.reserve(READ_BYTES);
            let done = tokio::select! {
                message = queue.recv() => match message {
                    Some(message) => put(&mut write, &message, &mut queue).await,
                    None => {
                        let _ = timeout(WRITE, write.shutdown()).await;
                        return Broken::Closed;
                    }
                },
                read = read.read_buf(&mut buffer) => match read {
                    Ok(0) | Err(_) => return Broken::Closed,
                    Ok(_) => match self.take(&buffer).await {
                        Ok(pings) => answer(&mut write, pings).await,
                        Err(error) => return Broken::Unread(error),
                    },
                },
                () = tokio::time::sleep_until(self.next) => match self.keep_alive() {
                    Some(question) => put_bytes(&mut write, question).await,
                    None => return Broken::Closed,
                },
            };
            if done.is_err() {
                return Broken::Closed;
            }
        }
    }

    /// Hands on the messages that are whole now, and counts the questions of the peer.
    async fn take(&mut self, bytes: &[u8]) -> Result<usize, FrameError> {
        if self.keep == Keep::Ours {
            self.answers |= self.asked;
            self.asked = false;
            self.next = Instant::now() + KEEP_ALIVE;
        }
        self.framer.push(bytes);
        let mut pings = 0;
        while let Some(frame) = self.framer.next_frame()? {
            if self.keep == Keep::Stranger {
                self.next = Instant::now() + STRANGER;
            }
            match frame {
                Frame::Ping => pings += 1,
                Frame::Message(message) => {
                    while !self.inbox.packet(self.flow, &message) {
                        sleep(BUSY).await;
                    }
                }
            }
        }
        Ok(pings)
    }

    /// What to ask; `None` when it is time to give up.
    fn keep_alive(&mut self) -> Option<&'static [u8]> {
        match self.keep {
            Keep::Trunk | Keep::Stranger => None,
            Keep::Ours if self.asked && self.answers => None,
            Keep::Ours => {
                self.asked = true;
                self.next = Instant::now() + if self.answers { PONG } else { KEEP_ALIVE };
                Some(PING_BYTES)
            }
        }
    }
}

/// A message, and those that wait behind it, in one go.
async fn put(
    write: &mut (impl AsyncWrite + Unpin),
    message: &[u8],
    queue: &mut mpsc::Receiver<Bytes>,
) -> io::Result<()> {
    timeout(WRITE, async {
        write.write_all(message).await?;
        while let Ok(message) = queue.try_recv() {
            write.write_all(&message).await?;
        }
        write.flush().await
    })
    .await?
}

async fn put_bytes(write: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    timeout(WRITE, async {
        write.write_all(bytes).await?;
        write.flush().await
    })
    .await?
}

/// RFC 5626 §3.5.1: one CRLF for each two.
async fn answer(write: &mut (impl AsyncWrite + Unpin), pings: usize) -> io::Result<()> {
    match pings {
        0 => Ok(()),
        pings => put_bytes(write, &PONG_BYTES.repeat(pings)).await,
    }
}
