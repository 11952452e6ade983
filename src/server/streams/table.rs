//! Which connection a flow has now.

use std::collections::HashMap;
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use metrics::{counter, gauge};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, LocalSet};
use tracing::{info, warn};

use super::connection::{self, Broken, Keep};
use super::{Peer, is_trunk, listener, tls};
use crate::config::{Listener, Transport};
use crate::server::inbox::{Inbox, Message};
use crate::sip::{Down, Flow};

/// What the switch wants.
#[derive(Debug)]
pub enum Order {
    /// A message on its way to a peer.
    Send { flow: Flow, bytes: Bytes },
    /// Where a trunk is now.
    Know { trunk: Arc<str>, peers: Vec<Peer> },
}

/// What happens to connections.
#[derive(Debug)]
pub enum Event {
    Accepted(listener::Accepted),
    Over(Flow, u64, Broken),
}

/// Messages that one connection has not taken. A peer that reads none for so long is gone.
const MAX_WAITING: usize = 1_024;
/// All connections; each takes a descriptor, and on TLS about 40 kB.
const MAX_CONNECTIONS: usize = 4_096;
/// Of addresses that are no trunk's: in all, and of one address. Nothing of value comes from them.
const MAX_STRANGERS: usize = 64;
const MAX_OF_STRANGER: usize = 4;
/// An address that refused is not tried again for so long: a burst of calls to a dead trunk is one attempt.
const REST: Duration = Duration::from_millis(500);
/// At the end: for what is still to be sent.
const FLUSH: Duration = Duration::from_secs(1);
/// Events that wait for the table.
const MAX_EVENTS: usize = 256;

struct Entry {
    id: u64,
    queue: mpsc::Sender<Bytes>,
    stranger: bool,
}

/// All connections, by their flow.
pub struct Table {
    tls: tls::SharedIdentities,
    peers: Vec<Peer>,
    inbox: Inbox,
    connections: HashMap<Flow, Entry>,
    failed: HashMap<Flow, (Instant, Down)>,
    last_id: u64,
    tasks: JoinSet<()>,
    events: mpsc::Sender<Event>,
    happened: Option<mpsc::Receiver<Event>>,
}

impl Table {
    pub fn new(tls: tls::SharedIdentities, peers: Vec<Peer>, inbox: Inbox) -> Self {
        let (events, happened) = mpsc::channel(MAX_EVENTS);
        Self {
            tls,
            peers,
            inbox,
            connections: HashMap::new(),
            failed: HashMap::new(),
            last_id: 0,
            tasks: JoinSet::new(),
            events,
            happened: Some(happened),
        }
    }

    /// Until whoever sends is gone.
    pub async fn run(mut self, listeners: Vec<(Listener, TcpListener)>, mut orders: mpsc::Receiver<Order>) {
        let Some(mut happened) = self.happened.take() else { return };
        let accepting = LocalSet::new();
        for (listener, socket) in listeners {
            accepting.spawn_local(listener::accept(listener, socket, self.events.clone()));
        }
        accepting
            .run_until(async {
                loop {
                    tokio::select! {
                        order = orders.recv() => match order {
                            Some(Order::Send { flow, bytes }) => self.send(flow, bytes),
                            Some(Order::Know { trunk, peers }) => {
                                self.peers.retain(|peer| peer.trunk != trunk);
                                self.peers.extend(peers);
                            }
                            None => break,
                        },
                        Some(event) = happened.recv() => self.happened(event),
                        Some(_) = self.tasks.join_next() => {}
                    }
                }
                // Each writes what it has and ends.
                self.connections.clear();
                let all = async { while self.tasks.join_next().await.is_some() {} };
                let _ = tokio::time::timeout(FLUSH, all).await;
            })
            .await;
    }

    fn send(&mut self, flow: Flow, bytes: Bytes) {
        if !self.connections.contains_key(&flow) && !self.connect(flow) {
            return;
        }
        let Some(entry) = self.connections.get(&flow) else { return };
        if entry.queue.try_send(bytes).is_err() {
            // It reads nothing any more, or its task has ended and its word of it is on the way.
            self.remove(flow);
            self.tell(flow, Down::Closed);
        }
    }

