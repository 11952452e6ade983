//! `GET /v1/calls`: an organization's calls, newest first, page by page.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;

use super::answer::{Problem, json};
use super::fields::Fields;
use super::{Api, Caller};
use crate::config::bounds::ID_CHARS;
use crate::events::{Record, record};
use crate::model::{Status, Timestamp, UserId};
use crate::store::CallFilter;

const PAGE: usize = 50;
const PAGE_MAX: usize = 100;

#[derive(Serialize)]
struct Listed {
    data: Vec<Record>,
    meta: Meta,
}

#[derive(Serialize)]
struct Meta {
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    page_size: usize,
}

pub async fn list(State(api): State<Arc<Api>>, caller: Caller, uri: Uri) -> Result<Response, Problem> {
    caller.needs("calls:read")?;
    let filter = filter(&uri)?;
    let page_size = filter.limit;
    let organization = caller.organization.id.clone();
    let page = api.read(move |store| store.list(&organization, &filter)).await?;
    let data = page.records.iter().map(|call| record(call, &api.currency, true)).collect();
    let cursor = page.next.map(|at| format!("{at:016x}"));
    Ok(json(StatusCode::OK, &Listed { data, meta: Meta { cursor, page_size } }))
}

fn filter(uri: &Uri) -> Result<CallFilter, Problem> {
    let mut query = Fields::of_query(uri)?;
    let limit = query.parsed("limit", "a whole number from 1 to 100", |text| {
        text.parse().ok().filter(|n| (1..=PAGE_MAX).contains(n))
    });
    let cursor = query.parsed("cursor", "the cursor of a page before", |text| {
        let plain = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        if plain { i64::from_str_radix(text, 16).ok() } else { None }
    });
    let time = |query: &mut Fields, name| {
        query.parsed(name, "a time such as 2026-01-31T09:00:00.000Z", Timestamp::parse_rfc3339)
    };
    let filter = CallFilter {
        limit: limit.unwrap_or(PAGE),
        cursor,
        status: query.word("status", &Status::ALL.map(|s| (s.as_str(), s))),
        from: query.number("from_number"),
        to: query.number("to_number"),
        user: query.label("user_id", ID_CHARS).map(|id| UserId(id.into())),
        after: time(&mut query, "started_after"),
        before: time(&mut query, "started_before"),
    };
    query.finish()?;
    Ok(filter)
}
