//! `GET /v1/admin/organizations/{organization}/calls/{call}/trace`: any call's messages, for operators.
//!
//! Numbers by their last two digits, unless `[log] debug_numbers`. Deliberately absent: calls that live on another
//! node; each node's operators ask it.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;

use super::super::answer::Problem;
use super::super::calls::id_of;
use super::super::trace::{Format, answer, numbers};
use super::{AdminApi, Administrator};
use crate::model::{CallId, OrganizationId};
use crate::trace::{Reader, Trace};

pub async fn get(
    State(api): State<Arc<AdminApi>>,
    _: Administrator,
    Path((organization, call)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let format = Format::of(&uri, &headers)?;
    let call: CallId = id_of(&call)?;
    let organization = OrganizationId(organization.as_str().into());
    let record = api.with_store(move |store| store.get(&organization, call)).await?.ok_or_else(Problem::not_found)?;
    let live = api.traces.as_ref().and_then(|traces| traces.get(call));
    let trace = match live {
        Some(trace) => Some(trace),
        None => api.with_store(move |store| store.trace(call)).await?.and_then(|bytes| Trace::from_bytes(&bytes)),
    };
    let reader = match api.whole_numbers {
        true => Reader::Organization(numbers(&record)),
        false => Reader::Operator(numbers(&record)),
    };
    Ok(answer(&trace.ok_or_else(Problem::not_found)?.shown_to(reader), format))
}
