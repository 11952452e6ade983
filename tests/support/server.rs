//! `revbridge serve` as a process, and the API as its client sees it.

use std::fs::{self, File, OpenOptions};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::lab::{ADMIN_KEY, KEY, Settings};
use super::{DESTINATION, OWNED, Response, http, poll};

/// A debug build on a busy machine takes its time.
const START: Duration = Duration::from_secs(20);

/// One running server. Dropping it kills it; after a failed test its log is shown.
pub struct Server {
    pub settings: Settings,
    child: Child,
}

impl Server {
    /// Starts on these settings and waits until `/ready` says 200.
    pub fn start(settings: Settings) -> Self {
        let file = settings.folder.join("config.toml");
        fs::write(&file, settings.config()).expect("the configuration is written");
        let mut server = Self { child: spawn(&settings), settings };
        server.wait_until_ready();
        server
    }

    pub fn wait_until_ready(&mut self) {
        let ready = poll(START, || {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("the server ended at once with {status}:\n{}", self.log());
            }
            let answer = http::request(self.settings.admin(), "GET", "/ready", &[], None).ok()?;
            (answer.status == 200).then_some(())
        });
        assert!(ready.is_some(), "the server is not ready after {START:?}:\n{}", self.log());
    }

    /// kill -9: no handler runs, nothing is flushed.
    pub fn kill(&mut self) {
        self.child.kill().expect("SIGKILL is delivered");
        self.child.wait().expect("the process is reaped");
    }

    /// Starts again on the same files, without waiting for readiness.
    pub fn restart(&mut self) {
        self.child = spawn(&self.settings);
    }

    /// SIGTERM: the server drains and ends by itself.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// A signal by its name, without waiting for what it does.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status().expect("kill runs");
        assert!(sent.success(), "SIG{name} is delivered");
    }

    /// Changes the file and sends SIGHUP. Returns before the server has read it.
    pub fn reload_with(&self, change: impl FnOnce(String) -> String) {
        let file = self.settings.folder.join("config.toml");
        let text = fs::read_to_string(&file).expect("the configuration is there");
        fs::write(&file, change(text)).expect("the configuration is written");
        self.reload();
    }

    /// Runs the program's own command line on this server's configuration.
    pub fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_revbridge"))
            .args(arguments)
            .arg("--config")
            .arg(self.settings.folder.join("config.toml"))
            .output()
            .expect("the program starts")
    }

    /// `revbridge audit`, beside the server or without it: what it found, with a name for each difference.
    pub fn audit(&self) -> Value {
        let output = self.run(&["audit", "--json"]);
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("no audit: {}", String::from_utf8_lossy(&output.stderr)));
        assert_eq!(output.status.success(), report["differences"] == 0, "the exit code says the same: {report}");
        report
    }

    /// The statement of all days around today.
    pub fn usage(&self) -> Value {
        // A test may run over midnight.
        let today = self.get("/v1/usage").data()["from"].as_str().expect("a day").to_owned();
        let year = today.get(..4).and_then(|year| year.parse::<u32>().ok()).expect("a year");
        self.get(&format!("/v1/usage?from={year}-01-01&to={year}-12-31")).data()
    }

    pub fn exited(&mut self, within: Duration) -> Option<ExitStatus> {
        poll(within, || self.child.try_wait().expect("the process can be asked"))
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.settings.folder.join("server.log")).unwrap_or_default()
    }

    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Response {
        self.try_request(method, path, headers, body).expect("the API answers")
    }

    pub fn try_request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> std::io::Result<Response> {
        let bearer = format!("Bearer {KEY}");
        let headers: Vec<_> =
            std::iter::once(("Authorization", bearer.as_str())).chain(headers.iter().copied()).collect();
        http::request(self.settings.api(), method, path, &headers, body)
    }

    /// A request to `/v1/admin` as the operator.
    pub fn admin(&self, method: &str, path: &str, body: Option<&Value>) -> Response {
        let bearer = format!("Bearer {ADMIN_KEY}");
        let headers = [("Authorization", bearer.as_str())];
        http::request(self.settings.admin(), method, &format!("/v1/admin{path}"), &headers, body)
            .expect("the admin API answers")
    }

    /// One that succeeds, with its data.
    pub fn administer(&self, method: &str, path: &str, body: Value) -> Value {
        let answer = self.admin(method, path, (!body.is_null()).then_some(&body));
        assert!(answer.status < 300, "{method} {path}: {answer:?}");
        answer.data()
    }

    /// A request with another key than alice's.
    pub fn request_with(&self, key: &str, method: &str, path: &str, body: Option<&Value>) -> Response {
        let bearer = format!("Bearer {key}");
        http::request(self.settings.api(), method, path, &[("Authorization", &bearer)], body).expect("the API answers")
    }

    /// SIGHUP: the server reads its configuration again.
    pub fn reload(&self) {
        let sent = Command::new("kill").args(["-HUP", &self.child.id().to_string()]).status().expect("kill runs");
        assert!(sent.success(), "SIGHUP is delivered");
    }

    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], None)
    }

    /// `POST /v1/calls/dial` from the owned number to the destination, with `more` fields.
    pub fn dial(&self, more: Value, headers: &[(&str, &str)]) -> Response {
        self.request("POST", "/v1/calls/dial", headers, Some(&dial_body(more)))
    }

    /// Dials, and returns the call's id.
    pub fn place(&self, more: Value) -> String {
        let answer = self.dial(more, &[]);
        assert_eq!(answer.status, 202, "the dial is accepted: {}", answer.body);
        answer.data()["call_id"].as_str().expect("a call_id").to_owned()
    }

    pub fn hang_up(&self, call: &str) -> Response {
        self.request("POST", &format!("/v1/calls/{call}/hangup"), &[], None)
    }

    /// Hangs up all of these, many at a time: each answer waits for company on the disk.
    pub fn hang_up_all(&self, calls: &[String]) {
        std::thread::scope(|scope| {
            for part in calls.chunks(calls.len().div_ceil(16).max(1)) {
                scope.spawn(|| part.iter().for_each(|call| assert_eq!(self.hang_up(call).status, 200)));
            }
        });
    }

    pub fn record(&self, call: &str) -> Value {
        self.get(&format!("/v1/calls/{call}")).data()
    }

    pub fn records(&self) -> Vec<Value> {
        self.get("/v1/calls?limit=100").data().as_array().cloned().unwrap_or_default()
    }

    /// Waits until the call stands at `status`.
    pub fn reaches(&self, call: &str, status: &str, within: Duration) -> Value {
        poll(within, || {
            let record = self.record(call);
            (record["status"] == status).then_some(record)
        })
        .unwrap_or_else(|| panic!("{call} never reached {status}: {}", self.record(call)))
    }

    /// Waits for the terminal record.
    pub fn ended(&self, call: &str, within: Duration) -> Option<Value> {
        poll(within, || {
            let record = self.record(call);
            record["ended_at"].is_string().then_some(record)
        })
    }

    /// Legs that the concurrency cap counts now.
    pub fn legs_in_use(&self) -> u64 {
        let usage = self.get("/v1/guardrails").data();
        usage["concurrency"]["used"].as_u64().unwrap_or_else(|| panic!("no use of legs in {usage}"))
    }

    /// Today's money of the organization: what is spent, and what is only reserved.
    pub fn money(&self) -> (Micros, Micros) {
        let spend = self.get("/v1/guardrails").data()["spend"].clone();
        (micros(&spend["spent"]), micros(&spend["reserved"]))
    }

    /// The sum of a metric over its labels; 0 when it was never counted.
    pub fn metric(&self, name: &str) -> f64 {
        let text = http::request(self.settings.admin(), "GET", "/metrics", &[], None).expect("metrics answer").body;
        text.lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the server's log:\n{}", self.log());
        }
    }
}

/// Money in integer micro-units, as the API's decimal strings mean it.
pub type Micros = u64;

pub fn micros(amount: &Value) -> Micros {
    let (whole, fraction) = amount.as_str().and_then(|text| text.split_once('.')).expect("an amount as a string");
    format!("{whole}{fraction:0<6}").parse().expect("an amount of money")
}

/// The body of a dial, with `more` fields over the usual ones.
pub fn dial_body(more: Value) -> Value {
    let mut body = json!({"from_number": OWNED, "to_number": DESTINATION});
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    body
}

fn spawn(settings: &Settings) -> Child {
    let log = settings.folder.join("server.log");
    let log: File = OpenOptions::new().create(true).append(true).open(log).expect("the log file opens");
    Command::new(env!("CARGO_BIN_EXE_revbridge"))
        .args(["serve", "--config"])
        .arg(settings.folder.join("config.toml"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("one log for both streams"))
        .stderr(log)
        .spawn()
        .expect("the server starts")
}
