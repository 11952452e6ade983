//! UDP packets on the loopback interface, as tcpdump saw them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};

/// One UDP packet over IPv4.
pub struct Packet {
    pub source: u16,
    pub destination: u16,
    pub payload: Vec<u8>,
}

/// A running tcpdump.
pub struct Capture {
    tcpdump: Child,
    file: PathBuf,
}

impl Capture {
    pub fn start(file: &Path) -> anyhow::Result<Self> {
        // Only root may read an interface. `make demo` has asked for sudo already, to install packages.
        let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.starts_with(b"0\n"));
        let mut command = if root { Command::new("tcpdump") } else { Command::new("sudo") };
        if !root {
            command.arg("tcpdump");
        }
        let mut tcpdump = command
            .args(["-i", "lo", "-n", "-U", "-B", "8192", "-Z", "root", "-w"])
            .arg(file)
            .arg("udp and portrange 6000-29999")
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start tcpdump (Debian package tcpdump)")?;
        let stderr = tcpdump.stderr.take().context("tcpdump has no stderr")?;
        let mut words = String::new();
        BufReader::new(stderr).read_line(&mut words)?;
        ensure!(words.contains("listening"), "tcpdump does not listen: {}", words.trim());
        Ok(Self { tcpdump, file: file.to_owned() })
    }

    /// Ends the capture and reads it.
    pub fn finish(mut self) -> anyhow::Result<Vec<Packet>> {
        // What is still on its way to the file.
        std::thread::sleep(Duration::from_millis(300));
        super::processes::terminate(&mut self.tcpdump)?;
        read(&fs::read(&self.file).context("tcpdump left no capture")?)
    }
}

/// Reads a little-endian pcap file of Ethernet frames.
fn read(file: &[u8]) -> anyhow::Result<Vec<Packet>> {
    ensure!(file.starts_with(&[0xd4, 0xc3, 0xb2, 0xa1]), "not a little-endian pcap file");
    let mut rest = file.get(24..).context("the capture is cut short")?;
    let mut packets = Vec::new();
    while let Some(header) = rest.get(..16) {
        let length = u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize;
        let Some(frame) = rest.get(16..16 + length) else { break };
        packets.extend(udp(frame));
        rest = &rest[16 + length..];
    }
    Ok(packets)
}

/// The UDP packet in an Ethernet frame with IPv4 for 127.0.0.1.
fn udp(frame: &[u8]) -> Option<Packet> {
    let ip = frame.get(14..)?;
    let to = Ipv4Addr::new(*ip.get(16)?, *ip.get(17)?, *ip.get(18)?, *ip.get(19)?);
    if frame.get(12..14)? != [8, 0] || ip.first()? >> 4 != 4 || ip.get(9) != Some(&17) || !to.is_loopback() {
        return None;
    }
    let udp = ip.get(usize::from(ip[0] & 15) * 4..)?;
    let port = |at: usize| Some(u16::from_be_bytes([*udp.get(at)?, *udp.get(at + 1)?]));
    Some(Packet { source: port(0)?, destination: port(2)?, payload: udp.get(8..)?.to_vec() })
}
