//! The whole server under calls: CPU per call, the highest clean rate, set-up times, memory.
//!
//! ```text
//! driver ── POST dial ──▶ revbridge (its own process, release build) ──▶ phones A, phones B (threads here)
//! ```
//!
//! The server runs with guardrails, the outgoing guard and a durable SQLite store on the disk under
//! `target/`. Its CPU is the scheduler's account of its threads, so what the driver uses beside it does
//! not count, but does compete for the same cores. A bare bridge, which checks and keeps nothing, is
//! measured by the same driver in the same run: machines differ, and the ratio to it differs less.
//!
//! `cargo bench --bench calls` prints the figures; `-- 400 10` runs 400 calls/s for 10 s alone, and the bare
//! bridge after it; `-- tls` compares TLS with UDP alone, `-- trace` calls whose traces are kept with others.

// A load driver measures time and plays the network.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod bare;
mod driver;
mod phones;
mod server;

use std::time::Duration;

use driver::Load;
use phones::wire::Wire;
use server::Server;

/// Longer than a call is remembered (64 T1), and than its trace waits for others to be written with.
const FORGOTTEN: Duration = Duration::from_secs(36);

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("bare") => return bare::serve().expect("the bare bridge serves"),
        Some("tls") => return over_tls(),
        Some("trace") => return with_traces(),
        Some(_) | None => {}
    }
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    match numbers[..] {
        [rate, seconds, ..] => {
            let duration = Duration::from_secs(seconds);
            println!("{:#?}\nbare bridge: {:#?}", run(rate, duration), run_on(Server::bare(), rate, duration));
        }
        _ => figures(),
    }
}

/// A call on TLS connections that stand, beside one on UDP: what its set-up costs.
fn over_tls() {
    let (rate, duration) = (100, Duration::from_secs(15));
    let server = Server::over_tls();
    let wire = |address| Wire::tls(address, server.files());
    driver::run_on(&server, rate, Duration::from_secs(1), wire);
    let tls = driver::run_on(&server, rate, duration, wire);
    drop(server);
    let udp = run(rate, duration);
    let clean = tls.is_clean() && udp.is_clean();
    let cpu = tls.cpu_per_call_us / udp.cpu_per_call_us;
    figure(
        &format!("CPU of a call on TLS / on UDP at {rate}/s (clean: {clean})"),
        cpu,
        "times",
        1.5,
        tls.completed > 0,
    );
    let wait = tls.answer_to_invite_ms.0 / udp.answer_to_invite_ms.0;
    figure("A's 200 to B's INVITE, p50, on TLS / on UDP", wait, "times", 1.5, tls.completed > 0);
}

/// Calls whose traces are sealed while they live and written when they are forgotten, beside calls without.
fn with_traces() {
    let (kept, plain) = (until_forgotten(Server::tracing()), until_forgotten(Server::start()));
    let valid = kept.0.is_clean() && plain.0.is_clean();
    let name = format!("CPU of a call with its trace / without, until it is forgotten (clean: {valid})");
    figure(&name, kept.1 / plain.1, "times", 1.5, kept.0.completed > 0);
    let wait = kept.0.answer_to_invite_ms.0 / plain.0.answer_to_invite_ms.0;
    figure("A's 200 to B's INVITE, p50, with traces / without", wait, "times", 1.5, kept.0.completed > 0);
}

/// What a call takes in microseconds, also after its end.
fn until_forgotten(server: Server) -> (Load, f64) {
    driver::warm_up(&server);
    std::thread::sleep(FORGOTTEN);
    let before = server.cpu();
    let load = driver::run(&server, 100, Duration::from_secs(15));
    std::thread::sleep(FORGOTTEN);
    let per_call = (server.cpu() - before).as_micros() as f64 / load.completed.max(1) as f64;
    (load, per_call)
}

fn figures() {
    println!("figure | measured | target | verdict");
    for (rate, seconds, target) in [(100, 20, 500.0), (1_000, 10, 350.0)] {
        let load = run(rate, Duration::from_secs(seconds));
        let name = format!("server CPU per bridged call at {rate}/s (clean: {})", load.is_clean());
        figure(&name, load.cpu_per_call_us, "us", target, load.completed > 0);
        let bare = run_on(Server::bare(), rate, Duration::from_secs(seconds / 2));
        let (us, ratio) = (bare.cpu_per_call_us, load.cpu_per_call_us / bare.cpu_per_call_us);
        println!(
            "the same of a bare bridge (clean: {}) | {us:.2} us | | the server takes {ratio:.1} times that",
            bare.is_clean()
        );
        if rate == 100 {
            figure("A's 200 to B's INVITE, p50", load.answer_to_invite_ms.0, "ms", 2.0, true);
        }
    }
    over_tls();
    with_traces();
    let load = run(200, Duration::from_secs(15));
    figure("dial to 202 at 200/s, p99", load.dial_ms.1, "ms", 20.0, true);
    let clean = [1_200, 1_500, 2_000, 2_500].into_iter().take_while(|rate| run_settled(*rate).is_clean()).last();
    let clean = clean.unwrap_or_else(|| if run_settled(1_000).is_clean() { 1_000 } else { 0 });
    println!(
        "highest clean rate | {clean} calls/s | at least 1200 calls/s | {}",
        if clean >= 1_200 { "ok" } else { "short" }
    );
    figure("memory per live bridged call", held_kilobytes(500), "kB", 30.0, true);
}

fn figure(name: &str, measured: f64, unit: &str, target: f64, valid: bool) {
    let verdict = if valid && measured <= target { "ok" } else { "short" };
    println!("{name} | {measured:.2} {unit} | at most {target} {unit} | {verdict}");
}

/// One rate, on a fresh server.
fn run(rate: u64, duration: Duration) -> Load {
    run_on(Server::start(), rate, duration)
}

fn run_on(server: Server, rate: u64, duration: Duration) -> Load {
    driver::warm_up(&server);
    driver::run(&server, rate, duration)
}

fn run_settled(rate: u64) -> Load {
    run(rate, Duration::from_secs(8))
}

/// What `calls` joined calls add to the resident memory of the process.
fn held_kilobytes(calls: u64) -> f64 {
    let server = Server::start();
    driver::warm_up(&server);
    let before = server.resident_kilobytes();
    let held = driver::hold(&server, calls);
    let after = server.resident_kilobytes();
    drop(held);
    (after as f64 - before as f64) / calls as f64
}
