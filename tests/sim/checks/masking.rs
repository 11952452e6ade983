//! Nothing of one party on the other's wire: every spelling of what only one side knows is searched in
//! every byte that leaves for the other side.

use std::sync::OnceLock;

use memchr::memmem;
use revbridge::model::Side;

/// What only one side knows. The phones put their mark into every field that they may fill; numbers
/// of a side share a prefix that occurs nowhere else, too long for a random session id to begin with it.
pub struct Secrets {
    pub mark: &'static str,
    pub digits: &'static str,
    /// The same digits as people write them.
    pub spellings: &'static [&'static str],
    pub hosts: &'static [&'static str],
}

pub fn secrets(side: Side) -> &'static Secrets {
    match side {
        Side::User => &Secrets {
            mark: "kanarya",
            digits: "141577700",
            spellings: &["415-777", "415 777", "(415)", "415.777"],
            hosts: &["192.0.2.", "172.16.1."],
        },
        Side::Destination => &Secrets {
            mark: "kanaryb",
            digits: "4420794000",
            spellings: &["20-794", "20 794", "(0)20", "20.794"],
            hosts: &["198.51.100.", "172.16.2."],
        },
    }
}

/// The first secret of `side` in `bytes`, which go to the other side.
pub fn leak(side: Side, bytes: &[u8]) -> Option<&'static str> {
    static PATTERNS: OnceLock<[Patterns; 2]> = OnceLock::new();
    let patterns = PATTERNS.get_or_init(|| Side::BOTH.map(|side| Patterns::of(secrets(side))));
    let patterns = &patterns[match side {
        Side::User => 0,
        Side::Destination => 1,
    }];
    let anywhere = patterns.anywhere.iter().find(|(finder, _)| finder.find(bytes).is_some()).map(|(_, name)| *name);
    anywhere.or_else(|| {
        let standalone = memmem::find_iter(bytes, patterns.digits).any(|at| starts_a_word(bytes, at))
            || memmem::find_iter(bytes, &patterns.digits[1..]).any(|at| starts_a_word(bytes, at));
        standalone.then_some("number")
    })
}

struct Patterns {
    anywhere: Vec<(memmem::Finder<'static>, &'static str)>,
    digits: &'static [u8],
}

impl Patterns {
    fn of(secrets: &'static Secrets) -> Self {
        let mut anywhere: Vec<(Vec<u8>, &'static str)> = vec![(secrets.mark.into(), "mark")];
        for text in [secrets.mark, secrets.digits] {
            anywhere.push((hex::encode(text).into(), "hex"));
            anywhere.push((hex::encode_upper(text).into(), "hex"));
            anywhere.push((text.bytes().flat_map(|b| [b, 0]).collect(), "UTF-16"));
            anywhere.extend((0..3).map(|shift| (base64_inside(text.as_bytes(), shift), "base64")));
        }
        anywhere.extend(secrets.spellings.iter().map(|text| ((*text).into(), "spelled number")));
        anywhere.extend(secrets.hosts.iter().map(|text| ((*text).into(), "address")));
        let finder = |(bytes, name): (Vec<u8>, _)| (memmem::Finder::new(&bytes).into_owned(), name);
        Self { anywhere: anywhere.into_iter().map(finder).collect(), digits: secrets.digits.as_bytes() }
    }
}

/// Digits inside a longer word may be a random identifier's; a number begins one.
fn starts_a_word(bytes: &[u8], at: usize) -> bool {
    at == 0 || !bytes[at - 1].is_ascii_alphanumeric()
}

/// The characters of base64 that depend on `text` alone when `shift` bytes stand before it.
fn base64_inside(text: &[u8], shift: usize) -> Vec<u8> {
    let mut all = vec![0; shift];
    all.extend(text);
    let whole = all.len() / 3 * 3;
    let encoded = base64(&all[..whole]);
    encoded[if shift == 0 { 0 } else { 4 }..].to_vec()
}

pub fn base64(bytes: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |chunk: &[u8]| {
        let n = chunk.iter().fold(0u32, |n, b| (n << 8) | u32::from(*b)) << (8 * (3 - chunk.len()));
        [18, 12, 6, 0].map(|by| ALPHABET[(n >> by) as usize & 63])
    };
    bytes.chunks(3).flat_map(group).collect()
}
