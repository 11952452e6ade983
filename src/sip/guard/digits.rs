//! Digits that may be one number: with punctuation between them, percent-encoded, amid anything.

use smallvec::SmallVec;

/// Punctuation between two digits of one number: `+1 (415) 555 - 0100`.
const SEPARATORS: usize = 3;

/// Whether `is_other` holds of any digits, `least` or more, that may be one number. It is also told
/// whether they stand alone, with no letter before or after them.
pub fn any(bytes: &[u8], least: usize, mut is_other: impl FnMut(&[u8], bool) -> bool) -> bool {
    let mut is_number =
        |run: &Run, next| run.digits >= least && is_other(&collect(&bytes[run.start..run.end]), run.is_alone(next));
    let mut run = Run::default();
    let mut before = b' ';
    let mut at = 0;
    while at < bytes.len() {
        if run.digits == 0 && !matches!(bytes[at], b'0'..=b'9' | b'%') {
            // Nothing has begun, and nothing begins here.
            before = bytes[at];
            at += 1;
            continue;
        }
        let (byte, width) = decoded(&bytes[at..]);
        if byte.is_ascii_digit() {
            run.push(at, width, before);
        } else if run.ends_with(byte) {
            if is_number(&run, byte) {
                return true;
            }
            run = Run::default();
        }
        before = byte;
        at += width;
    }
    is_number(&run, b' ')
}

/// Where digits stand that may be one number.
#[derive(Default)]
struct Run {
    start: usize,
    end: usize,
    /// How many.
    digits: usize,
    /// Punctuation since the last digit.
    separators: usize,
    /// A letter stands before the first digit.
    inside: bool,
}

impl Run {
    fn push(&mut self, at: usize, width: usize, before: u8) {
        if self.digits == 0 {
            self.start = at;
            self.inside = before.is_ascii_alphabetic();
        }
        self.end = at + width;
        self.digits += 1;
        self.separators = 0;
    }

    /// Takes a byte that is no digit; whether the digits end before it. A plus begins a number.
    fn ends_with(&mut self, byte: u8) -> bool {
        if self.digits == 0 {
            return false;
        }
        self.separators += 1;
        !matches!(byte, b' ' | b'-' | b'.' | b'(' | b')' | b'/') || self.separators > SEPARATORS
    }

    /// `next` is the byte that ended the digits; it has been counted as a separator.
    fn is_alone(&self, next: u8) -> bool {
        !self.inside && (self.separators > 1 || !next.is_ascii_alphanumeric())
    }
}

/// The digits, with what stands between them left out.
fn collect(mut bytes: &[u8]) -> SmallVec<[u8; 64]> {
    let mut digits = SmallVec::new();
    while !bytes.is_empty() {
        let (byte, width) = decoded(bytes);
        if byte.is_ascii_digit() {
            digits.push(byte);
        }
        bytes = &bytes[width..];
    }
    digits
}

/// The first byte, percent-encoding undone, and how many bytes it took.
fn decoded(bytes: &[u8]) -> (u8, usize) {
    if bytes[0] != b'%' {
        return (bytes[0], 1);
    }
    let hex = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    if let [_, high, low, ..] = *bytes
        && let (Some(high), Some(low)) = (hex(high), hex(low))
    {
        return (high << 4 | low, 3);
    }
    (bytes[0], 1)
}
