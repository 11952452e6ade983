//! Which direction of a call the kernel can relay by itself, and what comes back from it.
//!
//! ```text
//!   userspace ── Passage: how the party's packets become ours ──▶ kernel
//!   userspace ◀── Passed: what it relayed, to be counted here ─── kernel
//! ```
//!
//! A passage holds for as long as nothing is said about the call and no packet of that party comes to a
//! socket: whoever keeps it takes it back before either is acted upon, so what is judged here is judged
//! by up-to-date numbers. Deliberately absent: IPv6, and streams that need a byte of their audio changed.

use std::net::{SocketAddr, SocketAddrV4};

use super::Source;
use super::stream::Stream;
use crate::model::Timestamp;

/// One party's stream as the other hears it. Sequence numbers are without wraps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passage {
    /// Where the party's packets come from, and where the other party is.
    pub from: SocketAddrV4,
    pub to: SocketAddrV4,
    /// The party's and ours.
    pub ssrc: (u32, u32),
    pub payload_type: (u8, u8),
    /// Added to the party's numbers.
    pub sequence_offset: u64,
    pub timestamp_offset: u32,
    /// The highest sequence number so far, and the first that may pass.
    pub highest: u64,
    pub floor: u64,
    /// RFC 3550 §A.8, as it stands: the estimate times sixteen, and the last transit by our clock.
    pub jitter: u32,
    pub transit: u32,
}

/// What has passed since the last time, and where the stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    pub packets: u64,
    /// Of payload.
    pub octets: u64,
    pub last_at: Timestamp,
    pub highest: u64,
    /// Of the packet with the highest sequence number.
    pub highest_timestamp: u32,
    pub highest_at: Timestamp,
    pub jitter: u32,
    pub transit: u32,
}

