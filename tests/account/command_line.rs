//! `revbridge org|user|number|key|price|changes` as processes, against a server that runs.

use std::fs;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::lab::ADMIN_KEY;
use crate::support::{DESTINATION, Habit, Handset, Lab, Server, Stage};

const SOON: Duration = Duration::from_secs(10);

struct Line<'a> {
    server: &'a Server,
    key: &'a str,
}

impl Line<'_> {
    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_revbridge"))
            .args(arguments)
            .arg("--config")
            .arg(self.server.settings.folder.join("config.toml"))
            .env("REVBRIDGE_ADMIN_KEY", self.key)
            .output()
            .expect("the program runs")
    }

    fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {told}");
        String::from_utf8(output.stdout).expect("text")
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.done(&[arguments, &["--json"]].concat())).expect("JSON")
    }

    /// Exit code and standard error.
    fn failed(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.run(arguments);
        assert!(output.stdout.is_empty(), "{arguments:?} says something on standard output");
        (output.status.code(), String::from_utf8(output.stderr).expect("text"))
    }
}

#[test]
fn a_tenant_is_made_by_the_command_line_and_calls() {
    let lab = Lab::new();
    let server = Server::start(lab.settings());
    let line = Line { server: &server, key: ADMIN_KEY };
    line.done(&["org", "create", "zoo", "--allow", "+1", "--allow", "!+1900", "--daily-spend-limit", "5"]);
    line.done(&["user", "create", "zoo", "eve", "--phone", "+14155550111"]);
    line.done(&["number", "add", "zoo", "+12025550111"]);
    let issued = line.done(&["key", "issue", "zoo", "eve", "--scope", "calls:write", "--scope", "calls:read"]);
    let secret = issued.lines().find_map(|line| line.strip_prefix("secret")).expect("a secret").trim();
    line.done(&["price", "set", "+1212", "--per-minute", "0.02", "--step-seconds", "6"]);

    let user = Handset::new(lab.user(), Habit::ANSWERS);
    let destination = Handset::new(lab.destination(), Habit::ANSWERS);
    let body = json!({"from_number": "+12025550111", "to_number": DESTINATION});
    let dial = server.request_with(secret, "POST", "/v1/calls/dial", Some(&body));
    assert_eq!(dial.status, 202, "{}", dial.body);
    destination.reaches(Stage::Talking, SOON);
    let call = format!("/v1/calls/{}", dial.data()["call_id"].as_str().expect("a call"));
    server.request_with(secret, "POST", &format!("{call}/hangup"), None);
    assert!(user.quiet(SOON).is_some());

    let keys = line.json(&["key", "list", "zoo"]);
    let id = keys[0]["id"].as_str().expect("an id");
    let rotated = line.json(&["key", "rotate", id, "--overlap-seconds", "3600"]);
    let successor = rotated["secret"].as_str().expect("a secret");
    let status = |key: &str| server.request_with(key, "GET", "/v1/calls", None).status;
    assert_eq!((status(secret), status(successor)), (200, 200), "they overlap");
    line.done(&["key", "revoke", id]);
    assert_eq!((status(secret), status(successor)), (401, 200));
    line.done(&["org", "set", "zoo", "--max-concurrent-legs", "2", "--timezone", "Europe/Berlin"]);
    line.done(&["user", "set", "zoo", "eve", "--no-phone"]);
    line.done(&["price", "remove", "+1212"]);
    line.done(&["number", "remove", "zoo", "+12025550111"]);
    line.done(&["user", "delete", "zoo", "eve"]);
    line.done(&["org", "close", "zoo"]);
    line.done(&["org", "reopen", "zoo"]);

    let changes = line.json(&["changes", "--organization", "zoo", "--limit", "200"]);
    let actions: Vec<_> = changes.as_array().expect("a list").iter().rev().collect();
    let told: Vec<_> = actions.iter().map(|change| change["action"].as_str().expect("an action")).collect();
    let expected = [
        "organization.create",
        "user.create",
        "number.create",
        "key.create",
        "key.create",
        "key.rotate",
        "key.revoke",
        "organization.update",
        "user.update",
        "number.delete",
        "key.revoke",
        "user.delete",
        "organization.close",
        "organization.update",
    ];
    assert_eq!(told, expected);
    assert!(actions.iter().all(|change| change["by"] == "admin" && change["request_id"].is_string()));
    assert!(!changes.to_string().contains(secret) && !changes.to_string().contains(successor));
    let prices = line.json(&["changes", "--limit", "200"]);
    let of_prices: Vec<_> =
        prices.as_array().expect("a list").iter().filter(|c| c["name"] == "+1212").map(|c| &c["action"]).collect();
    assert_eq!(of_prices, ["price.delete", "price.create"]);

    let shown = line.done(&["changes", "--organization", "zoo"]);
    let update = shown.lines().find(|line| line.contains("max_concurrent_legs")).expect("the update");
    assert!(update.contains("max_concurrent_legs 20 → 2, timezone UTC → Europe/Berlin"), "{shown}");
    assert!(!server.log().contains(secret) && !server.log().contains(ADMIN_KEY));

    let table = line.done(&["org", "list"]);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        (rows[0][0], rows[1][..2].to_vec(), rows[2][..3].to_vec()),
        ("id", vec!["acme", "active"], vec!["zoo", "active", "+1"]),
        "{table}"
    );
    assert!(line.done(&["number", "list", "acme"]).contains("+12025550100"));
    assert!(line.done(&["reload"]).contains("skipped"));
}

