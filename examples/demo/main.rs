//! `make demo`: one call between two SIPp phones, shown as it happens, and a verdict.
//!
//! ```text
//!  phone A (SIPp) ──SIP, RTP──▶ revbridge ◀──SIP, RTP── phone B (SIPp)
//!        └──────────────── tcpdump on lo ──────────────────┘
//! ```
//!
//! Each phone plays a tone of its own. What a phone heard is not taken from the server or from SIPp:
//! every RTP packet that reached the phone's port is captured on the loopback interface, and its
//! sequence numbers, payload type and tone are read here. Exit code 0 says that both phones heard the
//! other's tone, both legs ended, and exactly one record exists.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // Processes, sockets and time are all it has.

mod capture;
mod heard;
mod http;
mod ladder;
mod processes;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;

use capture::Capture;
use heard::Heard;
use ladder::Ladder;
use processes::{Phone, Server};

const API: &str = "127.0.0.1:8080";
/// Opens nothing but loopback; `config.example.toml` holds its hash.
const KEY: &str = "rvk_demo-opens-nothing-but-loopback";
const FROM: &str = "+12025550100";
const TO: &str = "+13035550123";
const TONE_A_HZ: f64 = 440.0;
const TONE_B_HZ: f64 = 880.0;
const LONGEST: Duration = Duration::from_secs(40);

fn main() -> ExitCode {
    match demo() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("\ndemo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo() -> anyhow::Result<bool> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir()?;
    let capture = Capture::start(&folder.path().join("lo.pcap"))?;
    let mut phone_a = Phone::start(root, folder.path(), "A", 5071, 6000, "phone_a.xml", TONE_A_HZ)?;
    let mut phone_b = Phone::start(root, folder.path(), "B", 5070, 6100, "phone_b.xml", TONE_B_HZ)?;
    // After the phones, so that they hear its first OPTIONS.
    let mut server = Server::start(root, folder.path())?;

    println!("\nPOST /v1/calls/dial  from {FROM} (shown)  to {TO} (phone B)  connecting the user's phone A\n");
    let body = format!(r#"{{"from_number":"{FROM}","to_number":"{TO}"}}"#);
    let asked = Instant::now();
    let (status, answer) = http::request(API, KEY, "POST", "/v1/calls/dial", &body)?;
    let answered = asked.elapsed();
    ensure!(status == 202, "the dial was answered {status}: {answer}");
    let call = answer["data"]["call_id"].as_str().context("the 202 names no call")?.to_owned();
    println!("202 after {:.1} ms: {call}\n", answered.as_secs_f64() * 1e3);

    let ended = Ladder::new(&call).show(&mut server, LONGEST)?;
    let legs_ended = phone_a.finish()? & phone_b.finish()?;
    let (_, record) = http::request(API, KEY, "GET", &format!("/v1/calls/{call}"), "")?;
    let (_, list) = http::request(API, KEY, "GET", "/v1/calls", "")?;
    let records = list["data"].as_array().map_or(0, Vec::len);
    let drained = server.stop()?;
    let packets = capture.finish()?;

    show_record(&record["data"]);
    let by_a = heard::by(&packets, phone_a.audio_ports());
    let by_b = heard::by(&packets, phone_b.audio_ports());
    println!("\nWhat each phone heard (captured on the wire)");
    show_heard("A", &by_a, TONE_B_HZ);
    show_heard("B", &by_b, TONE_A_HZ);

    println!("\nVerdict");
    let checks = [
        ("phone A heard phone B", by_a.is_tone(TONE_B_HZ)),
        ("phone B heard phone A, and nothing else", by_b.is_only_tone(TONE_A_HZ)),
        ("both legs ended as the phones wanted it", legs_ended && ended),
        ("exactly one record, and it is final", records == 1 && record["data"]["status"] == "completed"),
        ("the server drained and left with exit code 0", drained),
    ];
    for (what, holds) in checks {
        println!("  {} {what}", if holds { "yes" } else { "NO " });
    }
    let good = checks.iter().all(|(_, holds)| *holds);
    println!("\n{}\n", if good { "The call works." } else { "The call does NOT work." });
    if !good {
        println!("Logs and capture: {}\n", folder.keep().display());
    }
    Ok(good)
}

fn show_record(record: &Value) {
    println!("\nThe record (GET /v1/calls/{{id}})");
    for field in [
        "id",
        "status",
        "end_reason",
        "ended_by",
        "from_number",
        "to_number",
        "created_at",
        "answered_at",
        "ended_at",
        "duration_seconds",
        "billable_seconds",
        "cost",
        "currency",
    ] {
        println!("  {field:<18}{}", plain(&record[field]));
    }
    for leg in ["user", "destination"] {
        println!("  {:<18}{}", format!("leg {leg}"), record["legs"][leg]);
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn show_heard(phone: &str, heard: &Heard, expected_hz: f64) {
    println!(
        "  {phone}: {} packets, {} lost ({:.2} %), {}, mostly {:.0} Hz (the other plays {expected_hz:.0} Hz)",
        heard.packets,
        heard.lost,
        heard.loss_percent(),
        heard.codec(),
        heard.main_hz()
    );
}
