//! Telephone numbers: parsed once, shown to nobody by accident.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A telephone number in E.164 form: a country code and up to fifteen digits in all.
///
/// Parsed once, at the edge, from exactly `^\+[1-9][0-9]{1,14}$`; nothing is normalised, so the
/// number that the guardrails judge is the number that is dialled.
///
/// `Debug` shows the last two digits only and there is no `Display`: whoever needs the whole
/// number asks for [`E164::text`] and so says it aloud.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct E164(u64);

/// Why a string is not a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a number in E.164 form: '+', then 2 to 15 digits 0-9, the first not 0")]
pub struct NumberError;

impl E164 {
    /// Reads `+` followed by 2 to 15 ASCII digits of which the first is not zero.
    pub fn parse(text: &str) -> Result<Self, NumberError> {
        let digits = text.as_bytes().strip_prefix(b"+").ok_or(NumberError)?;
        Self::from_digits(digits)
    }

    /// Reads the digits alone, without the plus sign.
    pub fn from_digits(digits: &[u8]) -> Result<Self, NumberError> {
        if !(2..=15).contains(&digits.len()) || digits[0] == b'0' {
            return Err(NumberError);
        }
        digits
            .iter()
            .try_fold(0u64, |n, d| match d {
                b'0'..=b'9' => Ok(n * 10 + u64::from(d - b'0')),
                _ => Err(NumberError),
            })
            .map(Self)
    }

    /// The whole number with its plus sign, for the wire and for its own organization.
    pub fn text(self) -> NumberText {
        let mut buf = [0u8; 16];
        let mut at = 16;
        let mut n = self.0;
        while n > 0 {
            at -= 1;
            buf[at] = b'0' + (n % 10) as u8;
            n /= 10;
        }
        at -= 1;
        buf[at] = b'+';
        NumberText { buf, at: at as u8 }
    }
}

impl fmt::Debug for E164 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+…{:02}", self.0 % 100)
    }
}

impl Serialize for E164 {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.text())
    }
}

impl<'de> Deserialize<'de> for E164 {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        E164::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// The characters of one [`E164`], on the stack. Derefs to `"+14155550100"`.
#[derive(Clone, Copy)]
pub struct NumberText {
    buf: [u8; 16],
    at: u8,
}

impl NumberText {
    /// The digits without the plus sign.
    pub fn digits(&self) -> &str {
        &self[1..]
    }
}

impl Deref for NumberText {
    type Target = str;
    fn deref(&self) -> &str {
        // Only ASCII is ever written into the buffer.
        std::str::from_utf8(&self.buf[usize::from(self.at)..]).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_documented_form_is_a_number() {
        for good in ["+10", "+14155550100", "+999999999999999"] {
            assert_eq!(&*E164::parse(good).unwrap().text(), good);
        }
        for bad in [
            "",
            "+",
            "+1",
            "+0123",
            "14155550100",
            "+1 415",
            "+1415555010a",
            "+1234567890123456",
            "+١٤١٥",
            "+14155550100;ext=1",
            "\u{ff0b}14155550100",
            "+1415\u{200b}5550100",
        ] {
            assert_eq!(E164::parse(bad), Err(NumberError), "{bad:?}");
        }
    }

    #[test]
    fn debug_hides_all_but_two_digits() {
        assert_eq!(format!("{:?}", E164::parse("+14155550103").unwrap()), "+…03");
    }
}
