//! What a flood of refused dials does to everybody else: `figure | measured | target | verdict`.
//!
//! ```text
//! 5,000 refused dials/s, another organization's ─┐
//! 30 dials/s that are set up ────────────────────┼─▶ revbridge (its own process, release build)
//! 100 calls that speak, both ways ───────────────┘
//! ```
//!
//! Calls are set up and audio is relayed all the time; the flood is on and off by turns, and only ratios of the two
//! are judged. The audio goes through the server's own threads, not through the kernel. The flood and the
//! phones use the same cores as the server: what they take is taken from it.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // A load driver measures time.

#[path = "../dials/connections.rs"]
mod connections;
#[path = "../calls/phones.rs"]
#[allow(dead_code)] // Shared with the bench of calls, which uses more of it.
mod phones;
mod refused;
mod rtp;
#[path = "../calls/server.rs"]
#[allow(dead_code)] // As above.
mod server;

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use connections::Connections;
use phones::{Bank, Manners};
use refused::Refused;
use rtp::{Audio, Heard};
use server::{API, PHONES_A, PHONES_B, Server};

/// Calls that speak.
const LIVE: usize = 100;
const FLOOD_PER_SECOND: u64 = 5_000;
const DIALS_PER_SECOND: u64 = 30;
/// Of each phase; quiet and flooded take turns.
const SLICE: Duration = Duration::from_secs(4);
const TURNS: usize = 4;
/// What was dialled at the end of a slice is set up before the next.
const PAUSE: Duration = Duration::from_millis(250);
const HOLD: Duration = Duration::from_secs(1);

/// Where the phones of a side have their audio: outside the range that the server takes for its own.
const AUDIO: [&str; 2] = ["127.0.0.1:15081", "127.0.0.1:15083"];

const QUIET: usize = 0;
const FLOODED: usize = 1;

fn main() {
    println!("figure | measured | target | ok/short");
    under_flood("refused by a guardrail", "requests_per_second = 100000\nrequest_burst = 100000", 403);
    under_flood("refused by the limiter", "requests_per_second = 100\nrequest_burst = 100", 429);
}

/// One server; `api` are lines of its `[api]`, `status` what the flood is answered with.
fn under_flood(name: &str, api: &str, status: u16) {
    let server = Server::start_with(api, "fast_path = \"off\"");
    let scene = Scene::join();
    let refused = Refused::start(FLOOD_PER_SECOND, status);
    let mut dialled = [Vec::new(), Vec::new()];
    let mut cpu = [Cpu::default(), Cpu::default()];
    let mut dials = Dials { connection: Connections::open(API, 1).expect("a connection"), next: LIVE };
    for _ in 0..TURNS {
        for phase in [QUIET, FLOODED] {
            scene.audio.enter(phase);
            refused.run(phase == FLOODED);
            let before = server.cpu_by_thread();
            dialled[phase].extend(dials.slice());
            cpu[phase].add(&before, &server.cpu_by_thread());
            refused.run(false);
            std::thread::sleep(PAUSE);
        }
    }
    let answered = refused.answered() as f64 / (SLICE.as_secs_f64() * TURNS as f64);
    refused.stop();
    let (marks, heard) = scene.end();
    let valid = answered >= 0.95 * FLOOD_PER_SECOND as f64;
    let enough = format!("at least {}", FLOOD_PER_SECOND as f64 * 0.95);
    line(name, "refused dials answered per second", format!("{answered:.0}"), &enough, valid);
    for (phase, of) in [(QUIET, "without"), (FLOODED, "with")] {
        let threads: Vec<_> = cpu[phase].0.iter().map(|(thread, percent)| format!("{thread} {percent:.0}")).collect();
        println!("{name}: % of a core by thread, {of} | {} | - | -", threads.join(", "));
    }
    report_audio(name, &heard, valid);
    let setup = |phase: usize| {
        let gaps = dialled[phase].iter().filter_map(|dialled| marks.gap_us(dialled.call)).collect::<Vec<_>>();
        (dialled[phase].iter().map(|dialled| dialled.took_us).collect::<Vec<_>>(), gaps)
    };
    let ((quiet_dials, quiet_gaps), (dials, gaps)) = (setup(QUIET), setup(FLOODED));
    report_setup(name, "dial to 202", quiet_dials, dials, valid);
    report_setup(name, "A's 200 to B's INVITE", quiet_gaps, gaps, valid);
}

fn line(name: &str, figure: &str, measured: String, target: &str, ok: bool) {
    println!("{name}: {figure} | {measured} | {target} | {}", if ok { "ok" } else { "short" });
}

fn report_audio(name: &str, heard: &[Heard], valid: bool) {
    for (phase, of) in [(QUIET, "without"), (FLOODED, "with")] {
        let mut delays = heard[phase].delays_us.clone();
        delays.sort_unstable();
        let at = |share: f64| f64::from(percentile(&delays, share)) / 1e3;
        println!("{name}: ms in the relay, {of}, p50, p99 | {:.2}, {:.2} | - | -", at(0.5), at(0.99));
        let lost = 100.0 * heard[phase].lost();
        line(name, &format!("RTP lost, %, {of}"), format!("{lost:.3}"), "below 0.1", valid && lost < 0.1);
    }
}

