//! What a party hears from us, as one stream without a seam.
//!
//! One SSRC, sequence numbers and timestamps that go on whoever is the source behind it: a tone, the
//! other party, the other party after its phone restarted. Within one source everything is carried
//! faithfully, so what the network lost or reordered is still missing or out of order.

use super::fast_path::Passed;
use super::g711::SAMPLES_PER_SECOND;
use super::reception::Place;
use super::tones::FRAME;
use super::wire::Header;
use crate::model::Timestamp;

#[derive(Debug, Clone, Copy)]
pub(super) struct Sender {
    pub ssrc: u32,
    pub packets: u64,
    /// Payload bytes, for the sender report.
    pub octets: u64,
    /// The last sequence number used, without wraps.
    highest: u64,
    /// Its timestamp, and when that was sent.
    timestamp: u32,
    at: Option<Timestamp>,
    feed: Feed,
}

/// Who is behind the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Feed {
    Nobody,
    Tone,
    Peer(Mapping),
}

/// From the other party's numbers to ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mapping {
    epoch: u32,
    pub sequence: (u64, u64),
    pub timestamp: (u32, u32),
}

/// The fields of a header that are ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub marker: bool,
    pub sequence: u16,
    pub timestamp: u32,
}

impl Sender {
    /// RFC 3550 §5.1: the first sequence number and timestamp are random.
    pub fn new(ssrc: u32, sequence: u16, timestamp: u32) -> Self {
        let highest = u64::from(sequence);
        Self { ssrc, packets: 0, octets: 0, highest, timestamp, at: None, feed: Feed::Nobody }
    }

    /// The numbers of a packet of the other party; `None` when it comes from before the moment at
    /// which that party became the source, when these numbers were somebody else's.
    pub fn relay(&mut self, now: Timestamp, place: Place, header: &Header) -> Option<Stamp> {
        let mapping = match self.feed {
            Feed::Peer(mapping) if mapping.epoch == place.epoch => mapping,
            Feed::Peer(_) | Feed::Tone | Feed::Nobody => self.splice(now, place, header),
        };
        let sequence = mapping.sequence.1 + place.sequence.checked_sub(mapping.sequence.0)?;
        let stamp = Stamp {
            // RFC 3551 §4.1: the marker tells the receiver to adjust its playout delay.
            marker: header.marker || self.feed != Feed::Peer(mapping),
            sequence: sequence as u16,
            timestamp: mapping.timestamp.1.wrapping_add(header.timestamp.wrapping_sub(mapping.timestamp.0)),
        };
        self.feed = Feed::Peer(mapping);
        self.advance(now, sequence, stamp.timestamp);
        Some(stamp)
    }

    /// A packet of the other party that is not for this one's ears: what follows it closes up, because
    /// it is not lost.
    pub fn skip(&mut self, place: Place) {
        if let Feed::Peer(mapping) = &mut self.feed
            && mapping.epoch == place.epoch
            && place.sequence > mapping.sequence.0 + (self.highest - mapping.sequence.1)
        {
            mapping.sequence.0 += 1;
        }
    }

    /// How the other party's packets of this epoch become ours, if that has begun.
    pub fn mapping(&self, epoch: u32) -> Option<Mapping> {
        match self.feed {
            Feed::Peer(mapping) if mapping.epoch == epoch => Some(mapping),
            Feed::Peer(_) | Feed::Tone | Feed::Nobody => None,
        }
    }

    /// Packets of the other party were sent elsewhere, by the mapping that still holds.
    pub fn passed(&mut self, passed: &Passed) {
        self.packets += passed.packets;
        self.octets += passed.octets;
        if let Feed::Peer(Mapping { sequence, timestamp, .. }) = self.feed {
            let highest = sequence.1 + passed.highest.saturating_sub(sequence.0);
            let stamp = timestamp.1.wrapping_add(passed.highest_timestamp.wrapping_sub(timestamp.0));
            self.advance(passed.highest_at, highest, stamp);
        }
    }

    /// The numbers of the next frame of a tone.
    pub fn tone(&mut self, now: Timestamp) -> Stamp {
        let marker = self.feed != Feed::Tone;
        let timestamp = if marker { self.resume(now) } else { self.timestamp.wrapping_add(FRAME as u32) };
        self.feed = Feed::Tone;
        self.advance(now, self.highest + 1, timestamp);
        Stamp { marker, sequence: self.highest as u16, timestamp }
    }

