//! What the store costs and how fast it answers: `figure | measured | target | ok/short`.
//!
//! The processor's time is that of the writer thread alone, as the kernel counted it.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // Measures: needs the clock and threads.

#[path = "../tests/store/desk.rs"]
#[allow(dead_code)] // Shared with the tests, which use more of it.
mod desk;

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use revbridge::guardrails::Attempt;
use revbridge::model::{CommitId, Money, Side};
use revbridge::store::{Commit, Step};

use desk::{Desk, admit, permit, settle, step, wide};

fn main() {
    println!("figure | measured | target | ok/short");
    let dir = tempfile::tempdir_in(".").expect("a directory on the disk");
    for (rate, target_us) in [(100, 120.0), (400, 120.0), (1_000, 80.0)] {
        paced(&dir.path().join(format!("{rate}")), rate, target_us);
    }
    let one = flood(&dir.path().join("one"), 1);
    let many = flood(&dir.path().join("many"), 128);
    report("admissions/s, one after the other", one, None);
    report("admissions/s, 128 waiting", many, Some((10_000.0, many >= 10_000.0)));
}

fn report(figure: &str, measured: f64, target: Option<(f64, bool)>) {
    match target {
        Some((target, ok)) => println!("{figure} | {measured:.2} | {target} | {}", if ok { "ok" } else { "short" }),
        None => println!("{figure} | {measured:.2} | - | -"),
    }
}

/// Whole calls at a steady rate: admission, leg B, answer, end, forgotten.
fn paced(path: &Path, rate: u64, target_us: f64) {
    let seconds = 8;
    let mut desk = Desk::open(path, wide()).expect("a new store");
    let attempts: Vec<_> = (0..rate * seconds).map(|_| desk.attempt()).collect();
    let mut plan = plan(&attempts, rate);
    plan.sort_by_key(|(at, _, _)| *at);
    let cpu = cpu_of_writer();
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
    let per_call = (cpu_of_writer() - cpu).as_secs_f64() * 1e6 / attempts.len() as f64;
    report(&format!("{rate} calls/s: store µs of CPU per call"), per_call, Some((target_us, per_call <= target_us)));
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

/// When each part of each call is handed in; the times between the parts are drawn anew per call.
fn plan(attempts: &[Attempt], rate: u64) -> Vec<(Duration, usize, usize)> {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut draw = |up_to_ms: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Duration::from_micros((seed >> 33) % (up_to_ms * 1_000))
    };
    let mut plan = Vec::new();
    for call in 0..attempts.len() {
        let mut at = Duration::from_micros(call as u64 * 1_000_000 / rate) + draw(10);
        for part in 0..4 {
            plan.push((at, call, part));
            at += Duration::from_millis(30) + draw(200);
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
    let mut desk = Desk::open(path, wide()).expect("a new store");
    let began = Instant::now();
    for _ in 0..at_once {
        let attempt = desk.attempt();
        desk.submit(admit(&attempt));
    }
    let mut done = 0;
    while began.elapsed() < Duration::from_secs(2) {
        desk.wait();
        done += 1;
        let attempt = desk.attempt();
        desk.submit(admit(&attempt));
    }
    let rate = f64::from(done) / began.elapsed().as_secs_f64();
    (0..at_once).for_each(|_| drop(desk.wait()));
    rate
}

/// Processor time of the thread named `store`.
fn cpu_of_writer() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let ns = tasks.flatten().filter_map(|task| {
        let read = |file: &str| std::fs::read_to_string(task.path().join(file)).ok();
        if read("comm")?.trim() != "store" {
            return None;
        }
        read("schedstat")?.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(ns.sum())
}
