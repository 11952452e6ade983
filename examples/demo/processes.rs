//! The server and the phones as child processes. Whatever way the demo ends, they end with it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::heard;

/// Asks a child to end, and waits for it.
pub fn terminate(child: &mut Child) -> anyhow::Result<std::process::ExitStatus> {
    let pid = child.id().to_string();
    let asked = Command::new("kill").args(["-TERM", &pid]).stderr(Stdio::null()).status()?;
    if !asked.success() {
        // It runs as root (tcpdump by sudo).
        Command::new("sudo").args(["kill", "-TERM", &pid]).status()?;
    }
    Ok(child.wait()?)
}

/// `config.example.toml`, but for one line: what the kernel rewrites on its way into the loopback, a
/// capture there sees before and not after.
fn config(root: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let example = fs::read_to_string(root.join("config.example.toml"))?;
    let (kernel, userspace) = (r#"fast_path = "auto""#, r#"fast_path = "off""#);
    ensure!(example.contains(kernel), "config.example.toml has no line {kernel}");
    let path = folder.join("config.toml");
    fs::write(&path, example.replace(kernel, userspace))?;
    Ok(path)
}

/// The server under test, and its log.
pub struct Server {
    child: Child,
    lines: Receiver<Value>,
}

impl Server {
    /// Starts it in `folder`, where its database goes, and waits until it is ready.
    pub fn start(root: &Path, folder: &Path) -> anyhow::Result<Self> {
        let config = config(root, folder)?;
        let binary = std::env::current_exe()?.with_file_name("../revbridge");
        let mut child = Command::new(&binary)
            .args(["serve", "--log", "json", "--verbose", "--config"])
            .arg(config)
            .current_dir(folder)
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let stderr = child.stderr.take().context("the server has no stderr")?;
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let Ok(event) = serde_json::from_str(&line) else {
                    eprintln!("{line}");
                    continue;
                };
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        let mut server = Self { child, lines };
        let ready = Instant::now() + Duration::from_secs(10);
        while let Some(event) = server.next_event(ready)? {
            if event["message"] == "ready" {
                return Ok(server);
            }
        }
        bail!("the server was not ready within 10 s")
    }

    /// The next line of the log; `None` when there was none until `deadline`.
    pub fn next_event(&mut self, deadline: Instant) -> anyhow::Result<Option<Value>> {
        match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(event) => Ok(Some(event)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("the server has ended ({})", self.child.wait()?),
        }
    }

    /// SIGTERM; `true` when it left with exit code 0.
    pub fn stop(mut self) -> anyhow::Result<bool> {
        Ok(terminate(&mut self.child)?.success())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

/// One SIPp phone for one call.
pub struct Phone {
    name: &'static str,
    child: Child,
    folder: PathBuf,
    first_audio_port: u16,
}

impl Phone {
    pub fn start(
        root: &Path,
        folder: &Path,
        name: &'static str,
        port: u16,
        first_audio_port: u16,
        scenario: &str,
        tone_hz: f64,
    ) -> anyhow::Result<Self> {
        let folder = folder.join(name);
        fs::create_dir(&folder)?;
        fs::write(folder.join("tone.ulaw"), heard::tone_ulaw(tone_hz))?;
        let child = Command::new("sipp")
            .args(["-sf".as_ref(), root.join("examples/demo").join(scenario).as_os_str()])
            .args(["-i", "127.0.0.1", "-p", &port.to_string(), "-mp", &first_audio_port.to_string()])
            .args(["-m", "2", "-nostdin", "-timeout", "35s", "-timeout_error"])
            .args(["-trace_err", "-error_file", "errors.log", "127.0.0.1:5060"])
            .env("TERM", "dumb")
            .current_dir(&folder)
            .stdout(File::create(folder.join("screen.log"))?)
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start sipp (Debian package sip-tester)")?;
        let mut phone = Self { name, child, folder, first_audio_port };
        phone.wait_until_listening(port)?;
        Ok(phone)
    }

    fn wait_until_listening(&mut self, port: u16) -> anyhow::Result<()> {
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until {
            // Taken by the phone: then it is ready.
            if std::net::UdpSocket::bind(("127.0.0.1", port)).is_err() {
                return Ok(());
            }
            ensure!(self.child.try_wait()?.is_none(), "phone {} did not start", self.name);
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("phone {} does not listen on port {port}", self.name)
    }

    /// Where SIPp can have put its audio sockets.
    pub fn audio_ports(&self) -> RangeInclusive<u16> {
        self.first_audio_port..=self.first_audio_port + 49
    }

    /// Waits for the phone's own word: `true` when its scenario went through to the end.
    pub fn finish(&mut self) -> anyhow::Result<bool> {
        let until = Instant::now() + Duration::from_secs(10);
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait()? {
                let errors = fs::read_to_string(self.folder.join("errors.log")).unwrap_or_default();
                if !status.success() {
                    eprintln!("phone {}: {status}\n{errors}", self.name);
                }
                return Ok(status.success());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        eprintln!("phone {} still waits for the end of its call", self.name);
        Ok(false)
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}
