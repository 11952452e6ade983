//! Characters, white space, comma lists (RFC 3261 §25.1), and a cursor over a value.

use std::borrow::Cow;

use super::Fault;

/// The characters of a token.
pub(super) const TOKEN: u8 = 1;
/// Of a host's name.
pub(super) const HOST: u8 = 1 << 1;
/// Of a URI's user, without a password.
pub(super) const USER: u8 = 1 << 2;
/// White space inside a value. CR and LF occur there only as part of a fold.
pub(super) const SPACE: u8 = 1 << 3;
/// Of a parameter's value. Looser than the grammar (real peers put slashes and colons there), but
/// without what could be taken for structure.
pub(super) const VALUE: u8 = 1 << 4;
/// Of a URI: reserved, mark and escapes, with the brackets of an IPv6 reference.
pub(super) const URI: u8 = 1 << 5;
/// Of a URI's user, password and headers: no `@`.
pub(super) const USERINFO: u8 = 1 << 6;
/// Of a URI's parameters: neither `@` nor `?`.
pub(super) const URI_PARAM: u8 = 1 << 7;

/// The classes of each byte. Every class holds all bytes of a character or none, so that a text can be
/// cut wherever a class ends.
const CLASSES: [u8; 256] = {
    let mut table = [0u8; 256];
    let mut b = 0usize;
    while b < 256 {
        let c = b as u8;
        if c.is_ascii_alphanumeric() {
            table[b] = TOKEN | HOST | USER | URI | USERINFO | URI_PARAM;
        }
        if c > b' ' && !matches!(c, b'"' | b'<' | b'>' | b',' | b';' | 0x7f) {
            table[b] |= VALUE;
        }
        b += 1;
    }
    mark(&mut table, b"-.!%*_+`'~", TOKEN);
    mark(&mut table, b"-._", HOST);
    mark(&mut table, b" \t\r\n", SPACE);
    mark(&mut table, b";/&=+$,-_.!~*'()%", USER | URI | USERINFO | URI_PARAM);
    mark(&mut table, b":[]#", URI | USERINFO | URI_PARAM);
    mark(&mut table, b"?", USER | URI | USERINFO);
    mark(&mut table, b"@", URI);
    table
};

const fn mark(table: &mut [u8; 256], bytes: &[u8], classes: u8) {
    let mut i = 0;
    while i < bytes.len() {
        table[bytes[i] as usize] |= classes;
        i += 1;
    }
}

/// Whether a byte is of one of the classes.
pub(super) fn is(byte: u8, classes: u8) -> bool {
    CLASSES[usize::from(byte)] & classes != 0
}

pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| is(b, TOKEN))
}

pub(super) fn trim(text: &str) -> &str {
    let bytes = text.as_bytes();
    let Some(start) = bytes.iter().position(|b| !is(*b, SPACE)) else { return "" };
    let end = bytes.iter().rposition(|b| !is(*b, SPACE)).map_or(start, |last| last + 1);
    &text[start..end]
}

/// The two sides of the first such byte, an ASCII one. A plain loop: it is always a few bytes away.
pub(super) fn cut(text: &str, byte: u8) -> Option<(&str, &str)> {
    let at = text.bytes().position(|b| b == byte)?;
    Some((&text[..at], &text[at + 1..]))
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

/// What is left to read of a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a>(pub &'a str);

impl<'a> Cursor<'a> {
    /// The bytes of these classes that come next; there may be none.
    pub fn run(&mut self, classes: u8) -> &'a str {
        self.take_while(|b| is(b, classes))
    }

    /// A run with white space around it.
    pub fn word(&mut self, classes: u8) -> &'a str {
        self.spaces();
        let word = self.run(classes);
        self.spaces();
        word
    }

    /// Whether there was white space to pass over.
    pub fn spaces(&mut self) -> bool {
        let before = self.0.len();
        while self.peek().is_some_and(|b| is(b, SPACE)) {
            self.take(1);
        }
        self.0.len() < before
    }

    /// Passes over white space that is no fold.
    pub fn blanks(&mut self) {
        while self.eat(b' ') || self.eat(b'\t') {}
    }

    pub fn digits(&mut self) -> &'a str {
        self.take_while(|b| b.is_ascii_digit())
    }

    pub fn peek(self) -> Option<u8> {
        self.0.as_bytes().first().copied()
    }

    /// Whether an ASCII byte came next; then it is passed.
    pub fn eat(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        if is_next {
            self.take(1);
        }
        is_next
    }

    /// Whether exactly this came next; then it is passed.
    pub fn eat_all(&mut self, text: &str) -> bool {
        let rest = self.0.strip_prefix(text);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    /// What comes before an ASCII byte, which is passed too.
    pub fn until(&mut self, byte: u8) -> Option<&'a str> {
        let (before, after) = cut(self.0, byte)?;
        self.0 = after;
        Some(before)
    }

    /// A quoted string with its quotes, which are closed.
    pub fn quoted(&mut self) -> Option<&'a str> {
        quoted_len(self.0).map(|len| self.take(len))
    }

    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a str {
        let len = self.0.as_bytes().iter().position(|b| !wanted(*b)).unwrap_or(self.0.len());
        self.take(len)
    }

    fn take(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }
}

/// The index of the first comma that is neither inside a quoted string nor inside `<…>`. What is opened
/// and not closed reaches to the end.
fn find_comma(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut from = 0;
    loop {
        let at = from + memchr::memchr3(b',', b'"', b'<', bytes.get(from..)?)?;
        from = at
            + match bytes[at] {
                b'"' => quoted_len(&text[at..])?,
                b'<' => memchr::memchr(b'>', &bytes[at..])?,
                _ => return Some(at),
            };
    }
}

/// The elements of a comma-separated header value, trimmed. An element may be empty: that is for its
/// reader to refuse.
pub fn elements(value: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let text = rest?;
        match find_comma(text) {
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
pub fn unfold(value: &str) -> Cow<'_, str> {
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

/// How long the quoted string is with which `text` begins, both quotes included.
fn quoted_len(text: &str) -> Option<usize> {
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
