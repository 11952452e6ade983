//! What goes over a wire: tcpdump at the server's end of it, tshark and our own eyes on what it wrote.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use super::net::Network;
use super::{poll, require_tool, stop, tone};

const SOON: Duration = Duration::from_secs(15);

/// What tshark says of a capture, with these arguments.
pub fn tshark(file: &Path, arguments: &[&str]) -> String {
    let out = Command::new("tshark").arg("-r").arg(file).args(arguments).output().expect("tshark runs");
    assert!(out.status.success(), "tshark {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// tcpdump at the server's end of one phone's wire.
pub struct Capture {
    child: Child,
    pub file: PathBuf,
}

impl Capture {
    pub fn start(network: &Network, name: &str, folder: &Path) -> Self {
        require_tool("tcpdump", "tcpdump");
        require_tool("tshark", "tshark");
        let file = folder.join(format!("{name}.pcap"));
        let log = File::create(folder.join(format!("tcpdump-{name}.log"))).expect("a log");
        let interface = network.interface(name, true);
        let path = file.to_str().expect("a UTF-8 path");
        // The log's folder may belong to root alone, so tcpdump must not give up root (-Z).
        let child = network.spawn(
            "g",
            &["tcpdump", "-i", &interface, "--immediate-mode", "-U", "-Z", "root", "-s", "0", "-w", path],
            log,
        );
        let started = poll(SOON, || file.metadata().is_ok_and(|file| file.len() > 0).then_some(()));
        assert!(
            started.is_some(),
            "tcpdump does not start: {:?}",
            fs::read_to_string(folder.join(format!("tcpdump-{name}.log")))
        );
        Self { child, file }
    }

    pub fn finish(mut self) -> PathBuf {
        stop(&mut self.child);
        self.file.clone()
    }

    /// The RTP that has come from this address so far: tcpdump takes each packet as it comes (`--immediate-mode`)
    /// and writes it at once (`-U`).
    pub fn rtp_from(&self, address: Ipv4Addr) -> Vec<Rtp> {
        rtp_from(&fs::read(&self.file).expect("the capture is readable"), address)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

/// One RTP packet of 8 kHz audio or of an event.
#[derive(Debug, Clone)]
pub struct Rtp {
    /// Since the epoch, by the clock of the capture.
    pub at: Duration,
    pub payload_type: u8,
    pub ssrc: u32,
    /// Without header extension and contributing sources.
    pub bare: bool,
    pub payload: Vec<u8>,
}

impl Rtp {
    /// RFC 3550 §5.1; `None` for what is something else.
    fn parse(at: Duration, bytes: &[u8]) -> Option<Self> {
        let (head, payload) = bytes.split_at_checked(12)?;
        // RTCP has 200–207 in the second byte (RFC 5761 §4).
        if head[0] >> 6 != 2 || (200..=207).contains(&head[1]) {
            return None;
        }
        let ssrc = u32::from_be_bytes(head[8..12].try_into().ok()?);
        let payload = payload.to_vec();
        Some(Self { at, payload_type: head[1] & 0x7f, ssrc, bare: head[0] & 0x1f == 0, payload })
    }

    /// The decoded audio; nothing for an event.
    pub fn samples(&self) -> Vec<i16> {
        match self.payload_type {
            0 => self.payload.iter().map(|byte| tone::from_mu_law(*byte)).collect(),
            8 => self.payload.iter().map(|byte| tone::from_a_law(*byte)).collect(),
            _ => Vec::new(),
        }
    }
}

/// Everything that these packets say, end to end, as one recording.
pub fn recording(packets: &[Rtp]) -> Vec<i16> {
    packets.iter().flat_map(Rtp::samples).collect()
}

/// The longest time without a packet that holds this tone, from the first one that does to the last.
pub fn longest_silence(packets: &[Rtp], hertz: f64) -> Duration {
    let told: Vec<Duration> =
        packets.iter().filter(|packet| tone::is_loud(&packet.samples(), hertz)).map(|packet| packet.at).collect();
    told.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max().unwrap_or(Duration::MAX)
}

/// The digits of RFC 4733 events in these packets: one for each run of packets about the same event.
pub fn digits(packets: &[Rtp]) -> String {
    let mut digits = String::new();
    let mut last: Option<(u8, Duration)> = None;
    for packet in packets.iter().filter(|p| ![0, 8].contains(&p.payload_type) && p.payload.len() == 4) {
        let event = packet.payload[0];
        let ended = packet.payload[1] & 0x80 != 0;
        if last.is_none_or(|(before, at)| before != event || packet.at - at > Duration::from_millis(90)) && !ended {
            digits.extend("0123456789*#ABCD".chars().nth(event.into()));
        }
        last = Some((event, packet.at));
    }
    digits
}

/// The RTP in UDP from this address, in a capture file.
fn rtp_from(pcap: &[u8], address: Ipv4Addr) -> Vec<Rtp> {
    let packets = frames(pcap).into_iter().filter_map(|(at, frame)| {
        let packet = Packet::parse(frame)?;
        // RTP's ports are even, and so is SIP's.
        let rtp = packet.udp && packet.from == address && packet.from_port % 2 == 0 && packet.from_port != 5060;
        rtp.then(|| Rtp::parse(at, packet.payload)).flatten()
    });
    packets.collect()
}

/// Every byte that came to this address, by UDP and TCP, but the audio itself: of an RTP packet only what
/// stands before it. Searched for what identifies somebody, a megabyte of noise would hold it by chance.
pub fn told(pcap: &[u8], address: Ipv4Addr) -> Vec<u8> {
    let mut bytes = Vec::new();
    for packet in frames(pcap).into_iter().filter_map(|(_, frame)| Packet::parse(frame)).filter(|p| p.to == address) {
        bytes.extend_from_slice(if packet.udp { before_the_audio(packet.payload) } else { packet.payload });
    }
    bytes
}

/// The header of an RTP packet with its contributing sources and extension (RFC 3550 §5.1); all of anything else.
pub fn before_the_audio(packet: &[u8]) -> &[u8] {
    let [first, second, ..] = packet else { return packet };
    if first >> 6 != 2 || (200..=207).contains(second) || packet.len() < 12 {
        return packet;
    }
    let mut length = 12 + usize::from(first & 15) * 4;
    if first & 0x10 != 0
        && let Some(extension) = packet.get(length..length + 4)
    {
        length += 4 + usize::from(u16::from_be_bytes([extension[2], extension[3]])) * 4;
    }
    packet.get(..length).unwrap_or(packet)
}

/// The frames of a classic capture file, each with its time.
fn frames(pcap: &[u8]) -> Vec<(Duration, &[u8])> {
    let mut frames = Vec::new();
    let mut rest = pcap.get(24..).unwrap_or_default();
    while let Some((head, tail)) = rest.split_at_checked(16) {
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        // The last frame may be half written.
        let Some((frame, next)) = tail.split_at_checked(word(8) as usize) else { break };
        frames.push((Duration::new(word(0).into(), word(4) * 1000), frame));
        rest = next;
    }
    frames
}

/// What an Ethernet frame with IPv4 carries.
struct Packet<'a> {
    udp: bool,
    from: Ipv4Addr,
    to: Ipv4Addr,
    from_port: u16,
    payload: &'a [u8],
}

impl<'a> Packet<'a> {
    fn parse(frame: &'a [u8]) -> Option<Self> {
        let ip = (frame.get(12..14)? == [8, 0]).then(|| frame.get(14..)).flatten()?;
        let address = |at: usize| Some(Ipv4Addr::from_octets(ip.get(at..at + 4)?.try_into().ok()?));
        // Ethernet pads what is short.
        let total = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
        let inner = ip.get(usize::from(ip[0] & 15) * 4..total)?;
        let (udp, header) = match ip.get(9)? {
            17 => (true, 8),
            6 => (false, usize::from(inner.get(12)? >> 4) * 4),
            _ => return None,
        };
        let from_port = u16::from_be_bytes([*inner.first()?, *inner.get(1)?]);
        Some(Self { udp, from: address(12)?, to: address(16)?, from_port, payload: inner.get(header..)? })
    }
}
