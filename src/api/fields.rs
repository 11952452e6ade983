//! Takes the fields of a request out of its object and names everything that is wrong with them at once.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use axum::extract::{FromRequestParts, Query};
use axum::http::Uri;
use axum::http::request::Parts;

use super::answer::Problem;
use super::json::Json;
use crate::model::{E164, NumberError};

/// Unknown fields that an answer names; a body can hold thousands.
const NAMED: usize = 20;
/// Characters of an unknown field's name that an answer repeats.
const NAME_CHARS: usize = 64;

/// One request's fields, and what is wrong so far.
#[derive(Debug, Default)]
pub struct Fields {
    object: BTreeMap<String, Json>,
    wrong: BTreeMap<String, Cow<'static, str>>,
}

impl Fields {
    pub fn new(object: BTreeMap<String, Json>) -> Self {
        Self { object, wrong: BTreeMap::new() }
    }

    /// The parameters of a query, each of which may be there once.
    pub fn of_query(uri: &Uri) -> Result<Self, Problem> {
        let unreadable = |_| Problem::invalid("the query cannot be read; percent-encode it, a + as %2B");
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(unreadable)?;
        let mut fields = Self::default();
        for (name, value) in pairs {
            if fields.object.insert(name.clone(), Json::Text(value)).is_some() {
                fields.wrong(&clip(&name), "given twice; give it once");
            }
        }
        Ok(fields)
    }

    pub fn has(&self, name: &str) -> bool {
        self.object.contains_key(name)
    }

    pub fn wrong(&mut self, name: &str, text: impl Into<Cow<'static, str>>) {
        self.wrong.insert(name.to_owned(), text.into());
    }

    fn mismatch(&mut self, name: &str, expected: &str, found: &Json) {
        self.wrong(name, format!("expected {expected}, found {}", found.kind()));
    }

    fn text(&mut self, name: &str, expected: &str) -> Option<String> {
        match self.object.remove(name)? {
            Json::Text(text) => Some(text),
            other => {
                self.mismatch(name, expected, &other);
                None
            }
        }
    }

    /// Text that somebody else judges.
    pub fn required_text(&mut self, name: &str, expected: &str) -> Option<String> {
        if !self.object.contains_key(name) {
            self.wrong(name, format!("missing; expected {expected}"));
        }
        self.text(name, expected)
    }