    /// `false` when that cannot be, which was told.
    fn connect(&mut self, flow: Flow) -> bool {
        if !is_trunk(&self.peers, flow.remote.ip()) {
            // An answer to a stranger who has hung up.
            counter!("revbridge_sip_send_dropped_total").increment(1);
            return false;
        }
        let resting = self.failed.get(&flow).filter(|(at, _)| at.elapsed() < REST).map(|(_, why)| *why);
        if let Some(why) = resting.or((self.connections.len() >= MAX_CONNECTIONS).then_some(Down::Unreachable)) {
            self.tell(flow, why);
            return false;
        }
        let name = self.certificate_name(flow);
        let (entry, queue, id) = self.entry(false);
        let (tls, inbox, events) = (self.tls.get(), self.inbox.clone(), self.events.clone());
        self.connections.insert(flow, entry);
        self.tasks.spawn_local(async move {
            let broken = connection::open(flow, &name, &tls, queue, &inbox).await;
            let _ = events.send(Event::Over(flow, id, broken)).await;
        });
        self.count();
        true
    }

    fn certificate_name(&self, flow: Flow) -> Arc<str> {
        let of_trunk = self.peers.iter().find(|peer| peer.address == flow.remote);
        let of_host = || self.peers.iter().find(|peer| peer.address.ip() == flow.remote.ip());
        of_trunk.or_else(of_host).map_or_else(|| "".into(), |peer| Arc::clone(&peer.certificate_name))
    }

    fn entry(&mut self, stranger: bool) -> (Entry, mpsc::Receiver<Bytes>, u64) {
        self.last_id += 1;
        let (queue, taken) = mpsc::channel(MAX_WAITING);
        (Entry { id: self.last_id, queue, stranger }, taken, self.last_id)
    }

    fn happened(&mut self, event: Event) {
        match event {
            Event::Accepted(accepted) => self.accepted(accepted),
            Event::Over(flow, id, broken) => self.over(flow, id, &broken),
        }
    }

    fn accepted(&mut self, accepted: listener::Accepted) {
        let flow = accepted.flow;
        let stranger = !is_trunk(&self.peers, flow.remote.ip());
        if self.connections.len() >= MAX_CONNECTIONS || (stranger && !self.has_room_for(flow.remote.ip())) {
            counter!("revbridge_sip_connections_refused_total").increment(1);
            return;
        }
        let (entry, queue, id) = self.entry(stranger);
        let keep = if stranger { Keep::Stranger } else { Keep::Trunk };
        let (tls, inbox, events) = (self.tls.get(), self.inbox.clone(), self.events.clone());
        self.connections.insert(flow, entry);
        self.tasks.spawn_local(async move {
            let broken = connection::accept(accepted, &tls, keep, queue, &inbox).await;
            let _ = events.send(Event::Over(flow, id, broken)).await;
        });
        self.count();
    }

    fn has_room_for(&self, stranger: IpAddr) -> bool {
        let strangers = || self.connections.iter().filter(|(_, entry)| entry.stranger);
        strangers().count() < MAX_STRANGERS
            && strangers().filter(|(flow, _)| flow.remote.ip() == stranger).count() < MAX_OF_STRANGER
    }

    fn over(&mut self, flow: Flow, id: u64, broken: &Broken) {
        let transport = flow.transport.as_str();
        counter!("revbridge_sip_connections_lost_total", "transport" => transport, "why" => broken.as_str())
            .increment(1);
        if self.connections.get(&flow).is_none_or(|entry| entry.id != id) {
            // It was given up before, and another may stand in its place.
            return;
        }
        let stranger = self.remove(flow);
        let peer = flow.remote;
        match broken {
            Broken::Closed => {}
            Broken::Unread(error) => info!(%peer, transport, %error, "closed a connection: what came is no SIP"),
            Broken::Unreachable(_) | Broken::Handshake(_) if stranger => {}
            Broken::Unreachable(error) => warn!(%peer, transport, %error, "cannot connect to the trunk"),
            Broken::Handshake(error) => warn!(%peer, transport, %error, "no TLS with the trunk"),
            Broken::Certificate { name, error } => warn!(
                %peer, name = &**name, %error,
                "the trunk's certificate is refused; see [[trunk]] certificate_name and [tls] ca_file"
            ),
        }
        let why = broken.down();
        if why != Down::Closed {
            self.failed.retain(|_, (at, _)| at.elapsed() < REST);
            self.failed.insert(flow, (Instant::now(), why));
        }
        self.tell(flow, why);
    }

    /// Whether it was a stranger's.
    fn remove(&mut self, flow: Flow) -> bool {
        let removed = self.connections.remove(&flow);
        self.count();
        removed.is_some_and(|entry| entry.stranger)
    }

    fn tell(&self, flow: Flow, why: Down) {
        self.inbox.post([Message::FlowDown(flow, why)]);
    }

    fn count(&self) {
        for transport in [Transport::Tcp, Transport::Tls] {
            let open = self.connections.keys().filter(|flow| flow.transport == transport).count();
            gauge!("revbridge_sip_connections", "transport" => transport.as_str()).set(open as f64);
        }
    }
}
