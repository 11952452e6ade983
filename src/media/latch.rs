//! Whose packets a leg believes.
//!
//! ```text
//!              from the signalled address
//!   Nobody ────────────────────────────────▶ Signalled ──same stream goes on elsewhere──▶ Rebound
//!     │                                       ▲     │
//!     └─ NAT is evident, stream on probation ▶ Nat  └─ another address is signalled ──▶ Former
//! ```
//!
//! The address of the session description is believed at once, any other only after [`PROBATION`]
//! packets in sequence, while the believed one is silent, and once per signalling:
//! - a first packet from elsewhere only where NAT explains it ([`nat_explains`]), because otherwise
//!   anybody who finds the port first would become the party;
//! - later, only as the same stream: same SSRC, the next sequence numbers.
//!
//! Two addresses that ask to be believed at the same time are both refused, so shouting louder does not
//! help. Nothing that is refused changes what is believed. Deliberately absent: learning from RTCP.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::reception::Reception;
use super::wire::Header;
use crate::model::Timestamp;

/// Packets in sequence before another address is believed.
const PROBATION: u8 = 5;
/// How long the believed address must have been silent: ten packets of a stream that is alive.
const SILENCE: Duration = Duration::from_millis(200);
/// How many sequence numbers a stream may have lost while it moved: five seconds of it.
const LOST_WHILE_MOVING: u16 = 250;
/// A stream on probation that pauses for this long starts over.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Latch {
    signalled: Option<SocketAddr>,
    believed: Belief,
    /// When the believed address was last heard.
    heard: Timestamp,
    /// Whether this signalling may still be followed elsewhere.
    may_move: bool,
    candidate: Option<Candidate>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Belief {
    #[default]
    Nobody,
    /// Believed under an earlier signalling, until the newly signalled address is heard.
    Former(SocketAddr),
    Signalled(SocketAddr),
    Nat(SocketAddr),
    Rebound(SocketAddr),
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    from: SocketAddr,
    ssrc: u32,
    sequence: u16,
    seen: Timestamp,
    count: u8,
}

impl Latch {
    /// A new word from the signalling: where the party says it is.
    pub fn signal(&mut self, signalled: Option<SocketAddr>) {
        if signalled != self.signalled {
            self.believed = self.source().map_or(Belief::Nobody, Belief::Former);
            self.signalled = signalled;
        }
        self.may_move = true;
        self.candidate = None;
    }

    /// Whether this packet is the party's. `sends`: it may send at all just now.
    pub fn believes(
        &mut self,
        now: Timestamp,
        from: SocketAddr,
        header: &Header,
        stream: &Reception,
        sends: bool,
    ) -> bool {
        let moved = matches!(self.believed, Belief::Rebound(_));
        if Some(from) == self.signalled && !moved {
            self.believed = Belief::Signalled(from);
        } else if Some(from) != self.source() && !(sends && self.follows(now, from, header, stream)) {
            return false;
        }
        self.heard = now;
        self.candidate = None;
        true
    }

    /// From where the party's packets come.
    pub fn source(&self) -> Option<SocketAddr> {
        match self.believed {
            Belief::Nobody => None,
            Belief::Former(at) | Belief::Signalled(at) | Belief::Nat(at) | Belief::Rebound(at) => Some(at),
        }
    }

    /// Where the party is, if nothing newer has been signalled.
    pub fn settled(&self) -> Option<SocketAddr> {
        match self.believed {
            Belief::Nobody | Belief::Former(_) => None,
            Belief::Signalled(at) | Belief::Nat(at) | Belief::Rebound(at) => Some(at),
        }
    }

    /// The believed address was heard without a question here.
    pub fn hear(&mut self, at: Timestamp) {
        self.heard = self.heard.max(at);
        self.candidate = None;
    }

    /// Where to send: to the address that has proven itself, until then to the signalled one.
    pub fn target(&self) -> Option<SocketAddr> {
        match self.believed {
            Belief::Nobody | Belief::Former(_) => self.signalled,
            Belief::Signalled(at) | Belief::Nat(at) | Belief::Rebound(at) => Some(at),
        }
    }

