//! Looks for what must not be there, in every spelling that a leak might take.
//!
//! A capture is searched as it is and in four disguises taken off: percent-decoded, UTF-16 joined,
//! digits without their punctuation, and all in lower case. What cannot be taken off (hex, base64, raw
//! bytes) is looked for in its encoded form.

use std::net::Ipv4Addr;

/// Something that identifies a party.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// A word that occurs nowhere else: a canary, a Call-ID, a tag.
    Word(String),
    /// The digits of a telephone number: whole, with anything between them, or the last seven.
    Number(String),
    Address(Ipv4Addr),
    /// Bytes as they are: a synchronisation source.
    Bytes(Vec<u8>),
}

/// How many last digits of a number still identify it.
const TAIL: usize = 7;

/// A capture, and the views of it that are searched.
pub struct Capture {
    plain: Vec<u8>,
    lower: Vec<u8>,
    unescaped: Vec<u8>,
    digits: Vec<u8>,
}

impl Capture {
    pub fn new(bytes: &[u8]) -> Self {
        let lower = bytes.to_ascii_lowercase();
        Self { unescaped: unescape(&lower), digits: join_digits(bytes), plain: bytes.to_vec(), lower }
    }

    /// In which forms does the secret occur?
    pub fn find(&self, secret: &Secret) -> Vec<&'static str> {
        match secret {
            Secret::Word(word) => self.find_text(word),
            Secret::Number(number) => {
                let mut forms = self.find_text(number);
                forms.extend(holds(&self.digits, number.as_bytes()).then_some("punctuated"));
                forms.extend(holds(&self.digits, &number.as_bytes()[number.len() - TAIL..]).then_some("tail digits"));
                forms
            }
            Secret::Address(address) => {
                let mut forms = self.find_text(&address.to_string());
                forms.extend(self.find_bytes(&address.octets()));
                forms.extend(holds(&self.plain, u32::from(*address).to_string().as_bytes()).then_some("decimal"));
                forms
            }
            Secret::Bytes(bytes) => self.find_bytes(bytes),
        }
    }

    fn find_text(&self, text: &str) -> Vec<&'static str> {
        let lower = text.to_ascii_lowercase();
        let wide = |order: fn(u16) -> [u8; 2]| -> Vec<u8> { lower.encode_utf16().flat_map(order).collect() };
        let found = [
            ("ascii", holds(&self.lower, lower.as_bytes())),
            ("percent", holds(&self.unescaped, lower.as_bytes())),
            ("hex", holds(&self.lower, hex::encode(text).to_ascii_lowercase().as_bytes())),
            ("base64", base64_needles(text.as_bytes()).iter().any(|needle| holds(&self.plain, needle))),
            ("utf-16", holds(&self.lower, &wide(u16::to_le_bytes)) || holds(&self.lower, &wide(u16::to_be_bytes))),
        ];
        found.into_iter().filter_map(|(form, found)| found.then_some(form)).collect()
    }

    fn find_bytes(&self, bytes: &[u8]) -> Vec<&'static str> {
        let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
        let raw = holds(&self.plain, bytes) || holds(&self.plain, &reversed);
        let in_hex = holds(&self.lower, hex::encode(bytes).as_bytes());
        [("raw", raw), ("hex", in_hex)].into_iter().filter_map(|(form, found)| found.then_some(form)).collect()
    }
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty() && memchr::memmem::find(haystack, needle).is_some()
}

/// `%41` becomes `A`; anything else stays.
fn unescape(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'%').then(|| tail.get(..2)).flatten().and_then(|pair| hex::decode(pair).ok());
        out.push(escaped.as_ref().map_or(*first, |byte| byte[0]));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    out.to_ascii_lowercase()
}

/// Drops what people write between the digits of a number.
fn join_digits(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().filter(|byte| !b" -.()/".contains(byte)).collect()
}

/// The text in base64 as it stands at each of the three offsets in a longer one, without the
/// characters at either end that its neighbours change.
fn base64_needles(text: &[u8]) -> Vec<Vec<u8>> {
    (0..3)
        .map(|offset| {
            let padded = [vec![0; offset], text.to_vec()].concat();
            let whole = base64(&padded);
            whole[(offset * 8).div_ceil(6)..padded.len() * 8 / 6].to_vec()
        })
        .collect()
}

/// RFC 4648 §4 without padding.
pub fn base64(bytes: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = |group: &[u8]| group.iter().enumerate().fold(0u32, |n, (i, byte)| n | u32::from(*byte) << (16 - 8 * i));
    bytes
        .chunks(3)
        .flat_map(|group| {
            let n = bits(group);
            (0..=group.len()).map(move |i| ALPHABET[(n >> (18 - 6 * i)) as usize & 63])
        })
        .collect()
}

/// Plants the secret in the middle of a copy of the capture, in one disguise after the other.
pub fn planted_is_found(bytes: &[u8], secret: &Secret) {
    let (before, after) = bytes.split_at(bytes.len() / 2);
    assert_eq!(Capture::new(bytes).find(secret), [""; 0], "{secret:?} is not there");
    for (disguise, planted) in disguises(secret) {
        let leaky = [before, &planted, after].concat();
        assert!(!Capture::new(&leaky).find(secret).is_empty(), "{secret:?} planted as {disguise} is not found");
    }
}

/// A secret in each spelling that the search claims to know.
fn disguises(secret: &Secret) -> Vec<(&'static str, Vec<u8>)> {
    let text_forms = |text: &str| {
        let percent: String = text.bytes().map(|b| format!("%{b:02X}")).collect();
        vec![
            ("ascii", text.to_ascii_uppercase().into_bytes()),
            ("percent", percent.into_bytes()),
            ("hex", hex::encode_upper(text).into_bytes()),
            ("base64", base64(text.as_bytes())),
            ("base64, one byte in", base64(format!("<{text}>").as_bytes())),
            ("base64, two bytes in", base64(format!("a:{text};x").as_bytes())),
            ("utf-16le", text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
            ("utf-16be", text.encode_utf16().flat_map(u16::to_be_bytes).collect()),
        ]
    };
    match secret {
        Secret::Word(word) => text_forms(word),
        Secret::Number(number) => {
            let punctuated = format!("({}) {}-{}", &number[1..4], &number[4..7], &number[7..]);
            let mut forms = text_forms(number);
            forms.push(("punctuated", format!("+{} {punctuated}", &number[..1]).into_bytes()));
            forms.push(("tail digits", number.as_bytes()[number.len() - 7..].to_vec()));
            forms
        }
        Secret::Address(address) => {
            let mut forms = text_forms(&address.to_string());
            forms.push(("raw", address.octets().to_vec()));
            forms.push(("raw, reversed", address.octets().into_iter().rev().collect()));
            forms.push(("decimal", u32::from(*address).to_string().into_bytes()));
            forms
        }
        Secret::Bytes(bytes) => vec![("raw", bytes.clone()), ("hex", hex::encode(bytes).into_bytes())],
    }
}
