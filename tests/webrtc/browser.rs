//! A page with real sockets.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use revbridge::webrtc::{Framer, prefix};
use str0m::net::Protocol;

use crate::page::{Datagram, Page};

/// Where browsers are, so that their address is nobody else's.
pub const HOME: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

pub struct Browser {
    pub page: Page,
    pub udp: UdpSocket,
    tcp: Option<(TcpStream, Framer)>,
    /// What it has sent, as it was sent.
    pub wire: Vec<Vec<u8>>,
    /// What came, as it came.
    pub received: Vec<Vec<u8>>,
    /// When each packet of audio came.
    pub arrivals: Vec<Instant>,
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((HOME, 0)).expect("a port");
    socket.set_read_timeout(Some(Duration::from_millis(1))).expect("a timeout");
    socket
}

impl Browser {
    pub fn new(audio: &[u8]) -> Self {
        let udp = socket();
        let address = udp.local_addr().expect("an address");
        Self::with(Page::new(Instant::now(), audio, &[(Protocol::Udp, address)]), udp, None)
    }

    /// One that no UDP reaches.
    pub fn by_tcp(audio: &[u8], server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).expect("the server listens");
        stream.set_nodelay(true).expect("no delay");
        stream.set_read_timeout(Some(Duration::from_millis(1))).expect("a timeout");
        let address = stream.local_addr().expect("an address");
        let page = Page::new(Instant::now(), audio, &[(Protocol::Tcp, address)]);
        Self::with(page, socket(), Some((stream, Framer::default())))
    }

    fn with(page: Page, udp: UdpSocket, tcp: Option<(TcpStream, Framer)>) -> Self {
        Self { page, udp, tcp, wire: Vec::new(), received: Vec::new(), arrivals: Vec::new() }
    }

    /// Goes to another network.
    pub fn move_away(&mut self) -> SocketAddr {
        self.udp = socket();
        self.udp.local_addr().expect("an address")
    }

    /// Sends what there is to be sent, and takes what comes, until then.
    pub fn run_until(&mut self, end: Instant) {
        loop {
            self.step();
            if Instant::now() >= end {
                return;
            }
        }
    }

    pub fn run(&mut self, milliseconds: u64) {
        self.run_until(Instant::now() + Duration::from_millis(milliseconds));
    }

    fn step(&mut self) {
        self.page.poll(Instant::now());
        for datagram in std::mem::take(&mut self.page.outbox) {
            self.send(&datagram);
            self.wire.push(datagram.bytes);
        }
        let mut buffer = [0; 4_096];
        match &mut self.tcp {
            None => {
                while let Ok((length, from)) = self.udp.recv_from(&mut buffer) {
                    let to = self.udp.local_addr().expect("an address");
                    self.take(Protocol::Udp, from, to, &buffer[..length]);
                }
            }
            Some((stream, framer)) => {
                let Ok(length) = stream.read(&mut buffer) else { return };
                framer.push(&buffer[..length]);
                let (from, to) = (stream.peer_addr().expect("a peer"), stream.local_addr().expect("an address"));
                let mut frames = Vec::new();
                while let Some(frame) = framer.next_frame().expect("frames") {
                    frames.push(frame.to_vec());
                }
                frames.iter().for_each(|frame| self.take(Protocol::Tcp, from, to, frame));
            }
        }
    }

    fn take(&mut self, protocol: Protocol, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.received.push(bytes.to_vec());
        let before = self.page.heard.len();
        self.page.receive(Instant::now(), protocol, from, to, bytes);
        self.page.poll(Instant::now());
        self.arrivals.extend((before..self.page.heard.len()).map(|_| Instant::now()));
    }

    fn send(&mut self, datagram: &Datagram) {
        match (&mut self.tcp, datagram.protocol) {
            (None, Protocol::Udp) => _ = self.udp.send_to(&datagram.bytes, datagram.to),
            (Some((stream, _)), Protocol::Tcp) => {
                let frame = [&prefix(&datagram.bytes).expect("a frame"), &datagram.bytes[..]].concat();
                stream.write_all(&frame).expect("the server reads");
            }
            (_, _) => {}
        }
    }

    /// Sends once more what it has sent.
    pub fn replay(&self, to: SocketAddr) {
        self.wire.iter().for_each(|bytes| _ = self.udp.send_to(bytes, to));
    }
}
