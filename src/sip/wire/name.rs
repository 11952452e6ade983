//! `"Name" <uri>;params`: From, To, Contact, Route, Record-Route and their like (RFC 3261 §20.10).

use super::lex::{Params, is_space, is_token_byte, quoted_len, trim};
use super::{Fault, Uri};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// Without its quotes, with its escapes.
    pub display: Option<&'a str>,
    pub uri: Uri<'a>,
    /// The header's parameters, not the URI's.
    pub params: Params<'a>,
}

impl<'a> NameAddr<'a> {
    /// Reads one value, which must be all of `text`.
    pub fn parse(text: &'a str) -> Result<Self, Fault> {
        let text = trim(text);
        let (display, rest) = if text.starts_with('"') {
            let len = quoted_len(text).ok_or(Fault::NameAddr)?;
            (Some(&text[1..len - 1]), trim(&text[len..]))
        } else if let Some(at) = text.find('<') {
            let name = trim(&text[..at]);
            if !name.bytes().all(|b| is_token_byte(b) || is_space(b)) {
                return Err(Fault::NameAddr);
            }
            (Some(name).filter(|n| !n.is_empty()), &text[at..])
        } else {
            return Self::addr_spec(text);
        };
        let (uri, params) = rest.strip_prefix('<').and_then(|r| r.split_once('>')).ok_or(Fault::NameAddr)?;
        Ok(Self { display, uri: Uri::parse(uri)?, params: Params::parse(params)? })
    }

    /// RFC 3261 §20: without angle brackets, parameters are the header's, and the URI can have neither
    /// `,` nor `?`.
    fn addr_spec(text: &'a str) -> Result<Self, Fault> {
        let (uri, params) = text.split_at(text.find(';').unwrap_or(text.len()));
        if uri.contains([',', '?']) {
            return Err(Fault::NameAddr);
        }
        Ok(Self { display: None, uri: Uri::parse(trim(uri))?, params: Params::parse(params)? })
    }

    pub fn tag(&self) -> Option<&'a str> {
        self.params.get("tag").filter(|tag| !tag.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_a_name() {
        let quoted = NameAddr::parse("\"J \\\"R\\\" <x>, y\"  <sip:a@h;lr>\r\n ; tag = 98asjd8").unwrap();
        assert_eq!(quoted.display, Some("J \\\"R\\\" <x>, y"));
        assert_eq!(quoted.uri.text, "sip:a@h;lr");
        assert_eq!(quoted.tag(), Some("98asjd8"));
        let tokens = NameAddr::parse("Alexander Bell<sip:a@h>").unwrap();
        assert_eq!(tokens.display, Some("Alexander Bell"));
        let bare = NameAddr::parse("sip:a@h;tag=5").unwrap();
        assert_eq!((bare.uri.text, bare.tag(), bare.display), ("sip:a@h", Some("5"), None));
        assert_eq!(NameAddr::parse("<sip:a@h>").unwrap().display, None);
    }

    #[test]
    fn broken_names_are_refused() {
        for text in [
            "",
            "<",
            "<>",
            "\"",
            "\"\\",
            "\"x\"",
            "\"x\" sip:a@h",
            "Bell, A <sip:a@h>",
            "<sip:a@h",
            "<sip:a@h> x",
            "< sip:a@h>",
            "<sip:a@h>;",
            "<sip:a@h>;;x",
            "<sip:a@h>;x=\"",
            "<sip:a@h>;x=",
            "sip:a@h?x=y",
            "sip:a@h,b",
        ] {
            assert!(NameAddr::parse(text).is_err(), "{text}");
        }
    }
}
