//! A headless Chromium on one machine of the network, driven by `driver.mjs`.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use super::support::net::Network;
use super::support::{poll, require_tool, stop, tone};

/// Longer than anything that a page is asked to wait for.
const PATIENCE: Duration = Duration::from_secs(40);

/// What a test may want different from one browser to the next.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Plain-HTTP origins that may use the microphone, as `https` ones may.
    pub trusted: Vec<String>,
    /// Speaks through TURN and in no other way.
    pub relay: bool,
    /// Calls by the SDK, not by the page's own client.
    pub sdk: bool,
}

/// The browser, with one tab. Its microphone plays one tone. Dropping it closes it.
pub struct Page {
    child: Child,
    commands: Option<ChildStdin>,
    answers: Receiver<String>,
    log: PathBuf,
}

impl Page {
    pub fn open(network: &Network, name: &str, hertz: f64, folder: &Path, options: &Options) -> Self {
        require_tool("chromium", "chromium");
        require_tool("node", "nodejs");
        let folder = folder.join(format!("browser-{name}"));
        fs::create_dir_all(&folder).expect("the browser's folder");
        let voice = folder.join("voice.wav");
        fs::write(&voice, tone::wav(&tone::sine(hertz, 10.0))).expect("the browser's voice");
        let settings = json!({
            "voice": voice, "profile": folder, "trusted": options.trusted, "relay": options.relay,
            "sdk": root().join("src/api/try"), "port": 0,
        });
        let log = folder.join("browser.log");
        let driver = root().join("tests/browser/driver.mjs");
        let mut child = network
            .command(name, &["node", driver.to_str().expect("a UTF-8 path"), &settings.to_string()])
            .env("NODE_PATH", tools().join("node_modules"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("a log"))
            .spawn()
            .expect("ip netns exec starts");
        let commands = child.stdin.take();
        let answers = lines_of(BufReader::new(child.stdout.take().expect("a pipe")));
        let mut page = Self { child, commands, answers, log };
        if let Err(why) = page.answer() {
            panic!("no browser: {why}\n{}", fs::read_to_string(&page.log).unwrap_or_default());
        }
        page
    }

    fn answer(&mut self) -> Result<Value, String> {
        let line = self.answers.recv_timeout(PATIENCE).map_err(|error| format!("the driver is silent: {error}"))?;
        let mut answer: Value = serde_json::from_str(&line).map_err(|error| format!("{error} in {line}"))?;
        match answer.get("error") {
            None => Ok(answer["ok"].take()),
            Some(error) => {
                Err(format!("{}\nthe page said: {:#}", error.as_str().unwrap_or_default(), answer["spoken"]))
            }
        }
    }

    /// Does one of the driver's commands.
    pub fn attempt(&mut self, command: &Value) -> Result<Value, String> {
        let commands = self.commands.as_mut().expect("the driver listens until the drop");
        writeln!(commands, "{command}").map_err(|error| format!("the driver is gone: {error}"))?;
        self.answer()
    }

    #[track_caller]
    pub fn ask(&mut self, command: &Value) -> Value {
        match self.attempt(command) {
            Ok(value) => value,
            Err(why) => panic!("{command}: {why}\n{}", fs::read_to_string(&self.log).unwrap_or_default()),
        }
    }

    #[track_caller]
    pub fn goto(&mut self, url: &str) {
        self.ask(&json!({"do": "goto", "url": url}));
    }

    /// Runs the body of an async function in the page.
    #[track_caller]
    pub fn eval(&mut self, code: &str) -> Value {
        self.ask(&json!({"do": "eval", "code": code}))
    }

    /// Waits until an expression is true in the page.
    #[track_caller]
    pub fn wait_for(&mut self, code: &str, within: Duration) {
        self.ask(&json!({"do": "waitFor", "code": code, "timeout": within.as_millis() as u64}));
    }

    /// How many samples the newest connection of the page has received.
    pub fn heard_samples(&mut self) -> usize {
        self.eval("return __heardSamples()").as_u64().expect("a number") as usize
    }

    /// What it has received from that sample on, at 8 kHz.
    pub fn heard(&mut self, from: usize) -> Vec<i16> {
        let answer = self.eval(&format!("return __heard({from})"));
        let bytes = hex::decode(answer.as_str().expect("hexadecimal")).expect("hexadecimal");
        bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
    }

    /// What it receives in the time to come.
    pub fn listen(&mut self, time: Duration) -> Vec<i16> {
        let from = self.heard_samples();
        std::thread::sleep(time);
        self.heard(from)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // The end of its commands ends the driver, which closes the browser first.
        self.commands = None;
        if poll(Duration::from_secs(5), || self.child.try_wait().ok().flatten()).is_none() {
            stop(&mut self.child);
        }
    }
}

/// Each line of what a program says, from a thread of its own.
pub fn lines_of(reader: impl BufRead + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in reader.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where `scripts/install-browser-tools` puts what these tests need from npm and PyPI.
pub fn tools() -> PathBuf {
    let tools = root().join("target/tools/browser");
    assert!(tools.join("installed").is_file(), "playwright-core and aiortc are not installed: make tools-browser");
    tools
}
