//! What the store costs and how fast it answers: `figure | measured | target | ok/short`.
//!
//! The processor's time is that of the writer thread alone, as the kernel counted it, and so are its
//! switches and writes. `cargo bench --bench store -- RATE SECONDS` offers whole calls at one rate only, and
//! `-- admissions` measures admissions alone.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // Measures: needs the clock and threads.

#[path = "../tests/store/desk.rs"]
#[allow(dead_code)] // Shared with the tests, which use more of it.
mod desk;
#[path = "store/each.rs"]
mod each;
#[path = "store/shared.rs"]
mod shared;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use revbridge::guardrails::Attempt;
use revbridge::model::{CommitId, Money, Side};
use revbridge::store::{Commit, Committed, Step};

use desk::{Desk, admit, permit, settle, step, wide};

fn main() {
    println!("figure | measured | target | ok/short");
    let dir = tempfile::tempdir_in(".").expect("a directory on the disk");
    let asked: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    if let [rate, seconds] = *asked {
        return paced(&dir.path().join("one"), rate, seconds, 120.0);
    }
    if !std::env::args().any(|argument| argument == "admissions") {
        for (rate, target_us) in [(100, 120.0), (400, 120.0), (1_000, 80.0)] {
            paced(&dir.path().join(format!("{rate}")), rate, 8, target_us);
        }
    }
    admissions(dir.path());
    on_postgres();
}

/// By turns as well, each on a new database.
fn on_postgres() {
    let server = desk::engine::postgres::server();
    let rounds: Vec<_> = (0..5)
        .map(|round| {
            let each = shared::each(&server.database(&format!("each_{round}")), Duration::from_secs(1));
            let url = server.database(&format!("many_{round}"));
            (each, flood_on(Desk::open_url(&url, "solo", wide(), || ()).expect("a new store"), 128))
        })
        .collect();
    let (many, ratio) = (median(&rounds, |round| round.1), median(&rounds, |round| round.1 / round.0));
    let each =
        format!("PostgreSQL, one account: admissions/s, a transaction for each, {} connections", shared::CONNECTIONS);
    report(&each, median(&rounds, |round| round.0), None);
    report("PostgreSQL, one account: admissions/s, 128 waiting", many, None);
    report("PostgreSQL, one account: 128 waiting / a transaction for each", ratio, Some((3.0, ratio >= 3.0)));
}

