//! A carrier by somebody else: Kamailio with digest and Record-Route, on UDP, TCP and TLS, in front of a phone.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::line::Certificates;
use super::{poll, require_tool};

pub struct Kamailio {
    child: Child,
    log: PathBuf,
}

impl Kamailio {
    /// Ports 5060 and 5061 of `address`, with the certificate `carrier`; whoever comes by TLS must show one of the same
    /// authority.
    pub fn start(address: Ipv4Addr, phone: Ipv4Addr, folder: &Path, certificates: &Certificates) -> Self {
        require_tool("kamailio", "kamailio kamailio-tls-modules");
        let tls = folder.join("kamailio-tls.cfg");
        let side = |name: &str| {
            format!(
                "[{name}:default]\nmethod = TLSv1.2+\nverify_certificate = yes\nrequire_certificate = yes\n\
                 private_key = {}\ncertificate = {}\nca_list = {}\n",
                certificates.key("carrier").display(),
                certificates.certificate("carrier").display(),
                certificates.authority().display()
            )
        };
        fs::write(&tls, side("server") + &side("client")).expect("a file");
        let log = folder.join("kamailio.log");
        let file = File::create(&log).expect("a file");
        let configuration = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/kamailio.cfg");
        let child = Command::new("kamailio")
            .args(["-DD", "-E", "-m", "32", "-M", "4"])
            .args(["-P".as_ref(), folder.join("kamailio.pid").as_os_str()])
            .args(["-Y".as_ref(), folder.as_os_str()])
            .args(["-f".as_ref(), configuration.as_os_str()])
            .args(["-A", &format!("CARRIER={address}"), "-A", &format!("PHONE=\"sip:{phone}:5060\"")])
            .args(["-A", &format!("TLS_CFG=\"{}\"", tls.display())])
            .env("PATH", path())
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a second handle"))
            .stderr(file)
            .spawn()
            .expect("kamailio starts");
        let carrier = Self { child, log };
        let listens = || TcpStream::connect((address, 5061)).ok();
        assert!(poll(Duration::from_secs(20), listens).is_some(), "no carrier: {}", carrier.log());
        carrier
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How many requests of this method came over this transport.
    pub fn requests(&self, method: &str, transport: &str) -> usize {
        self.log().matches(&format!("carrier: {method} over {transport}")).count()
    }
}

/// Where Debian puts it.
fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        // The first process ends its children.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let ended = poll(Duration::from_secs(5), || self.child.try_wait().ok().flatten());
        if ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
