//! One call: its record, and its end.

use std::str::FromStr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::answer::{Data, Problem};
use super::dial::ask;
use super::fields::Fields;
use super::idempotency::{Repeatable, keep, replay};
use super::{Api, Caller, body, refusal};
use crate::events::{Record, record};
use crate::model::{CallId, CallRecord, Status};
use crate::store::Answer;
use crate::switch::{Command, Reply};

/// `GET /v1/calls/{id}`.
pub async fn get(State(api): State<Arc<Api>>, caller: Caller, Path(id): Path<String>) -> Result<Data<Record>, Problem> {
    caller.needs("calls:read")?;
    let call = find(&api, &caller, id_of(&id)?).await?;
    Ok(Data { data: record(&call, &api.currency, true) })
}

/// What is no id cannot exist either.
pub fn id_of<T: FromStr>(text: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| Problem::not_found())
}

async fn find(api: &Api, caller: &Caller, call: CallId) -> Result<CallRecord, Problem> {
    let organization = caller.organization.id.clone();
    api.read(move |store| store.get(&organization, call)).await?.ok_or_else(Problem::not_found)
}

#[derive(Serialize)]
struct HungUp {
    call_id: CallId,
    status: Status,
}

/// `POST /v1/calls/{id}/hangup`: idempotent, and a call that is over answers as well.
pub async fn hangup(
    State(api): State<Arc<Api>>,
    caller: Caller,
    repeatable: Repeatable,
    Path(id): Path<String>,
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
        Reply::NotLive => find(&api, &caller, call).await?.status,
        Reply::Unavailable(why) => return Err(refusal::unavailable(why)),
        Reply::Dialed { .. }
        | Reply::Replayed(_)
        | Reply::Conflict { .. }
        | Reply::Refused(_)
        | Reply::Browser(_)
        | Reply::Draining => {
            return Err(Problem::internal());
        }
    };
    let done = Data { data: HungUp { call_id: call, status } };
    let Some(key) = key else { return Ok(done.into_response()) };
    let body = serde_json::to_string(&done).map_err(|_| Problem::internal())?;
    keep(&api, key, Answer { status: StatusCode::OK.as_u16(), location: None, body }).await
}