    /// Whoever is heard next starts a new talk spurt.
    pub fn interrupt(&mut self) {
        self.feed = Feed::Nobody;
    }

    pub fn count(&mut self, payload: usize) {
        self.packets += 1;
        self.octets += payload as u64;
    }

    /// The timestamp that would go out now, for the sender report (RFC 3550 §6.4.1).
    pub fn timestamp_at(&self, now: Timestamp) -> u32 {
        let elapsed = self.at.map_or(0, |at| now.since(at).as_micros() as u64);
        self.timestamp.wrapping_add((elapsed * u64::from(SAMPLES_PER_SECOND) / 1_000_000) as u32)
    }

    fn splice(&self, now: Timestamp, place: Place, header: &Header) -> Mapping {
        Mapping {
            epoch: place.epoch,
            sequence: (place.sequence, self.highest + 1),
            timestamp: (header.timestamp, self.resume(now)),
        }
    }

    /// Where the timestamp goes on after a pause: by the clock, and by a frame at least.
    fn resume(&self, now: Timestamp) -> u32 {
        let by_clock = self.timestamp_at(now);
        let at_least = self.timestamp.wrapping_add(FRAME as u32);
        if (by_clock.wrapping_sub(at_least) as i32) < 0 { at_least } else { by_clock }
    }

    fn advance(&mut self, now: Timestamp, sequence: u64, timestamp: u32) {
        if sequence <= self.highest {
            return;
        }
        self.highest = sequence;
        // The packets of one telephone event all carry the time of the press.
        if timestamp != self.timestamp || self.at.is_none() {
            (self.timestamp, self.at) = (timestamp, Some(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + milliseconds)
    }

    /// Relays packet `n` of a stream that arrives on time.
    fn relay(sender: &mut Sender, epoch: u32, n: u64) -> Option<Stamp> {
        let timestamp = (n as u32).wrapping_mul(160);
        let header =
            Header { marker: false, payload_type: 0, sequence: n as u16, timestamp, ssrc: epoch, payload: 12..172 };
        sender.relay(at(n * 20), Place { epoch, sequence: n }, &header)
    }

    #[test]
    fn gaps_and_disorder_are_carried_and_numbers_wrap() {
        let mut sender = Sender::new(1, 65_533, u32::MAX - 200);
        let sent: Vec<_> = [10, 11, 14, 13].iter().map(|&n| relay(&mut sender, 1, n).unwrap()).collect();
        assert_eq!(sent.iter().map(|s| s.sequence).collect::<Vec<_>>(), [65_534, 65_535, 2, 1]);
        assert_eq!(sent.iter().map(|s| s.marker).collect::<Vec<_>>(), [true, false, false, false]);
        assert_eq!(sent[2].timestamp.wrapping_sub(sent[0].timestamp), 640);
    }

    #[test]
    fn a_change_of_source_leaves_no_seam() {
        let mut sender = Sender::new(1, 0, 0);
        let first = sender.tone(at(0));
        let second = sender.tone(at(20));
        assert_eq!((first.sequence, first.marker), (1, true));
        assert_eq!((second.sequence, second.timestamp - first.timestamp, second.marker), (2, 160, false));
        let voice = relay(&mut sender, 5, 50).unwrap();
        assert_eq!((voice.sequence, voice.timestamp - second.timestamp, voice.marker), (3, 980 * 8, true));
        let restarted = relay(&mut sender, 6, 51).unwrap();
        assert_eq!((restarted.sequence, restarted.timestamp - voice.timestamp, restarted.marker), (4, 160, true));
    }

    #[test]
    fn a_late_packet_from_before_the_change_is_not_sent() {
        let mut sender = Sender::new(1, 0, 0);
        assert_eq!(relay(&mut sender, 1, 100).unwrap().sequence, 1);
        assert_eq!(relay(&mut sender, 1, 99), None);
        assert_eq!(relay(&mut sender, 1, 101).unwrap().sequence, 2);
    }

    #[test]
    fn what_is_held_back_on_purpose_leaves_no_gap() {
        let mut sender = Sender::new(1, 0, 0);
        relay(&mut sender, 1, 10);
        sender.skip(Place { epoch: 1, sequence: 11 });
        sender.skip(Place { epoch: 1, sequence: 12 });
        let next = relay(&mut sender, 1, 13).unwrap();
        assert_eq!((next.sequence, next.marker), (2, false));
    }
}
