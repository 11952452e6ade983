//! The RTP header (RFC 3550 §5.1): read with every length checked, written over in place.
//!
//! ```text
//!  received   | header | CSRC … | extension … | payload | padding |
//!  relayed              … over … | new header | payload |
//! ```
//!
//! The new header goes directly before the payload, so stripping contributors, extension and padding
//! moves no byte of audio.

use std::ops::Range;

pub const HEADER: usize = 12;

/// A packet of the shape that RFC 3550 demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub marker: bool,
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    /// Where the payload lies: never empty, and behind at least [`HEADER`] bytes.
    pub payload: Range<usize>,
}

impl Header {
    /// `None` for what is not RTP: another version (STUN and DTLS start with other bits, RFC 7983 §7),
    /// lengths that do not add up, or no payload.
    pub fn read(packet: &[u8]) -> Option<Header> {
        let fixed: &[u8; HEADER] = packet.first_chunk()?;
        let [first, second, ..] = *fixed;
        if first >> 6 != 2 {
            return None;
        }
        let mut start = HEADER + 4 * usize::from(first & 0x0f);
        if first & 0x10 != 0 {
            // RFC 3550 §5.3.1: the length counts words behind the extension's own first word.
            let length = packet.get(start + 2..start + 4)?;
            start += 4 + 4 * usize::from(u16::from_be_bytes([length[0], length[1]]));
        }
        // RFC 3550 §5.1: the last octet counts the padding, itself included, so it cannot be zero.
        let padding = if first & 0x20 == 0 { 0 } else { usize::from(*packet.last().filter(|last| **last > 0)?) };
        let end = packet.len().checked_sub(padding)?;
        let word = |at: usize| u32::from_be_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
        (start < end).then(|| Header {
            marker: second & 0x80 != 0,
            payload_type: second & 0x7f,
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: word(4),
            ssrc: word(8),
            payload: start..end,
        })
    }

    /// Writes this header into the twelve bytes before its payload; what is to be sent is returned.
    pub fn write(&self, packet: &mut [u8]) -> Range<usize> {
        let start = self.payload.start - HEADER;
        packet[start..self.payload.start].copy_from_slice(&self.bytes());
        start..self.payload.end
    }

    pub fn bytes(&self) -> [u8; HEADER] {
        let [s0, s1] = self.sequence.to_be_bytes();
        let [t0, t1, t2, t3] = self.timestamp.to_be_bytes();
        let [i0, i1, i2, i3] = self.ssrc.to_be_bytes();
        [0x80, u8::from(self.marker) << 7 | self.payload_type, s0, s1, t0, t1, t2, t3, i0, i1, i2, i3]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn contributors_extension_and_padding_are_stripped() {
        let mut packet = vec![0xb2, 0x80, 0x12, 0x34, 0, 0, 0, 9, 1, 2, 3, 4];
        packet.extend([0xaa; 8]);
        packet.extend([0xbe, 0xde, 0, 1, 0x10, 0xff, 0, 0]);
        packet.extend([7, 8, 9]);
        packet.extend([0, 0, 3]);
        let header = Header::read(&packet).unwrap();
        assert_eq!(&packet[header.payload.clone()], [7, 8, 9]);
        let sent = header.write(&mut packet);
        assert_eq!(packet[sent], [0x80, 0x80, 0x12, 0x34, 0, 0, 0, 9, 1, 2, 3, 4, 7, 8, 9]);
    }

    #[test]
    fn what_is_not_rtp_is_refused() {
        let stun = [&[0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42][..], &[0; 20]].concat();
        let dtls = [&[22, 254, 253][..], &[0; 40]].concat();
        let endless_extension = [&[0x90, 0, 0, 0][..], &[0; 8], &[0, 0, 0xff, 0xff], &[0; 20]].concat();
        let all_padding = [&[0xa0, 0, 0, 0][..], &[0; 8], &[1, 2, 4, 4]].concat();
        let padding_of_zero = [&[0xa0, 0, 0, 0][..], &[0; 8], &[1, 0]].concat();
        let fifteen_contributors = [&[0x8f, 0, 0, 0][..], &[0; 40]].concat();
        let empty = [0x80; 12].to_vec();
        for packet in [stun, dtls, endless_extension, all_padding, padding_of_zero, fifteen_contributors, empty] {
            assert_eq!(Header::read(&packet), None, "{packet:?}");
        }
    }

    proptest! {
        /// A parser that shares no code with ours agrees, or is stricter than ours in nothing.
        #[test]
        fn agrees_with_rtp_rs(mut packet in proptest::collection::vec(any::<u8>(), 0..80), version in any::<bool>()) {
            if let (true, Some(first)) = (version, packet.first_mut()) {
                *first = *first & 0x3f | 0x80;
            }
            if let Some(header) = Header::read(&packet) {
                let theirs = rtp_rs::RtpReader::new(&packet).expect("we took what rtp-rs refuses");
                prop_assert_eq!(u16::from(theirs.sequence_number()), header.sequence);
                prop_assert_eq!((theirs.timestamp(), theirs.ssrc()), (header.timestamp, header.ssrc));
                prop_assert_eq!((theirs.mark(), theirs.payload_type()), (header.marker, header.payload_type));
                prop_assert_eq!(theirs.payload(), &packet[header.payload.clone()]);
            }
        }
    }
}
