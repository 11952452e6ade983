//! One call: its record, and its end.

use std::str::FromStr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Data, Problem};
use super::dial::ask;
use super::fields::{Fields, NoQuery};
use super::idempotency::{Repeatable, keep, replay};
use super::list::as_of;
use super::sse::LAST_EVENT_ID;
use super::{Api, Caller, body, forward, refusal};
use crate::events::{Record, record};
use crate::model::{CallId, CallRecord, Status};
use crate::store::Answer;
use crate::switch::{Command, Reply};

/// One call's record.
///
/// `GET /v1/calls/{id}/events` from `Last-Event-ID` on tells all that it does not.
#[utoipa::path(
    get, path = "/v1/calls/{id}", tag = "Calls", operation_id = "getCall", params(("id" = CallId, Path)), security(("key" = ["calls:read"])),
    responses((status = 200, description = "The record", body = Data<Record>, headers(
        ("Last-Event-ID" = u64, description = "The organization's newest event that the record knows of")
    )))
)]
pub async fn get(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    _: NoQuery,
) -> Result<Response, Problem> {
    caller.needs("calls:read")?;
    let (organization, id) = (caller.organization.id.clone(), id_of(&id)?);
    let (newest, call) = api.read(move |store| as_of(store, &organization, |s| s.get(&organization, id))).await?;
    let call = call.ok_or_else(Problem::not_found)?;
    let mut response = Data { data: record(&call, &api.currency, true) }.into_response();
    response.headers_mut().insert(LAST_EVENT_ID, newest.into());
    Ok(response)
}

/// What is no id cannot exist either.
pub fn id_of<T: FromStr>(text: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| Problem::not_found())
}

pub async fn find(api: &Api, caller: &Caller, call: CallId) -> Result<CallRecord, Problem> {
    let organization = caller.organization.id.clone();
    api.read(move |store| store.get(&organization, call)).await?.ok_or_else(Problem::not_found)
}

/// A call that this node's switch does not have: over, or another node's.
async fn not_here(api: &Api, caller: &Caller, call: CallId) -> Result<CallRecord, Problem> {
    let record = find(api, caller, call).await?;
    match record.ended_at {
        Some(_) => Ok(record),
        None => match api.elsewhere(call).await? {
            Some(peer) => Err(forward::elsewhere(peer)),
            None => Ok(record),
        },
    }
}

/// Nothing has to be said.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

#[derive(Serialize, ToSchema)]
pub struct HungUp {
    call_id: CallId,
    status: Status,
}

/// Ends a call.
///
/// A call that is over answers as well.
#[utoipa::path(
    post, path = "/v1/calls/{id}/hangup", tag = "Calls", operation_id = "hangUpCall", params(("id" = CallId, Path)),
    request_body(content = Option<Nothing>, content_type = "application/json"),
    security(("key" = ["calls:write"])),
    responses((status = 200, description = "The end is durable", body = Data<HungUp>))
)]
pub async fn hangup(
    State(api): State<Arc<Api>>,
    caller: Caller,
    repeatable: Repeatable,
    Path(id): Path<String>,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.needs("calls:write")?;
    let call = id_of(&id)?;
    let object = body::optional(&headers, body, api.read_timeout).await?;
    let key = repeatable.key(&caller, &object)?;
    Fields::new(object).finish()?;
    if let Some(response) = replay(&api, key.as_ref()).await? {
        return Ok(response);
    }
    let organization = caller.organization.id.clone();
    let status = match ask(&api, Command::Hangup { organization, call }).await? {
        Reply::Hangup { call: _, status } => status,
        Reply::NotLive => not_here(&api, &caller, call).await?.status,
        Reply::Unavailable(why) => return Err(refusal::unavailable(why)),
        Reply::Dialed { .. }
        | Reply::Replayed(_)
        | Reply::Conflict { .. }
        | Reply::Refused(_)
        | Reply::Browser(_)
        | Reply::Route(_)
        | Reply::Draining => {
            return Err(Problem::internal());
        }
    };
    let done = Data { data: HungUp { call_id: call, status } };
    let Some(key) = key else { return Ok(done.into_response()) };
    let body = serde_json::to_string(&done).map_err(|_| Problem::internal())?;
    keep(&api, key, Answer { status: StatusCode::OK.as_u16(), location: None, body }).await
}
