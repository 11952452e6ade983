//! Packets in a TCP stream (RFC 4571): each behind its length in two bytes.

/// Longer than any packet that a browser sends; what announces more is not one.
pub const MAX_FRAME: usize = 2_048;

const PREFIX: usize = 2;

/// The bytes of one stream that are not a whole packet yet.
#[derive(Debug, Default)]
pub struct Framer {
    bytes: Vec<u8>,
    /// How much of it has been taken.
    taken: usize,
}

/// The stream announces a packet that no browser sends; nothing after it can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame longer than any packet")]
pub struct TooLong;

impl Framer {
    /// What has arrived. At most one whole packet may be waiting: take all that there are before.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole packet. Empty ones, which keep a connection alive, are passed over.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, TooLong> {
        loop {
            let Some(&[high, low]) = self.bytes[self.taken..].first_chunk::<PREFIX>() else { return Ok(None) };
            let length = usize::from(u16::from_be_bytes([high, low]));
            if length > MAX_FRAME {
                return Err(TooLong);
            }
            let start = self.taken + PREFIX;
            if self.bytes.len() < start + length {
                return Ok(None);
            }
            self.taken = start + length;
            if length > 0 {
                return Ok(Some(&self.bytes[start..start + length]));
            }
        }
    }
}

/// What goes before a packet; `None` for one that a frame cannot hold.
pub fn prefix(packet: &[u8]) -> Option<[u8; PREFIX]> {
    u16::try_from(packet.len()).ok().map(u16::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(framer: &mut Framer) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(frame) = framer.next_frame().unwrap() {
            all.push(frame.to_vec());
        }
        all
    }

    #[test]
    fn packets_are_found_however_the_stream_is_cut() {
        let packets = [vec![1; 20], vec![], vec![2; 300], vec![3]];
        let stream: Vec<u8> = packets.iter().flat_map(|p| [&prefix(p).unwrap()[..], p].concat()).collect();
        let wanted: Vec<_> = packets.iter().filter(|p| !p.is_empty()).cloned().collect();
        for size in [1, 2, 3, 7, 64, 1_000] {
            let mut framer = Framer::default();
            let got: Vec<_> = stream
                .chunks(size)
                .flat_map(|chunk| {
                    framer.push(chunk);
                    frames(&mut framer)
                })
                .collect();
            assert_eq!(got, wanted, "cut into {size}");
        }
    }

    #[test]
    fn what_announces_too_much_is_refused_at_once() {
        let mut framer = Framer::default();
        framer.push(b"GET / HTTP/1.1\r\n");
        assert_eq!(framer.next_frame(), Err(TooLong));
        assert_eq!(prefix(&vec![0; 70_000]), None);
    }
}