fn report_setup(name: &str, figure: &str, mut quiet: Vec<u32>, mut flooded: Vec<u32>, valid: bool) {
    quiet.sort_unstable();
    flooded.sort_unstable();
    let at = |all: &[u32], share| f64::from(percentile(all, share)) / 1e3;
    for (of, all) in [("without", &quiet), ("with", &flooded)] {
        let (p50, p99) = (at(all, 0.5), at(all, 0.99));
        println!("{name}: {figure}, ms, {of} ({} calls), p50, p99 | {p50:.2}, {p99:.2} | - | -", all.len());
    }
    let ratio = at(&flooded, 0.99) / at(&quiet, 0.99);
    line(name, &format!("{figure}, p99, with / without"), format!("{ratio:.2}"), "at most 2", valid && ratio <= 2.0);
}

fn percentile(sorted: &[u32], share: f64) -> u32 {
    sorted.get(((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1))).copied().unwrap_or(0)
}

/// Share of a core by thread, over several slices.
#[derive(Default)]
struct Cpu(BTreeMap<String, f64>);

impl Cpu {
    fn add(&mut self, before: &BTreeMap<String, Duration>, after: &BTreeMap<String, Duration>) {
        for (thread, spent) in after {
            let spent = spent.saturating_sub(before.get(thread).copied().unwrap_or_default());
            let percent = 100.0 * spent.as_secs_f64() / (SLICE.as_secs_f64() * TURNS as f64);
            *self.0.entry(thread.clone()).or_default() += percent;
        }
    }
}

/// The phones, and the calls between them that speak.
struct Scene {
    banks: [Bank; 2],
    audio: Audio,
}

/// What the phones saw of set-ups.
struct Marks([Bank; 2]);

impl Marks {
    /// From A's 200 to B's INVITE, of a call that came so far.
    fn gap_us(&self, call: usize) -> Option<u32> {
        let answered = self.0[0].marks.answered[call].load(Relaxed);
        let invited = self.0[1].marks.invited[call].load(Relaxed);
        (answered > 0 && invited >= answered).then(|| (invited - answered) as u32)
    }
}

impl Scene {
    fn join() -> Self {
        let sockets = AUDIO.map(|address| {
            let socket = UdpSocket::bind(address).expect("a socket");
            socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20).expect("room");
            socket.set_nonblocking(true).expect("a socket that does not wait");
            socket
        });
        let rtp = sockets.each_ref().map(|socket| socket.local_addr().expect("an address").port());
        let slices = SLICE * (2 * TURNS) as u32;
        let calls = LIVE + 2 * (slices.as_secs_f64() * DIALS_PER_SECOND as f64) as usize;
        let epoch = Instant::now();
        let bank =
            |address, rtp, hang_up| Bank::start_with(address, calls, epoch, Manners { hang_up, stay: LIVE, rtp });
        let banks = [bank(PHONES_A, rtp[0], None), bank(PHONES_B, rtp[1], Some(HOLD))];
        let mut dials = Dials { connection: Connections::open(API, 1).expect("a connection"), next: 0 };
        for _ in 0..LIVE {
            dials.one(Instant::now());
            std::thread::sleep(Duration::from_millis(20));
        }
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until && banks[1].marks.acknowledged.load(Relaxed) < LIVE as u64 {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(banks[1].marks.acknowledged.load(Relaxed), LIVE as u64, "every call must be joined to be measured");
        let relay = banks.each_ref().map(|bank| {
            let ports = bank.marks.relay[..LIVE].iter().map(|port| port.load(Relaxed) as u16);
            ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect()
        });
        let audio = Audio::start(sockets, relay, 3);
        // The relay learns who speaks.
        audio.enter(2);
        std::thread::sleep(Duration::from_secs(1));
        Self { banks, audio }
    }

    fn end(self) -> (Marks, Vec<Heard>) {
        let heard = self.audio.stop();
        (Marks(self.banks), heard)
    }
}

/// Calls that are set up, one after the other.
struct Dials {
    connection: Connections,
    /// The number of the next call.
    next: usize,
}

struct Dialled {
    call: usize,
    took_us: u32,
}

impl Dials {
    fn slice(&mut self) -> Vec<Dialled> {
        let began = Instant::now();
        let every = Duration::from_secs(1) / DIALS_PER_SECOND as u32;
        let due = (0..).map(|n| began + every * n).take_while(|due| *due < began + SLICE);
        due.map(|due| {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            self.one(due)
        })
        .collect()
    }

    /// From the moment at which it was due: a server that is late is late.
    fn one(&mut self, due: Instant) -> Dialled {
        let call = self.next;
        self.next += 1;
        let (to, connect) = (format!("+1212{call:07}"), format!("+1415{call:07}"));
        let request = connections::dial(API, "load", "+18885550100", &to, &connect, "");
        assert!(self.connection.ask(&request).expect("the request leaves").is_some());
        while self.connection.waiting() > 0 {
            let accepted = |_, status| assert_eq!(status, 202, "every dial is accepted");
            self.connection.answers(Duration::from_secs(1), accepted).expect("an answer");
        }
        Dialled { call, took_us: due.elapsed().as_micros() as u32 }
    }
}
