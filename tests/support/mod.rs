//! The lab: the real server as a process, and the parties around it.
//!
//! ```text
//!            Http ──▶ ┌────────┐
//!  Sipp, Phone,  ◀──▶ │ Server │ ◀──▶  Sipp, Phone,
//!  Handset (leg A)    └────────┘       Handset (leg B)
//!                 └─── Lab: addresses, files ───┘
//! ```
//!
//! - [`Lab`]: loopback addresses and a folder that nobody else has, so that tests run side by side.
//! - [`Server`]: `revbridge serve` on a configuration made from [`Settings`]; killed when dropped.
//! - [`Sipp`]: one SIPp process on one file of `sipp-scenarios/`.
//! - [`Phone`]: a phone whose every message the test writes by hand; [`braggart`] writes all that could identify it.
//! - [`line`]: the same on TCP and TLS; [`kamailio`]: a carrier by somebody else in front of a phone.
//! - [`dns`]: a DNS server with the records that a test gives it.
//! - [`Handset`]: a phone with a mind of its own, which remembers its dialogs.
//! - [`Crowd`]: thousands of phones on one socket, each with the manner of its number, and what each of them saw.
//! - [`baresip`]: a phone by somebody else, in a [`net`]work of namespaces whose [`wire`]s are captured.
//!
//! Deliberately absent: the crate itself. These tests know the program by its sockets alone, so they
//! would test any other program with the same contract.
#![allow(dead_code, unused_imports, reason = "each test program compiles this module and uses its own part of it")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the lab is all sockets, clocks and threads")]

pub mod baresip;
pub mod braggart;
pub mod cable;
pub mod canary;
pub mod crowd;
pub mod dns;
pub mod engine;
pub mod handset;
pub mod http;
pub mod kamailio;
pub mod lab;
pub mod line;
pub mod net;
pub mod phone;
pub mod server;
pub mod sip;
pub mod sipp;
pub mod tone;
pub mod wire;

pub use crowd::{Crowd, Manner, Seen};
pub use handset::{Habit, Handset, Stage};
pub use http::Response;
pub use lab::{Lab, Settings};
pub use phone::Phone;
pub use server::Server;
pub use sip::Message;
pub use sipp::Sipp;

use std::io::Write;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// The number that the organization owns and destinations are shown.
pub const OWNED: &str = "+12025550100";
/// The user's own phone: leg A.
pub const USER: &str = "+14155550100";
/// The destination: leg B.
pub const DESTINATION: &str = "+12125550123";

/// Prints past the test runner's capture: a summary is worth seeing when everything passed.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Prints how many of something took part, for the summary that `scripts/test` adds up.
pub fn count(what: &str, number: usize) {
    say(&format!("revbridge-test: {what}={number}"));
}

/// Asks every 20 ms until `found` has something, or `None` when `within` has passed.
pub fn poll<T>(within: Duration, mut found: impl FnMut() -> Option<T>) -> Option<T> {
    let until = Instant::now() + within;
    loop {
        if let Some(value) = found() {
            return Some(value);
        }
        if Instant::now() >= until {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Is this program installed? A test that needs it fails with the package's name when it is not.
pub fn require_tool(program: &str, package: &str) {
    let found = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path)
            .chain(["/usr/sbin".into(), "/sbin".into()])
            .any(|folder| folder.join(program).is_file())
    });
    assert!(found, "{program} is not installed: apt-get install {package}");
}

/// SIGTERM, so that what is buffered is written, then wait.
pub fn stop(child: &mut Child) {
    if let Ok(None) = child.try_wait() {
        let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        let ended = poll(Duration::from_secs(3), || child.try_wait().ok().flatten());
        if ended.is_none() {
            let _ = child.kill();
        }
    }
    let _ = child.wait();
}
