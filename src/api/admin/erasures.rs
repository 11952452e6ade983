//! `POST /v1/admin/erasures`: a person's number taken out of everything that is kept.
//!
//! The answer, like the list of erasures in the store, does not say the number.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::super::answer::{Data, Problem};
use super::super::body;
use super::super::fields::Fields;
use super::{AdminApi, Administrator};
use crate::store::{Erased, ErasedRows, Erasure};

/// Calls that are over are forgotten after 64·T1 and some.
const FORGOTTEN_AFTER_S: u64 = 35;

/// What was changed.
#[derive(Debug, Serialize)]
pub struct ErasedView {
    /// Call records that lost a number; they keep their ids, times and costs.
    records: u64,
    events: u64,
    /// Stored answers to requests with an Idempotency-Key.
    answers: u64,
    /// Entries of the audit log.
    changes: u64,
}

/// Asking again is harmless, so an `Idempotency-Key` changes nothing: its answer would be one more thing to keep.
pub async fn erase(
    State(api): State<Arc<AdminApi>>,
    by: Administrator,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let object = body::object(&headers, body, api.read_timeout).await?;
    let mut fields = Fields::new(object);
    let number = fields.required_number("number");
    fields.finish()?;
    let number = number.ok_or_else(Problem::internal)?;
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|_| Problem::internal())?;
    let erasure = Erasure { number, by: by.0.name.to_string(), at: (api.clock)(), salt };
    match api.with_store(move |store| store.erase(&erasure)).await? {
        Erased::Done(ErasedRows { records, events, answers, changes }) => {
            Ok(Data { data: ErasedView { records, events, answers, changes } }.into_response())
        }
        Erased::InUse { calls } => {
            let message = format!("{calls} calls with this number are not over, or were half a minute ago; ask again");
            Err(conflict("number_in_use", message).retry_after(FORGOTTEN_AFTER_S))
        }
        Erased::Owned => {
            let message = "destinations were shown this number: it is an organization's own, no person's";
            Err(conflict("number_owned", message.to_owned()).field("number", "one of an organization's own numbers"))
        }
        Erased::Declared { places } => {
            let message = format!("the number is still declared in: {}; remove it there first", places.join(", "));
            Err(conflict("number_declared", message).field("number", "still declared"))
        }
    }
}

fn conflict(code: &'static str, message: String) -> Problem {
    Problem::new(StatusCode::CONFLICT, code, message)
}
