//! Walks the tables of a TOML file and notes every mistake instead of stopping at the first.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

/// One mistake: where it is, what is wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    pub message: String,
}

/// Every mistake of one file, in the order of its lines. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    pub file: String,
    pub problems: Vec<Problem>,
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, p) in self.problems.iter().enumerate() {
            let newline = if i == 0 { "" } else { "\n" };
            write!(f, "{newline}{}:{}:{}: {}", self.file, p.line, p.column, p.message)?;
        }
        Ok(())
    }
}

/// A value and the byte at which it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<T> {
    pub value: T,
    pub at: usize,
}

impl<T> At<T> {
    pub fn with<U>(self, f: impl FnOnce(T) -> U) -> At<U> {
        At { value: f(self.value), at: self.at }
    }
}

/// The mistakes found so far.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<(usize, String)>,
    /// The file is not TOML everywhere: what is missing may just have been unreadable.
    pub broken: bool,
}

impl Problems {
    pub fn add(&mut self, at: usize, message: impl Into<String>) {
        self.found.push((at, message.into()));
    }

    /// `None` when there are none. A line that could not be read is named once.
    pub fn into_errors(mut self, file: &str, text: &str) -> Option<ConfigErrors> {
        self.found.sort_by_key(|(at, _)| *at);
        let mut problems: Vec<Problem> =
            self.found.into_iter().map(|(at, message)| locate(text, at, message)).collect();
        if self.broken {
            problems.dedup_by_key(|p| p.line);
        }
        (!problems.is_empty()).then(|| ConfigErrors { file: file.to_owned(), problems })
    }
}

fn locate(text: &str, at: usize, message: String) -> Problem {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    Problem { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1, message }
}

/// One table, with the keys that were asked for; [`Section::finish`] reports the others.
pub(super) struct Section<'p, 'd> {
    pub problems: &'p mut Problems,
    /// As messages name it: `organization.user`; empty for the whole file.
    name: String,
    /// Where the table starts.
    pub at: usize,
    table: Option<&'d DeTable<'d>>,
    known: Vec<&'static str>,
}

impl<'p, 'd> Section<'p, 'd> {
    pub fn root(problems: &'p mut Problems, table: &'d DeTable<'d>) -> Self {
        Self { problems, name: String::new(), at: 0, table: Some(table), known: Vec::new() }
    }

    fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    /// Notes a mistake at `at` about `key`.
    pub fn wrong(&mut self, at: usize, key: &str, message: impl fmt::Display) {
        let path = self.path(key);
        self.problems.add(at, format!("{path}: {message}"));
    }

    fn find(&mut self, key: &'static str) -> Option<At<&'d DeValue<'d>>> {
        self.known.push(key);
        let (_, value) = self.table?.iter().find(|(k, _)| k.get_ref() == key)?;
        Some(At { value: value.get_ref(), at: value.span().start })
    }

