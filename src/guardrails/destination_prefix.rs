//! The prefix that stands for a destination when calls to it are counted.
//!
//! It is the country code and three digits: an area code in North America, a city or a mobile operator's range
//! nearly everywhere. A block of numbers that somebody rents lies inside one, and to pause one does not take a
//! country away.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::E164;

/// Digits after the country code.
const DIGITS: usize = 3;

/// A country code and up to three digits: `+1415`, `+44207`. No number is so short.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DestinationPrefix(u32);

impl DestinationPrefix {
    pub fn of(number: E164) -> Self {
        let text = number.text();
        let digits = text.digits();
        Self::from_digits(&digits[..digits.len().min(country_digits(digits) + DIGITS)])
    }

    /// Reads what `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('+')?;
        let fits = (1..=3 + DIGITS).contains(&digits.len()) && !digits.starts_with('0');
        (fits && digits.bytes().all(|b| b.is_ascii_digit())).then(|| Self::from_digits(digits))
    }

    fn from_digits(digits: &str) -> Self {
        Self(digits.bytes().fold(0, |n, digit| n * 10 + u32::from(digit - b'0')))
    }
}

impl fmt::Display for DestinationPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}", self.0)
    }
}

impl fmt::Debug for DestinationPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DestinationPrefix({self})")
    }
}

impl Serialize for DestinationPrefix {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DestinationPrefix {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("expected a prefix of 1 to 6 digits"))
    }
}

/// ITU-T E.164 §6.2.1: one to three digits, told by the first two.
fn country_digits(digits: &str) -> usize {
    match digits.as_bytes() {
        [b'1' | b'7', ..] => 1,
        [b'2', b'0' | b'7', ..]
        | [b'3', b'0'..=b'4' | b'6' | b'9', ..]
        | [b'4', b'0' | b'1' | b'3'..=b'9', ..]
        | [b'5', b'1'..=b'8', ..]
        | [b'6', b'0'..=b'6', ..]
        | [b'8', b'1' | b'2' | b'4' | b'6', ..]
        | [b'9', b'0'..=b'5' | b'8', ..] => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_the_country_code_and_three_digits() {
        for (number, prefix) in [
            ("+14155550100", "+1415"),
            ("+18765550100", "+1876"),
            ("+79161234567", "+7916"),
            ("+442079460000", "+44207"),
            ("+4930123456", "+49301"),
            ("+3531234567", "+353123"),
            ("+6834000", "+683400"),
            ("+881612345678", "+881612"),
            ("+10", "+10"),
        ] {
            let of = DestinationPrefix::of(E164::parse(number).unwrap());
            assert_eq!(of.to_string(), prefix);
            assert_eq!(DestinationPrefix::parse(prefix), Some(of));
        }
        for bad in ["", "+", "1415", "+0415", "+1 15", "+1234567"] {
            assert_eq!(DestinationPrefix::parse(bad), None, "{bad:?}");
        }
    }
}
