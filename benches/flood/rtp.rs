//! The audio of all calls: each stream once per 20 ms, each at its own moment of them, as a day's calls lie.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Samples of 20 ms behind a header.
const PACKET: usize = 172;
/// Between two packets of one stream.
const FRAME: Duration = Duration::from_millis(20);
/// How long the sender sleeps: a packet leaves, and its arrival is seen, at most that much late.
const TICK: Duration = Duration::from_millis(1);

/// What became of the packets sent in one phase.
#[derive(Debug, Default, Clone)]
pub struct Heard {
    pub sent: u64,
    pub received: u64,
    /// From the sending to the sight of it, microseconds.
    pub delays_us: Vec<u32>,
}

impl Heard {
    pub fn lost(&self) -> f64 {
        1.0 - (self.received as f64 / self.sent.max(1) as f64).min(1.0)
    }
}

/// Speaks and listens until it is stopped.
pub struct Audio {
    phase: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Heard>>,
}

impl Audio {
    /// `sockets` of the phones A and B, `relay` where each call's audio goes, by side.
    pub fn start(sockets: [UdpSocket; 2], relay: [Vec<SocketAddr>; 2], phases: usize) -> Self {
        let (phase, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let mut streams = Streams {
            sockets,
            relay,
            epoch: Instant::now(),
            sent: 0,
            heard: vec![Heard::default(); phases],
            phase: Arc::clone(&phase),
        };
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Relaxed) {
                streams.turn();
            }
            // What is still on its way.
            std::thread::sleep(Duration::from_millis(200));
            streams.drain();
            streams.heard
        });
        Self { phase, stop, thread }
    }

    /// What is sent from now on counts for this phase.
    pub fn enter(&self, phase: usize) {
        self.phase.store(phase, Relaxed);
    }

    pub fn stop(self) -> Vec<Heard> {
        self.stop.store(true, Relaxed);
        self.thread.join().expect("the thread of the audio")
    }
}

struct Streams {
    sockets: [UdpSocket; 2],
    relay: [Vec<SocketAddr>; 2],
    epoch: Instant,
    sent: u64,
    heard: Vec<Heard>,
    phase: Arc<AtomicUsize>,
}

impl Streams {
    fn turn(&mut self) {
        let streams = 2 * self.relay[0].len() as u64;
        let due = (self.epoch.elapsed().as_nanos() as u64 * streams) / FRAME.as_nanos() as u64;
        while self.sent < due {
            let stream = self.sent % streams;
            self.send((stream % 2) as usize, (stream / 2) as usize, self.sent / streams);
            self.sent += 1;
        }
        self.drain();
        std::thread::sleep(TICK);
    }

    fn send(&mut self, side: usize, call: usize, number: u64) {
        let phase = self.phase.load(Relaxed);
        let mut packet = [0x55; PACKET];
        packet[..2].copy_from_slice(&[0x80, 0]);
        packet[2..4].copy_from_slice(&(number as u16).to_be_bytes());
        packet[4..8].copy_from_slice(&(number as u32).wrapping_mul(160).to_be_bytes());
        packet[8..12].copy_from_slice(&((2 * call + side) as u32 + 1).to_be_bytes());
        packet[12] = phase as u8;
        packet[13..21].copy_from_slice(&(self.epoch.elapsed().as_micros() as u64).to_be_bytes());
        if self.sockets[side].send_to(&packet, self.relay[side][call]).is_ok() {
            self.heard[phase].sent += 1;
        }
    }

    fn drain(&mut self) {
        let mut buffer = [0; 256];
        for socket in &self.sockets {
            while let Ok(length) = socket.recv(&mut buffer) {
                let (true, Some(heard)) = (length == PACKET, self.heard.get_mut(usize::from(buffer[12]))) else {
                    continue;
                };
                let sent = buffer[13..21].try_into().map_or(0, u64::from_be_bytes);
                heard.received += 1;
                heard.delays_us.push((self.epoch.elapsed().as_micros() as u64).saturating_sub(sent) as u32);
            }
        }
    }
}
