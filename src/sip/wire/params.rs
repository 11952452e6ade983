//! `;name=value` parameters of a header value.

use super::Fault;
use super::lex::{Cursor, TOKEN, VALUE};

/// Parameters that were checked when they were read: each has a name, and quotes are closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Params<'a>(&'a str);

impl<'a> Params<'a> {
    /// Reads what follows a value: nothing, or semicolons with a parameter each. `visit` sees every one
    /// as it passes, so whoever keeps some of them does not read twice.
    pub(super) fn read(
        mut cursor: Cursor<'a>,
        mut visit: impl FnMut(&'a str, Option<&'a str>) -> Result<(), Fault>,
    ) -> Result<Self, Fault> {
        cursor.spaces();
        let params = Self(cursor.0);
        while cursor.eat(b';') {
            let (name, value) = read_one(&mut cursor).ok_or(Fault::Parameter)?;
            visit(name, value)?;
        }
        if cursor.is_empty() { Ok(params) } else { Err(Fault::Parameter) }
    }

    /// Names and values in their order. A value keeps its quotes.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
        let mut cursor = Cursor(self.0);
        std::iter::from_fn(move || if cursor.eat(b';') { read_one(&mut cursor) } else { None })
    }

    /// The value of the first parameter of that name; `Some("")` when it has none.
    pub fn get(self, name: &str) -> Option<&'a str> {
        self.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.unwrap_or(""))
    }

    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

/// `name[=value]`, with white space around each part.
fn read_one<'a>(cursor: &mut Cursor<'a>) -> Option<(&'a str, Option<&'a str>)> {
    let name = cursor.word(TOKEN);
    if name.is_empty() {
        return None;
    }
    if !cursor.eat(b'=') {
        return Some((name, None));
    }
    cursor.spaces();
    let value = match cursor.peek() {
        Some(b'"') => cursor.quoted()?,
        Some(_) | None => cursor.run(VALUE),
    };
    cursor.spaces();
    (!value.is_empty()).then_some((name, Some(value)))
}
