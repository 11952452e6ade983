//! RTCP (RFC 3550 §6): our own reports, and the little that we read of a peer's.
//!
//! Reports are rebuilt for each leg from what its own stream came to. Nothing of a peer's RTCP goes
//! any further: no SDES, APP, XR, feedback or reason of a BYE. Deliberately absent: RTCP on the RTP
//! port (RFC 5761), which we do not offer.

use std::time::Duration;

use rtcp_types::prelude::*;
use rtcp_types::{
    Bye, Compound, Packet, ReceiverReport, ReportBlock, ReportBlockBuilder, Sdes, SdesChunk, SdesItem, SenderReport,
};

use super::reception::Block;
use crate::model::Timestamp;

/// RFC 3550 §6.2: the mean time between reports.
const INTERVAL: Duration = Duration::from_secs(5);

/// The time to the next report: half to one and a half of the interval (RFC 3550 §6.3.1), so that the
/// reports of many calls do not beat in step. `salt` is any number that differs between reports.
pub(super) fn interval(salt: u32) -> Duration {
    let scattered = salt.wrapping_mul(0x9e37_79b9) >> 16;
    INTERVAL / 2 + INTERVAL * scattered / (1 << 16)
}

/// Seconds from 1900 to 1970.
const NTP_EPOCH: u64 = 2_208_988_800;

/// RFC 3550 §4: seconds since 1900, and a binary fraction.
pub(super) fn ntp(now: Timestamp) -> u64 {
    let (seconds, micros) = (now.as_micros() / 1_000_000, now.as_micros() % 1_000_000);
    ((seconds + NTP_EPOCH) << 32) | ((micros << 32) / 1_000_000)
}

/// The middle 32 bits, in which reports speak of each other.
pub(super) fn middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

/// A compound packet of ours.
#[derive(Debug, Clone)]
pub(super) struct Report<'a> {
    pub ssrc: u32,
    pub cname: &'a str,
    /// What we sent; `None` makes it a receiver report.
    pub sent: Option<Sent>,
    pub heard: Option<Block>,
    /// The peer's last sender report and how long ago it came.
    pub last_sender_report: Option<(u32, Duration)>,
    /// We leave (RFC 3550 §6.6), without a reason.
    pub bye: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub ntp: u64,
    pub timestamp: u32,
    pub packets: u64,
    pub octets: u64,
}

impl Report<'_> {
    /// Writes the packet and returns its length; 0 when it does not fit.
    pub fn write(&self, buffer: &mut [u8]) -> usize {
        let compound = match self.sent {
            Some(sent) => Compound::builder().add_packet({
                let report = SenderReport::builder(self.ssrc)
                    .ntp_timestamp(sent.ntp)
                    .rtp_timestamp(sent.timestamp)
                    .packet_count(sent.packets as u32)
                    .octet_count(sent.octets as u32);
                self.block().into_iter().fold(report, |report, block| report.add_report_block(block))
            }),
            None => Compound::builder().add_packet({
                let report = ReceiverReport::builder(self.ssrc);
                self.block().into_iter().fold(report, |report, block| report.add_report_block(block))
            }),
        };
        let cname = SdesItem::builder(SdesItem::CNAME, self.cname);
        let compound = compound.add_packet(Sdes::builder().add_chunk(SdesChunk::builder(self.ssrc).add_item(cname)));
        let compound = if self.bye { compound.add_packet(Bye::builder().add_source(self.ssrc)) } else { compound };
        compound.write_into(buffer).unwrap_or(0)
    }

    fn block(&self) -> Option<ReportBlockBuilder> {
        let heard = self.heard?;
        let (last, delay) = self.last_sender_report.unwrap_or_default();
        // RFC 3550 §6.4.1: in units of 1/65536 s.
        let delay = (delay.as_micros() << 16) / 1_000_000;
        Some(
            ReportBlock::builder(heard.ssrc)
                .fraction_lost(heard.fraction_lost)
                // 24 bits, signed: it stays at the highest value.
                .cumulative_lost(heard.lost.min(0x7f_ffff) as u32)
                .extended_sequence_number(heard.extended_sequence)
                .interarrival_jitter(heard.jitter)
                .last_sender_report_timestamp(last)
                .delay_since_last_sender_report_timestamp(u32::try_from(delay).unwrap_or(u32::MAX)),
        )
    }
}

/// What we take from a peer's compound packet: the time of its sender report, if it is one. `None`
/// when it is not RTCP.
pub(super) fn read(packet: &[u8]) -> Option<Option<u32>> {
    let mut sender_report = None;
    // RFC 3550 §6.1: a compound packet begins with a report.
    let first_is_report = matches!(packet.get(1), Some(200 | 201));
    for part in Compound::parse(packet).ok().filter(|_| first_is_report)? {
        if let Packet::Sr(report) = part.ok()? {
            sender_report = Some(middle(report.ntp_timestamp()));
        }
    }
    Some(sender_report)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report<'static> {
        Report {
            ssrc: 0x1234_5678,
            cname: "0123456789abcdef01234567",
            sent: Some(Sent { ntp: 7 << 32, timestamp: 99, packets: 50, octets: 8_000 }),
            heard: Some(Block { ssrc: 5, fraction_lost: 64, lost: 1 << 40, extended_sequence: 77, jitter: 12 }),
            last_sender_report: Some((42, Duration::from_millis(500))),
            bye: true,
        }
    }

    #[test]
    fn what_we_write_reads_back() {
        let mut buffer = [0; 256];
        let length = report().write(&mut buffer);
        let parts: Vec<_> = Compound::parse(&buffer[..length]).unwrap().map(Result::unwrap).collect();
        let [Packet::Sr(sr), Packet::Sdes(sdes), Packet::Bye(bye)] = &parts[..] else { panic!("{parts:?}") };
        assert_eq!((sr.ssrc(), sr.packet_count(), sr.octet_count()), (0x1234_5678, 50, 8_000));
        let block = sr.report_blocks().next().unwrap();
        assert_eq!((block.ssrc(), block.cumulative_lost(), block.fraction_lost()), (5, 0x7f_ffff, 64));
        assert_eq!(block.delay_since_last_sender_report_timestamp(), 1 << 15);
        let items: Vec<_> = sdes.chunks().flat_map(|chunk| chunk.items()).map(|item| item.type_()).collect();
        assert_eq!(items, [SdesItem::CNAME]);
        assert_eq!(bye.reason(), None);
        assert_eq!(read(&buffer[..length]), Some(Some(7 << 16)));
    }

    #[test]
    fn who_sent_nothing_writes_a_receiver_report() {
        let mut buffer = [0; 256];
        let length = Report { sent: None, bye: false, ..report() }.write(&mut buffer);
        assert_eq!((buffer[1], read(&buffer[..length])), (201, Some(None)));
    }

    #[test]
    fn what_is_not_rtcp_is_refused() {
        let mut buffer = [0; 256];
        let length = report().write(&mut buffer);
        assert_eq!(read(&buffer[..length - 1]), None);
        assert_eq!(read(&[0x80, 0, 0, 1, 2, 3, 4, 5]), None);
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn the_interval_is_scattered_around_its_mean() {
        let all: Vec<_> = (0..1_000).map(interval).collect();
        assert!(all.iter().all(|i| (INTERVAL / 2..=INTERVAL * 3 / 2).contains(i)));
        let mean = all.iter().sum::<Duration>() / 1_000;
        assert!((Duration::from_millis(4_800)..Duration::from_millis(5_200)).contains(&mean), "{mean:?}");
    }
}
