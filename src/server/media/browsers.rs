//! The sockets that all browsers of one media thread share.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use anyhow::Context;
use socket2::{Domain, Protocol, Socket, Type};

use super::relay::Token;
use super::streams::Streams;
use crate::config::WebrtcConfig;
use crate::model::Side;
use crate::server::clock::Clock;
use crate::server::poll::{Interest, MAX_READY, Poller};
use crate::webrtc::{Demux, Site, Transmit, Via};

/// A fifth of a second of 2,000 browsers, as the system counts a small packet; it may grant less.
const BUFFERED: usize = 4 << 20;

/// Which browser: a call's slot, and which of its legs.
pub type Seat = (usize, Side);

pub struct Browsers {
    pub site: Arc<Site>,
    pub demux: Demux<Seat>,
    pub streams: Streams,
    pub share: Share,
    udp: UdpSocket,
}

/// How many datagrams are taken at a time. Many browsers share a socket, so one of each wake would be too
/// few; to ask an empty one costs a system call, so it is asked for little more than it lately had.
#[derive(Debug)]
pub struct Share(usize);

/// Other sockets have their turn after this many: as many of them as one wait reports. With less, a thread
/// that has fallen behind would take the phones' packets and leave the browsers'.
const LARGEST: usize = MAX_READY;

impl Share {
    pub fn size(&self) -> usize {
        self.0
    }

    pub fn took(&mut self, count: usize) {
        self.0 = if count == self.0 { (self.0 * 2).min(LARGEST) } else { count.max(1) };
    }
}

impl Browsers {
    /// The sockets of the thread of this number.
    pub fn open(config: &WebrtcConfig, number: usize, clock: Clock) -> anyhow::Result<Self> {
        let port = u16::try_from(number).ok().and_then(|number| config.listen.port().checked_add(number));
        let port = port.context("too few ports above [webrtc] listen for one of each media thread")?;
        let local = SocketAddr::new(config.listen.ip(), port);
        let told = SocketAddr::new(config.advertised, port);
        let udp = bind(local).with_context(|| format!("cannot listen for browsers on udp:{local}"))?;
        let streams = Streams::open(config.tcp.then_some(local))
            .with_context(|| format!("cannot listen for browsers on tcp:{local}"))?;
        let site = Arc::new(Site::new(told, config.tcp.then_some(told), clock.timeline()));
        Ok(Self { site, demux: Demux::default(), streams, share: Share(1), udp })
    }

    pub fn register(&self, poller: &Poller) -> io::Result<()> {
        poller.add(&self.udp, Token::Browsers.bits(), Interest::Read)?;
        self.streams.register(poller)
    }

    /// The next datagram and where it came from.
    pub fn receive(&self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        self.udp.recv_from(buffer).ok()
    }

    pub fn send(&mut self, transmit: &Transmit, poller: &Poller) -> io::Result<()> {
        match transmit.to.via {
            Via::Udp => self.udp.send_to(&transmit.bytes, transmit.to.address).map(|_| ()),
            Via::Tcp => self.streams.send(transmit.to.address, &transmit.bytes, poller),
        }
    }

    /// The browser is gone, and its connections with it.
    pub fn forget(&mut self, seat: Seat) {
        self.demux.remove(seat);
        self.streams.forget(seat);
    }
}

fn bind(local: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if local.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // As much as the system grants; `net.core.rmem_max` says how much that is.
    let _ = socket.set_recv_buffer_size(BUFFERED);
    let _ = socket.set_send_buffer_size(BUFFERED);
    socket.bind(&local.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_follows_what_there_is() {
        let mut share = Share(1);
        let sizes = [1, 2, 4, 8, 16, 32, 64, 128, 256, 5, 3, 0, 1].map(|count| {
            share.took(count);
            share.size()
        });
        assert_eq!(sizes, [2, 4, 8, 16, 32, 64, 128, 256, 256, 5, 3, 1, 2]);
    }
}
