//! SIP over TCP and TLS: one thread, one task for each connection.
//!
//! ```text
//! switch ── send(flow) ──▶ table ─┬ a connection of that flow ─▶ its queue ─▶ peer
//!                                 └ none, and it leads to a trunk ─▶ connect, TLS ─▶ …
//! peer ─▶ framer ─▶ Message::Packet ─▶ Inbox        lost, or not made ─▶ Message::FlowDown ─▶ Inbox
//! ```
//!
//! A thread of its own, because a TLS handshake takes as long as a hundred packets of a live call. A flow names the
//! trunk's address, or the peer's own for a connection that the peer has made; whoever sends does not know whether
//! a connection stands.
//!
//! Deliberately absent: what to do about a lost connection (`sip` knows), and any connection to an address that is
//! no trunk's.

mod connection;
mod listener;
mod table;
mod tls;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::Context;
use bytes::Bytes;
use socket2::{Domain, Socket, Type};
use tokio::sync::mpsc;
use tracing::warn;

use super::inbox::Inbox;
use crate::config::{Config, Listener, Transport, Trunk};
use crate::sip::{Flow, Target};
use table::{Order, Table};
use tls::Identities;
pub use tls::SharedIdentities;

/// Messages for all connections that the thread has not seen yet. At 1,000 calls/s it is a second's worth; a thread
/// that is further behind is stuck.
const MAX_ORDERS: usize = 16_384;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 256;

/// A trunk as connections know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name in the configuration.
    pub trunk: Arc<str>,
    pub address: SocketAddr,
    /// What its certificate must name.
    pub certificate_name: Arc<str>,
}

impl Peer {
    pub fn of(trunk: &Trunk) -> Self {
        Self { trunk: trunk.name.clone(), address: trunk.target, certificate_name: Arc::clone(&trunk.certificate_name) }
    }
}

/// The TCP and TLS listeners, bound and not served yet.
pub struct Bound {
    listeners: Vec<(Listener, TcpListener)>,
    tls: SharedIdentities,
}

impl Bound {
    /// Takes what can be refused: ports and files.
    pub fn bind(config: &Config) -> anyhow::Result<Self> {
        let streams = config.sip.listeners.iter().filter(|l| l.transport.is_reliable());
        let listeners =
            streams.map(|listener| Ok((*listener, bind(*listener)?))).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Self { listeners, tls: SharedIdentities::new(identities(config)?) })
    }

    /// Through which the certificates of the connections to come are replaced.
    pub fn identities(&self) -> SharedIdentities {
        self.tls.clone()
    }

    /// `None` when there is no listener on TCP or TLS: then no trunk is reached by them either.
    pub fn start(self, trunks: &[Arc<Trunk>], inbox: Inbox) -> io::Result<Option<Streams>> {
        if self.listeners.is_empty() {
            return Ok(None);
        }
        let (orders, taken) = mpsc::channel(MAX_ORDERS);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let with_address = trunks.iter().filter(|trunk| trunk.name_to_resolve.is_none());
        let peers = with_address.map(|trunk| Peer::of(trunk)).collect();
        let thread = std::thread::Builder::new().name("streams".to_owned()).spawn(move || {
            runtime.block_on(Table::new(self.tls, peers, inbox).run(self.listeners, taken));
        })?;
        Ok(Some(Streams { orders: Some(orders), thread: Some(thread) }))
    }
}

/// What the files of `[tls]` hold, if a listener needs them.
pub(super) fn identities(config: &Config) -> anyhow::Result<Identities> {
    let uses_tls = config.sip.listeners.iter().any(|listener| listener.transport == Transport::Tls);
    if uses_tls { Identities::load(&config.tls) } else { Ok(Identities::default()) }
}

fn bind(listener: Listener) -> anyhow::Result<TcpListener> {
    let Listener { transport, local, .. } = listener;
    let open = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(local), Type::STREAM.nonblocking(), None)?;
        if local.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // A restart must not wait for the connections of the process before it.
        socket.set_reuse_address(true)?;
        socket.bind(&local.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    open().with_context(|| {
        let name = transport.as_str();
        format!("cannot listen on {name}:{local} ([sip] listen); is another program using this port or address?")
    })
}

/// The thread; it ends when this is dropped, after what was handed to it has been sent.
pub struct Streams {
    orders: Option<mpsc::Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Streams {
    /// `false` when the thread does not follow, and the message is lost.
    pub fn send(&self, flow: Flow, bytes: Bytes) -> bool {
        self.orders.as_ref().is_some_and(|orders| orders.try_send(Order::Send { flow, bytes }).is_ok())
    }

    /// A trunk is at these addresses from now on.
    pub fn know(&self, trunk: &Trunk, targets: &[Target]) {
        let at = |target: &Target| Peer { address: target.address, ..Peer::of(trunk) };
        let peers = targets.iter().map(at).collect();
        if let Some(orders) = &self.orders
            && orders.try_send(Order::Know { trunk: trunk.name.clone(), peers }).is_err()
        {
            warn!(trunk = &*trunk.name, "the streams thread does not follow, and does not know where the trunk is");
        }
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A panic was reported when it happened.
            let _ = thread.join();
        }
    }
}

/// Whether an address is a trunk's.
fn is_trunk(peers: &[Peer], ip: IpAddr) -> bool {
    peers.iter().any(|peer| peer.address.ip() == ip)
}