impl Passage {
    /// From the party of `leg` to that of `other`, if no packet of it needs a look: both are where they
    /// said, `other` hears `leg` and nothing else, and audio has passed already.
    pub(super) fn between(leg: &Stream, other: &Stream) -> Option<Self> {
        if !(leg.sends() && other.hears() && other.source() == Source::Peer) {
            return None;
        }
        let (SocketAddr::V4(from), SocketAddr::V4(to)) = (leg.settled()?, other.settled()?) else { return None };
        let (payload_type, law) = leg.speaks()?;
        let (reception, sender) = (leg.reception(), other.sender());
        let mapping = sender.mapping(reception.epoch())?;
        Some(Self {
            from,
            to,
            ssrc: (reception.ssrc(), sender.ssrc),
            payload_type: (payload_type, other.expects(law)?),
            sequence_offset: mapping.sequence.1.wrapping_sub(mapping.sequence.0),
            timestamp_offset: mapping.timestamp.1.wrapping_sub(mapping.timestamp.0),
            highest: reception.highest(),
            floor: mapping.sequence.0,
            jitter: reception.jitter_and_transit().0,
            transit: reception.jitter_and_transit().1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Call, PCMA, PCMU, agreed, phone, rtp};
    use super::*;
    use crate::media::{ToneRegion, Verdict};
    use crate::model::Side;

    /// A joined call in which both have been heard.
    fn talking() -> Call {
        let mut call = Call::joined();
        both_say(&mut call, 0..10);
        call
    }

    fn both_say(call: &mut Call, numbers: std::ops::Range<u32>) {
        for n in numbers {
            assert!(call.says(Side::User, rtp(7, 0, n)).is_some());
            assert!(call.says(Side::Destination, rtp(8, 0, n)).is_some());
        }
    }

    #[test]
    fn a_talking_call_has_a_passage_each_way() {
        let call = talking();
        let there = call.bridge.passage(Side::User).unwrap();
        assert_eq!(SocketAddr::V4(there.from), phone(Side::User));
        assert_eq!(SocketAddr::V4(there.to), phone(Side::Destination));
        assert_eq!((there.ssrc.0, there.payload_type, there.highest - there.floor), (7, (0, 0), 9));
        assert_eq!(call.bridge.passage(Side::Destination).unwrap().ssrc.0, 8);
    }

    #[test]
    fn what_needs_a_look_has_none() {
        let none_after = |change: fn(&mut Call)| {
            let mut call = talking();
            change(&mut call);
            assert_eq!(call.bridge.passage(Side::User), None);
        };
        assert_eq!(Call::joined().bridge.passage(Side::User), None, "nobody has been heard");
        none_after(|call| call.bridge.play(call.now, Side::Destination, Source::Hold));
        none_after(|call| call.bridge.play(call.now, Side::Destination, Source::Warning));
        none_after(|call| call.bridge.play(call.now, Side::Destination, Source::Ringback(ToneRegion::Europe)));
        none_after(|call| {
            let mut held = agreed(Side::User, &[PCMU], 101);
            held.peer_direction = crate::sdp::Direction::RecvOnly;
            call.bridge.remote(call.now, Side::User, &held);
        });
        none_after(|call| {
            let mut moved = agreed(Side::Destination, &[PCMU], 101);
            moved.remote = Some("203.0.113.3:5000".parse().unwrap());
            call.bridge.remote(call.now, Side::Destination, &moved);
        });
        // Another signalling starts a new mapping, with the first packet that is heard.
        none_after(|call| call.bridge.remote(call.now, Side::Destination, &agreed(Side::Destination, &[PCMU], 101)));
        none_after(|call| _ = call.bridge.close(call.now, Side::Destination, &mut [0; 256]));
    }

    #[test]
    fn a_law_that_is_changed_on_the_way_has_none_and_a_number_that_is_has_one() {
        let passage = |user: &[crate::sdp::Format], destination: &[crate::sdp::Format], payload_type| {
            let mut call = Call::joined_with(user, destination, 101, 101);
            for n in 0..5 {
                assert!(call.says(Side::User, rtp(7, payload_type, n)).is_some());
                assert!(call.says(Side::Destination, rtp(8, destination[0].payload_type, n)).is_some());
            }
            call.bridge.passage(Side::User)
        };
        assert_eq!(passage(&[PCMU], &[PCMA], 0), None);
        let dynamic = crate::sdp::Format { payload_type: 97, ..PCMA };
        assert_eq!(passage(&[PCMA], &[dynamic], 8).unwrap().payload_type, (8, 97));
    }

    /// What the kernel does with these packets of the user, one each 40 ms.
    fn pass(call: &mut Call, numbers: &[u32]) {
        let passage = call.bridge.passage(Side::User).unwrap();
        let (mut jitter, mut transit) = (passage.jitter, passage.transit);
        for &n in numbers {
            call.wait(40);
            let now = (call.now.as_micros() * 8 / 1_000) as u32;
            let next = now.wrapping_sub(n * 160);
            let change = (next.wrapping_sub(transit) as i32).unsigned_abs();
            jitter = (jitter + change).saturating_sub((jitter + 8) >> 4);
            transit = next;
        }
        let highest = *numbers.iter().max().unwrap();
        call.bridge.passed(
            Side::User,
            &Passed {
                packets: numbers.len() as u64,
                octets: 160 * numbers.len() as u64,
                last_at: call.now,
                highest: passage.highest + u64::from(highest) - 9,
                highest_timestamp: highest * 160,
                highest_at: call.now,
                jitter,
                transit,
            },
        );
    }

    /// The same packets by either way leave the same call behind, with losses, and nobody can tell.
    #[test]
    fn what_passed_by_the_kernel_counts_as_what_passed_here() {
        let numbers = [10, 11, 13, 12, 20, 21];
        let (mut here, mut there) = (talking(), talking());
        for n in numbers {
            here.wait(20);
            assert!(here.says(Side::User, rtp(7, 0, n)).is_some());
        }
        pass(&mut there, &numbers);
        assert_eq!(there.bridge.next_timeout(), here.bridge.next_timeout());
        assert_eq!(there.bridge.passage(Side::User), here.bridge.passage(Side::User));
        for call in [&mut here, &mut there] {
            assert_eq!(
                call.packet(Side::User, phone(Side::Destination), rtp(7, 0, 22)),
                Verdict::Dropped(super::super::DropCause::Stranger)
            );
        }
        for n in 22..30 {
            assert_eq!(here.says(Side::User, rtp(7, 0, n)), there.says(Side::User, rtp(7, 0, n)));
        }
        for side in Side::BOTH {
            let mut words = [[0; 256]; 2];
            let [one, two] = &mut words;
            let closed = here.bridge.close(here.now, side, one);
            assert_eq!(
                closed.as_ref().map(|(stats, _)| (stats.lost, stats.packets_received)),
                match side {
                    Side::User => Some((6, 24)),
                    Side::Destination => Some((0, 10)),
                }
            );
            assert_eq!(there.bridge.close(there.now, side, two), closed);
            assert_eq!(words[0], words[1], "the last report says the same");
        }
    }
}