    /// Whether the party was found elsewhere than it said.
    pub fn is_elsewhere(&self) -> bool {
        matches!(self.believed, Belief::Nat(_) | Belief::Rebound(_))
    }

    /// Counts a packet of somebody else towards being believed, if anything speaks for it.
    fn follows(&mut self, now: Timestamp, from: SocketAddr, header: &Header, stream: &Reception) -> bool {
        let is_same_stream = self.source().is_some() && stream.continues(header, LOST_WHILE_MOVING);
        let is_first = matches!(self.believed, Belief::Nobody | Belief::Former(_));
        let is_behind_nat = is_first && self.signalled.is_some_and(|signalled| nat_explains(signalled, from));
        let is_silent = self.source().is_none() || now.since(self.heard) >= SILENCE;
        if !(self.may_move && is_silent && (is_same_stream || is_behind_nat)) {
            return false;
        }
        let count = match self.candidate {
            Some(other) if other.from != from && now.since(other.seen) < PAUSE => {
                self.may_move = false;
                return false;
            }
            Some(same) if same.is_followed_by(now, from, header) => same.count + 1,
            Some(_) | None => 1,
        };
        self.candidate = Some(Candidate { from, ssrc: header.ssrc, sequence: header.sequence, seen: now, count });
        if count < PROBATION {
            return false;
        }
        self.may_move = false;
        self.believed = if is_same_stream { Belief::Rebound(from) } else { Belief::Nat(from) };
        true
    }
}

impl Candidate {
    fn is_followed_by(&self, now: Timestamp, from: SocketAddr, header: &Header) -> bool {
        self.from == from
            && self.ssrc == header.ssrc
            && header.sequence == self.sequence.wrapping_add(1)
            && now.since(self.seen) < PAUSE
    }
}

