//! Characters, white space, comma lists and parameters (RFC 3261 §25.1).

use super::Fault;

const TOKEN: u8 = 1;
const URI: u8 = 2;
const HOST: u8 = 4;

/// Which of the character classes a byte belongs to.
const CLASS: [u8; 256] = {
    let mut table = [0u8; 256];
    let mut b = 0usize;
    while b < 256 {
        let c = b as u8;
        if c.is_ascii_alphanumeric() {
            table[b] = TOKEN | URI | HOST;
        }
        b += 1;
    }
    mark(&mut table, b"-.!%*_+`'~", TOKEN);
    // reserved, mark and escapes, with the brackets of an IPv6 reference.
    mark(&mut table, b";/?:@&=+$,-_.!~*'()%[]#", URI);
    mark(&mut table, b"-._", HOST);
    table
};

const fn mark(table: &mut [u8; 256], bytes: &[u8], class: u8) {
    let mut i = 0;
    while i < bytes.len() {
        table[bytes[i] as usize] |= class;
        i += 1;
    }
}

pub(super) fn is_token_byte(b: u8) -> bool {
    CLASS[usize::from(b)] & TOKEN != 0
}

pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

pub(super) fn is_uri(text: &str) -> bool {
    text.bytes().all(|b| CLASS[usize::from(b)] & URI != 0)
}

pub(super) fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| CLASS[usize::from(b)] & HOST != 0)
}

/// White space inside a value. CR and LF occur there only as part of a fold.
pub(super) fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\r' | b'\n')
}

pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_ascii() && is_space(c as u8))
}

/// Decimal digits and nothing else: no sign, no overflow. Leading zeros are allowed (RFC 4475 §3.1.1.1).
pub(super) fn number(text: &str) -> Option<u32> {
    if text.is_empty() {
        return None;
    }
    text.bytes().try_fold(0u32, |n, b| match b {
        b'0'..=b'9' => n.checked_mul(10)?.checked_add(u32::from(b - b'0')),
        _ => None,
    })
}

pub(super) fn port(text: &str) -> Result<u16, Fault> {
    number(text).and_then(|n| u16::try_from(n).ok()).filter(|n| *n != 0).ok_or(Fault::Port)
}

/// The index of the first `wanted` byte that is not inside a quoted string; with `angle` set, nor
/// inside `<…>`. What is opened and not closed reaches to the end.
pub(super) fn find_outside(text: &str, wanted: u8, angle: bool) -> Option<usize> {
    let bytes = text.as_bytes();
    let bracket = if angle { b'<' } else { wanted };
    let mut from = 0;
    loop {
        let at = from + memchr::memchr3(wanted, b'"', bracket, bytes.get(from..)?)?;
        from = at
            + match bytes[at] {
                b if b == wanted => return Some(at),
                b'"' => quoted_len(&text[at..])?,
                _ => memchr::memchr(b'>', &bytes[at..])?,
            };
    }
}

/// The elements of a comma-separated header value, trimmed. An element may be empty: that is for its
/// reader to refuse.
pub fn elements(value: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let text = rest?;
        match find_outside(text, b',', true) {
            Some(at) => {
                rest = Some(&text[at + 1..]);
                Some(trim(&text[..at]))
            }
            None => {
                rest = None;
                Some(trim(text))
            }
        }
    })
}

/// The value with each fold replaced by one space, for whoever has to keep or repeat it.
pub fn unfold(value: &str) -> std::borrow::Cow<'_, str> {
    if !value.bytes().any(|b| b == b'\r' || b == b'\n') {
        return value.into();
    }
    let mut text = String::with_capacity(value.len());
    for line in value.split("\r\n") {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(trim(line));
    }
    text.into()
}

/// `;name=value` parameters, checked when they were read: each has a name, and quotes are closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Params<'a>(&'a str);

impl<'a> Params<'a> {
    /// Reads what follows a value: nothing, or a semicolon and parameters.
    pub(super) fn parse(text: &'a str) -> Result<Self, Fault> {
        let text = trim(text);
        if text.is_empty() {
            return Ok(Self(""));
        }
        let rest = text.strip_prefix(';').ok_or(Fault::Parameter)?;
        let params = Self(rest);
        if !rest.is_empty() && params.iter().all(|(name, value)| is_token(name) && value.is_none_or(is_value)) {
            Ok(params)
        } else {
            Err(Fault::Parameter)
        }
    }

    /// Names and values in their order. A value keeps its quotes.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
        let mut rest = if self.0.is_empty() { None } else { Some(self.0) };
        std::iter::from_fn(move || {
            let text = rest?;
            let (param, tail) = match find_outside(text, b';', false) {
                Some(at) => (&text[..at], Some(&text[at + 1..])),
                None => (text, None),
            };
            rest = tail;
            Some(match param.split_once('=') {
                Some((name, value)) => (trim(name), Some(trim(value))),
                None => (trim(param), None),
            })
        })
    }

    /// The value of the first parameter of that name; `Some("")` when it has none.
    pub fn get(self, name: &str) -> Option<&'a str> {
        self.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.unwrap_or(""))
    }

    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

/// gen-value: a token, a host or a quoted string. Looser than the grammar (real peers put slashes and
/// colons there), but without what could be taken for structure.
fn is_value(value: &str) -> bool {
    match value.strip_prefix('"') {
        Some(_) => quoted_len(value) == Some(value.len()),
        None => !value.is_empty() && value.bytes().all(|b| b > b' ' && !matches!(b, b'"' | b'<' | b'>' | b',' | 0x7f)),
    }
}

/// How long the quoted string is with which `text` begins, both quotes included.
pub(super) fn quoted_len(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    if bytes.first() != Some(&b'"') {
        return None;
    }
    let mut at = 1;
    loop {
        match *bytes.get(at)? {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            _ => at += 1,
        }
    }
}
