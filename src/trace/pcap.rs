//! A trace as a capture file for Wireshark: classic pcap, raw IP.
//!
//! ```text
//! file header │ record header │ IPv4 or IPv6 │ UDP │ message │ record header │ …
//! ```
//!
//! The packets are made up around the messages: times, addresses and ports are those of the wire, checksums are right.
//! What went by TCP or TLS is written as UDP datagrams too, so that each message is one packet and none has to be
//! decrypted; the ladder and the JSON name the transport. A message that was withheld never was on a wire and is not
//! here.

use std::net::{IpAddr, SocketAddr};

use super::{Trace, Way};

const LINKTYPE_RAW: u32 = 101;
const UDP: u8 = 17;
/// What an IPv4 packet may hold.
const MOST: usize = 65_535;

pub fn pcap(trace: &Trace) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(0xa1b2_c3d4_u32.to_le_bytes());
    out.extend(2_u16.to_le_bytes());
    out.extend(4_u16.to_le_bytes());
    for word in [0, 0, MOST as u32, LINKTYPE_RAW] {
        out.extend(word.to_le_bytes());
    }
    for line in &trace.lines {
        let (from, to) = match line.way {
            Way::Sent => (line.local, line.remote),
            Way::Received => (line.remote, line.local),
            Way::Withheld => continue,
        };
        let packet = packet(from, to, line.text.as_bytes());
        let micros = line.at.as_micros();
        let (seconds, micros, length) = (micros / 1_000_000, micros % 1_000_000, packet.len());
        // Seconds of this century, and lengths below 64 kB.
        for word in [seconds as u32, micros as u32, length as u32, length as u32] {
            out.extend(word.to_le_bytes());
        }
        out.extend(packet);
    }
    out
}

fn packet(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    // The headers of either family take less than this.
    let payload = &payload[..payload.len().min(MOST - 64)];
    let length = (8 + payload.len()) as u16;
    let mut udp = Vec::with_capacity(usize::from(length));
    for word in [from.port(), to.port(), length, 0] {
        udp.extend(word.to_be_bytes());
    }
    udp.extend(payload);
    let mut packet = Vec::with_capacity(48 + udp.len());
    let mut pseudo = Vec::with_capacity(40);
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            packet.extend([0x45, 0]);
            packet.extend((20 + length).to_be_bytes());
            packet.extend([0, 0, 0x40, 0, 64, UDP, 0, 0]);
            packet.extend(from.octets());
            packet.extend(to.octets());
            let sum = checksum(&[&packet]);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
            pseudo.extend(&packet[12..20]);
        }
        (from, to) => {
            packet.extend([0x60, 0, 0, 0]);
            packet.extend(length.to_be_bytes());
            packet.extend([UDP, 64]);
            for ip in [from, to] {
                packet.extend(match ip {
                    IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                    IpAddr::V6(ip) => ip.octets(),
                });
            }
            pseudo.extend(&packet[8..40]);
        }
    }
    // RFC 768 and RFC 8200 §8.1; on an even boundary both families sum up to the same.
    pseudo.extend([0, UDP]);
    pseudo.extend(length.to_be_bytes());
    let sum = match checksum(&[&pseudo, &udp]) {
        // None at all.
        0 => 0xffff,
        sum => sum,
    };
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    packet.extend(udp);
    packet
}

/// RFC 1071. All parts but the last have an even length.
pub(super) fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
    let mut sum: u32 = words.map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
