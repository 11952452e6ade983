//! `Idempotency-Key`: a request that is repeated happens once.
//!
//! For a dial the key travels to the store with the call and is written in the transaction that admits
//! it. Other requests are idempotent by themselves; for them only the answer is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::{HeaderName, StatusCode, request::Parts};
use axum::response::Response;
use sha2::{Digest, Sha256};

use super::answer::{Problem, stored};
use super::json::Json;
use super::request_id::RequestLabel;
use super::{Api, Caller};
use crate::store::{Answer, Idempotency};
use crate::switch::IdempotencyKey;

/// Says that an answer is one that was given before.
pub const REPLAY: HeaderName = HeaderName::from_static("idempotency-replay");

/// What the head of a request says of its repetition.
#[derive(Debug)]
pub struct Repeatable {
    /// Absent, good, or `None` when what is there is no key.
    key: Option<Option<String>>,
    method: axum::http::Method,
    path: String,
    pub request_id: Arc<str>,
}

impl<S: Sync> FromRequestParts<S> for Repeatable {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut headers = parts.headers.get_all("idempotency-key").iter();
        let key = match (headers.next(), headers.next()) {
            (None, _) => None,
            (Some(one), None) => Some(one.to_str().ok().filter(|k| is_key(k)).map(str::to_owned)),
            (Some(_), Some(_)) => Some(None),
        };
        let label = parts.extensions.get::<RequestLabel>();
        let request_id = label.map_or_else(|| Arc::from(""), |l| Arc::clone(&l.0));
        Ok(Self { key, method: parts.method.clone(), path: parts.uri.path().to_owned(), request_id })
    }
}

impl Repeatable {
    /// The key as the store knows it, for the request's body.
    pub fn key(self, caller: &Caller, body: &BTreeMap<String, Json>) -> Result<Option<IdempotencyKey>, Problem> {
        self.key_of(&caller.sha256, body)
    }

    /// [`Repeatable::key`], for a request with the API key of this digest.
    pub fn key_of(self, sha256: &[u8; 32], body: &BTreeMap<String, Json>) -> Result<Option<IdempotencyKey>, Problem> {
        let Some(key) = self.key else { return Ok(None) };
        let key = key.ok_or_else(|| {
            Problem::invalid("Idempotency-Key is not usable")
                .field("Idempotency-Key", "expected one header with 1 to 255 visible ASCII characters")
        })?;
        let mut hash = Sha256::new();
        hash.update(sha256);
        // None of the three can hold a line feed, so no two requests feed the same.
        hash.update(format!("{}\n{}\n{key}", self.method, self.path));
        let body = Json::Object(body.clone()).digest();
        Ok(Some(IdempotencyKey { key: hash.finalize().into(), body, request_id: self.request_id }))
    }
}

fn is_key(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

pub fn conflict(request_id: &str) -> Problem {
    let message = "this Idempotency-Key came with another body before; use a new key for a new request";
    Problem::new(StatusCode::CONFLICT, "idempotency_conflict", message).field("conflicts_with", request_id.to_owned())
}

/// The stored answer to this request, if it was answered before.
pub async fn find(api: &Api, key: Option<&IdempotencyKey>) -> Result<Option<Answer>, Problem> {
    let Some(IdempotencyKey { key, body, request_id: _ }) = key.cloned() else { return Ok(None) };
    let Some(first) = api.read(move |store| store.find_answer(&key)).await? else { return Ok(None) };
    if first.body == body { Ok(Some(first.answer)) } else { Err(conflict(&first.request_id)) }
}

/// [`find`], as it is sent.
pub async fn replay(api: &Api, key: Option<&IdempotencyKey>) -> Result<Option<Response>, Problem> {
    Ok(find(api, key).await?.map(|answer| stored(answer, true)))
}

/// Keeps a success for repetitions, and answers with the one that came first.
pub async fn keep(api: &Api, key: IdempotencyKey, answer: Answer) -> Result<Response, Problem> {
    let IdempotencyKey { key, body, request_id } = key;
    let now = (api.clock)();
    let kept = Idempotency { key, body, request_id: Arc::clone(&request_id), answer };
    let first = api.read(move |store| store.store_answer(kept, now)).await?;
    if first.body == body {
        Ok(stored(first.answer, first.request_id != request_id))
    } else {
        Err(conflict(&first.request_id))
    }
}
