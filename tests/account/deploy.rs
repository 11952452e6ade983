//! `deploy/cluster/up`: what it starts works, outlives the death of a node, and is gone when it is told to stop.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::json;

use crate::support::lab::KEY;
use crate::support::server::dial_body;
use crate::support::{Habit, Handset, Lab, Response, Stage, http, poll, require_tool};

/// Two debug builds and a new database, on a busy machine.
const START: Duration = Duration::from_secs(40);
const SOON: Duration = Duration::from_secs(10);

/// The script, and what it said. Dropping it stops what it started.
struct Up {
    script: Child,
    said: mpsc::Receiver<String>,
    folder: PathBuf,
    address: IpAddr,
}

impl Up {
    fn start(lab: &Lab) -> Self {
        require_tool("haproxy", "haproxy");
        let folder = lab.folder().join("cluster");
        fs::create_dir(&folder).expect("a folder of its own");
        let calls = lab.folder().join("calls.toml");
        let config = lab.settings().config();
        let shared = config.find("[[trunk]]").map(|at| &config[at..]).expect("what both nodes have in common");
        fs::write(&calls, shared).expect("written");
        // Whoever runs the tests may have told them to ignore Ctrl-C; a person's shell has not.
        let mut script = Command::new("env")
            .arg("--default-signal=INT")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/cluster/up"))
            .arg("--folder")
            .arg(&folder)
            .args(["--address", &lab.server().to_string(), "--lease", "3"])
            .args(["--binary", env!("CARGO_BIN_EXE_revbridge")])
            .arg("--calls")
            .arg(calls)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the script starts");
        let lines = BufReader::new(script.stdout.take().expect("its words")).lines();
        let (sender, said) = mpsc::channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { script, said, folder, address: lab.server().into() }
    }

    /// Waits for a line with these words.
    fn says(&mut self, words: &str, within: Duration) {
        let mut all = String::new();
        let said = poll(within, || {
            all.extend(self.said.try_iter().map(|line| line + "\n"));
            if let Ok(Some(status)) = self.script.try_wait() {
                panic!("it ended with {status}:\n{all}");
            }
            all.contains(words).then_some(())
        });
        assert!(said.is_some(), "it never said {words:?}:\n{all}");
    }

    fn request(&self, method: &str, path: &str, body: Option<&serde_json::Value>) -> std::io::Result<Response> {
        let bearer = format!("Bearer {KEY}");
        http::request(SocketAddr::new(self.address, 8080), method, path, &[("Authorization", &bearer)], body)
    }

    fn dial(&self) -> Response {
        self.request("POST", "/v1/calls/dial", Some(&dial_body(json!({})))).expect("the balancer answers")
    }

    fn pids(&self) -> Vec<String> {
        let pid = |name| fs::read_to_string(self.folder.join(name)).ok().map(|pid| pid.trim().to_owned());
        ["haproxy.pid", "b.pid", "a.pid", "postgres.pid"].into_iter().filter_map(pid).collect()
    }
}

fn signal(pid: &str, name: &str) -> bool {
    Command::new("kill").args([&format!("-{name}"), pid]).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

impl Drop for Up {
    fn drop(&mut self) {
        if let Ok(None) = self.script.try_wait() {
            signal(&self.script.id().to_string(), "TERM");
            if poll(SOON, || self.script.try_wait().ok().flatten()).is_none() {
                let _ = self.script.kill();
                for pid in self.pids() {
                    signal(&pid, "KILL");
                }
            }
        }
        let _ = self.script.wait();
    }
}

#[test]
fn one_command_brings_a_cluster_up_that_outlives_a_node() {
    let lab = Lab::new();
    let mut up = Up::start(&lab);
    up.says("Ctrl-C stops all of it", START);
    let user = Handset::new(lab.user(), Habit::ANSWERS);
    let destination = Handset::new(lab.destination(), Habit::ANSWERS);
    // One after the other they go to both nodes.
    for _ in 0..2 {
        let answer = up.dial();
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    let talking = || destination.dialogs().iter().filter(|dialog| dialog.stage == Stage::Talking).count();
    assert!(poll(SOON, || (talking() == 2).then_some(())).is_some(), "{:?}", destination.dialogs());

    let pids = up.pids();
    assert_eq!(pids.len(), 4);
    assert!(signal(&pids[1], "KILL"), "node b is killed");
    up.says("b has ended", SOON);
    let after = up.dial();
    assert_eq!(after.status, 202, "the balancer finds the other: {after:?}");
    assert!(
        poll(SOON, || (destination.dialogs().len() == 3 && talking() == 2).then_some(())).is_some(),
        "the call of b is taken over: {:?}",
        destination.dialogs()
    );
    let list = up.request("GET", "/v1/calls", None).expect("the balancer answers").data();
    for record in list.as_array().expect("a list") {
        let path = format!("/v1/calls/{}/hangup", record["id"].as_str().expect("an id"));
        assert_eq!(up.request("POST", &path, None).expect("the balancer answers").status, 200);
    }
    assert!(user.quiet(SOON).is_some() && destination.quiet(SOON).is_some());

    assert!(signal(&up.script.id().to_string(), "INT"), "Ctrl-C");
    let ended = poll(SOON, || up.script.try_wait().ok().flatten());
    assert_eq!(ended.and_then(|status| status.code()), Some(130), "it ends as an interrupted command does");
    for pid in pids {
        assert!(!signal(&pid, "0"), "process {pid} is left");
    }
    assert!(up.folder.join("postgres").is_dir(), "what was given stays");
}
