//! The server under test, or the bare bridge beside it, in a process of its own.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const API: &str = "127.0.0.1:18080";
pub const SIP: &str = "127.0.0.1:15060";
pub const PHONES_A: &str = "127.0.0.1:15071";
pub const PHONES_B: &str = "127.0.0.1:15072";

/// `sha256("load")`.
const KEY_SHA256: &str = "0cf67fc72b3c86c7a454f6d86b43ed245a8e491d0e5288d4da8c7ff43a7bcdb0";
/// `sha256("flood")`: another organization's, which asks for what it is refused.
const FLOOD_SHA256: &str = "d8864644c15d33be9c0aef2d08c8fc105adc040de488b0116882a2cc6aa4492b";

/// The load is one key's.
const UNLIMITED: &str = "requests_per_second = 100000\nrequest_burst = 100000";

pub struct Server {
    child: Child,
    folder: PathBuf,
}

impl Server {
    pub fn start() -> Self {
        Self::start_with(UNLIMITED, "")
    }

    /// With more lines of `[api]` and of `[media]`.
    pub fn start_with(api: &str, media: &str) -> Self {
        Self::serve(Self::folder(), api, media, "udp")
    }

    /// Keeps the traces of its calls.
    pub fn tracing() -> Self {
        Self::start_with(UNLIMITED, "[trace]\nenabled = true")
    }

    /// With both trunks on TLS.
    pub fn over_tls() -> Self {
        let folder = Self::folder();
        super::phones::wire::certificate(&folder);
        Self::serve(folder, UNLIMITED, "", "tls")
    }

    fn serve(folder: PathBuf, api: &str, media: &str, transport: &str) -> Self {
        let config = folder.join("config.toml");
        fs::write(&config, configuration(&folder, api, media, transport)).expect("a configuration");
        let mut command = Command::new(env!("CARGO_BIN_EXE_revbridge"));
        command.arg("serve").arg("--config").arg(&config);
        Self::spawn(command, folder)
    }

    /// Where its files are.
    pub fn files(&self) -> &std::path::Path {
        &self.folder
    }

    /// The yardstick: see `bare`.
    pub fn bare() -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg("bare");
        Self::spawn(command, Self::folder())
    }

    fn folder() -> PathBuf {
        // On the disk that the build is on, not in a memory file system: commits must cost what they cost.
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("calls-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder for the store");
        folder
    }

    fn spawn(mut command: Command, folder: PathBuf) -> Self {
        let log = fs::File::create(folder.join("log")).expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log)
            .spawn()
            .expect("the server starts");
        let server = Self { child, folder };
        server.wait_until_ready();
        server
    }

    fn wait_until_ready(&self) {
        let began = Instant::now();
        let address: SocketAddr = API.parse().expect("an address");
        while TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(10), "the server is not ready; see {:?}", self.folder);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// CPU time of all its threads, from the scheduler.
    pub fn cpu(&self) -> Duration {
        self.cpu_by_thread().values().sum()
    }

    /// The same by the names of the threads; those of one name are added up.
    pub fn cpu_by_thread(&self) -> BTreeMap<String, Duration> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).into_iter().flatten().flatten();
        let mut spent = BTreeMap::new();
        for task in tasks {
            let read = |file| fs::read_to_string(task.path().join(file)).unwrap_or_default();
            let nanos = read("schedstat").split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or(0);
            *spent.entry(read("comm").trim().to_owned()).or_default() += Duration::from_nanos(nanos);
        }
        spent
    }

    pub fn resident_kilobytes(&self) -> u64 {
        fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .unwrap_or_default()
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok())
            .unwrap_or(0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn configuration(folder: &std::path::Path, api: &str, media: &str, transport: &str) -> String {
    let file = |name| folder.join(name).display().to_string();
    let tls = match transport {
        "tls" => format!(
            "[tls]\ncertificate_file = \"{cert}\"\nkey_file = \"{}\"\nca_file = \"{cert}\"",
            file("key.pem"),
            cert = file("cert.pem")
        ),
        _ => String::new(),
    };
    let store = folder.join("bench.db");
    format!(
        r#"
[api]
listen = "{API}"
{api}
[admin]
listen = "127.0.0.1:18081"
[store]
url = "sqlite:{}"
[sip]
listen = ["{transport}:{SIP}"]
{tls}
[media]
address = "127.0.0.1"
ports = "20000-59999"
rest_seconds = 1
timeout_seconds = 3600
{media}
[calls]
max_calls = 100000
[[trunk]]
name = "a"
uri = "sip:{PHONES_A};transport={transport}"
prefixes = ["+1415"]
ping_seconds = 0
[[trunk]]
name = "b"
uri = "sip:{PHONES_B};transport={transport}"
ping_seconds = 0
[[price]]
prefix = "+1"
per_minute = "0.0100"
[[organization]]
id = "load"
allowed_destinations = ["+1"]
max_concurrent_legs = 1000000
max_calls_per_minute = 1000000
daily_spend_limit = "1000000.00"
# A load of short calls to one prefix is what breakers are for.
breaker_short_answers = 0
breaker_answer_percent = 0
[[organization.user]]
id = "load"
[[organization.number]]
number = "+18885550100"
[[organization.key]]
user = "load"
sha256 = "{KEY_SHA256}"
scopes = ["calls:read", "calls:write"]
[[organization]]
id = "flood"
allowed_destinations = ["+1"]
max_concurrent_legs = 100
max_calls_per_minute = 100
daily_spend_limit = "100.00"
[[organization.user]]
id = "flood"
[[organization.number]]
number = "+18885550199"
[[organization.key]]
user = "flood"
sha256 = "{FLOOD_SHA256}"
scopes = ["calls:write"]
"#,
        store.display()
    )
}
