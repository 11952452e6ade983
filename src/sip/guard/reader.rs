//! The head of a request as the second parser reads it.
//!
//! What a method, a URI, a version, a header and a name with an address are, and where each begins and
//! ends, is for rsip's grammar to say. It is asked piece by piece: its own reader of whole messages makes
//! a string of each header, and an error text of all that follows the Request-URI.
//!
//! Deliberately absent: what the pieces may be.

use memchr::memchr;
use rsip::headers::header;
use rsip::headers::typed::{self, Tokenize};
use rsip::{Method, Uri, Version, method, uri, version};

/// Reads the start line. The headers are read as they are asked for.
pub fn read(head: &[u8]) -> Option<(Method, Headers<'_>)> {
    let (line, rest) = head.split_at(memchr(b'\n', head)? + 1);
    let method = start_line(line.strip_suffix(b"\r\n")?)?;
    Some((method, Headers { rest }))
}

fn start_line(line: &[u8]) -> Option<Method> {
    let (rest, method) = method::Tokenizer::tokenize(line).ok()?;
    let (rest, uri) = uri::Tokenizer::tokenize(rest.strip_prefix(b" ")?).ok()?;
    let (rest, version) = version::Tokenizer::tokenize(rest.strip_prefix(b" ")?).ok()?;
    let is_read = rest.is_empty() && Uri::try_from(uri).is_ok() && Version::try_from(version).is_ok();
    if is_read { Method::try_from(method).ok() } else { None }
}

/// Name and value of each header; `None` for what is none, and then no more.
pub struct Headers<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = Option<(&'a str, &'a str)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = header::Tokenizer::tokenize(std::mem::take(&mut self.rest)).ok();
        Some(read.and_then(|(rest, header)| {
            self.rest = rest;
            Some((std::str::from_utf8(header.name).ok()?, std::str::from_utf8(header.value).ok()?))
        }))
    }
}

/// The value of From, Contact or P-Asserted-Identity. The three have the same form, and rsip has a type
/// for it.
pub fn address(value: &str) -> Option<typed::From> {
    typed::From::try_from(typed::from::Tokenizer::tokenize(value).ok()?).ok()
}
