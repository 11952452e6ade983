//! What a party sends, by its sequence numbers: order, loss, jitter (RFC 3550 appendix A).
//!
//! A party is one stream at a time. A new SSRC, or a jump that no network makes, starts a new
//! *epoch*: counts go on, sequence numbers start anew. Only the current epoch is remembered, so a
//! party that changes its SSRC with every packet costs no memory.

use std::time::Duration;

use super::fast_path::Passed;
use super::g711::SAMPLES_PER_SECOND;
use super::wire::Header;
use crate::model::Timestamp;

/// RFC 3550 §A.1: a step ahead that is still the same stream with packets lost.
const MAX_DROPOUT: u64 = 3_000;
/// RFC 3550 §A.1: a step back that is still the same stream, out of order.
const MAX_MISORDER: u64 = 100;

/// Where an epoch starts counting, so that packets from before its first one do not go below zero.
const FIRST: u64 = 1 << 16;

/// The party's stream so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reception {
    /// Goes up with each new stream; 0 before the first packet.
    epoch: u32,
    ssrc: u32,
    first: u64,
    highest: u64,
    received: u64,
    /// Expected and received in the epochs before.
    past: (u64, u64),
    /// Arrival minus timestamp of the last packet, in timestamp units.
    transit: u32,
    /// RFC 3550 §A.8: the estimate, times sixteen.
    jitter: u32,
    /// Expected and received at the last report (RFC 3550 §A.3).
    reported: (u64, u64),
}

/// Where a packet belongs: its stream, and its sequence number without wraps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub epoch: u32,
    pub sequence: u64,
}

/// The reception part of a report block (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    pub ssrc: u32,
    pub fraction_lost: u8,
    pub lost: u64,
    pub extended_sequence: u32,
    /// Timestamp units.
    pub jitter: u32,
}

impl Reception {
    pub fn receive(&mut self, header: &Header) -> Place {
        let sequence = self.extend(header).unwrap_or_else(|| self.begin(header));
        self.highest = self.highest.max(sequence);
        self.first = self.first.min(sequence);
        self.received += 1;
        Place { epoch: self.epoch, sequence }
    }

    /// RFC 3550 §A.8. Not for telephone events, whose packets all carry the time of the press.
    pub fn time(&mut self, now: Timestamp, header: &Header) {
        let arrival = (now.as_micros() * u64::from(SAMPLES_PER_SECOND) / 1_000_000) as u32;
        let transit = arrival.wrapping_sub(header.timestamp);
        if self.transit != 0 {
            let difference = (transit.wrapping_sub(self.transit) as i32).unsigned_abs();
            // A jump of a second is another clock, not jitter.
            if difference < SAMPLES_PER_SECOND {
                self.jitter = (self.jitter + difference).saturating_sub((self.jitter + 8) >> 4);
            }
        }
        self.transit = transit;
    }

    /// Whether this packet could be the next of the stream: the same SSRC, at most `ahead` further.
    pub fn continues(&self, header: &Header, ahead: u16) -> bool {
        self.epoch != 0
            && header.ssrc == self.ssrc
            && (1..=ahead).contains(&header.sequence.wrapping_sub(self.highest as u16))
    }

    pub fn is_current(&self, header: &Header) -> bool {
        self.epoch != 0 && header.ssrc == self.ssrc
    }

    /// Packets of this epoch were received elsewhere, by the same rules.
    pub fn passed(&mut self, passed: &Passed) {
        self.received += passed.packets;
        self.highest = self.highest.max(passed.highest);
        (self.jitter, self.transit) = (passed.jitter, passed.transit);
    }

    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    pub fn highest(&self) -> u64 {
        self.highest
    }

    pub fn jitter_and_transit(&self) -> (u32, u32) {
        (self.jitter, self.transit)
    }

    pub fn received(&self) -> u64 {
        self.past.1 + self.received
    }

