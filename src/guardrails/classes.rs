//! Number classes that are refused whatever the allowlist says of their country.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::prefix::{Match, PrefixMap};
use crate::model::E164;

/// What kind of number it is, whatever the allowlist says of its country.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NumberClass {
    Ordinary,
    /// A country of its own inside a country code that others share.
    Country,
    Premium,
    Satellite,
    Emergency,
    ShortCode,
}

/// Fewer digits than the shortest numbers there are (Niue: three of country code, four of its own),
/// so a short code behind a country code or without one.
const SHORTEST: usize = 7;

impl NumberClass {
    pub fn of(number: E164) -> Self {
        range(number).value
    }

    pub(super) fn is_never_dialled(self) -> bool {
        matches!(self, NumberClass::Emergency | NumberClass::ShortCode)
    }
}

/// The number's class and how many digits an entry must have to name its range.
pub(super) fn range(number: E164) -> Match<NumberClass> {
    let text = number.text();
    let digits = text.digits();
    if TABLE.whole.binary_search_by(|n| n.as_str().cmp(digits)).is_ok() {
        return Match { length: digits.len(), value: NumberClass::Emergency };
    }
    // NANPA: 1, an area code that starts with 2 to 9, seven digits. `+1011…` would dial abroad.
    let nanp = digits.starts_with('1');
    if digits.len() < SHORTEST || nanp && (digits.len() != 11 || matches!(digits.as_bytes()[1], b'0' | b'1')) {
        return Match { length: digits.len(), value: NumberClass::ShortCode };
    }
    TABLE.ranges.longest(number).unwrap_or(Match { length: 0, value: NumberClass::Ordinary })
}

#[derive(Default)]
struct Table {
    ranges: PrefixMap<NumberClass>,
    /// Whole numbers that are never dialled, sorted.
    whole: Vec<String>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table::default();
    for line in include_str!("data/number_classes.txt").lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let mut words = line.split_ascii_whitespace();
        let (pattern, class) = (words.next().unwrap_or_default(), words.next().and_then(class_named));
        let class = class.unwrap_or_else(|| panic!("number_classes.txt: {line}"));
        match pattern.strip_suffix('$') {
            Some(whole) => expand(whole, &mut |digits| table.whole.push(digits.to_owned())),
            None => expand(pattern, &mut |digits| *table.ranges.entry(digits) = Some(class)),
        }
    }
    table.whole.sort();
    table
});

fn class_named(name: &str) -> Option<NumberClass> {
    match name {
        "country" => Some(NumberClass::Country),
        "premium" => Some(NumberClass::Premium),
        "satellite" => Some(NumberClass::Satellite),
        "emergency" => Some(NumberClass::Emergency),
        _ => None,
    }
}

/// Calls `each` with every string of digits that `pattern` stands for.
fn expand(pattern: &str, each: &mut dyn FnMut(&str)) {
    let Some(at) = pattern.find(['x', 'N']) else { return each(pattern) };
    let first = if pattern.as_bytes()[at] == b'N' { 2 } else { 0 };
    for digit in first..=9 {
        expand(&format!("{}{digit}{}", &pattern[..at], &pattern[at + 1..]), each);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(text: &str) -> NumberClass {
        NumberClass::of(E164::parse(text).unwrap())
    }

    #[test]
    fn every_line_of_the_table_is_read() {
        let lines = include_str!("data/number_classes.txt").lines().filter(|l| l.starts_with(|c: char| c != '#'));
        for line in lines {
            let mut words = line.split_ascii_whitespace();
            let pattern = words.next().unwrap().replace('x', "4").replace('N', "9");
            let expected = class_named(words.next().unwrap()).unwrap();
            let number = match pattern.strip_suffix('$') {
                Some(whole) => format!("+{whole}"),
                None if pattern.starts_with('1') => format!("+{pattern:5<11}"),
                None => format!("+{pattern:5<12}"),
            };
            assert_eq!(class(&number), expected, "{line}");
        }
    }

    #[test]
    fn ordinary_numbers_are_ordinary() {
        for number in ["+14155550100", "+16135550100", "+18005550100", "+442079460000", "+911234567890", "+6834000"] {
            assert_eq!(class(number), NumberClass::Ordinary, "{number}");
        }
    }

    #[test]
    fn codes_too_short_for_a_number_and_false_area_codes_are_never_dialled() {
        for number in ["+911", "+112", "+999", "+988", "+211", "+411", "+1911", "+1411", "+1988", "+44999", "+49112"] {
            assert!(class(number).is_never_dialled(), "{number}");
        }
        for number in ["+1911555010", "+19115550100", "+10114420794", "+11234567890", "+1415555010", "+141555501000"] {
            assert!(class(number).is_never_dialled(), "{number}");
        }
    }
}
