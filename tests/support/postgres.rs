//! A PostgreSQL of this test program's own: Debian's, on a free port and a temporary folder, with everything
//! synced as in production.
//!
//! It ends with the program, however that ends: at its exit the folder goes too, and when it is killed the
//! kernel tells the server.
#![allow(dead_code, reason = "each test program uses its own part of it")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test: processes, clocks, threads")]

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, NoTls};

/// Tells a process that a test starts on which port the test's server listens.
const PORT: &str = "REVBRIDGE_TEST_POSTGRES_PORT";
/// What its folder is called, before the process's id.
const FOLDER: &str = "revbridge-test-postgres-";
const USER: &str = "revbridge";

/// A server. [`server`] is the one that all tests of a program share; one that is stopped and started by its
/// test is that test's own.
pub struct Postgres {
    port: u16,
    /// `None` in a process that was told where it is.
    home: Option<PathBuf>,
    child: Mutex<Option<Child>>,
}

/// The shared one.
pub fn server() -> &'static Postgres {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    SERVER.get_or_init(|| match std::env::var(PORT) {
        Ok(port) => Postgres { port: port.parse().expect("a port"), home: None, child: Mutex::new(None) },
        Err(_) => {
            // SAFETY: the function takes nothing and touches only what lives as long as the program.
            assert_eq!(unsafe { libc::atexit(at_exit) }, 0, "a function for the end is taken");
            Postgres::start("shared")
        }
    })
}

extern "C" fn at_exit() {
    server().end();
}

impl Postgres {
    /// A new one, empty.
    pub fn start(name: &str) -> Self {
        sweep();
        let home = std::env::temp_dir().join(format!("{FOLDER}{}", std::process::id())).join(name);
        fs::create_dir_all(&home).expect("a folder");
        give_away(&home);
        let data = home.join("data");
        let arguments = ["-A", "trust", "-U", USER, "--no-sync", "--no-instructions", "--locale=C", "-E", "UTF8", "-D"];
        let made = server_command("initdb").args(arguments).arg(&data).stdout(Stdio::null()).status();
        assert!(made.is_ok_and(|status| status.success()), "initdb makes a cluster in {}", data.display());
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let postgres = Self { port, home: Some(home), child: Mutex::new(None) };
        postgres.up();
        postgres
    }

