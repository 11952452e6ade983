//! A message for a collector of traces: HEP version 3, as Homer and others take it.
//!
//! ```text
//! HEP3 │ length │ chunk │ chunk │ …        a chunk: vendor 0 │ type │ length with these six │ value
//! ```
//!
//! One UDP datagram a message. The correlation id is the call's, on both legs.

use std::net::{IpAddr, SocketAddr};

use super::{Line, Way};
use crate::config::Transport;
use crate::model::CallId;

const SIP: u8 = 1;
const INET: u8 = 2;
const INET6: u8 = 10;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Who sends to the collector.
#[derive(Debug, Clone, Copy)]
pub struct Agent<'a> {
    pub id: u32,
    pub password: Option<&'a str>,
}

/// `None` for a message that never was on a wire.
pub fn hep(line: &Line, call: CallId, agent: Agent<'_>) -> Option<Vec<u8>> {
    let (from, to) = match line.way {
        Way::Sent => (line.local, line.remote),
        Way::Received => (line.remote, line.local),
        Way::Withheld => return None,
    };
    let mut chunks = Chunks(b"HEP3\0\0".to_vec());
    addresses(from, to, &mut chunks);
    chunks.add(
        2,
        &[match line.transport {
            Transport::Udp => UDP,
            Transport::Tcp | Transport::Tls => TCP,
        }],
    );
    chunks.add(7, &from.port().to_be_bytes());
    chunks.add(8, &to.port().to_be_bytes());
    let micros = line.at.as_micros();
    // Seconds of this century.
    chunks.add(9, &((micros / 1_000_000) as u32).to_be_bytes());
    chunks.add(10, &((micros % 1_000_000) as u32).to_be_bytes());
    chunks.add(11, &[SIP]);
    chunks.add(12, &agent.id.to_be_bytes());
    if let Some(password) = agent.password {
        chunks.add(14, password.as_bytes());
    }
    chunks.add(15, line.text.as_bytes());
    chunks.add(17, call.to_string().as_bytes());
    Some(chunks.finish())
}

fn addresses(from: SocketAddr, to: SocketAddr, chunks: &mut Chunks) {
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            chunks.add(1, &[INET]);
            chunks.add(3, &from.octets());
            chunks.add(4, &to.octets());
        }
        (from, to) => {
            chunks.add(1, &[INET6]);
            for (kind, ip) in [(5, from), (6, to)] {
                match ip {
                    IpAddr::V4(ip) => chunks.add(kind, &ip.to_ipv6_mapped().octets()),
                    IpAddr::V6(ip) => chunks.add(kind, &ip.octets()),
                }
            }
        }
    }
}

struct Chunks(Vec<u8>);

impl Chunks {
    /// A kept message has 8 kB and some, everything else much less: no length overflows.
    fn add(&mut self, kind: u16, value: &[u8]) {
        self.0.extend([0, 0]);
        self.0.extend(kind.to_be_bytes());
        self.0.extend((value.len() as u16 + 6).to_be_bytes());
        self.0.extend(value);
    }

    fn finish(mut self) -> Vec<u8> {
        let length = self.0.len() as u16;
        self.0[4..6].copy_from_slice(&length.to_be_bytes());
        self.0
    }
}
