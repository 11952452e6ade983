//! The second client: aiortc, whose ICE, DTLS and SRTP are none of Chromium's.

use std::fs::{self, File};
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::page::{lines_of, root, tools};
use super::scene::{BROWSER_TONE, ONE_LEG, PHONE_TONE, SOON, Scene, Ticket, Way, check_heard};
use super::support::baresip::Baresip;
use super::support::net::{self, Network};
use super::support::wire::recording;
use super::support::{DESTINATION, say, stop};

/// One call's worth of aiortc on leg A's machine.
pub struct Second {
    child: Child,
    orders: Option<ChildStdin>,
    lines: Receiver<String>,
    /// All that it has said.
    pub said: Vec<Value>,
    folder: PathBuf,
}

impl Second {
    pub fn start(network: &Network, ticket: &Ticket, api: &str, codec: &str, folder: &Path) -> Self {
        let folder = folder.join(format!("second-{}", ticket.call));
        fs::create_dir_all(&folder).expect("the client's folder");
        let orders = json!({
            "api": api, "path": ticket.path, "token": ticket.token, "dial": ticket.way == Way::Browser,
            "codec": codec, "hertz": BROWSER_TONE,
            "heard": folder.join("heard.raw"), "packets": folder.join("packets.hex"),
        });
        let (python, script) = (tools().join("venv/bin/python"), root().join("tests/browser/second_client.py"));
        let [python, script] = [&python, &script].map(|path| path.to_str().expect("a UTF-8 path"));
        let mut child = network
            .command("a", &[python, script, &orders.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(folder.join("errors.log")).expect("a log"))
            .spawn()
            .expect("ip netns exec starts");
        let orders = child.stdin.take();
        let lines = lines_of(BufReader::new(child.stdout.take().expect("a pipe")));
        Self { child, orders, lines, said: Vec::new(), folder }
    }

    /// Waits until it says something that `wanted` accepts.
    #[track_caller]
    pub fn until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(found) = self.said.iter().find(|said| wanted(said)) {
            return found.clone();
        }
        let until = Instant::now() + 2 * SOON;
        while let Ok(line) = self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            self.said.push(serde_json::from_str(&line).expect("one JSON value per line"));
            if let Some(found) = self.said.last().filter(|said| wanted(said)) {
                return found.clone();
            }
        }
        let errors = fs::read_to_string(self.folder.join("errors.log")).unwrap_or_default();
        panic!("aiortc never said {what}: {:#?}\n{errors}", self.said)
    }

    #[track_caller]
    pub fn told(&mut self, state: &str) {
        self.until(state, |said| said["event"] == "state" && said["data"]["state"] == state);
    }

    pub fn hang_up(&mut self) {
        writeln!(self.orders.as_mut().expect("it listens"), "hang up").expect("it listens");
    }

    /// What it has heard so far, at 8 kHz.
    pub fn heard(&self) -> Vec<i16> {
        let bytes = fs::read(self.folder.join("heard.raw")).unwrap_or_default();
        bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
    }

    /// Every RTP and RTCP packet that it has received, decrypted.
    pub fn packets(&self) -> Vec<Vec<u8>> {
        let text = fs::read_to_string(self.folder.join("packets.hex")).unwrap_or_default();
        text.lines().map(|line| hex::decode(line).expect("hexadecimal")).collect()
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

#[test]
fn aiortc_talks_on_both_paths_and_in_both_laws() {
    let scene = Scene::without_page();
    let api = format!("http://{}", scene.server.settings.api());
    let folder = scene.folder.path();
    let phone = Baresip::start(&scene.network, "b", net::DESTINATION, DESTINATION, PHONE_TONE, folder);
    for (way, codec, payload_type) in [(Way::Browser, "PCMU", 0), (Way::Join, "PCMA", 8)] {
        let ticket = scene.ticket(way);
        let mut second = Second::start(&scene.network, &ticket, &api, codec, folder);
        second.told("answered");
        std::thread::sleep(Duration::from_millis(500));
        let (browser, wire) = (second.heard().len(), scene.phone_wire.rtp_from(net::SERVER).len());
        std::thread::sleep(Duration::from_secs(2));
        let packets = scene.phone_wire.rtp_from(net::SERVER)[wire..].to_vec();
        assert!(packets.iter().all(|packet| packet.payload_type == payload_type && packet.bare), "{codec} as it came");
        check_heard("aiortc", &second.heard()[browser..], PHONE_TONE, BROWSER_TONE);
        check_heard("the phone", &recording(&packets), BROWSER_TONE, PHONE_TONE);
        second.hang_up();
        second.told("ended");
        second.until("done", |said| said["said"] == "done");
        scene.ended(way, &ticket.call, ("completed", "hangup", "user"), ONE_LEG);
        say(&format!("aiortc: {codec} both ways on the path `{}`", way.name()));
    }
    drop(phone);
    super::support::count("browser_calls", 2);
}
