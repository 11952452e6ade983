//! The sockets of one leg.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::media::PortPair;

/// A bound pair, and the RTP port once more for the party that has been found.
#[derive(Debug)]
pub struct Ports {
    /// Where `rtp` is bound.
    pub local: SocketAddr,
    pub rtp: UdpSocket,
    pub rtcp: UdpSocket,
    pub party: Option<Connected>,
    /// The system refused the party a socket; it is not asked again for this leg.
    pub shares: bool,
}

/// A socket on the RTP port that only the party reaches.
#[derive(Debug)]
pub struct Connected {
    pub socket: UdpSocket,
    pub to: SocketAddr,
}

impl Ports {
    /// Both ports or none, and nobody else's.
    pub fn bind(address: IpAddr, pair: PortPair) -> io::Result<Self> {
        let bind = |port| {
            let local = SocketAddr::new(address, port);
            let socket = socket(local)?;
            socket.bind(&local.into()).map(|()| UdpSocket::from(socket))
        };
        let local = SocketAddr::new(address, pair.0);
        Ok(Self { local, rtp: bind(pair.0)?, rtcp: bind(pair.0.saturating_add(1))?, party: None, shares: false })
    }

    /// Whether the party's packets come to the bound socket although it has been found at `latched`.
    pub fn lags_behind(&self, latched: Option<SocketAddr>) -> bool {
        !self.shares && latched.is_some() && latched != self.party.as_ref().map(|party| party.to)
    }

    /// Gives the party a socket of its own; true when that is a new one, to be polled from now on. On
    /// failure the bound socket goes on serving it.
    pub fn follow(&mut self, to: SocketAddr) -> io::Result<bool> {
        let is_new = self.party.is_none();
        let socket = match self.party.take() {
            Some(party) => {
                party.socket.connect(to)?;
                party.socket
            }
            None => self.connect(to)?,
        };
        // What came while the socket was open to everybody is nobody's.
        while socket.recv(&mut [0]).is_ok() {}
        self.party = Some(Connected { socket, to });
        Ok(is_new)
    }

    pub fn send_rtp(&self, remote: SocketAddr, packet: &[u8]) -> io::Result<()> {
        match &self.party {
            Some(party) if party.to == remote => party.send(packet),
            Some(_) | None => self.rtp.send_to(packet, remote).map(|_| ()),
        }
    }

    pub fn send_rtcp(&self, remote: SocketAddr, packet: &[u8]) -> io::Result<()> {
        self.rtcp.send_to(packet, remote).map(|_| ())
    }

    /// Opens a second socket on our own port. Sharing is allowed for that moment only, so that no other
    /// program can share it.
    fn connect(&self, to: SocketAddr) -> io::Result<UdpSocket> {
        let local = self.local;
        let socket = socket(local)?;
        let bound = SockRef::from(&self.rtp);
        bound.set_reuse_address(true)?;
        socket.set_reuse_address(true)?;
        let connected = socket.bind(&local.into()).and_then(|()| socket.connect(&to.into()));
        bound.set_reuse_address(false)?;
        connected?;
        socket.set_reuse_address(false)?;
        Ok(socket.into())
    }
}

fn socket(local: SocketAddr) -> io::Result<Socket> {
    Socket::new(Domain::for_address(local), Type::DGRAM.nonblocking(), Some(Protocol::UDP))
}

impl Connected {
    fn send(&self, packet: &[u8]) -> io::Result<()> {
        match self.socket.send(packet) {
            // The host refused an earlier packet; this one has not been sent yet.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => self.socket.send(packet),
            sent => sent,
        }
        .map(|_| ())
    }
}
