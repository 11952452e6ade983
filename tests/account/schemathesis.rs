//! The served document and the server, held against each other by schemathesis: somebody else's reading of
//! OpenAPI, with its own ideas of what to send.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::lab::KEY;
use crate::support::{Lab, Server, Settings, count};

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/python/bin/schemathesis");
/// A run takes half of it.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn nothing_that_schemathesis_thinks_of_is_answered_otherwise_than_described() {
    assert!(Path::new(PROGRAM).is_file(), "schemathesis is not there: make tools-python");
    let lab = Lab::new();
    // Room enough that most of what is right is also allowed; nobody answers at these phones.
    let settings = Settings {
        max_calls_per_minute: 1_000_000,
        max_concurrent_legs: 4_000,
        daily_spend_limit: "100000",
        webrtc: format!("[webrtc]\nenabled = true\nlisten = \"{}:7000\"\n", lab.server()),
        ..lab.settings()
    };
    let server = Server::start(settings);
    let report = server.settings.folder.join("schemathesis.txt");
    let log = std::fs::File::create(&report).expect("the report is written");
    let began = Instant::now();
    let mut run = Command::new(PROGRAM)
        .args(["--config-file", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/account/schemathesis.toml")])
        .args(["run", &format!("http://{}/openapi.json", server.settings.api())])
        .args(["--header", &format!("Authorization: Bearer {KEY}")])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "20", "--seed", "1"])
        // Every check is on, but for what the file says. These are without end; tests/api/streams.rs reads them.
        .args(["--exclude-path", "/v1/events"])
        .args(["--request-timeout", "10", "--no-shrink", "--warnings", "off"])
        .args(["--continue-on-failure", "--output-truncate", "false"])
        .env("SCHEMATHESIS_HOOKS", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/account/schemathesis_hooks.py"))
        .env("HYPOTHESIS_STORAGE_DIRECTORY", server.settings.folder.join("hypothesis"))
        .current_dir(&server.settings.folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("one report"))
        .stderr(log)
        .spawn()
        .expect("schemathesis starts");
    let ended = crate::support::poll(PATIENCE, || run.try_wait().expect("it can be asked"));
    if ended.is_none() {
        let _ = run.kill();
        let _ = run.wait();
    }
    let text = std::fs::read_to_string(&report).unwrap_or_default();
    assert!(ended.is_some_and(|status| status.success()), "after {:?}: {ended:?}\n{text}", began.elapsed());
    // A run that sent little has shown little.
    let cases = text.lines().filter_map(|line| line.trim().split_once(" generated")).find_map(|(n, _)| n.parse().ok());
    let cases: usize = cases.unwrap_or_else(|| panic!("no number of cases in\n{text}"));
    assert!(cases > 300, "{cases} cases\n{text}");
    count("schemathesis_cases", cases);
    assert_eq!(server.get("/v1/guardrails").status, 200);
}
