//! Telephone events (RFC 4733): one digit per press, however many packets carry it.

use super::wire::Header;

/// RFC 4733 §3.2: 0–9, `*`, `#`, A–D. What lies above is not a key.
const KEYS: &[u8; 16] = b"0123456789*#ABCD";

/// RFC 4733 §2.3: event, flags and volume, duration.
pub(super) const EVENT: usize = 4;

/// The press under way.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Keypad {
    last: Option<Press>,
}

#[derive(Debug, Clone, Copy)]
struct Press {
    event: u8,
    /// RFC 4733 §2.2.1: all packets of one event carry the time at which it began.
    timestamp: u32,
    duration: u16,
    relayed: bool,
}

/// One packet of a press.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    /// The first packet of the press that we see, whichever it was, names the digit.
    pub pressed: Option<char>,
    /// The other party hears the whole press or nothing of it: a key that was pressed for our ears
    /// (the answer to a prompt) is not heard by somebody who joins before it is let go.
    pub relayed: bool,
}

impl Keypad {
    /// `None` for an event that is not a key, or no event at all. `joined`: the other party listens.
    pub fn hear(&mut self, header: &Header, payload: &[u8], joined: bool) -> Option<Key> {
        let &[event, _, d0, d1] = payload.first_chunk::<EVENT>()?;
        let digit = char::from(*KEYS.get(usize::from(event))?);
        let duration = u16::from_be_bytes([d0, d1]);
        if let Some(last) = &mut self.last
            && last.goes_on_in(header)
        {
            last.duration = last.duration.max(duration);
            return Some(Key { pressed: None, relayed: last.relayed });
        }
        let continued = self.last.is_some_and(|last| last.is_followed_by(header, event));
        let relayed = if continued { self.last.is_some_and(|last| last.relayed) } else { joined };
        self.last = Some(Press { event, timestamp: header.timestamp, duration, relayed });
        Some(Key { pressed: (!continued).then_some(digit), relayed })
    }

    /// Another stream began; its timestamps say nothing about the presses of the one before.
    pub fn reset(&mut self) {
        self.last = None;
    }
}

impl Press {
    /// The same press, or a late packet of an earlier one.
    fn goes_on_in(&self, header: &Header) -> bool {
        (header.timestamp.wrapping_sub(self.timestamp) as i32) <= 0
    }

    /// RFC 4733 §2.5.1.3: an event too long for its duration field goes on in a new segment, which
    /// starts where the field ran out.
    fn is_followed_by(&self, header: &Header, event: u8) -> bool {
        self.event == event
            && !header.marker
            && self.duration == u16::MAX
            && header.timestamp == self.timestamp.wrapping_add(u32::from(self.duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(keypad: &mut Keypad, event: u8, timestamp: u32, duration: u16) -> Option<Key> {
        let header = Header { marker: false, payload_type: 101, sequence: 0, timestamp, ssrc: 1, payload: 12..16 };
        let [d0, d1] = duration.to_be_bytes();
        keypad.hear(&header, &[event, 0x0a, d0, d1], true)
    }

    fn digits(packets: &[(u8, u32, u16)]) -> String {
        let mut keypad = Keypad::default();
        packets.iter().filter_map(|&(event, ts, d)| press(&mut keypad, event, ts, d)?.pressed).collect()
    }

    #[test]
    fn one_digit_per_press_whatever_was_lost() {
        let whole = [(1, 1_000, 160), (1, 1_000, 320), (1, 1_000, 480), (1, 1_000, 480), (1, 1_000, 480)];
        assert_eq!(digits(&whole), "1");
        assert_eq!(digits(&whole[..1]), "1", "the end was lost");
        assert_eq!(digits(&whole[4..]), "1", "only the end arrived");
        assert_eq!(digits(&[(1, 1_000, 160), (1, 3_000, 160), (11, 5_000, 160)]), "11#");
    }

    #[test]
    fn a_late_packet_of_an_earlier_press_is_not_a_new_one() {
        assert_eq!(digits(&[(1, 1_000, 160), (2, 3_000, 160), (1, 1_000, 480)]), "12");
    }

    #[test]
    fn a_very_long_press_is_one_press() {
        assert_eq!(digits(&[(5, 0, 160), (5, 0, u16::MAX), (5, 65_535, 160), (5, 65_535, 320)]), "5");
    }

    #[test]
    fn what_is_not_a_key_is_nothing() {
        let mut keypad = Keypad::default();
        assert_eq!(press(&mut keypad, 16, 1_000, 160), None);
        assert_eq!(press(&mut keypad, 255, 1_000, 160), None);
        let header = Header { marker: true, payload_type: 101, sequence: 0, timestamp: 0, ssrc: 1, payload: 12..14 };
        assert_eq!(keypad.hear(&header, &[1, 0], true), None);
    }

    #[test]
    fn a_press_is_heard_whole_or_not_at_all() {
        let mut keypad = Keypad::default();
        let header =
            |timestamp| Header { marker: false, payload_type: 101, sequence: 0, timestamp, ssrc: 1, payload: 12..16 };
        assert!(!keypad.hear(&header(1_000), &[1, 0, 0, 160], false).unwrap().relayed);
        assert!(!keypad.hear(&header(1_000), &[1, 0x80, 1, 0], true).unwrap().relayed);
        assert!(keypad.hear(&header(9_000), &[1, 0, 0, 160], true).unwrap().relayed);
    }
}
