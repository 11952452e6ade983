//! One SIPp process on one file of `sipp-scenarios/`.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{poll, require_tool, tone};

/// A phone that follows a scenario for exactly one call.
pub struct Sipp {
    pub scenario: String,
    folder: PathBuf,
    child: Child,
}

/// How a scenario ended.
#[derive(Debug)]
pub struct Outcome {
    /// 0: every step of the scenario happened, and nothing else.
    pub code: i32,
    /// Every message that it received, with the time of each.
    pub received: String,
    /// What SIPp says went wrong.
    pub errors: String,
}

impl Outcome {
    /// Methods and statuses of what it received, in order.
    pub fn starts(&self) -> String {
        let starts = self.received.lines().filter_map(|line| match line.strip_prefix("SIP/2.0 ") {
            Some(status) => status.get(..3),
            None => line.strip_suffix(" SIP/2.0")?.split(' ').next(),
        });
        starts.collect::<Vec<_>>().join(" ")
    }
}

impl Sipp {
    /// Starts the phone on UDP port 5060 of `address`. `limit` ends a scenario that does not end.
    pub fn start(scenario: &str, address: Ipv4Addr, folder: &Path, limit: Duration) -> Self {
        Self::start_on("udp", scenario, address, folder, limit)
    }

    /// The same on `udp` or `tcp`.
    pub fn start_on(transport: &str, scenario: &str, address: Ipv4Addr, folder: &Path, limit: Duration) -> Self {
        require_tool("sipp", "sip-tester");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("sipp-scenarios/{scenario}.xml"));
        assert!(file.is_file(), "no scenario {scenario}");
        let folder = folder.join(format!("{scenario}-{address}"));
        fs::create_dir_all(&folder).expect("the phone's folder");
        let second: Vec<u8> = tone::sine(440.0, 1.0).into_iter().map(tone::mu_law).collect();
        fs::write(folder.join("tone.ulaw"), second).expect("the phone's voice");
        let child = Command::new("sipp")
            .args(["-sf".as_ref(), file.as_os_str()])
            .args(["-i", &address.to_string(), "-p", "5060", "-mi", &address.to_string(), "-m", "1"])
            .args(["-timeout", &limit.as_secs().to_string(), "-timeout_error", "-nostdin", "-skip_rlimit"])
            .args(["-trace_msg", "-message_file", "messages.log", "-trace_err", "-error_file", "errors.log"])
            .args(["-t", if transport == "tcp" { "t1" } else { "u1" }])
            .args(retransmissions(&file))
            .env("TERM", "xterm") // SIPp draws its screen even when nobody looks
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(fs::File::create(folder.join("screen.log")).expect("a file for the screen"))
            .stderr(Stdio::null())
            .spawn()
            .expect("sipp starts");
        let phone = Self { scenario: scenario.to_owned(), folder, child };
        phone.wait_until_listening(transport, address);
        phone
    }

    /// The kernel lists the socket as soon as SIPp has bound it, in the list of the thread's own machine.
    fn wait_until_listening(&self, transport: &str, address: Ipv4Addr) {
        let hex = format!("{:08X}:{:04X}", u32::from_le_bytes(address.octets()), 5060);
        let bound = || {
            fs::read_to_string(format!("/proc/thread-self/net/{transport}"))
                .is_ok_and(|sockets| sockets.contains(&hex))
                .then_some(())
        };
        assert!(poll(Duration::from_secs(10), bound).is_some(), "SIPp does not listen: {}", self.read("errors.log"));
    }

    /// Waits for the end of the scenario.
    pub fn finish(mut self) -> Outcome {
        let code = self.child.wait().expect("sipp can be waited for").code().unwrap_or(-1);
        Outcome { code, received: received(&self.read("messages.log")), errors: self.read("errors.log") }
    }

    fn read(&self, name: &str) -> String {
        fs::read(self.folder.join(name)).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    }
}

impl Drop for Sipp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A scenario that repeats messages by itself says so in its header: SIPp must not do it as well, nor
/// swallow the repetitions of the other side.
fn retransmissions(file: &Path) -> Option<&'static str> {
    fs::read_to_string(file).is_ok_and(|text| text.contains("Run with -nr")).then_some("-nr")
}

/// The received messages of a message trace, which separates its entries by lines of dashes.
fn received(trace: &str) -> String {
    trace
        .split("-----------------------------------------------")
        .filter(|entry| entry.contains(" message received "))
        .collect()
}
