//! What a relayed packet costs: our media threads beside a naive tokio relay and bare epoll.
//!
//! Each relay is a process of its own, so that its CPU can be told from the load's; all see the same
//! load in turn, several times over, and only ratios of one run are judged. What the kernel relays is in
//! no process of ours: over the loopback it runs while the sender sends. So the second figure of each
//! relay adds what sending to it takes beyond sending straight to the other phone, wakes included; the
//! kernel's path is judged by that one. `cargo bench --bench relay`
//! prints the table; `-- serve ours|kernel|tokio|epoll CALLS A B` opens calls between the phones at A and B for
//! an independent load tool, and prints them as `A RA RB B`.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // Sockets, threads and time are what is measured.

mod load;
mod relays;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;

use load::{Load, Phones};

const CALLS: usize = 500;
const ROUNDS: usize = 3;
/// Longer than a stream stays in userspace before the kernel gets it.
const WARM_UP: Duration = Duration::from_millis(1_500);
const MEASURED: Duration = Duration::from_secs(3);
const KINDS: [&str; 4] = ["ours", "kernel", "tokio", "epoll"];

fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => compare(),
        ["serve", kind, calls, a, b] => relays::serve(kind, calls.parse()?, [a.parse()?, b.parse()?]),
        _ => anyhow::bail!("usage: relay [serve ours|kernel|tokio|epoll CALLS A B]"),
    }
}

/// A relay in its own process.
struct Relay {
    process: Child,
    ports: [Vec<SocketAddr>; 2],
}

/// One measurement.
struct Cost {
    micros_per_packet: f64,
    /// The same, and what sending takes beyond sending straight to the other phone.
    whole_micros: f64,
    packets_per_second: f64,
    lost: f64,
}

fn compare() -> anyhow::Result<()> {
    let mut phones = Phones::new()?;
    let relays: Vec<_> = KINDS.iter().map(|kind| Relay::start(kind, phones.addresses()?)).collect::<Result<_, _>>()?;
    println!("{CALLS} calls, µs of CPU per relayed packet, median of {ROUNDS} rounds in turn");
    println!("{:<44} | {:>9} | {:>7} |", "figure", "measured", "target");
    for (load, name, target) in [(Load::Paced, "paced", 0.4), (Load::Saturated, "saturated", 0.85)] {
        let mut costs = KINDS.map(|_| Vec::new());
        for _ in 0..ROUNDS {
            let straight = straight(&mut phones, load)?;
            for (relay, costs) in relays.iter().zip(&mut costs) {
                costs.push(relay.measure(&mut phones, load, straight)?);
            }
        }
        report(name, target, &costs);
    }
    relays.into_iter().try_for_each(Relay::stop)
}

fn report(name: &str, target: f64, costs: &[Vec<Cost>; 4]) {
    let median_of = |costs: &[Cost], read: fn(&Cost) -> f64| {
        let mut all: Vec<_> = costs.iter().map(read).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    for (kind, costs) in KINDS.iter().zip(costs) {
        let (micros, rate) = (median_of(costs, |c| c.micros_per_packet), median_of(costs, |c| c.packets_per_second));
        let whole = median_of(costs, |c| c.whole_micros);
        let lost = 100.0 * median_of(costs, |c| c.lost);
        println!(
            "{:<44} | {micros:>9.2} | {:>7} | {whole:.2} µs with the sender's part, {rate:.0} packets/s, {lost:.2} % lost",
            format!("{name}: {kind}, µs"),
            ""
        );
    }
    let [ours, _, tokio, _] = costs.each_ref().map(|costs| median_of(costs, |c| c.micros_per_packet));
    let [_, kernel, whole_tokio, _] = costs.each_ref().map(|costs| median_of(costs, |c| c.whole_micros));
    for (what, ratio) in [
        ("ours, userspace / naive tokio", ours / tokio),
        ("ours, kernel path / tokio, sender's part too", kernel / whole_tokio),
    ] {
        let verdict = if ratio <= target { "ok" } else { "short" };
        println!("{:<56} | {ratio:>9.2} | {target:>7.2} | {verdict}", format!("{name}: {what}"));
    }
}

/// What sending takes when the other phone is the next stop: microseconds a packet.
fn straight(phones: &mut Phones, load: Load) -> anyhow::Result<f64> {
    let [a, b] = phones.addresses()?;
    phones.use_relay([vec![b; CALLS], vec![a; CALLS]]);
    let before = (phones.sending, phones.sent);
    phones.run(load, MEASURED);
    Ok((phones.sending - before.0).as_secs_f64() * 1e6 / (phones.sent - before.1).max(1) as f64)
}

impl Relay {
    fn start(kind: &str, phones: [SocketAddr; 2]) -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["serve", kind, &CALLS.to_string(), &phones[0].to_string(), &phones[1].to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(process.stdout.take().context("the relay has no output")?).lines();
        let mut ports = [vec![], vec![]];
        for line in lines {
            let line = line?;
            let fields: Vec<_> = line.split(' ').collect();
            let [_, a, b, _] = fields[..] else { break };
            ports[0].push(a.parse()?);
            ports[1].push(b.parse()?);
        }
        anyhow::ensure!(ports[0].len() == CALLS, "the {kind} relay opened {} calls", ports[0].len());
        Ok(Self { process, ports })
    }

    fn measure(&self, phones: &mut Phones, load: Load, straight: f64) -> anyhow::Result<Cost> {
        phones.use_relay(self.ports.clone());
        phones.run(load, WARM_UP);
        let before = (self.cpu_ns()?, phones.sent, phones.received, phones.sending);
        phones.run(load, MEASURED);
        let cpu = self.cpu_ns()? - before.0;
        let (sent, received) = (phones.sent - before.1, phones.received - before.2);
        let micros_per_packet = cpu as f64 / 1_000.0 / received.max(1) as f64;
        let sending = (phones.sending - before.3).as_secs_f64() * 1e6 / sent.max(1) as f64;
        Ok(Cost {
            micros_per_packet,
            whole_micros: micros_per_packet + sending - straight,
            packets_per_second: received as f64 / MEASURED.as_secs_f64(),
            lost: 1.0 - (received as f64 / sent.max(1) as f64).min(1.0),
        })
    }

    /// What all threads of the relay have run, exactly, as the scheduler counts it.
    fn cpu_ns(&self) -> anyhow::Result<u64> {
        let mut sum = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
            sum += text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(sum)
    }

    fn stop(mut self) -> anyhow::Result<()> {
        drop(self.process.stdin.take());
        self.process.wait().map(|_| ()).context("a relay did not end")
    }
}
