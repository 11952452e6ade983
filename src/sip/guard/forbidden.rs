//! What must not occur: the strings of the other party, unless they are the sender's own as well, or everybody's.
//!
//! Each leg's [`Party`] is prepared once and serves both ways: as the other party of one leg, and as the
//! own strings of the other. Whether a string is the sender's own is looked up when it has been found,
//! not before: nearly always nothing is found.
//!
//! Digits are found in any spelling, and an address has digits as well: 198.51.100.20 reads like the end of
//! +1 415 511 0020. So what a request has to say besides is known here too: our own addresses, those of the trunks, our
//! account at the trunk, and the URIs by which the peer of this leg wants to be reached.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use memchr::memmem;

use super::digits;
use super::skips::Skips;
use super::vocabulary::VOCABULARY;

/// Fewer digits of a number than this tell nobody who it is.
const TAIL_DIGITS: usize = 7;
/// From this many digits on a number is found inside other digits and letters too; fewer must stand
/// alone, or random identifiers would be taken for numbers every now and then.
const SURE_DIGITS: usize = 10;
/// `0`, `00`, `011`, `9011`: what may be dialled before a number.
const PREFIX_DIGITS: usize = 4;
/// Strings shorter than this are everywhere.
const WORD_BYTES: usize = 4;
/// From this length on a string is found inside other letters too.
const SURE_BYTES: usize = 12;

/// The strings by which one party is known, ready to be searched for.
#[derive(Clone, Default)]
pub struct Party {
    texts: Box<[Text]>,
    skips: Skips,
}

#[derive(Clone)]
struct Text {
    /// In lower case.
    lower: Box<str>,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    /// Looked for as it is. `alone`: not as part of a longer word, as `10.0.0.1` is not in `10.0.0.17`.
    Word { alone: bool },
    /// Looked for in every spelling of these digits.
    Number(Box<[u8]>),
    /// Not looked for: it tells nothing, and occurs by chance, or it is what others have told us to say to them.
    Nothing,
}

impl Party {
    /// Numbers, hosts, addresses, Call-ID, tags and names. Strings of fewer than four bytes, and of fewer
    /// than seven digits and nothing else, are not looked for.
    pub fn new<S: Into<String>>(strings: impl IntoIterator<Item = S>) -> Self {
        Self::of(strings.into_iter().map(|text| Text::new(text.into())).collect())
    }

    /// The same, and `told`, which is looked for nowhere and excuses what the party itself is sent.
    pub fn with_told<'a>(strings: impl IntoIterator<Item = String>, told: impl IntoIterator<Item = &'a str>) -> Self {
        let told = told.into_iter().map(|text| Text { lower: text.to_ascii_lowercase().into(), kind: Kind::Nothing });
        Self::of(strings.into_iter().map(Text::new).chain(told).collect())
    }

    fn of(texts: Box<[Text]>) -> Self {
        let skips = Skips::new(texts.iter().filter(|t| t.is_word()).map(|t| t.lower.as_bytes()));
        Self { texts, skips }
    }

    fn numbers(&self) -> impl Iterator<Item = &[u8]> {
        self.texts.iter().filter_map(|text| match &text.kind {
            Kind::Number(digits) => Some(&digits[..]),
            Kind::Word { .. } | Kind::Nothing => None,
        })
    }
}

/// Says how much it holds, and nothing of it.
impl fmt::Debug for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Party {{ strings: {} }}", self.texts.len())
    }
}

impl Text {
    fn new(mut text: String) -> Self {
        text.make_ascii_lowercase();
        let lower: Box<str> = if text.trim().len() == text.len() { text.into() } else { text.trim().into() };
        let is_address = lower.contains(['.', ':']) && lower.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        let kind = if !is_address && is_number(&lower) {
            let digits = digits_of(&lower);
            if digits.len() < TAIL_DIGITS { Kind::Nothing } else { Kind::Number(digits.into()) }
        } else if lower.len() < WORD_BYTES {
            Kind::Nothing
        } else {
            Kind::Word { alone: is_address || lower.len() < SURE_BYTES }
        };
        Self { lower, kind }
    }

    fn is_word(&self) -> bool {
        matches!(self.kind, Kind::Word { .. })
    }