fn median(rounds: &[(f64, f64)], read: impl Fn(&(f64, f64)) -> f64) -> f64 {
    let mut all: Vec<_> = rounds.iter().map(read).collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// By turns: what the disk does meanwhile for others, it does to both.
fn admissions(dir: &Path) {
    let one = flood(&dir.join("one"), 1);
    let rounds: Vec<_> = (0..5)
        .map(|round| {
            let each = each::rate(&dir.join(format!("each-{round}")), Duration::from_secs(1));
            (each, flood(&dir.join(format!("many-{round}")), 128))
        })
        .collect();
    let (many, ratio) = (median(&rounds, |round| round.1), median(&rounds, |round| round.1 / round.0));
    report("admissions/s, one after the other", one, None);
    report("admissions/s, 128 waiting", many, Some((10_000.0, many >= 10_000.0)));
    report("admissions/s, a commit for each, without an engine", median(&rounds, |round| round.0), None);
    report("admissions/s, 128 waiting / a commit for each", ratio, Some((15.0, ratio >= 15.0)));
}

fn report(figure: &str, measured: f64, target: Option<(f64, bool)>) {
    match target {
        Some((target, ok)) => println!("{figure} | {measured:.2} | {target} | {}", if ok { "ok" } else { "short" }),
        None => println!("{figure} | {measured:.2} | - | -"),
    }
}

/// Whole calls at a steady rate: admission, leg B, answer, end, forgotten.
fn paced(path: &Path, rate: u64, seconds: u64, target_us: f64) {
    let transactions = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&transactions);
    let watched = Desk::open_watched(path, wide(), move || _ = count.fetch_add(1, Ordering::Relaxed));
    let mut desk = watched.expect("a new store");
    let attempts: Vec<_> = (0..rate * seconds).map(|_| desk.attempt()).collect();
    let mut plan = plan(&attempts, rate);
    plan.sort_by_key(|(at, _, _)| *at);
    desk.store.ping().expect("a writer that runs");
    let before = Spent::so_far();
    let began = Instant::now();
    let mut waiting: HashMap<CommitId, (usize, Instant)> = HashMap::new();
    let mut took: [Vec<Duration>; 4] = Default::default();
    for (n, (at, call, part)) in plan.iter().enumerate() {
        while let Some(left) = (began + *at).checked_duration_since(Instant::now()) {
            if let Ok((id, _)) = desk.answers.recv_timeout(left) {
                finish(&mut waiting, &mut took, id);
            }
        }
        waiting.insert(CommitId(n as u64 + 1), (*part, Instant::now()));
        desk.submit(commit(&attempts[*call], *part));
        if *part == 3 {
            desk.store.forget(vec![attempts[*call].call]);
        }
    }
    while !waiting.is_empty() {
        let (id, _) = desk.answers.recv().expect("an answer");
        finish(&mut waiting, &mut took, id);
    }
    let spent = Spent::so_far();
    let per_call = |now: u64, then: u64| (now - then) as f64 / attempts.len() as f64;
    let cpu_us = per_call(spent.cpu_ns, before.cpu_ns) / 1e3;
    report(&format!("{rate} calls/s: store µs of CPU per call"), cpu_us, Some((target_us, cpu_us <= target_us)));
    for (figure, measured) in [
        ("transactions", per_call(transactions.load(Ordering::Relaxed), 0)),
        ("times the writer slept", per_call(spent.sleeps, before.sleeps)),
        ("writes", per_call(spent.writes, before.writes)),
        ("bytes written", per_call(spent.bytes, before.bytes)),
    ] {
        report(&format!("{rate} calls/s: {figure} per call"), measured, None);
    }
    for (part, name) in ["admission", "leg B", "answer", "end"].iter().enumerate() {
        took[part].sort();
        let at = |share: f64| took[part][((took[part].len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        let bound = if part == 1 { 2.0 } else { 20.0 };
        let judged = if part == 1 { at(0.5) } else { at(0.99) };
        let figure = format!("{rate} calls/s: {name}, ms p50 {:.2}, p99", at(0.5));
        report(&figure, at(0.99), Some((bound, judged <= bound)));
    }
}

fn finish(waiting: &mut HashMap<CommitId, (usize, Instant)>, took: &mut [Vec<Duration>; 4], id: CommitId) {
    let (part, since) = waiting.remove(&id).expect("a commit that waits");
    took[part].push(since.elapsed());
}

/// When each part of each call is handed in: about as far apart as in a call that is answered at once and
/// hung up a second later, a little different in each.
fn plan(attempts: &[Attempt], rate: u64) -> Vec<(Duration, usize, usize)> {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut draw = |up_to_ms: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Duration::from_micros((seed >> 33) % (up_to_ms * 1_000))
    };
    let mut plan = Vec::new();
    for call in 0..attempts.len() {
        let mut at = Duration::from_micros(call as u64 * 1_000_000 / rate) + draw(10);
        for (part, gap_ms) in [20, 20, 1_000, 0].into_iter().enumerate() {
            plan.push((at, call, part));
            at += Duration::from_millis(gap_ms) + draw(10);
        }
    }
    plan
}

fn commit(attempt: &Attempt, part: usize) -> Commit {
    match part {
        0 => admit(attempt),
        1 => permit(attempt, Side::Destination),
        2 => step(attempt, Step::Keep),
        _ => settle(attempt, Money::from_micros(11_000)),
    }
}

/// Admissions per second with so many waiting at every moment.
fn flood(path: &Path, at_once: usize) -> f64 {
    flood_on(Desk::open_file(path, wide()).expect("a new store"), at_once)
}

fn flood_on(mut desk: Desk, at_once: usize) -> f64 {
    desk.store.ping().expect("a writer that runs");
    let before = Spent::so_far().cpu_ns;
    let began = Instant::now();
    for _ in 0..at_once {
        let attempt = desk.attempt();
        desk.submit(admit(&attempt));
    }
    let mut done = 0;
    while began.elapsed() < Duration::from_secs(1) {
        assert!(matches!(desk.wait(), Committed::Admitted { .. }), "only an admission counts");
        done += 1;
        let attempt = desk.attempt();
        desk.submit(admit(&attempt));
    }
    let rate = f64::from(done) / began.elapsed().as_secs_f64();
    (0..at_once).for_each(|_| drop(desk.wait()));
    let cpu_us = (Spent::so_far().cpu_ns - before) as f64 / 1e3 / f64::from(done + at_once as u32);
    report(&format!("admissions, {at_once} waiting: store µs of CPU for each"), cpu_us, None);
    rate
}

/// What the thread named `store` has used.
struct Spent {
    cpu_ns: u64,
    sleeps: u64,
    writes: u64,
    bytes: u64,
}

impl Spent {
    fn so_far() -> Self {
        let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
        let is_writer =
            |task: &Path| std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "store");
        let task = tasks.flatten().map(|task| task.path()).find(|task| is_writer(task)).expect("a writer");
        let read = |file: &str| std::fs::read_to_string(task.join(file)).expect("readable to its owner");
        let (status, io) = (read("status"), read("io"));
        let value = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.expect("a line of this name").trim().parse().expect("a number")
        };
        Self {
            cpu_ns: read("schedstat").split(' ').next().expect("a field").parse().expect("nanoseconds"),
            sleeps: value(&status, "voluntary_ctxt_switches:"),
            writes: value(&io, "syscw:"),
            bytes: value(&io, "wchar:"),
        }
    }
}