    pub fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received())
    }

    pub fn jitter(&self) -> Duration {
        Duration::from_micros(u64::from(self.jitter >> 4) * 1_000_000 / u64::from(SAMPLES_PER_SECOND))
    }

    /// What to report of the time since the last report; `None` before the first packet.
    pub fn report(&mut self) -> Option<Block> {
        if self.epoch == 0 {
            return None;
        }
        let now = (self.expected(), self.received());
        let expected = now.0.saturating_sub(self.reported.0);
        let lost = expected.saturating_sub(now.1.saturating_sub(self.reported.1));
        self.reported = now;
        Some(Block {
            ssrc: self.ssrc,
            fraction_lost: (lost * 256).checked_div(expected).map_or(0, |f| u8::try_from(f).unwrap_or(u8::MAX)),
            lost: self.lost(),
            extended_sequence: (self.highest - FIRST) as u32,
            jitter: self.jitter >> 4,
        })
    }

    fn expected(&self) -> u64 {
        self.past.0 + if self.epoch == 0 { 0 } else { self.highest - self.first + 1 }
    }

    /// The sequence number without wraps; `None` when it belongs to no stream that we know.
    fn extend(&self, header: &Header) -> Option<u64> {
        if !self.is_current(header) {
            return None;
        }
        let ahead = u64::from(header.sequence.wrapping_sub(self.highest as u16));
        let behind = (1 << 16) - ahead;
        if ahead < MAX_DROPOUT {
            Some(self.highest + ahead)
        } else if behind <= MAX_MISORDER {
            Some(self.highest - behind)
        } else {
            None
        }
    }

    fn begin(&mut self, header: &Header) -> u64 {
        self.past = (self.expected(), self.received());
        self.epoch += 1;
        self.ssrc = header.ssrc;
        self.received = 0;
        self.transit = 0;
        self.first = FIRST + u64::from(header.sequence);
        self.highest = self.first;
        self.first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(ssrc: u32, sequence: u16) -> Header {
        let timestamp = u32::from(sequence) * 160;
        Header { marker: false, payload_type: 0, sequence, timestamp, ssrc, payload: 12..172 }
    }

    #[test]
    fn wrap_gap_and_disorder_stay_in_one_epoch() {
        let mut reception = Reception::default();
        for sequence in [65_534, 65_535, 1, 0, 2, 5] {
            assert_eq!(reception.receive(&packet(7, sequence)).epoch, 1);
        }
        assert_eq!((reception.received(), reception.lost()), (6, 2));
        assert_eq!(reception.report().unwrap().extended_sequence, (1 << 16) + 5);
    }

    #[test]
    fn packets_from_before_the_first_do_not_go_below_zero() {
        let mut reception = Reception::default();
        let first = reception.receive(&packet(7, 0));
        let earlier = reception.receive(&packet(7, 65_535));
        assert_eq!(earlier, Place { epoch: 1, sequence: first.sequence - 1 });
        assert_eq!(reception.lost(), 0);
    }

    #[test]
    fn a_new_ssrc_or_a_jump_starts_an_epoch_and_keeps_the_counts() {
        let mut reception = Reception::default();
        reception.receive(&packet(7, 10));
        reception.receive(&packet(7, 12));
        assert_eq!(reception.receive(&packet(8, 500)).epoch, 2);
        assert_eq!(reception.receive(&packet(8, 30_000)).epoch, 3);
        assert_eq!((reception.received(), reception.lost()), (4, 1));
    }

    #[test]
    fn jitter_of_a_steady_stream_is_nothing_and_of_a_shaken_one_is_not() {
        let measure = |shake: u64| {
            let mut reception = Reception::default();
            for n in 0..500u64 {
                let header = packet(7, n as u16);
                reception.receive(&header);
                reception.time(Timestamp::from_millis(1_000_000 + n * 20 + n % 2 * shake), &header);
            }
            reception.jitter()
        };
        assert_eq!(measure(0), Duration::ZERO);
        let jitter = measure(8);
        assert!((Duration::from_millis(7)..Duration::from_millis(9)).contains(&jitter), "{jitter:?}");
    }

    #[test]
    fn a_report_speaks_of_the_time_since_the_last() {
        let mut reception = Reception::default();
        assert_eq!(reception.report(), None);
        (0..100).filter(|n| n % 4 != 1).for_each(|n| _ = reception.receive(&packet(7, n)));
        assert_eq!(reception.report().unwrap().fraction_lost, 64);
        (100..200).for_each(|n| _ = reception.receive(&packet(7, n)));
        let second = reception.report().unwrap();
        assert_eq!((second.fraction_lost, second.lost), (0, 25));
    }
}
