//! A message on its way into a trace: numbers become marks, and what nobody needs to see goes.
//!
//! ```text
//! +14155550100 of the user ─▶ + MARK U ;       a mark: MARK, whose, how many digits (':' is ten, ';' eleven …)
//! other numbers in URIs    ─▶ xxxxxxxxx42
//! names beside URIs        ─▶ digits become x
//! Authorization: Digest …  ─▶ Digest realm="…"
//! body that is no SDP      ─▶ xxxx
//! ```
//!
//! Lengths stay as they are outside of credentials, so `Content-Length` stays true.
//!
//! A number is recognised as a run of digits: a whole number of the call in any run, or its last seven digits and more
//! as a run of their own. In a name beside a URI, where people write as they like, every digit goes.

use super::Numbers;
use crate::model::E164;

/// Begins a mark. Messages are text: a peer that sends this byte gets a `?` in its place.
pub(super) const MARK: char = '\u{1}';

/// Bytes of one message that are kept: twelve times a usual INVITE.
pub const MAX_TEXT: usize = 8 * 1024;

/// A shorter run of digits is a port, a status, a CSeq.
const SHORTEST: usize = 7;

/// Digits of an unknown number that stay, as in logs.
pub(super) const SHOWN: usize = 2;

/// Headers of which only the scheme and the realm are kept: the rest is what a password can be guessed from.
const CREDENTIALS: [&str; 5] =
    ["authorization", "proxy-authorization", "www-authenticate", "proxy-authenticate", "authentication-info"];

/// Headers whose value is signed numbers in base64 (RFC 8224).
const SIGNED: [&str; 2] = ["identity", "y"];

/// The message as it is kept.
pub fn seal(message: &[u8], numbers: Numbers) -> String {
    let message = &message[..message.len().min(MAX_TEXT)];
    let text: String = String::from_utf8_lossy(message)
        .chars()
        .map(|c| if c.is_control() && !matches!(c, '\r' | '\n' | '\t') { '?' } else { c })
        .collect();
    let known = Known::of(numbers);
    let (head, body) = match text.find("\r\n\r\n") {
        Some(at) => text.split_at(at + 4),
        None => (text.as_str(), ""),
    };
    let mut out = String::with_capacity(text.len() + 64);
    let mut is_sdp = false;
    let mut cut = false;
    let mut folded_from = String::new();
    for line in head.split_inclusive("\r\n") {
        let folded = line.starts_with([' ', '\t']);
        if folded && cut {
            continue;
        }
        let name = match line.split_once(':').filter(|_| !folded) {
            Some((name, _)) => name.trim().to_ascii_lowercase(),
            None => folded_from.clone(),
        };
        cut = !folded && (CREDENTIALS.contains(&&*name) || SIGNED.contains(&&*name));
        if name == "content-type" || name == "c" {
            is_sdp |= line.to_ascii_lowercase().contains("application/sdp");
        }
        match cut {
            true => credentials(line, &name, &mut out),
            false => header(line, &name, &known, &mut out),
        }
        folded_from = name;
    }
    for line in body.split_inclusive('\n') {
        match is_sdp && !is_key(line) {
            true => digits(line, &known, false, &mut out),
            false => out.extend(line.chars().map(|c| if c.is_ascii_control() { c } else { 'x' })),
        }
    }
    out
}

/// What opens a media stream.
fn is_key(line: &str) -> bool {
    ["a=crypto:", "a=ice-pwd:", "a=key-mgmt:", "k="].iter().any(|key| line.starts_with(key))
}

fn credentials(line: &str, name: &str, out: &mut String) {
    let (head, value) = line.split_once(':').unwrap_or((line, ""));
    out.push_str(head);
    if SIGNED.contains(&name) {
        out.push_str(": cut\r\n");
        return;
    }
    let scheme = value.split_ascii_whitespace().next().filter(|scheme| !scheme.contains(['=', '"', ',']));
    let realm = value.to_ascii_lowercase().find("realm=\"").map(|at| &value[at + 7..]);
    let realm = realm.and_then(|rest| rest.split('"').next()).unwrap_or_default();
    out.push_str(&format!(": {} realm=\"{realm}\"\r\n", scheme.unwrap_or("Digest")));
}

