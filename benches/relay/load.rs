//! The phones of all calls: one socket for all A sides, one for all B sides.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Samples of 20 ms behind a header.
const PACKET: usize = 172;
/// Between two packets of one stream.
const FRAME: Duration = Duration::from_millis(20);
/// Packets on their way at once in the closed loop.
const WINDOW: u64 = 256;

/// How packets are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Every stream once per 20 ms, each at its own moment of them, as the calls of a day lie.
    Paced,
    /// As many as come back.
    Saturated,
}

#[derive(Debug)]
pub struct Phones {
    sockets: [UdpSocket; 2],
    /// Where to send: by side, the relay's ports of all calls.
    relay: [Vec<SocketAddr>; 2],
    sequence: [Vec<u16>; 2],
    pub sent: u64,
    pub received: u64,
    /// Time in the calls that send: what a packet does in the kernel before its sender is on again, to the
    /// relay's socket and, without one, all the way.
    pub sending: Duration,
}

impl Phones {
    pub fn new() -> io::Result<Self> {
        let socket = || {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20)?;
            socket.set_nonblocking(true).map(|()| socket)
        };
        Ok(Self {
            sockets: [socket()?, socket()?],
            relay: [vec![], vec![]],
            sequence: [vec![], vec![]],
            sent: 0,
            received: 0,
            sending: Duration::ZERO,
        })
    }

    /// Where the phones of side A and of side B are.
    pub fn addresses(&self) -> io::Result<[SocketAddr; 2]> {
        Ok([self.sockets[0].local_addr()?, self.sockets[1].local_addr()?])
    }

    /// Speaks through another relay from now on.
    pub fn use_relay(&mut self, relay: [Vec<SocketAddr>; 2]) {
        self.sequence = [vec![0; relay[0].len()], vec![0; relay[1].len()]];
        self.relay = relay;
    }

    pub fn run(&mut self, load: Load, time: Duration) {
        let end = Instant::now() + time;
        match load {
            Load::Paced => self.paced(end),
            Load::Saturated => self.saturated(end),
        }
    }

    /// One packet at a time, its moment waited for without sleeping: a sender that sleeps sends bursts,
    /// and bursts flatter a relay that wakes for each packet.
    fn paced(&mut self, end: Instant) {
        stay_on_the_last_core();
        let streams = 2 * self.relay[0].len();
        let start = Instant::now();
        for n in 0.. {
            let due = start + FRAME.mul_f64(n as f64 / streams as f64);
            if due >= end {
                return;
            }
            self.drain();
            while Instant::now() < due {
                self.drain();
            }
            let stream = n % streams;
            self.send(stream % 2, stream / 2);
        }
    }

    fn saturated(&mut self, end: Instant) {
        let mut on_their_way = 0u64;
        let mut last = Instant::now();
        for call in (0..self.relay[0].len()).cycle() {
            let now = Instant::now();
            if now >= end {
                return;
            }
            if on_their_way < WINDOW {
                self.send(0, call);
                self.send(1, call);
                on_their_way += 2;
                if !call.is_multiple_of(8) {
                    continue;
                }
            }
            let came = self.drain();
            on_their_way = on_their_way.saturating_sub(came);
            if came > 0 {
                last = now;
            } else if now - last > Duration::from_millis(50) {
                // What is still on its way has been lost.
                on_their_way = 0;
            }
        }
    }

    fn send(&mut self, side: usize, call: usize) {
        let sequence = &mut self.sequence[side][call];
        *sequence = sequence.wrapping_add(1);
        let mut packet = [0x55; PACKET];
        packet[..2].copy_from_slice(&[0x80, 0]);
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        packet[4..8].copy_from_slice(&(u32::from(*sequence) * 160).to_be_bytes());
        packet[8..12].copy_from_slice(&(call as u32 + 1).to_be_bytes());
        let began = Instant::now();
        if self.sockets[side].send_to(&packet, self.relay[side][call]).is_ok() {
            self.sent += 1;
        }
        self.sending += began.elapsed();
    }

    fn drain(&mut self) -> u64 {
        let mut buffer = [0; 256];
        let mut came = 0;
        for socket in &self.sockets {
            while socket.recv(&mut buffer).is_ok() {
                came += 1;
            }
        }
        self.received += came;
        came
    }
}

/// Only the calling thread; the relays have been started and run where they like.
fn stay_on_the_last_core() {
    // SAFETY: the set is plain bits, zero is none, and it outlives the calls.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET((libc::sysconf(libc::_SC_NPROCESSORS_ONLN).max(1) - 1) as usize, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}
