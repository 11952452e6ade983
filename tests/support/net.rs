//! A network of three machines, as namespaces: the phones can reach each other only through the server.
//!
//! ```text
//!   {p}a 10.99.1.11 ──veth── 10.99.1.1 {p}g 10.99.2.1 ──veth── 10.99.2.12 {p}b
//!                             server 10.99.3.1 (no forwarding)
//! ```

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

pub const USER: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 11);
pub const DESTINATION: Ipv4Addr = Ipv4Addr::new(10, 99, 2, 12);
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 99, 3, 1);

/// The three namespaces; gone when dropped.
pub struct Network {
    prefix: String,
}

impl Network {
    /// Needs root: it makes network namespaces.
    pub fn new() -> Self {
        super::require_tool("ip", "iproute2");
        // SAFETY: geteuid only reads the process's credentials.
        let root = unsafe { libc::geteuid() } == 0;
        assert!(root, "this test makes network namespaces, which only root may: run it by sudo");
        // The tests of one program run side by side.
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let network = Self { prefix: format!("rb{}x{number}", std::process::id()) };
        for name in ["a", "b", "g"] {
            ip(&["netns", "add", &network.namespace(name)]);
            network.ip_in(name, &["link", "set", "lo", "up"]);
        }
        network.ip_in("g", &["addr", "add", &format!("{SERVER}/32"), "dev", "lo"]);
        network.connect("a", "10.99.1", USER);
        network.connect("b", "10.99.2", DESTINATION);
        network
    }

    fn namespace(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The interface of a phone's namespace, or with `gateway` the server's end of that wire.
    pub fn interface(&self, name: &str, gateway: bool) -> String {
        format!("{}{}{name}", self.prefix, if gateway { "g" } else { "v" })
    }

    fn connect(&self, name: &str, net: &str, address: Ipv4Addr) {
        let (phone, gateway) = (self.interface(name, false), self.interface(name, true));
        let (there, here) = (self.namespace(name), self.namespace("g"));
        ip(&["link", "add", &phone, "netns", &there, "type", "veth", "peer", "name", &gateway, "netns", &here]);
        self.ip_in(name, &["addr", "add", &format!("{address}/24"), "dev", &phone]);
        self.ip_in(name, &["link", "set", &phone, "up"]);
        self.ip_in("g", &["addr", "add", &format!("{net}.1/24"), "dev", &gateway]);
        self.ip_in("g", &["link", "set", &gateway, "up"]);
        self.ip_in(name, &["route", "add", "default", "via", &format!("{net}.1")]);
    }

    fn ip_in(&self, name: &str, arguments: &[&str]) {
        let namespace = self.namespace(name);
        ip(&[&["-n", namespace.as_str()], arguments].concat());
    }

    /// Moves the calling thread to the server's machine: what it starts and connects from now on is there.
    pub fn enter_gateway(&self) {
        self.enter("g");
    }

    /// The same for any of the machines.
    pub fn enter(&self, name: &str) {
        let file = File::open(format!("/run/netns/{}", self.namespace(name))).expect("the namespace exists");
        // SAFETY: the descriptor is open for the whole call; only this thread's network changes.
        let entered = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
        assert_eq!(entered, 0, "setns: {}", std::io::Error::last_os_error());
    }

    /// A program on one of the machines: `a`, `b` or `g`.
    pub fn command(&self, name: &str, program: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(name)]).args(program);
        command
    }

    /// Starts it, with nothing to read and one log for all that it says.
    pub fn spawn(&self, name: &str, program: &[&str], log: File) -> Child {
        self.command(name, program)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("one log for both streams"))
            .stderr(log)
            .spawn()
            .expect("ip netns exec starts")
    }

    /// Does something on one of the machines, on a thread of its own.
    pub fn on<T: Send>(&self, name: &str, deed: impl FnOnce() -> T + Send) -> T {
        let there = || {
            self.enter(name);
            deed()
        };
        std::thread::scope(|scope| scope.spawn(there).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// A machine loses every UDP packet that it sends or is sent, from now on.
    pub fn block_udp(&self, name: &str) {
        super::require_tool("iptables", "iptables");
        for chain in ["INPUT", "OUTPUT"] {
            let blocked = self.command(name, &["iptables", "-A", chain, "-p", "udp", "-j", "DROP"]).status();
            assert!(blocked.is_ok_and(|status| status.success()), "iptables blocks UDP");
        }
    }

    /// The bound UDP sockets of a machine, as the kernel lists them.
    pub fn udp_sockets(&self, name: &str) -> String {
        let listing =
            Command::new("ip").args(["netns", "exec", &self.namespace(name), "cat", "/proc/net/udp"]).output();
        String::from_utf8_lossy(&listing.expect("cat runs").stdout).into_owned()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in ["a", "b", "g"] {
            let _ = Command::new("ip").args(["netns", "del", &self.namespace(name)]).status();
        }
    }
}

fn ip(arguments: &[&str]) {
    let done = Command::new("ip").args(arguments).output().expect("ip runs");
    assert!(done.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}