/// A start line or a header: the URIs in it, and what stands beside them.
fn header(line: &str, name: &str, known: &Known, out: &mut String) {
    // Before an address in angle brackets, and in quotes, stands what a person has written.
    let named = matches!(
        name,
        "from"
            | "f"
            | "to"
            | "t"
            | "contact"
            | "m"
            | "p-asserted-identity"
            | "p-preferred-identity"
            | "remote-party-id"
            | "diversion"
            | "history-info"
            | "reply-to"
            | "referred-by"
            | "r"
            | "refer-to"
            | "b"
    );
    let display = line.find('<').filter(|_| named).unwrap_or(0);
    let (before, after) = line.split_at(display);
    digits(before, known, true, out);
    let mut quoted = false;
    for part in after.split_inclusive('"') {
        digits(part, known, quoted, out);
        quoted ^= part.ends_with('"');
    }
}

/// The numbers in some text; with `all`, each digit that belongs to no number of the call goes too.
fn digits(text: &str, known: &Known, all: bool, out: &mut String) {
    let mut rest = text;
    let mut done = 0;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        out.push_str(&rest[..at]);
        done += at;
        let run = &rest[at..];
        let run = &run[..run.find(|c: char| !c.is_ascii_digit()).unwrap_or(run.len())];
        run_of_digits(run, known, all, is_user_of_uri(&text[..done]), out);
        done += run.len();
        rest = &text[done..];
    }
    out.push_str(rest);
}

fn run_of_digits(run: &str, known: &Known, all: bool, is_user: bool, out: &mut String) {
    if let Some((whose, from, to)) = known.find(run) {
        mask(&run[..from], all, out);
        out.push(MARK);
        out.push(whose);
        // At most fifteen digits.
        out.push(char::from(b'0' + (to - from) as u8));
        mask(&run[to..], all, out);
    } else if all {
        mask(run, true, out);
    } else if is_user && run.len() > SHOWN {
        let (hidden, shown) = run.split_at(run.len() - SHOWN);
        mask(hidden, true, out);
        out.push_str(shown);
    } else {
        out.push_str(run);
    }
}

fn mask(digits: &str, masked: bool, out: &mut String) {
    match masked {
        true => out.extend(std::iter::repeat_n('x', digits.len())),
        false => out.push_str(digits),
    }
}

/// Whether what follows is the user of a URI, or a part of it.
fn is_user_of_uri(before: &str) -> bool {
    let of_number = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | '(' | ')');
    let scheme = before.trim_end_matches(of_number).to_ascii_lowercase();
    ["sip:", "sips:", "tel:"].iter().any(|known| scheme.ends_with(known))
}

/// The digits of the call's numbers, with the letter of each.
struct Known(Vec<(char, String)>);

impl Known {
    fn of(numbers: Numbers) -> Self {
        let letters = [(USER, numbers.connect), (OWNED, Some(numbers.from)), (DESTINATION, numbers.to)];
        let digits = |number: E164| number.text()[1..].to_owned();
        Self(letters.into_iter().filter_map(|(letter, number)| Some((letter, digits(number?)))).collect())
    }

    /// Whose number is in this run, and where.
    fn find(&self, run: &str) -> Option<(char, usize, usize)> {
        let whole = self.0.iter().filter(|(_, digits)| digits.len() >= SHORTEST || run == digits);
        let mut whole =
            whole.filter_map(|(whose, digits)| run.find(digits.as_str()).map(|at| (*whose, at, digits.len())));
        let tail = |(whose, digits): &(char, String)| {
            (run.len() >= SHORTEST && digits.ends_with(run)).then_some((*whose, 0, run.len()))
        };
        whole.next().map(|(whose, at, length)| (whose, at, at + length)).or_else(|| self.0.iter().find_map(tail))
    }
}

pub(super) const USER: char = 'U';
pub(super) const OWNED: char = 'O';
pub(super) const DESTINATION: char = 'D';
