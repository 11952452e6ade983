//! What must not occur: the strings of the other party, prepared once per leg.

use std::fmt;
use std::net::IpAddr;

use memchr::memmem::Finder;

/// Fewer digits of a number than this tell nobody who it is.
const TAIL_DIGITS: usize = 7;
/// From this many digits on a number is found inside other digits and letters too; fewer must stand
/// alone, or random identifiers would be taken for numbers every now and then.
const SURE_DIGITS: usize = 10;
/// `0`, `00`, `011`, `9011`: what may be dialled before a number.
const PREFIX_DIGITS: usize = 4;
/// Strings shorter than this are everywhere.
const NEEDLE_BYTES: usize = 4;
/// From this length on a string is found inside other letters too.
const SURE_BYTES: usize = 12;
/// Punctuation between two digits of one number: `+1 (415) 555 - 0100`.
const SEPARATORS: usize = 3;

/// The other party's strings, ready to be searched for.
#[derive(Clone, Default)]
pub struct Forbidden {
    needles: Vec<Needle>,
    /// Digits only.
    numbers: Vec<Vec<u8>>,
    /// Digits of what is this leg's own: its numbers, its addresses.
    own: Vec<Vec<u8>>,
}

#[derive(Clone)]
struct Needle {
    /// In lower case.
    finder: Finder<'static>,
    /// Must not be part of a longer word: `10.0.0.1` is not in `10.0.0.17`.
    alone: bool,
}

/// Says how much it holds, and nothing of it.
impl fmt::Debug for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Forbidden {{ strings: {}, numbers: {} }}", self.needles.len(), self.numbers.len())
    }
}

impl Forbidden {
    /// `others` are the other party's numbers, hosts, addresses, Call-ID, tags and names. What also
    /// occurs in `own` (both legs may go over one trunk) is not held against this leg. Strings of fewer
    /// than four bytes, and of fewer than seven digits and nothing else, are passed over: they tell
    /// nothing and occur by chance.
    pub fn new<'a>(others: impl IntoIterator<Item = &'a str>, own: impl IntoIterator<Item = &'a str>) -> Self {
        let own: Vec<String> = own.into_iter().map(str::to_ascii_lowercase).collect();
        let mut forbidden = Forbidden { own: own.iter().map(|o| digits(o)).collect(), ..Forbidden::default() };
        forbidden.own.retain(|d| d.len() >= TAIL_DIGITS);
        for other in others {
            let other = other.trim().to_ascii_lowercase();
            let is_address = other.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
            if !is_address && is_number(&other) {
                forbidden.numbers.push(digits(&other));
            } else if other.len() >= NEEDLE_BYTES && !own.iter().any(|o| o.contains(&other)) {
                let finder = Finder::new(other.as_bytes()).into_owned();
                forbidden.needles.push(Needle { finder, alone: is_address || other.len() < SURE_BYTES });
            }
        }
        forbidden.numbers.retain(|n| n.len() >= TAIL_DIGITS && !forbidden.own.contains(n));
        forbidden
    }

    /// Whether any of it is in these bytes, in any case and, for numbers, in any spelling. `shown` are
    /// the digits of the number that may stand there.
    pub(super) fn occurs_in(&self, bytes: &[u8], shown: &[u8]) -> bool {
        let lower = bytes.to_ascii_lowercase();
        self.needles.iter().any(|n| n.occurs_in(&lower)) || (!self.numbers.is_empty() && self.number_in(&lower, shown))
    }

    fn number_in(&self, bytes: &[u8], shown: &[u8]) -> bool {
        let mut run = Run::default();
        let mut before = b' ';
        let mut at = 0;
        while at < bytes.len() {
            let (byte, width) = decoded(&bytes[at..]);
            if byte.is_ascii_digit() {
                run.push(byte, before);
            } else if run.ends_with(byte) {
                if self.is_other(&run, byte, shown) {
                    return true;
                }
                run.clear();
            }
            before = byte;
            at += width;
        }
        self.is_other(&run, b' ', shown)
    }

    /// Whether these digits, which end before `next`, are another's number, or the end of one.
    fn is_other(&self, run: &Run, next: u8, shown: &[u8]) -> bool {
        let digits = &run.digits[..];
        if digits.len() < TAIL_DIGITS {
            return false;
        }
        // The byte that ended the run has been counted as a separator.
        let alone = !run.inside && (run.separators > 1 || !next.is_ascii_alphanumeric());
        let own = || self.own.iter().map(Vec::as_slice).chain([shown]);
        self.numbers.iter().any(|number| {
            // The last ten digits, anywhere: with whatever country code, amid whatever else.
            let sure = number.len().checked_sub(SURE_DIGITS).map(|at| &number[at..]);
            if sure.is_some_and(|tail| contains(digits, tail) && !own().any(|own| contains(own, tail))) {
                return true;
            }
            // Fewer, with something to dial before them. Of two numbers that end alike it is the one of
            // which more is there.
            let common = common_suffix(digits, number);
            alone
                && common >= TAIL_DIGITS
                && digits.len() - common <= PREFIX_DIGITS
                && !own().any(|own| common_suffix(digits, own) >= common)
        })
    }
}

impl Needle {
    fn occurs_in(&self, lower: &[u8]) -> bool {
        let len = self.finder.needle().len();
        self.finder.find_iter(lower).any(|at| {
            let word = |i: Option<usize>| i.and_then(|i| lower.get(i)).is_some_and(u8::is_ascii_alphanumeric);
            !self.alone || !(word(at.checked_sub(1)) || word(Some(at + len)))
        })
    }
}

/// Digits that may be one number, with the punctuation between them left out.
#[derive(Default)]
struct Run {
    digits: Vec<u8>,
    /// Punctuation since the last digit.
    separators: usize,
    /// A letter stands before the first digit.
    inside: bool,
}

impl Run {
    fn push(&mut self, digit: u8, before: u8) {
        if self.digits.is_empty() {
            self.inside = before.is_ascii_alphabetic();
        }
        self.digits.push(digit);
        self.separators = 0;
    }

    /// Takes a byte that is no digit; whether the digits end before it. A plus begins a number.
    fn ends_with(&mut self, byte: u8) -> bool {
        if self.digits.is_empty() {
            return false;
        }
        self.separators += 1;
        !matches!(byte, b' ' | b'-' | b'.' | b'(' | b')' | b'/') || self.separators > SEPARATORS
    }

    fn clear(&mut self) {
        self.digits.clear();
        self.separators = 0;
        self.inside = false;
    }
}

/// The first byte, percent-encoding undone, and how many bytes it took.
fn decoded(bytes: &[u8]) -> (u8, usize) {
    let hex = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    if let [b'%', high, low, ..] = *bytes
        && let (Some(high), Some(low)) = (hex(high), hex(low))
    {
        return (high << 4 | low, 3);
    }
    (bytes[0], 1)
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || b"+-.() ".contains(&b)) && text.bytes().any(|b| b.is_ascii_digit())
}

fn digits(text: &str) -> Vec<u8> {
    text.bytes().filter(u8::is_ascii_digit).collect()
}

fn common_suffix(a: &[u8], b: &[u8]) -> usize {
    a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
}

fn contains(digits: &[u8], number: &[u8]) -> bool {
    digits.windows(number.len()).any(|w| w == number)
}