    /// A list of up to `most` texts, each of which `parse` turns into something.
    pub fn several<T>(
        &mut self,
        name: &str,
        expected: &str,
        most: usize,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Vec<T>> {
        let found = self.object.remove(name)?;
        let Json::List(list) = found else {
            self.mismatch(name, expected, &found);
            return None;
        };
        let parse = |item: &Json| match item {
            Json::Text(text) => parse(text),
            Json::Null | Json::Flag(_) | Json::Whole(_) | Json::Number(_) | Json::List(_) | Json::Object(_) => None,
        };
        let texts = list.iter().map(parse).collect::<Option<Vec<_>>>().filter(|_| list.len() <= most);
        if texts.is_none() {
            self.wrong(name, format!("expected {expected}"));
        }
        texts
    }

    pub fn number(&mut self, name: &str) -> Option<E164> {
        let text = self.text(name, "a string with a number in E.164 form")?;
        let number = E164::parse(&text);
        number.map_err(|e: NumberError| self.wrong(name, e.to_string())).ok()
    }

    pub fn required_number(&mut self, name: &str) -> Option<E164> {
        if !self.object.contains_key(name) {
            self.wrong(name, "missing; expected a number in E.164 form, such as +12025550100");
        }
        self.number(name)
    }

    /// A name that a person reads: one line.
    pub fn label(&mut self, name: &str, longest: usize) -> Option<String> {
        let text = self.text(name, "a string")?;
        let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        if text.chars().count() > longest || text.contains(breaks) {
            self.wrong(name, format!("expected at most {longest} characters on one line, none of them of control"));
            return None;
        }
        Some(text)
    }

    pub fn seconds(&mut self, name: &str, bounds: &RangeInclusive<u64>) -> Option<Duration> {
        let expected = format!("a whole number from {} to {}", bounds.start(), bounds.end());
        let found = self.object.remove(name)?;
        let seconds = match found {
            Json::Whole(n) => u64::try_from(n).ok().filter(|n| bounds.contains(n)),
            Json::Number(_) | Json::Null | Json::Flag(_) | Json::Text(_) | Json::List(_) | Json::Object(_) => None,
        };
        if seconds.is_none() {
            self.mismatch(name, &expected, &found);
        }
        seconds.map(Duration::from_secs)
    }

    /// Notes a field that must be there and is not.
    pub fn require(&mut self, name: &str, expected: &str) {
        if !self.has(name) {
            self.wrong(name, format!("missing; expected {expected}"));
        }
    }

    /// Whether the field is there and `null`; then it is taken.
    pub fn null(&mut self, name: &str) -> bool {
        let null = matches!(self.object.get(name), Some(Json::Null));
        if null {
            self.object.remove(name);
        }
        null
    }

    /// A whole number, whose bounds somebody else knows.
    pub fn whole(&mut self, name: &str) -> Option<u64> {
        let found = self.object.remove(name)?;
        let whole = match found {
            Json::Whole(n) => u64::try_from(n).ok(),
            Json::Number(_) | Json::Null | Json::Flag(_) | Json::Text(_) | Json::List(_) | Json::Object(_) => None,
        };
        if whole.is_none() {
            self.mismatch(name, "a whole number", &found);
        }
        whole
    }

    pub fn flag(&mut self, name: &str) -> Option<bool> {
        match self.object.remove(name)? {
            Json::Flag(flag) => Some(flag),
            other => {
                self.mismatch(name, "a boolean", &other);
                None
            }
        }
    }

    /// A list of strings.
    pub fn texts(&mut self, name: &str) -> Option<Vec<String>> {
        let found = self.object.remove(name)?;
        let Json::List(list) = found else {
            self.mismatch(name, "an array of strings", &found);
            return None;
        };
        let texts = list.into_iter().map(|value| if let Json::Text(text) = value { Ok(text) } else { Err(value) });
        match texts.collect() {
            Ok(texts) => Some(texts),
            Err(other) => {
                self.wrong(name, format!("expected an array of strings, found {} in it", other.kind()));
                None
            }
        }
    }

    /// Text, as parameters of a query are, that `parse` turns into something.
    pub fn parsed<T>(&mut self, name: &str, expected: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text = self.text(name, expected)?;
        let parsed = parse(&text);
        if parsed.is_none() {
            self.wrong(name, format!("expected {expected}"));
        }
        parsed
    }

    /// One of a closed list of words.
    pub fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        if !self.has(name) {
            return None;
        }
        let expected = words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ");
        self.parsed(name, &expected, |text| words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value))
    }

    /// A flag of a feature that does not exist yet.
    pub fn must_be_false(&mut self, name: &str, message: &'static str) {
        match self.object.remove(name) {
            None | Some(Json::Flag(false)) => {}
            Some(Json::Flag(true)) => self.wrong(name, message),
            Some(other) => self.mismatch(name, "a boolean", &other),
        }
    }

    /// What is left is unknown. An answer that names every bad field, if any is.
    pub fn finish(mut self) -> Result<(), Problem> {
        for name in std::mem::take(&mut self.object).into_keys().take(NAMED) {
            self.wrong(&clip(&name), "there is no such field; remove it");
        }
        if self.wrong.is_empty() {
            return Ok(());
        }
        let problem = Problem::invalid("correct the fields that are named");
        Err(self.wrong.into_iter().fold(problem, |p, (name, text)| p.field(name, text)))
    }
}

/// For paths that take no parameter: one that is there is a mistake.
pub struct NoQuery;

impl<S: Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Fields::of_query(&parts.uri)?.finish().map(|()| Self)
    }
}

fn clip(name: &str) -> String {
    name.chars().take(NAME_CHARS).collect()
}
