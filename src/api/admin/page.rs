//! Lists in pages: each begins after the last of the page before, so what is added or removed meanwhile neither
//! repeats nor hides anything.

use std::ops::Bound;

use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;

use super::super::answer::{Problem, json};
use super::super::fields::Fields;

const PAGE: usize = 50;
const PAGE_MAX: usize = 100;

#[derive(Serialize)]
pub struct Listed<T> {
    data: Vec<T>,
    meta: Meta,
}

#[derive(Serialize)]
struct Meta {
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    page_size: usize,
}

/// Which part of a list is asked for.
pub struct Part {
    pub limit: usize,
    /// The last name of the page before.
    pub after: Option<String>,
}

impl Part {
    /// Of a query that says nothing else.
    pub fn of(uri: &Uri) -> Result<Self, Problem> {
        let mut query = Fields::of_query(uri)?;
        let part = Self::take(&mut query);
        query.finish()?;
        Ok(part)
    }

    pub fn take(query: &mut Fields) -> Self {
        let limit = query.parsed("limit", "a whole number from 1 to 100", |text| {
            text.parse().ok().filter(|n| (1..=PAGE_MAX).contains(n))
        });
        let after = query
            .parsed("cursor", "the cursor of a page before", |text| String::from_utf8(hex::decode(text).ok()?).ok());
        Self { limit: limit.unwrap_or(PAGE), after }
    }

    /// Where a sorted list goes on, for names that read as `T`.
    pub fn bound<T: Ord>(&self, parse: impl Fn(&str) -> Option<T>) -> Result<Bound<T>, Problem> {
        let Some(after) = &self.after else { return Ok(Bound::Unbounded) };
        let unreadable = || {
            Problem::invalid("correct the fields that are named")
                .field("cursor", "expected the cursor of a page before")
        };
        parse(after).map(Bound::Excluded).ok_or_else(unreadable)
    }

    /// The page of these, which are sorted by name.
    pub fn answer<T, V: Serialize>(
        &self,
        all: impl Iterator<Item = T>,
        name: impl Fn(&T) -> String,
        view: impl Fn(&T) -> V,
    ) -> Response {
        // One more than asked for tells whether there is a next page.
        let mut items: Vec<T> = all.take(self.limit + 1).collect();
        let more = items.len() > self.limit;
        items.truncate(self.limit);
        let last = items.last().filter(|_| more).map(&name);
        listed(items.iter().map(view).collect(), last, self.limit)
    }
}

pub fn listed<V: Serialize>(data: Vec<V>, last: Option<String>, page_size: usize) -> Response {
    let cursor = last.map(hex::encode);
    json(StatusCode::OK, &Listed { data, meta: Meta { cursor, page_size } })
}

/// Whether something lies beyond a bound.
pub fn beyond<T: Ord>(bound: &Bound<T>, value: &T) -> bool {
    match bound {
        Bound::Unbounded => true,
        Bound::Excluded(last) => value > last,
        Bound::Included(first) => value >= first,
    }
}
