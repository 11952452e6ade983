//! `GET /v1/calls`: an organization's calls, newest first, page by page. Only a page without a cursor is the last: one that
//! is narrowed may be short, as a page looks at so many calls only.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::answer::{Problem, json};
use super::fields::Fields;
use super::sse::LAST_EVENT_ID;
use super::{Api, Caller};
use crate::config::bounds::ID_CHARS;
use crate::events::{Record, record};
use crate::model::{E164, OrganizationId, Status, Timestamp, UserId};
use crate::store::{CallFilter, Store, StoreDown};

const PAGE: usize = 50;
const PAGE_MAX: usize = 100;

/// A page of calls, newest first.
#[derive(Serialize, ToSchema)]
pub struct Listed {
    data: Vec<Record>,
    meta: Meta,
}

#[derive(Serialize, ToSchema)]
struct Meta {
    /// Of the next page; absent on the last one, and on no other, however few calls it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-7][0-9a-f]{15}$")]
    cursor: Option<String>,
    page_size: usize,
}

/// Each narrows the list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "a description; `filter` reads the query, so that every mistake is named at once")]
pub struct ListQuery {
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
    /// `meta.cursor` of the page before, as it came.
    #[param(pattern = "^[0-7][0-9a-f]{15}$")]
    cursor: Option<String>,
    status: Option<Status>,
    /// In a query `+` is a space: send `%2B`.
    from_number: Option<E164>,
    to_number: Option<E164>,
    #[param(max_length = 64, pattern = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$")]
    user_id: Option<String>,
    /// Of `created_at`, inclusive; RFC 3339.
    #[param(format = DateTime)]
    started_after: Option<String>,
    /// Of `created_at`, exclusive.
    #[param(format = DateTime)]
    started_before: Option<String>,
}

/// The organization's calls, newest first.
///
/// Only a page without `meta.cursor` is the last: one that is narrowed may be short, or empty, and still have one.
/// From page to page, each call that existed when the first was read comes
/// exactly once, also while calls arrive. `GET /v1/events` from `Last-Event-ID` on tells all that the list does not.
#[utoipa::path(
    get, path = "/v1/calls", tag = "Calls", operation_id = "listCalls", params(ListQuery), security(("key" = ["calls:read"])),
    responses((status = 200, description = "A page", body = Listed, headers(
        ("Last-Event-ID" = u64, description = "The newest event that the list knows of")
    )))
)]
pub async fn list(State(api): State<Arc<Api>>, caller: Caller, uri: Uri) -> Result<Response, Problem> {
    caller.needs("calls:read")?;
    let filter = filter(&uri)?;
    let page_size = filter.limit;
    let organization = caller.organization.id.clone();
    let (newest, page) = api.read(move |store| as_of(store, &organization, |s| s.list(&organization, &filter))).await?;
    let data = page.records.iter().map(|call| record(call, &api.currency, true)).collect();
    let cursor = page.next.map(|at| format!("{at:016x}"));
    let mut response = json(StatusCode::OK, &Listed { data, meta: Meta { cursor, page_size } });
    response.headers_mut().insert(LAST_EVENT_ID, newest.into());
    Ok(response)
}

/// What is read, and the newest event before that: the position is read first, so whatever becomes true in between
/// is in the answer, in the events after it, or in both.
pub fn as_of<T>(
    store: &dyn Store,
    organization: &OrganizationId,
    read: impl FnOnce(&dyn Store) -> Result<T, StoreDown>,
) -> Result<(u64, T), StoreDown> {
    let newest = store.newest_event(organization)?;
    Ok((newest, read(store)?))
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
        query.parsed(name, "a time such as 2026-01-31T09:00:00.000Z", Timestamp::parse_bound)
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
