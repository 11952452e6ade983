//! One call's audio with its sockets and its browser.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use tracing::warn;

use super::token::{Door, Token};
use crate::media::{Bridge, Channel};
use crate::model::{CallId, Side, Timestamp};
use crate::server::media::offload::{Lane, Offload};
use crate::server::media::ports::Ports;
use crate::server::poll::{Interest, Poller};
use crate::webrtc::Peer;

pub struct Call {
    pub id: CallId,
    pub bridge: Bridge,
    /// By side, all of them.
    ports: [Option<Ports>; 2],
    peers: [Option<Box<Peer>>; 2],
    /// What that party sends.
    lanes: [Lane; 2],
    /// Its earliest entry among the deadlines.
    pub wakes_at: Option<Timestamp>,
}

impl Call {
    pub fn new(id: CallId, bridge: Bridge) -> Self {
        Self {
            id,
            bridge,
            ports: Default::default(),
            peers: Default::default(),
            lanes: Default::default(),
            wakes_at: None,
        }
    }

    pub fn ports(&self, side: Side) -> Option<&Ports> {
        self.ports[side as usize].as_ref()
    }

    pub fn ports_mut(&mut self, side: Side) -> &mut Option<Ports> {
        &mut self.ports[side as usize]
    }

    pub fn peer_mut(&mut self, side: Side) -> &mut Option<Box<Peer>> {
        &mut self.peers[side as usize]
    }

    pub fn lane(&self, side: Side) -> &Lane {
        &self.lanes[side as usize]
    }

    /// When the bridge or a browser wants to be asked.
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let peers = self.peers.iter().flatten().filter_map(|peer| peer.next_timeout());
        peers.chain(self.bridge.next_timeout()).min()
    }

    /// The kernel may go on with what this party sends.
    pub fn offer(&mut self, now: Timestamp, side: Side, offload: &mut Offload) {
        if let [Some(by), Some(out)] = [side, side.other()].map(|side| self.ports(side).map(|ports| ports.local)) {
            offload.offer(now, &self.bridge, side, [by, out], &mut self.lanes[side as usize]);
        }
    }

    pub fn take_back(&mut self, now: Timestamp, side: Side, offload: &mut Offload) -> u64 {
        offload.take_back(now, &mut self.bridge, side, &mut self.lanes[side as usize])
    }

    pub fn refresh(&mut self, offload: &Offload) -> u64 {
        let mut refresh = |side: Side| offload.refresh(&mut self.bridge, side, &mut self.lanes[side as usize]);
        refresh(Side::User) + refresh(Side::Destination)
    }

    /// A packet for the phone of this leg.
    pub fn send(&self, side: Side, channel: Channel, to: SocketAddr, packet: &[u8]) -> io::Result<()> {
        let ports = self.ports(side).ok_or(io::ErrorKind::NotConnected)?;
        match channel {
            Channel::Rtp => ports.send_rtp(to, packet),
            Channel::Rtcp => ports.send_rtcp(to, packet),
        }
    }

    /// Gives a party that has just been found a socket of its own.
    pub fn follow(&mut self, poller: &Poller, slot: usize, side: Side) {
        let latched = self.bridge.latched(side);
        let Some(ports) = self.ports_mut(side) else { return };
        if !ports.lags_behind(latched) {
            return;
        }
        let token = Token::Leg(slot, side, Door::Party).bits();
        let followed = latched.map_or(Ok(false), |at| ports.follow(at)).and_then(|is_new| match &ports.party {
            Some(party) if is_new => poller.add(&party.socket, token, Interest::Read),
            Some(_) | None => Ok(()),
        });
        if let Err(error) = followed {
            warn!(call = %self.id, %error, "a party has no socket of its own; its audio goes on by the shared one");
            if let Some(ports) = self.ports_mut(side) {
                ports.party = None;
                ports.shares = true;
            }
        }
    }
}

impl Door {
    /// The next packet and where it came from.
    pub fn receive(self, ports: &Ports, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        let from_anybody = |socket: &UdpSocket, buffer: &mut [u8]| socket.recv_from(buffer).ok();
        match self {
            Door::Rtp => from_anybody(&ports.rtp, buffer),
            Door::Rtcp => from_anybody(&ports.rtcp, buffer),
            Door::Party => {
                let party = ports.party.as_ref()?;
                Some((party.socket.recv(buffer).ok()?, party.to))
            }
        }
    }
}
