//! The storm: a real server under load is killed, drained and raced for as long as one likes, and its books are
//! proved after each start.
//!
//! ```text
//! round: [hook] ─▶ start ─▶ dials (each request up to three times at once), hang-ups that race answers ─▶ kill -9 or
//!        SIGTERM ─▶ audit ─▶ next            end: everybody hangs up ─▶ records, phones, statement and audit agree
//! ```
//!
//! `make chaos` runs it for `MINS` minutes, the tests for some 20 seconds. Nothing in it depends on what the clock says.
//! Options after `--`: `--secs N`, `--seed N`, `--store URL` (another engine; made empty by whoever gives it),
//! `--each-round COMMAND` (run by a shell before a round: restart the database).
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the lab is all sockets, clocks and threads")]

mod dice;
mod ledger;
mod storm;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::Duration;

use storm::{Options, Storm};

/// As part of the tests: with the end, when everybody hangs up, about 20 s.
const SHORT: Duration = Duration::from_secs(17);

fn main() -> ExitCode {
    let Some(options) = options() else { return ExitCode::SUCCESS };
    println!("storm: seed {}, {} s", options.seed, options.length.as_secs());
    let faults = Storm::new(options).run();
    for fault in &faults {
        println!("storm: DIFFERENCE: {fault}");
    }
    println!("storm: {} differences", faults.len());
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// `None`: somebody lists tests, or asks for one of another program.
fn options() -> Option<Options> {
    let mut options = Options { length: SHORT, seed: dice::seed(), store: None, each_round: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next();
        match (argument.as_str(), value) {
            ("--secs", Some(secs)) => options.length = Duration::from_secs(secs.parse().ok()?),
            ("--seed", Some(seed)) => options.seed = seed.parse().ok()?,
            ("--store", Some(url)) => options.store = Some(url),
            ("--each-round", Some(command)) => options.each_round = Some(command),
            (_, _) => return None,
        }
    }
    Some(options)
}
