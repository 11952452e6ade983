//! The parties of all calls: pages with a socket each, or one socket for all phones of a side.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use str0m::net::Protocol;

use crate::page::{PCMU, Page};
use crate::serve::Server;

/// Between two packets of one stream.
const FRAME: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Load {
    calls: usize,
    phones: [UdpSocket; 2],
    ports: [Vec<SocketAddr>; 2],
    sequence: u16,
    browsers: Vec<(Page, UdpSocket)>,
    sent: u64,
    received: u64,
}

fn socket() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20)?;
    socket.set_nonblocking(true).map(|()| socket)
}

impl Load {
    pub fn new(calls: usize) -> io::Result<Self> {
        Ok(Self {
            calls,
            phones: [socket()?, socket()?],
            ports: [vec![], vec![]],
            sequence: 0,
            browsers: Vec::new(),
            sent: 0,
            received: 0,
        })
    }

    pub fn addresses(&self) -> io::Result<[SocketAddr; 2]> {
        Ok([self.phones[0].local_addr()?, self.phones[1].local_addr()?])
    }

    /// Sent and received by all parties.
    pub fn counts(&self) -> (u64, u64) {
        (self.sent, self.received)
    }

    pub fn use_ports(&mut self, server: &Server) {
        self.ports = [0, 1].map(|side| server.ports.iter().map(|ports| ports[side]).collect());
    }

    /// Each call gets its browser.
    pub fn connect(&mut self, server: &mut Server) -> anyhow::Result<()> {
        self.use_ports(server);
        for call in 0..self.calls {
            let udp = socket()?;
            let mut page = Page::plain(Instant::now(), &[PCMU], &[(Protocol::Udp, udp.local_addr()?)]);
            let answer = server.answer(call, &page.offer())?;
            page.answer(&answer);
            self.browsers.push((page, udp));
            // A page that is left alone for long gives up.
            self.attend(call);
        }
        let end = Instant::now() + PATIENCE;
        while !self.browsers.iter().all(|(page, _)| page.is_secured) {
            anyhow::ensure!(Instant::now() < end, "the browsers never came up");
            (0..self.calls).for_each(|call| self.attend(call));
        }
        Ok(())
    }

    /// Every stream once per 20 ms, each at its own moment of them. What comes is taken as often.
    pub fn run(&mut self, time: Duration) {
        let start = Instant::now();
        for n in 0.. {
            let due = start + FRAME.mul_f64(n as f64 / (2 * self.calls) as f64);
            if due >= start + time {
                break;
            }
            while Instant::now() < due {
                std::hint::spin_loop();
            }
            let (side, call) = (n % 2, n / 2 % self.calls);
            if n % (2 * self.calls) == 0 {
                self.sequence = self.sequence.wrapping_add(1);
            }
            self.say(side, call);
        }
        // What is on its way has this long to come.
        let end = Instant::now() + 2 * FRAME;
        while Instant::now() < end {
            self.drain();
            (0..self.browsers.len()).for_each(|call| self.attend(call));
        }
    }

    fn say(&mut self, side: usize, call: usize) {
        self.sent += 1;
        if side == 0 && !self.browsers.is_empty() {
            self.browsers[call].0.say(Instant::now(), PCMU, 0x55);
            self.attend(call);
            return;
        }
        let mut packet = [0x55; 172];
        packet[..2].copy_from_slice(&[0x80, 0]);
        packet[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        packet[4..8].copy_from_slice(&(u32::from(self.sequence) * 160).to_be_bytes());
        packet[8..12].copy_from_slice(&(call as u32 + 1).to_be_bytes());
        let _ = self.phones[side].send_to(&packet, self.ports[side][call]);
        // Asking costs as much as sending, and what waits is not lost.
        if call.is_multiple_of(8) {
            self.drain();
        }
    }

    fn drain(&mut self) {
        let mut buffer = [0; 256];
        for socket in &self.phones {
            while socket.recv(&mut buffer).is_ok() {
                self.received += 1;
            }
        }
    }

    /// Sends what a page has to send, and takes what has come for it.
    fn attend(&mut self, call: usize) {
        let (page, udp) = &mut self.browsers[call];
        let local = udp.local_addr().expect("an address");
        let mut buffer = [0; 2_048];
        while let Ok((length, from)) = udp.recv_from(&mut buffer) {
            page.receive(Instant::now(), Protocol::Udp, from, local, &buffer[..length]);
            page.poll(Instant::now());
        }
        page.poll(Instant::now());
        for datagram in page.outbox.drain(..) {
            let _ = udp.send_to(&datagram.bytes, datagram.to);
        }
        self.received += page.heard.len() as u64;
        page.heard.clear();
        page.reports.clear();
    }
}