#[test]
fn what_goes_wrong_is_said_with_a_code_and_a_way_out() {
    let lab = Lab::new();
    let mut server = Server::start(lab.settings());
    let line = Line { server: &server, key: ADMIN_KEY };
    let (code, told) = line.failed(&["org", "create", "a b", "--max-concurrent-legs", "1"]);
    assert_eq!(code, Some(1));
    for field in
        ["id: expected", "allowed_destinations: missing", "daily_spend_limit: missing", "max_concurrent_legs: expected"]
    {
        assert!(told.contains(&format!("\n  {field}")), "{told}");
    }
    let (code, told) = line.failed(&["org", "show", "nowhere"]);
    assert_eq!((code, told.contains("not_found")), (Some(1), true), "{told}");
    let (code, told) = line.failed(&["number", "add", "acme", "+12025550100"]);
    assert_eq!((code, told.contains("already_exists")), (Some(1), true), "{told}");
    assert_eq!(line.failed(&["user", "set", "acme", "alice"]).0, Some(2), "what to set is missing");
    // What means something in a path or in a header stays a name that nobody has.
    for name in ["../prices", "acme/users", "a?b#c", "%2e%2e", "a\r\nX: y", "'; --"] {
        let (code, told) = line.failed(&["org", "show", name]);
        assert_eq!((code, told.contains("not_found")), (Some(1), true), "{name:?}: {told}");
    }
    for key in ["wrong", "a b", ""] {
        let (code, told) = Line { server: &server, key }.failed(&["org", "list"]);
        assert_eq!((code, told.contains("key")), (Some(4), true), "{told}");
        assert!(!told.contains("wrong"), "a key is not repeated: {told}");
    }
    let file = server.settings.folder.join("admin.key");
    fs::write(&file, format!("{ADMIN_KEY}\n")).expect("a file");
    let by_file = ["org", "list", "--key-file", file.to_str().expect("a path")];
    assert!(Line { server: &server, key: "wrong" }.done(&by_file).contains("acme"));
    server.kill();
    let (code, told) = Line { server: &server, key: ADMIN_KEY }.failed(&["org", "list"]);
    assert_eq!((code, told.contains("is the server running")), (Some(3), true), "{told}");
    let nowhere = Command::new(env!("CARGO_BIN_EXE_revbridge"))
        .args(["org", "list", "--config", "no/such/file.toml"])
        .output()
        .expect("the program runs");
    assert_eq!(nowhere.status.code(), Some(2));
}

#[test]
fn a_new_key_fits_where_its_lines_say() {
    let new = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_revbridge")).args(arguments).output().expect("the program runs");
        String::from_utf8(output.stdout).expect("text")
    };
    let (client, admin) = (new(&["key", "new"]), new(&["key", "new", "--for-admin"]));
    for (text, section) in [(&client, "[[organization.key]]"), (&admin, "[[admin.key]]")] {
        assert!(text.starts_with("rvk_") && text.contains(section), "{text}");
    }
    assert_ne!(client[..68], admin[..68]);
}
