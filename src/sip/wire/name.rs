//! `"Name" <uri>;params`: From, To, Contact, Route, Record-Route and their like (RFC 3261 §20.10).

use super::lex::{Cursor, SPACE, TOKEN, trim};
use super::{Fault, Params, Uri};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// Without its quotes, with its escapes.
    pub display: Option<&'a str>,
    pub uri: Uri<'a>,
    /// The header's parameters, not the URI's.
    pub params: Params<'a>,
    /// The first of that name among them, unless it is empty.
    tag: Option<&'a str>,
}

impl<'a> NameAddr<'a> {
    /// Reads one value, which must be all of `text`.
    pub fn parse(text: &'a str) -> Result<Self, Fault> {
        let mut cursor = Cursor(text);
        cursor.spaces();
        let display = if cursor.peek() == Some(b'"') {
            let quoted = cursor.quoted().ok_or(Fault::NameAddr)?;
            cursor.spaces();
            Some(&quoted[1..quoted.len() - 1])
        } else {
            Some(trim(cursor.run(TOKEN | SPACE))).filter(|name| !name.is_empty())
        };
        if !cursor.eat(b'<') {
            return Self::addr_spec(text);
        }
        let uri = Uri::read(&mut cursor)?;
        if !cursor.eat(b'>') {
            return Err(Fault::NameAddr);
        }
        let (params, tag) = params(cursor)?;
        Ok(Self { display, uri, params, tag })
    }

    /// RFC 3261 §20: without angle brackets, parameters are the header's, and the URI can have neither
    /// `,` nor `?`.
    fn addr_spec(text: &'a str) -> Result<Self, Fault> {
        let (uri, params) = text.split_at(text.find(';').unwrap_or(text.len()));
        if uri.contains([',', '?']) {
            return Err(Fault::NameAddr);
        }
        let uri = Uri::parse(trim(uri))?;
        let (params, tag) = self::params(Cursor(params))?;
        Ok(Self { display: None, uri, params, tag })
    }

    pub fn tag(&self) -> Option<&'a str> {
        self.tag
    }
}

/// The parameters, and the first tag among them.
fn params(cursor: Cursor<'_>) -> Result<(Params<'_>, Option<&str>), Fault> {
    let mut tag = None;
    let params = Params::read(cursor, |name, value| {
        if name.eq_ignore_ascii_case("tag") {
            tag.get_or_insert(value.unwrap_or(""));
        }
        Ok(())
    })?;
    Ok((params, tag.filter(|tag| !tag.is_empty())))
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
    fn a_value_that_is_no_token_hides_nothing_behind_it() {
        for text in ["sip:a@h;x=//5;tag=2", "<sip:a@h>;x=//5;tag=2", "sir:a@h;y;x=[::1]:5;tag=2"] {
            assert_eq!(NameAddr::parse(text).unwrap().tag(), Some("2"), "{text}");
        }
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
