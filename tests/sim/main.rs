//! The simulator: the production `Switch` in virtual time against phones that share no code with it.
//!
//! ```text
//! cargo test --test sim         1,000 new seeds, the seeds that once failed, and every mutant
//! cargo sim -- 4711             one seed again, with its ladder
//! cargo sim -- --secs 600       new seeds for ten minutes
//! cargo sim -- --mutant NAME    what one planted fault looks like
//! ```
//!
//! One seed decides everything, so a run can be repeated exactly: a seed that fails is run again with
//! its trace written down.

// The runner, not the simulated world, measures real time and draws new seeds.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod browser;
mod checks;
mod clients;
mod disk;
mod mutant;
mod network;
mod phone;
mod reference;
mod rng;
mod scenario;
mod setup;
mod shell;
mod trace;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mutant::Mutant;
use scenario::Scenario;
use world::{Tally, World};

/// Seeds in `cargo test`.
const SEEDS: u64 = 4_000;
/// Seeds that found something once, before there were browsers: they run without.
const REGRESSIONS: [u64; 9] = [
    // A second fork was acknowledged while the disk did not know of it yet; a crash left it off the hook.
    7797387466727193526,
    3950747025044929859,
    // A restart did not end the strays of a snapshot, and the BYE had been lost with the old process.
    4869738763759130073,
    12037769150888979124,
    // A 200 crossed the CANCEL and fell into the settlement: its phone had to repeat it before it was told.
    18043612922238756739,
    // All provisional answers are lost, so no CANCEL may be sent: the check expected one.
    4061845076067560788,
    // A session id began with the same six digits as a number: the masking check took it for the number.
    4516516605768141194,
    // A phone whose first provisional response arrives when timer B has fired: it must be cancelled.
    12782045126780770876,
    // The CANCEL of a restart overtakes the INVITE: 481, and then the phone rings.
    2773671843462328006,
];
/// Seeds within which each mutant must be found.
const MUTANT_SEEDS: u64 = 60;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["--list", ..] => ExitCode::SUCCESS,
        ["--secs", secs] => search(Instant::now() + Duration::from_secs(secs.parse().unwrap_or(60)), u64::MAX),
        ["--seeds", n] => search(far(), n.parse().unwrap_or(SEEDS)),
        ["--mutant", name] => show_mutant(name),
        [seed] if seed.parse::<u64>().is_ok() => replay(seed.parse().unwrap_or_default(), None),
        _ => test(),
    }
}

fn far() -> Instant {
    Instant::now() + Duration::from_secs(86_400)
}

/// What a seed did, or what it broke.
fn run(seed: u64, mutant: Option<Mutant>, traced: bool) -> (Result<Tally, checks::Violation>, String) {
    let mut world = World::new(Scenario::new(seed), mutant, traced);
    let ran = catch_unwind(AssertUnwindSafe(|| world.run()));
    let result = match (ran, world.checks.violation.take()) {
        (_, Some(violation)) => Err(violation),
        (Ok(tally), None) => Ok(tally),
        (Err(_), None) => Err(checks::Violation { check: checks::Check::Poisoned, what: "the switch panicked".into() }),
    };
    (result, world.trace.take())
}

fn replay(seed: u64, mutant: Option<Mutant>) -> ExitCode {
    let (result, trace) = run(seed, mutant, true);
    print!("{trace}");
    match result {
        Ok(tally) => {
            println!("sim: seed {seed} holds: {tally:?}");
            ExitCode::SUCCESS
        }
        Err(violation) => {
            println!("sim: seed {seed} violates {violation}");
            ExitCode::FAILURE
        }
    }
}

/// New seeds from the operating system until one fails, the time is over or enough have run.
fn search(until: Instant, seeds: u64) -> ExitCode {
    let (tally, count, failed) = explore(until, seeds);
    report(&tally, count, 0);
    match failed {
        Some(seed) => replay(seed, None),
        None => ExitCode::SUCCESS,
    }
}

fn explore(until: Instant, seeds: u64) -> (Tally, u64, Option<u64>) {
    let base = random_seed();
    let next = AtomicU64::new(0);
    let total = Mutex::new((Tally::default(), 0, None));
    let worker = || {
        while Instant::now() < until {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let regressions = REGRESSIONS.len() as u64;
            if n >= seeds.saturating_add(regressions) {
                return;
            }
            let seed =
                REGRESSIONS.get(n as usize).copied().unwrap_or_else(|| rng::Rng::new(base.wrapping_add(n)).next());
            let (result, _) = run(seed, None, false);
            let mut total = total.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            match result {
                Ok(tally) => total.0.add(&tally),
                Err(_) => total.2 = Some(seed),
            }
            total.1 += 1;
            if total.2.is_some() {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(worker);
        }
    });
    total.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn report(tally: &Tally, seeds: u64, mutants: usize) {
    let Tally { calls, invites, answered, browsers, crashes, take_overs, packets, lost, .. } = tally;
    println!(
        "sim: {seeds} seeds, {calls} calls, {invites} INVITEs, {answered} answered, {browsers} browsers, {crashes} crashes, {take_overs} take-overs, \
         {packets} packets, {lost} lost, {mutants} mutants found"
    );
    // What `scripts/test` adds up.
    println!("revbridge-test: seeds={seeds}");
}

/// Runs under `cargo test`.
fn test() -> ExitCode {
    let started = Instant::now();
    let missed: Vec<Mutant> = Mutant::ALL.into_iter().filter(|mutant| !is_found(*mutant)).collect();
    for mutant in &missed {
        println!("sim: mutant {mutant:?} is not found by {:?}", mutant.found_by());
    }
    let (tally, count, failed) = explore(far(), SEEDS);
    report(&tally, count, Mutant::ALL.len() - missed.len());
    let failures = missed.len() + usize::from(failed.is_some());
    let passed = 1 + Mutant::ALL.len() - failures;
    let verdict = if failures == 0 { "ok" } else { "FAILED" };
    if let Some(seed) = failed {
        replay(seed, None);
        println!("sim: again with `cargo sim -- {seed}`");
    }
    let secs = started.elapsed().as_secs_f64();
    println!("test result: {verdict}. {passed} passed; {failures} failed; finished in {secs:.2}s");
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Is this planted fault found, and first by a check that is meant to find it?
fn is_found(mutant: Mutant) -> bool {
    (0..MUTANT_SEEDS).any(|seed| {
        let (result, _) = run(seed, Some(mutant), false);
        result.is_err_and(|violation| mutant.found_by().contains(&violation.check))
    })
}

fn show_mutant(name: &str) -> ExitCode {
    let Some(mutant) = Mutant::ALL.into_iter().find(|m| format!("{m:?}").eq_ignore_ascii_case(name)) else {
        println!("sim: mutants are {:?}", Mutant::ALL);
        return ExitCode::FAILURE;
    };
    let seed = (0..MUTANT_SEEDS).find(|seed| run(*seed, Some(mutant), false).0.is_err());
    seed.map_or(ExitCode::SUCCESS, |seed| replay(seed, Some(mutant)))
}

fn random_seed() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness from the system the time will do: any seed is good.
    if getrandom::fill(&mut bytes).is_err() {
        return std::process::id().into();
    }
    u64::from_le_bytes(bytes)
}

impl Tally {
    fn add(&mut self, other: &Tally) {
        self.calls += other.calls;
        self.invites += other.invites;
        self.answered += other.answered;
        self.browsers += other.browsers;
        self.crashes += other.crashes;
        self.take_overs += other.take_overs;
        self.packets += other.packets;
        self.lost += other.lost;
        self.steps += other.steps;
    }
}
