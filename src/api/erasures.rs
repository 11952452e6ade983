//! `POST /v1/admin/erasures`: a person's number taken out of everything that is kept.
//!
//! For operators. The answer, like the list of erasures in the store, does not say the number.

use std::sync::Arc;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::answer::{Data, Problem};
use super::refusal;
use crate::model::{E164, Timestamp};
use crate::store::{Erased, Erasure, Store};

/// Calls that are over are forgotten after 64·T1 and some.
const FORGOTTEN_AFTER_S: u64 = 35;

/// The body of the request, read.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Asked {
    /// The person's number, in E.164 form.
    pub number: E164,
}

/// What was changed.
#[derive(Debug, Serialize)]
pub struct ErasedView {
    /// Call records that lost a number; they keep their ids, times and costs.
    records: u64,
    events: u64,
    /// Stored answers to requests with an Idempotency-Key.
    answers: u64,
}

/// Erases for `by`, who is named in the store's list of erasures.
pub async fn erase_number(
    store: Arc<dyn Store>,
    asked: Asked,
    by: String,
    at: Timestamp,
) -> Result<Data<ErasedView>, Problem> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|_| Problem::internal())?;
    let erasure = Erasure { number: asked.number, by, at, salt };
    let done = tokio::task::spawn_blocking(move || store.erase(&erasure)).await.map_err(|_| Problem::internal())?;
    match done.map_err(|_| refusal::store_down())? {
        Erased::Done(rows) => {
            Ok(Data { data: ErasedView { records: rows.records, events: rows.events, answers: rows.answers } })
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
