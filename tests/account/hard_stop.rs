//! A call that cannot be paid any longer: warned, and ended at the end of what is paid, neither before nor after.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::server::micros;
use crate::support::{Lab, Phone, Server, Settings, poll, tone};

const SOON: Duration = Duration::from_secs(10);
/// The tone that a user hears who is about to be cut off.
const WARNING_HZ: f64 = 1_400.0;

#[test]
fn a_call_ends_at_the_end_of_what_is_reserved_after_a_warning() {
    let lab = Lab::new();
    // A cent a second and leg, in periods of a second: there is enough for some seconds and no more.
    let price = "per_minute = \"0.6000\"\nfirst_seconds = 1\nstep_seconds = 1";
    let server = Server::start(Settings { price, daily_spend_limit: "0.12", ..lab.settings() });
    let (mut user, mut destination) = (Phone::new(lab.user()), Phone::new(lab.destination()));
    let call = server.place(json!({}));
    user.pick_up();
    destination.pick_up();
    let joined = Instant::now();
    server.reaches(&call, "in_progress", SOON);
    // Nobody speaks: what the user hears from now on comes from the server.
    user.rtp_received();
    let mut heard = Vec::new();
    let ended = poll(SOON, || {
        for packet in user.rtp_received() {
            heard.extend(packet[12..].iter().map(|byte| tone::from_mu_law(*byte)));
        }
        let record = server.record(&call);
        record["ended_at"].is_string().then_some(record)
    });
    let talked = joined.elapsed();
    let record = ended.unwrap_or_else(|| panic!("it goes on: {}", server.record(&call)));
    for phone in [&mut user, &mut destination] {
        let bye = phone.expect("BYE");
        phone.answer(&bye, "200 OK", &[], "");
    }
    assert_eq!((&record["end_reason"], &record["ended_by"]), (&json!("spend_limit"), &json!("guardrail")), "{record}");
    assert_eq!(record["status"], "completed");
    let warned = heard.chunks(400).filter(|part| tone::is_loud(part, WARNING_HZ)).count();
    assert!(warned >= 4, "the user is warned: {warned} of {} parts", heard.len() / 400);

    // All that was set aside was used, and none of the limit beyond it.
    let cost = micros(&record["cost"]);
    assert!((100_000..=120_000).contains(&cost), "{record}");
    let seconds = record["billable_seconds"].as_u64().expect("seconds");
    assert!((4..=7).contains(&seconds), "{record}");
    assert!(talked.as_millis() as u64 + 300 >= seconds * 1_000, "it had what it paid for: {talked:?} of {seconds} s");
    assert_eq!(server.money(), (cost, 0), "what it cost is spent, and nothing is reserved");
    let usage = server.usage();
    assert_eq!((micros(&usage["total"]["spent"]), micros(&usage["total"]["reserved"])), (cost, 0));
    let audit = server.audit();
    assert_eq!((&audit["differences"], &audit["calls"]), (&json!(0), &json!(1)), "{audit}");
    let refused = server.dial(json!({}), &[]);
    let left = 120_000 - cost;
    assert_eq!(refused.status == 403, left < 20_000, "the next one is refused unless there is room: {}", refused.body);
}