    /// Starts the server and waits until it takes connections.
    pub fn up(&self) {
        let home = self.home.clone().expect("a server of this process");
        let (started, child) = mpsc::channel();
        let port = self.port.to_string();
        // The kernel tells the server when the *thread* ends that started it: this one does with the program.
        std::thread::spawn(move || {
            let log = fs::OpenOptions::new().create(true).append(true).open(home.join("log")).expect("a log");
            let settings = ["fsync=on", "synchronous_commit=on", "max_connections=200", "shared_buffers=32MB"];
            let child = server_command("postgres")
                .arg("-D")
                .arg(home.join("data"))
                .args(["-p", &port, "-h", "127.0.0.1", "-k"])
                .arg(&home)
                .args(settings.iter().flat_map(|setting| ["-c", setting]))
                .stdout(log.try_clone().expect("one log for both streams"))
                .stderr(log)
                .spawn();
            started.send(child.expect("postgres starts")).expect("somebody waits");
            loop {
                std::thread::park();
            }
        });
        *self.child.lock().unwrap() = Some(child.recv().expect("a server"));
        let until = Instant::now() + Duration::from_secs(20);
        while Hand::connect(&self.url_by_socket("postgres")).is_err() {
            assert!(Instant::now() < until, "postgres takes no connection; its log: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// From its next start, whoever does not come by TLS is sent away, but for the socket's own user.
    pub fn encrypt(&self, certificate: &Path, key: &Path) {
        let data = self.home.as_ref().expect("a server of this process").join("data");
        for (from, name) in [(certificate, "server.crt"), (key, "server.key")] {
            let to = data.join(name);
            fs::copy(from, &to).expect("a copy");
            fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).expect("a file of its own");
            give_away(&to);
        }
        fs::write(data.join("pg_hba.conf"), "local all all trust\nhostssl all all all trust\n").expect("a file");
        let mut settings = fs::OpenOptions::new().append(true).open(data.join("postgresql.conf")).expect("a file");
        writeln!(settings, "ssl = on").expect("a line");
    }

    /// Clients that speak to it over the network without TLS.
    pub fn unencrypted(&self) -> i64 {
        let mut hand = Hand::connect(&self.url_by_socket("postgres")).expect("the server takes a connection");
        hand.count(
            "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE client_addr IS NOT NULL AND NOT ssl",
        )
    }

    /// As a machine without power: the server writes nothing more, and recovers at its next start.
    pub fn crash(&self) {
        // One that stands still hears nothing else: a test that fails in between must end all the same.
        self.freeze(false);
        self.signal("QUIT");
        if let Some(mut child) = self.child.lock().unwrap().take() {
            let _ = child.wait();
        }
    }

    /// All of its processes stand still, or go on: their sockets stay open, and nothing comes out.
    pub fn freeze(&self, frozen: bool) {
        let signal = if frozen { "STOP" } else { "CONT" };
        let Some(postmaster) = self.child.lock().unwrap().as_ref().map(|child| child.id().to_string()) else { return };
        let children = Command::new("pgrep").args(["-P", &postmaster]).output().expect("pgrep runs");
        let children = String::from_utf8(children.stdout).expect("numbers");
        let all = std::iter::once(postmaster.as_str()).chain(children.lines());
        let told = Command::new("kill").arg(format!("-{signal}")).args(all).stderr(Stdio::null()).status();
        assert!(told.is_ok(), "kill runs");
    }

    fn signal(&self, signal: &str) {
        if let Some(child) = self.child.lock().unwrap().as_ref() {
            let _ = Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status();
        }
    }

    fn end(&self) {
        self.crash();
        if let Some(home) = self.home.as_ref() {
            let _ = fs::remove_dir_all(home);
            // Fails while another server of this program is in it.
            let _ = home.parent().map(fs::remove_dir);
        }
    }

    fn log(&self) -> String {
        self.home.as_ref().and_then(|home| fs::read_to_string(home.join("log")).ok()).unwrap_or_default()
    }

    pub fn address(&self) -> std::net::SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    fn url_by_socket(&self, database: &str) -> String {
        let folder = self.home.as_ref().expect("a server of this process").display();
        format!("postgres://{USER}@localhost:{}/{database}?host={folder}", self.port)
    }

    /// The URL of a database of this name, which is made when it is not there.
    pub fn database(&self, name: &str) -> String {
        let mut hand = Hand::connect(&self.url("postgres")).expect("the server takes a connection");
        if hand.count(&format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'")) == 0 {
            hand.execute(&format!("CREATE DATABASE {name}"));
        }
        self.url(name)
    }

    /// A new database with all that is in another one, which nobody may be connected to.
    pub fn copy(&self, from: &str, to: &str) {
        let mut hand = Hand::connect(&self.url("postgres")).expect("the server takes a connection");
        // Somebody who has just left is still there for a moment.
        let until = Instant::now() + Duration::from_secs(5);
        while hand.count(&format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{from}'")) > 0 {
            assert!(Instant::now() < until, "somebody uses {from}");
            std::thread::sleep(Duration::from_millis(5));
        }
        hand.execute(&format!("CREATE DATABASE {to} TEMPLATE {from}"));
    }

    /// All that is in a database, as text.
    pub fn dump(&self, name: &str) -> Vec<u8> {
        let dumped = server_command("pg_dump").arg(self.url(name)).output().expect("pg_dump runs");
        assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
        dumped.stdout
    }

    /// Lets a process use this server.
    pub fn share(&self, command: &mut Command) {
        command.env(PORT, self.port.to_string());
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.end();
    }
}

/// Somebody who writes SQL by hand.
pub struct Hand {
    runtime: Runtime,
    client: Client,
}

impl Hand {
    pub fn connect(url: &str) -> Result<Self, tokio_postgres::Error> {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (client, connection) = runtime.block_on(tokio_postgres::connect(url, NoTls))?;
        drop(runtime.spawn(connection));
        let hand = Self { runtime, client };
        hand.runtime.block_on(hand.client.batch_execute("SET search_path = revbridge, public"))?;
        Ok(hand)
    }

    pub fn execute(&mut self, sql: &str) {
        self.try_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    pub fn try_execute(&mut self, sql: &str) -> Result<(), tokio_postgres::Error> {
        self.runtime.block_on(self.client.batch_execute(sql))
    }

    /// The number in the first column of the first row.
    pub fn count(&mut self, sql: &str) -> i64 {
        let text = self.text(sql).unwrap_or_else(|| panic!("a row for {sql}"));
        text.parse().unwrap_or_else(|_| panic!("a number for {sql}: {text}"))
    }

    /// The first column of the first row, as text.
    pub fn text(&mut self, sql: &str) -> Option<String> {
        self.texts(sql).into_iter().next()
    }

    /// The first column of every row.
    pub fn texts(&mut self, sql: &str) -> Vec<String> {
        let rows = self.runtime.block_on(self.client.simple_query(sql)).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        let rows = rows.iter().filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        rows.collect()
    }
}

/// A program of the newest PostgreSQL that Debian has installed, as somebody who may run it: it refuses root.
fn server_command(program: &str) -> Command {
    let path = newest().join("bin").join(program);
    // SAFETY: only asks.
    if unsafe { libc::geteuid() } != 0 {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    let user = ["--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig", "QUIT"];
    command.args(user).arg("--").arg(path).current_dir("/");
    command
}

fn newest() -> PathBuf {
    let folders = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path());
    let version = |path: &PathBuf| path.file_name().and_then(OsStr::to_str).and_then(|name| name.parse::<u32>().ok());
    let usable = folders.filter(|path| path.join("bin/postgres").is_file() && version(path) >= Some(15));
    usable.max_by_key(version).expect("PostgreSQL 15 or later is installed: apt-get install postgresql")
}

/// Whom the server runs as owns its folder, and may reach it.
fn give_away(home: &Path) {
    // SAFETY: only asks.
    if unsafe { libc::geteuid() } == 0 {
        let given = Command::new("chown").arg("postgres:postgres").arg(home).status();
        assert!(given.is_ok_and(|status| status.success()), "chown: is postgresql installed?");
    }
}

/// Removes what programs have left behind that were killed.
fn sweep() {
    for folder in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = folder.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(FOLDER)?.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            let _ = fs::remove_dir_all(folder.path());
        }
    }
}
