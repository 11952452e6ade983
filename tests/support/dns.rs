//! A DNS server with the records that a test gives it: dnsmasq.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{poll, require_tool};

const PORT: u16 = 5353;

pub struct Dns {
    address: Ipv4Addr,
    folder: PathBuf,
    child: Child,
}

impl Dns {
    /// `records` are lines of dnsmasq's configuration.
    pub fn start(address: Ipv4Addr, folder: &Path, records: &str) -> Self {
        let child = spawn(address, folder, records);
        Self { address, folder: folder.to_owned(), child }
    }

    pub fn address(&self) -> SocketAddr {
        (self.address, PORT).into()
    }

    /// Other records from now on.
    pub fn say(&mut self, records: &str) {
        self.silence();
        self.child = spawn(self.address, &self.folder, records);
    }

    /// Nobody is there to ask.
    pub fn silence(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.silence();
    }
}

fn spawn(address: Ipv4Addr, folder: &Path, records: &str) -> Child {
    require_tool("dnsmasq", "dnsmasq-base");
    let file = folder.join("dnsmasq.conf");
    std::fs::write(&file, records).expect("a file");
    let child = Command::new("dnsmasq")
        .args(["--keep-in-foreground", "--no-resolv", "--no-hosts", "--no-poll", "--bind-interfaces", "--user=root"])
        .args(["--local-ttl=1", "--local=/test/", "--pid-file=", &format!("--port={PORT}")])
        .args([&format!("--listen-address={address}"), &format!("--conf-file={}", file.display())])
        .env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(folder.join("dnsmasq.log")).expect("a file"))
        .spawn()
        .expect("dnsmasq starts");
    let answers = || {
        let socket = UdpSocket::bind((address, 0)).ok()?;
        socket.set_read_timeout(Some(Duration::from_millis(200))).ok()?;
        // A query for the root's name servers: any answer will do.
        socket.send_to(&[0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1], (address, PORT)).ok()?;
        socket.recv(&mut [0; 512]).ok()
    };
    let log = || std::fs::read_to_string(folder.join("dnsmasq.log")).unwrap_or_default();
    assert!(poll(Duration::from_secs(10), answers).is_some(), "dnsmasq does not answer: {}", log());
    child
}
