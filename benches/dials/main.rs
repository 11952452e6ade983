//! What a dial costs the server up to its 202, by thread: `figure | measured | target | verdict`.
//!
//! ```text
//! 32 or 128 connections that stay open ── POST dial ──▶ revbridge (its own process, release build)
//!                                     ◀── 202 ────────┘  └── INVITE ──▶ a socket that never answers
//! ```
//!
//! A burst is over before the first INVITE would be repeated, so what is counted is the request, the admission
//! with its commit on the disk, the 202, and the INVITE with the two ports that follow it. The CPU is the scheduler's
//! account of the server's threads. Each burst has a server and a store of its own.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // A load driver measures time.

mod connections;
#[path = "../calls/phones.rs"]
#[allow(dead_code)] // Named by the server's module; nobody rings here.
mod phones;
#[path = "../calls/server.rs"]
#[allow(dead_code)] // Shared with the bench of calls, which uses more of it.
mod server;

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use connections::Connections;
use server::{API, PHONES_A, Server};

const BURST: usize = 1_000;
const BURSTS: usize = 5;
/// Dials before the burst: they page the code in and fill the pools.
const WARM_UP: usize = 100;
/// Between the warm-up and the burst its connections are quiet.
const PAUSE: Duration = Duration::from_millis(100);
/// RFC 3261 §17.1.1.2: an INVITE is repeated after T1.
const T1: Duration = Duration::from_millis(500);
const TARGET_US: f64 = 150.0;

fn main() -> std::io::Result<()> {
    println!("figure | measured | target | ok/short");
    accepted(32, "32 at once", false)?;
    accepted(128, "128 at once", false)?;
    accepted(128, "128 at once, each with an Idempotency-Key", true)?;
    Ok(())
}

fn accepted(at_once: usize, name: &str, keyed: bool) -> std::io::Result<()> {
    let bursts = (0..BURSTS).map(|_| burst(at_once, keyed)).collect::<Result<Vec<_>, _>>()?;
    let sum = |burst: &Spent| burst.by_thread.values().sum();
    let all = median(bursts.iter().map(sum));
    let longest = bursts.iter().map(|burst| burst.took).max().unwrap_or_default();
    let verdict = match (longest < T1, all <= TARGET_US) {
        (true, true) => "ok",
        (true, false) => "short",
        (false, _) => "not valid: the burst took too long",
    };
    println!("CPU of a dial up to its 202, and its INVITE, µs, {name} | {all:.1} | at most {TARGET_US} | {verdict}");
    for thread in bursts[0].by_thread.keys() {
        let of_thread = median(bursts.iter().map(|burst| burst.by_thread.get(thread).copied().unwrap_or(0.0)));
        println!("- of it the thread {thread} | {of_thread:.1} | - | -");
    }
    let rate = BURST as f64 / median(bursts.iter().map(|burst| burst.took.as_secs_f64()));
    println!("- dials per second in the burst | {rate:.0} | - | -");
    Ok(())
}

fn median(all: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<_> = all.collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// What one burst took.
struct Spent {
    /// Microseconds a dial.
    by_thread: BTreeMap<String, f64>,
    took: Duration,
}

fn burst(at_once: usize, keyed: bool) -> std::io::Result<Spent> {
    let silent = UdpSocket::bind(PHONES_A)?;
    socket2::SockRef::from(&silent).set_recv_buffer_size(8 << 20)?;
    let server = Server::start();
    let mut connections = Connections::open(API, at_once)?;
    let request = |call: usize| {
        let headers = if keyed { format!("Idempotency-Key: burst-{call}\r\n") } else { String::new() };
        let (to, connect) = (format!("+1212{call:07}"), format!("+1415{call:07}"));
        connections::dial(API, "load", "+18885550100", &to, &connect, &headers)
    };
    let requests: Vec<_> = (0..WARM_UP + BURST).map(request).collect();
    let (warm_up, burst) = requests.split_at(WARM_UP);
    ask(&mut connections, warm_up)?;
    std::thread::sleep(PAUSE);
    let before = server.cpu_by_thread();
    let began = Instant::now();
    ask(&mut connections, burst)?;
    let took = began.elapsed();
    // The last INVITEs leave.
    std::thread::sleep(Duration::from_millis(20));
    let per_dial = |(thread, cpu): (String, Duration)| {
        let spent = cpu.saturating_sub(before.get(&thread).copied().unwrap_or_default());
        (thread, spent.as_secs_f64() * 1e6 / BURST as f64)
    };
    Ok(Spent { by_thread: server.cpu_by_thread().into_iter().map(per_dial).collect(), took })
}

/// Asks for all of it, as many at once as there are connections.
fn ask(connections: &mut Connections, requests: &[Vec<u8>]) -> std::io::Result<()> {
    let mut left = requests.iter();
    let mut next = left.next();
    while next.is_some() || connections.waiting() > 0 {
        while let Some(request) = next {
            if connections.ask(request)?.is_none() {
                break;
            }
            next = left.next();
        }
        connections
            .answers(Duration::from_millis(100), |_, status| assert_eq!(status, 202, "every dial is accepted"))?;
    }
    Ok(())
}