    fn read<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(&'d DeValue<'d>) -> Option<T>,
    ) -> Option<At<T>> {
        let At { value, at } = self.find(key)?;
        let read = read(value);
        if read.is_none() {
            self.wrong(at, key, format_args!("expected {expected}, found {}", describe(value)));
        }
        read.map(|value| At { value, at })
    }

    pub fn text(&mut self, key: &'static str) -> Option<At<&'d str>> {
        self.read(key, "text in quotes", DeValue::as_str)
    }

    pub fn flag(&mut self, key: &'static str) -> Option<bool> {
        self.read(key, "true or false", DeValue::as_bool).map(|v| v.value)
    }

    pub fn whole(&mut self, key: &'static str, bounds: &RangeInclusive<u64>) -> Option<u64> {
        let expected = format!("a whole number from {} to {}", bounds.start(), bounds.end());
        self.read(key, &expected, |v| whole(v).filter(|n| bounds.contains(n))).map(|v| v.value)
    }

    pub fn seconds(&mut self, key: &'static str, bounds: &RangeInclusive<u64>, default: u64) -> Duration {
        Duration::from_secs(self.whole(key, bounds).unwrap_or(default))
    }

    pub fn size(&mut self, key: &'static str, bounds: &RangeInclusive<u64>, default: u64) -> usize {
        usize::try_from(self.whole(key, bounds).unwrap_or(default)).unwrap_or(usize::MAX)
    }

    /// Text that `parse` turns into something, or says why it cannot.
    pub fn parsed<T, E: fmt::Display>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&'d str) -> Result<T, E>,
    ) -> Option<At<T>> {
        let At { value, at } = self.text(key)?;
        match parse(value) {
            Ok(value) => Some(At { value, at }),
            Err(e) => {
                self.wrong(at, key, e);
                None
            }
        }
    }

    /// [`Section::parsed`], with the text to read when the key is absent.
    pub fn parsed_or<T, E: fmt::Display>(
        &mut self,
        key: &'static str,
        default: &'d str,
        parse: impl Fn(&'d str) -> Result<T, E>,
    ) -> Option<At<T>> {
        if self.has(key) {
            return self.parsed(key, parse);
        }
        self.known.push(key);
        parse(default).ok().map(|value| At { value, at: self.at })
    }

    /// [`Section::parsed`], for a key that must be there.
    pub fn required<T, E: fmt::Display>(
        &mut self,
        key: &'static str,
        example: &str,
        parse: impl FnOnce(&'d str) -> Result<T, E>,
    ) -> Option<At<T>> {
        if !self.has(key) {
            self.missing(key, example);
        }
        self.parsed(key, parse)
    }

    /// A list of texts; empty when absent.
    pub fn texts(&mut self, key: &'static str) -> Vec<At<&'d str>> {
        let list = self.read(key, "a list of texts, such as [\"a\", \"b\"]", DeValue::as_array);
        let mut texts = Vec::new();
        for item in list.into_iter().flat_map(|list| list.value.iter()) {
            match item.get_ref().as_str() {
                Some(value) => texts.push(At { value, at: item.span().start }),
                None => {
                    let found = describe(item.get_ref());
                    self.wrong(item.span().start, key, format_args!("expected text in quotes, found {found}"));
                }
            }
        }
        texts
    }

    /// A list of texts, each of which `parse` turns into something, or says why it cannot.
    pub fn list<T, E: fmt::Display>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&'d str) -> Result<T, E>,
    ) -> Vec<At<T>> {
        let mut values = Vec::new();
        for At { value, at } in self.texts(key) {
            match parse(value) {
                Ok(value) => values.push(At { value, at }),
                Err(e) => self.wrong(at, key, e),
            }
        }
        values
    }

    /// Whether this value is new to `seen`; a repetition is a mistake.
    pub fn unique<T: PartialEq + Clone>(&mut self, key: &str, value: &At<T>, seen: &mut Vec<T>) -> bool {
        let new = !seen.contains(&value.value);
        if new {
            seen.push(value.value.clone());
        } else {
            self.wrong(value.at, key, "stands in the file already; each may be there once");
        }
        new
    }

    /// The table `[key]`; one without any key when it is absent.
    pub fn table(&mut self, key: &'static str) -> Section<'_, 'd> {
        let found = self.read(key, "a table", DeValue::as_table);
        let (at, table) = found.map_or((self.at, None), |t| (t.at, Some(t.value)));
        let name = self.path(key);
        Section { problems: self.problems, name, at, table, known: Vec::new() }
    }

    /// Reads each table of `[[key]]`.
    pub fn each<T>(&mut self, key: &'static str, mut read: impl FnMut(&mut Section<'_, 'd>) -> Option<T>) -> Vec<T> {
        let list = self.read(key, "tables, each under its own [[…]] line", DeValue::as_array);
        let mut all = Vec::new();
        for item in list.into_iter().flat_map(|list| list.value.iter()) {
            let at = item.span().start;
            let Some(table) = item.get_ref().as_table() else {
                self.wrong(at, key, format_args!("expected a table, found {}", describe(item.get_ref())));
                continue;
            };
            let name = self.path(key);
            let mut section = Section { problems: self.problems, name, at, table: Some(table), known: Vec::new() };
            all.extend(read(&mut section));
            section.finish();
        }
        all
    }

    /// A key that belongs to a later release: naming it is a mistake, so that nobody relies on it.
    pub fn later(&mut self, key: &'static str, message: &str) {
        if let Some(found) = self.find(key) {
            self.wrong(found.at, key, message);
        }
    }

    /// Whether the file has this table at all.
    pub fn is_there(&self) -> bool {
        self.table.is_some()
    }

    pub fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|t| t.iter().any(|(k, _)| k.get_ref() == key))
    }

    pub fn is_text(&self, key: &str) -> bool {
        self.table.is_some_and(|t| t.iter().any(|(k, value)| k.get_ref() == key && value.get_ref().as_str().is_some()))
    }

    pub fn missing(&mut self, key: &str, example: &str) {
        if !self.problems.broken {
            self.wrong(self.at, key, format_args!("missing; add it, such as {key} = {example}"));
        }
    }

    /// Reports the keys that nobody asked for.
    pub fn finish(self) {
        for (key, _) in self.table.into_iter().flatten() {
            let name = key.get_ref().as_ref();
            if self.known.contains(&name) {
                continue;
            }
            let at = key.span().start;
            let hint = nearest(name, &self.known);
            let path = if self.name.is_empty() { name.to_owned() } else { format!("{}.{name}", self.name) };
            self.problems.add(at, format!("{path}: there is no such key; {hint}"));
        }
    }
}

fn nearest(name: &str, known: &[&'static str]) -> String {
    match known.iter().map(|k| (strsim::damerau_levenshtein(k, name), k)).min() {
        Some((distance, key)) if distance <= 1 + name.len() / 4 => format!("did you mean {key}?"),
        Some(_) | None => format!("known here: {}", known.join(", ")),
    }
}

fn whole(value: &DeValue<'_>) -> Option<u64> {
    let n = value.as_integer()?;
    u64::from_str_radix(n.as_str(), n.radix()).ok()
}

/// What stands there, for "found …". Texts are not repeated: one may be a password in a wrong place.
fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Integer(n) => format!("the number {n}"),
        DeValue::Float(n) => format!("the number {}", n.as_str()),
        DeValue::Boolean(b) => format!("{b}"),
        DeValue::String(_) => "text".to_owned(),
        DeValue::Datetime(_) => "a date or time".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