/// Whether a NAT can be the reason that a party which says it is at `signalled` sends from `from`: it
/// gave an address that only its own network knows, or the NAT chose another port.
fn nat_explains(signalled: SocketAddr, from: SocketAddr) -> bool {
    let (inside, outside) = (signalled.ip(), from.ip());
    // Nothing translates between two sockets of this host.
    !inside.is_loopback() && (inside == outside || is_private(inside) && !is_private(outside))
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        // RFC 6598: 100.64.0.0/10 is the inside of a carrier's NAT.
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private() || ip.is_link_local() || ip.is_loopback() || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHONE: &str = "198.51.100.7:4000";
    const STRANGER: &str = "203.0.113.9:666";

    struct Scene {
        latch: Latch,
        stream: Reception,
        now: u64,
    }

    impl Scene {
        fn signalled(at: &str) -> Self {
            let mut latch = Latch::default();
            latch.signal(Some(at.parse().unwrap()));
            Self { latch, stream: Reception::default(), now: 0 }
        }

        /// A packet, 20 ms after the one before; whether it was believed.
        fn packet(&mut self, from: &str, ssrc: u32, sequence: u16) -> bool {
            self.now += 20;
            let now = Timestamp::from_millis(1_700_000_000_000 + self.now);
            let header = Header { marker: false, payload_type: 0, sequence, timestamp: 0, ssrc, payload: 12..172 };
            let believed = self.latch.believes(now, from.parse().unwrap(), &header, &self.stream, true);
            if believed {
                self.stream.receive(&header);
            }
            believed
        }

        /// How many of `count` packets in sequence are believed.
        fn burst(&mut self, from: &str, ssrc: u32, first: u16, count: u16) -> usize {
            (first..first + count).filter(|&sequence| self.packet(from, ssrc, sequence)).count()
        }
    }

    #[test]
    fn nobody_is_believed_before_the_signalling() {
        let mut scene = Scene { latch: Latch::default(), stream: Reception::default(), now: 0 };
        assert_eq!(scene.burst(STRANGER, 1, 0, 50), 0);
        assert_eq!(scene.latch.target(), None);
    }

    #[test]
    fn a_stranger_is_never_believed_however_loud_and_early() {
        let mut scene = Scene::signalled(PHONE);
        assert_eq!(scene.burst(STRANGER, 666, 0, 500), 0);
        assert_eq!(scene.burst(PHONE, 1, 0, 3), 3);
        assert_eq!(scene.burst(STRANGER, 666, 500, 500), 0);
        assert_eq!(scene.latch.target(), Some(PHONE.parse().unwrap()));
    }

    #[test]
    fn on_this_host_no_nat_explains_another_port() {
        let mut scene = Scene::signalled("127.0.0.1:4000");
        assert_eq!(scene.burst("127.0.0.1:4444", 666, 0, 100), 0);
    }

    #[test]
    fn an_injected_later_packet_of_the_same_stream_changes_nothing() {
        let mut scene = Scene::signalled(PHONE);
        for sequence in 0..100 {
            assert!(scene.packet(PHONE, 7, sequence));
            assert!(!scene.packet(STRANGER, 7, sequence + 1));
            assert!(!scene.packet(STRANGER, 7, sequence + 40));
        }
        // Nor does a burst of them in the time of a few lost packets.
        assert_eq!(scene.burst(STRANGER, 7, 100, 9), 0);
        assert_eq!((scene.stream.received(), scene.stream.lost()), (100, 0));
        assert_eq!(scene.latch.source(), Some(PHONE.parse().unwrap()));
    }

    #[test]
    fn the_same_stream_from_elsewhere_is_followed_once_per_signalling() {
        let mut scene = Scene::signalled(PHONE);
        scene.burst(PHONE, 7, 0, 10);
        scene.now += 300;
        assert_eq!(scene.burst("198.51.100.7:4999", 7, 12, 20), 16);
        assert_eq!(scene.latch.target(), Some("198.51.100.7:4999".parse().unwrap()));
        assert!(!scene.packet(PHONE, 7, 40), "the address that was left is a stranger's now");
        scene.now += 300;
        assert_eq!(scene.burst(STRANGER, 7, 32, 20), 0);
        scene.latch.signal(Some(PHONE.parse().unwrap()));
        assert_eq!(scene.burst("198.51.100.7:5999", 7, 32, 20), 16, "a new signalling allows one more");
    }

    #[test]
    fn another_stream_from_elsewhere_is_not_followed() {
        let mut scene = Scene::signalled(PHONE);
        scene.burst(PHONE, 7, 0, 10);
        scene.now += 300;
        assert_eq!(scene.burst(STRANGER, 8, 10, 50), 0);
        assert_eq!(scene.burst(STRANGER, 7, 400, 50), 0);
        assert_eq!(scene.burst(PHONE, 7, 10, 5), 5);
    }

    #[test]
    fn a_party_behind_nat_is_found_unless_two_claim_to_be_it() {
        let mut scene = Scene::signalled("192.168.1.5:4000");
        assert_eq!(scene.burst("203.0.113.5:62000", 7, 0, 10), 6);
        assert_eq!(scene.latch.target(), Some("203.0.113.5:62000".parse().unwrap()));

        let mut contested = Scene::signalled("192.168.1.5:4000");
        assert_eq!(contested.burst("203.0.113.5:62000", 7, 0, 2), 0);
        assert_eq!(contested.burst(STRANGER, 8, 0, 100), 0);
        assert_eq!(contested.burst("203.0.113.5:62000", 7, 2, 100), 0);
        assert_eq!(contested.burst("192.168.1.5:4000", 7, 0, 2), 2, "what was signalled is always believed");
    }

    #[test]
    fn a_new_address_is_believed_when_heard_and_the_former_until_then() {
        let mut scene = Scene::signalled(PHONE);
        scene.burst(PHONE, 7, 0, 10);
        scene.latch.signal(Some("198.51.100.8:4000".parse().unwrap()));
        assert_eq!(scene.latch.target(), Some("198.51.100.8:4000".parse().unwrap()));
        assert!(scene.packet(PHONE, 7, 10));
        assert!(scene.packet("198.51.100.8:4000", 9, 0));
        assert!(!scene.packet(PHONE, 7, 11));
    }
}