    /// Whether it is a word, and begins at `at`.
    fn is_at(&self, bytes: &[u8], at: usize) -> bool {
        let Kind::Word { alone } = self.kind else { return false };
        let end = at + self.lower.len();
        let Some(there) = bytes.get(at..end) else { return false };
        let letter = |i: Option<usize>| i.and_then(|i| bytes.get(i)).is_some_and(u8::is_ascii_alphanumeric);
        there.eq_ignore_ascii_case(self.lower.as_bytes())
            && !(alone && (letter(at.checked_sub(1)) || letter(Some(end))))
    }

    /// Whether it is a word, and would be found in that text.
    fn is_in(&self, text: &str) -> bool {
        memmem::find_iter(text.as_bytes(), self.lower.as_bytes()).any(|at| self.is_at(text.as_bytes(), at))
    }
}

/// What must not occur in what one leg sends.
#[derive(Debug, Clone, Default)]
pub struct Forbidden {
    others: Arc<Party>,
    own: Arc<Party>,
    public: Arc<Party>,
}

impl Forbidden {
    /// What `others` are known by, and what also occurs in `own` (both legs may go over one trunk) or in `public` is
    /// not held against this leg.
    pub fn between(others: Arc<Party>, own: Arc<Party>, public: Arc<Party>) -> Self {
        Self { others, own, public }
    }

    /// The same, of strings that were not prepared.
    pub fn new<'a>(others: impl IntoIterator<Item = &'a str>, own: impl IntoIterator<Item = &'a str>) -> Self {
        Self::between(Arc::new(Party::new(others)), Arc::new(Party::new(own)), Arc::default())
    }

    /// Whether any of it is in these bytes, in any case and, for numbers, in any spelling. `shown` are
    /// the digits of the number that may stand there.
    pub(super) fn occurs_in(&self, bytes: &[u8], shown: &[u8]) -> bool {
        let other_word = |at| self.others.texts.iter().any(|text| text.is_at(bytes, at) && !self.is_own(text));
        self.others.skips.any(bytes, other_word)
            || (self.others.numbers().next().is_some()
                && digits::any(bytes, TAIL_DIGITS, |digits, alone| self.is_other(digits, alone, shown)))
    }

    fn own(&self) -> impl Iterator<Item = &Text> {
        self.own.texts.iter().chain(&self.public.texts)
    }

    fn is_own(&self, text: &Text) -> bool {
        text.is_in(VOCABULARY) || self.own().any(|own| text.is_in(&own.lower))
    }

    /// Whether these digits are another's number, or the end of one.
    fn is_other(&self, digits: &[u8], alone: bool, shown: &[u8]) -> bool {
        let is_own = |excuse: &dyn Fn(&[u8]) -> bool| {
            excuse(shown) || self.own().any(|own| digits::any(own.lower.as_bytes(), TAIL_DIGITS, |own, _| excuse(own)))
        };
        self.others.numbers().any(|number| {
            // The last ten digits, anywhere: with whatever country code, amid whatever else.
            let sure = number.len().checked_sub(SURE_DIGITS).map(|at| &number[at..]);
            if sure.is_some_and(|tail| contains(digits, tail) && !is_own(&|own| contains(own, tail))) {
                return true;
            }
            // Fewer, with something to dial before them. Of two numbers that end alike it is the one of
            // which more is there.
            let common = common_suffix(digits, number);
            alone
                && !is_count(digits)
                && common >= TAIL_DIGITS
                && digits.len() - common <= PREFIX_DIGITS
                && !is_own(&|own| common_suffix(digits, own) >= common)
        })
    }
}

/// The count beside a nonce (RFC 7616 §3.4), which is a small one.
fn is_count(digits: &[u8]) -> bool {
    digits.len() == 8 && digits.starts_with(b"000000")
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || b"+-.() ".contains(&b)) && text.bytes().any(|b| b.is_ascii_digit())
}

fn digits_of(text: &str) -> Vec<u8> {
    text.bytes().filter(u8::is_ascii_digit).collect()
}

fn common_suffix(a: &[u8], b: &[u8]) -> usize {
    a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
}

fn contains(digits: &[u8], number: &[u8]) -> bool {
    digits.windows(number.len()).any(|w| w == number)
}
