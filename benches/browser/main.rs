//! What a browser leg costs: our media threads with 300 calls between a browser and a phone, beside 300
//! between two phones.
//!
//! Each is a process of its own, so that its CPU can be told from the load's; both see the same load in
//! turn, several times over, and only ratios of one run are judged. A packet goes in by one leg and out by
//! another; the last line of the table takes half of what the phones' call costs for its phone.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // Sockets, threads and time are what is measured.

mod load;
#[path = "../../tests/support/page.rs"]
mod page;
mod serve;

use std::time::Duration;

use load::Load;
use serve::Server;

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CALLS: usize = 300;
const ROUNDS: usize = 5;
const WARM_UP: Duration = Duration::from_millis(1_000);
const MEASURED: Duration = Duration::from_secs(3);
const CPU_TARGET: f64 = 2.5;
const MEMORY_TARGET_KB: f64 = 150.0;

/// One measurement.
#[derive(Debug, Clone, Copy)]
struct Cost {
    micros_per_packet: f64,
    lost: u64,
    packets: u64,
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => compare(),
        ["serve", kind, calls, a, b] => serve::run(kind, calls.parse()?, [a.parse()?, b.parse()?]),
        _ => anyhow::bail!("usage: browser [serve phones|browsers CALLS A B]"),
    }
}

fn compare() -> anyhow::Result<()> {
    let mut sides = ["phones", "browsers"]
        .map(|kind| -> anyhow::Result<_> {
            let mut load = Load::new(CALLS)?;
            let mut server = Server::start(kind, CALLS, load.addresses()?)?;
            let before = server.resident_kb()?;
            match kind {
                "browsers" => load.connect(&mut server)?,
                _ => load.use_ports(&server),
            }
            Ok((server, load, before))
        })
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    let mut costs = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for ((server, load, _), costs) in sides.iter_mut().zip(&mut costs) {
            load.run(WARM_UP);
            let (cpu, counts) = (server.cpu_ns()?, load.counts());
            load.run(MEASURED);
            let cpu = (server.cpu_ns()? - cpu) as f64 / 1_000.0;
            let (sent, received) = (load.counts().0 - counts.0, load.counts().1 - counts.1);
            let lost = sent.saturating_sub(received);
            costs.push(Cost { micros_per_packet: cpu / received.max(1) as f64, lost, packets: sent });
        }
    }
    report(&costs);
    let [phones, browsers] = [&sides[0], &sides[1]].map(|(server, _, before)| {
        server.resident_kb().map(|after| after.saturating_sub(*before) as f64 / CALLS as f64)
    });
    judge("memory of a call with a browser, talking, kB", browsers?, MEMORY_TARGET_KB);
    println!("{:<52} | {:>9.1} |         |", "memory of a call of two phones, talking, kB", phones?);
    sides.into_iter().try_for_each(|(server, _, _)| server.stop())
}

fn report(costs: &[Vec<Cost>; 2]) {
    println!("{CALLS} calls, µs of CPU per relayed packet, median of {ROUNDS} rounds in turn");
    println!("{:<52} | {:>9} | {:>7} |", "figure", "measured", "target");
    let [phones, browsers] = costs.each_ref().map(|costs| {
        let mut all: Vec<_> = costs.iter().map(|cost| cost.micros_per_packet).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    });
    for (name, micros, costs) in [("phone and phone", phones, &costs[0]), ("browser and phone", browsers, &costs[1])] {
        let (lost, packets) = costs.iter().fold((0, 0), |sum, cost| (sum.0 + cost.lost, sum.1 + cost.packets));
        println!("{:<52} | {micros:>9.2} |         | {lost} of {packets} lost", format!("{name}, µs"));
    }
    judge("a packet by a browser's call / by a phones' call", browsers / phones, CPU_TARGET);
    let beyond = (browsers - phones / 2.0) / (phones / 2.0);
    println!("{:<52} | {beyond:>9.2} |         |", "the browser leg's share of it / a phone leg's share");
}

fn judge(what: &str, measured: f64, target: f64) {
    let verdict = if measured <= target { "ok" } else { "short" };
    println!("{what:<52} | {measured:>9.2} | {target:>7.2} | {verdict}");
}
