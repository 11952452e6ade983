//! A backup that is made while calls live: the server starts on it, ends what lived, and the books are right.

use std::time::Duration;

use serde_json::json;

use crate::support::engine::only_sqlite;
use crate::support::server::micros;
use crate::support::{Habit, Handset, Lab, Server, Stage};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_server_starts_on_a_backup_and_ends_the_calls_that_lived() {
    let lab = Lab::new();
    if only_sqlite("a backup is the file's; a database has pg_dump") {
        return;
    }
    let mut server = Server::start(lab.settings());
    let user = Handset::new(lab.user(), Habit::ANSWERS);
    let destination = Handset::new(lab.destination(), Habit::ANSWERS);
    let over = server.place(json!({}));
    server.reaches(&over, "in_progress", SOON);
    server.hang_up(&over);
    let cost = micros(&server.ended(&over, SOON).expect("an end")["cost"]);
    let live = server.place(json!({"client_name": "lives"}));
    server.reaches(&live, "in_progress", SOON);

    let copy = lab.folder().join("copy.db");
    let copied = server.run(&["backup", copy.to_str().expect("a path")]);
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    let again = server.run(&["backup", copy.to_str().expect("a path")]);
    assert!(!again.status.success(), "a backup writes over nothing");
    let after = server.place(json!({}));
    server.kill();
    // As the operators' page says it: the copy takes the place of the file, and the log of the old one goes.
    let file = lab.folder().join("revbridge.db");
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", file.display()));
    }
    std::fs::rename(&copy, &file).expect("the copy takes its place");
    let audit = server.audit();
    assert_eq!((&audit["differences"], &audit["calls"], &audit["live"]), (&json!(0), &json!(2), &json!(1)), "{audit}");

    server.restart();
    server.wait_until_ready();
    let record = server.ended(&live, SOON).unwrap_or_else(|| panic!("no end: {}", server.record(&live)));
    assert_eq!(record["client_name"], "lives");
    assert_eq!(record["end_reason"], "server_restart");
    assert_eq!(server.get(&format!("/v1/calls/{after}")).status, 404, "it came after the backup");
    let is_over = |phone: &Handset| phone.dialogs().iter().filter(|d| d.stage == Stage::Over).count();
    let told = crate::support::poll(SOON, || (is_over(&user) >= 2 && is_over(&destination) >= 2).then_some(()));
    assert!(told.is_some(), "both phones of the call that lived are told: {:?}", user.dialogs());
    let spent = cost + micros(&record["cost"]);
    assert_eq!(server.money(), (spent, 0));
    assert_eq!(micros(&server.usage()["total"]["spent"]), spent);
    let audit = server.audit();
    assert_eq!((&audit["differences"], &audit["live"]), (&json!(0), &json!(0)), "{audit}");
}
