//! A kept message on its way to a reader: marks become the numbers that he may see.

use super::seal::{DESTINATION, MARK, OWNED, SHOWN, USER};
use super::{Line, Numbers};
use crate::model::E164;

/// Who reads a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// The organization whose call it is: it has dialled these numbers, owns one and employs the other.
    Organization(Numbers),
    /// An operator, or a collector of traces: the last two digits, as in logs.
    Operator(Numbers),
}

impl Reader {
    /// The line as he may see it.
    pub fn line(self, line: &Line) -> Line {
        Line { text: self.unseal(&line.text), ..*line }
    }

    pub(super) fn unseal(self, text: &str) -> String {
        let mut out = String::with_capacity(text.len() + 32);
        let mut parts = text.split(MARK);
        out.push_str(parts.next().unwrap_or_default());
        for part in parts {
            let mut chars = part.chars();
            let (Some(whose), Some(length)) = (chars.next(), chars.next()) else { continue };
            self.number(whose, usize::from((length as u32).saturating_sub(u32::from(b'0')) as u8), &mut out);
            out.push_str(chars.as_str());
        }
        out
    }

    /// The last `length` digits of somebody's number.
    fn number(self, whose: char, length: usize, out: &mut String) {
        let (Reader::Organization(numbers) | Reader::Operator(numbers)) = self;
        let number = match whose {
            USER => numbers.connect,
            OWNED => Some(numbers.from),
            DESTINATION => numbers.to,
            _ => None,
        };
        let shown = match self {
            Reader::Organization(_) => length,
            Reader::Operator(_) => SHOWN,
        };
        out.push_str(&tail(number, length, shown));
    }
}

/// `length` characters: the last `shown` digits, and an x for each one before. A number that was erased is all x.
fn tail(number: Option<E164>, length: usize, shown: usize) -> String {
    let text = number.map(E164::text);
    let digits = text.as_ref().map(|text| &text[1..]).filter(|digits| digits.len() >= length).unwrap_or_default();
    let shown = &digits[digits.len() - shown.min(length).min(digits.len())..];
    "x".repeat(length - shown.len()) + shown
}
