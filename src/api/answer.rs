//! What goes back: `{"data": …}`, or the error envelope with its headers.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderName, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::forward::Elsewhere;
use super::idempotency::REPLAY;
use super::openapi::{ERRORS, ErrorCode};
use crate::store::Answer;
use crate::store::cluster::Peer;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// `{"data": …}`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Data<T> {
    pub data: T,
}

impl<T: Serialize> IntoResponse for Data<T> {
    fn into_response(self) -> Response {
        json(StatusCode::OK, &self)
    }
}

/// A JSON body with its status.
pub fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => (status, [(CONTENT_TYPE, JSON)], body).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// An answer as it is stored, byte for byte.
pub fn stored(answer: Answer, replay: bool) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    if let Some(location) = answer.location.and_then(|l| HeaderValue::try_from(l).ok()) {
        headers.insert(LOCATION, location);
    }
    if replay {
        headers.insert(REPLAY, HeaderValue::from_static("true"));
    }
    response
}

/// Why a request got nothing, and what its sender can do.
#[derive(Debug)]
pub struct Problem(Box<Inner>);

#[derive(Debug)]
struct Inner {
    status: StatusCode,
    code: &'static str,
    message: Cow<'static, str>,
    fields: BTreeMap<String, Cow<'static, str>>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The node that can do better.
    elsewhere: Option<Elsewhere>,
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        debug_assert!(ERRORS.iter().any(|(known, _)| *known == code), "{code} is not explained in openapi::ERRORS");
        let mut headers = Vec::new();
        if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
            headers.push((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"revbridge\"")));
        }
        let (message, fields) = (message.into(), BTreeMap::new());
        Self(Box::new(Inner { status, code, message, fields, headers, elsewhere: None }))
    }

    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    /// For what does not exist and for what belongs to another organization.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is nothing here; check the path and the id")
    }

    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "this is our fault; try again, then tell us")
    }

    pub fn field(mut self, name: impl Into<String>, text: impl Into<Cow<'static, str>>) -> Self {
        self.0.fields.insert(name.into(), text.into());
        self
    }

    /// Replaces a header of the same name. A value that is none is left out.
    pub fn header(mut self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Self {
        if let Ok(value) = value.try_into() {
            self.0.headers.retain(|(n, _)| *n != name);
            self.0.headers.push((name, value));
        }
        self
    }

    /// Is only answered so when that node cannot be asked.
    pub(super) fn elsewhere(mut self, peer: Peer) -> Self {
        self.0.elsewhere = Some(Elsewhere(peer));
        self
    }

    pub fn retry_after(self, seconds: u64) -> Self {
        self.header(RETRY_AFTER, HeaderValue::from(seconds))
    }
}

/// Every answer that says no.
#[derive(Serialize, ToSchema)]
pub struct Refused {
    error: Reason,
}

#[derive(Serialize, ToSchema)]
struct Reason {
    #[schema(value_type = ErrorCode)]
    code: &'static str,
    /// For a person: what is wrong and what to do.
    #[schema(value_type = String)]
    message: Cow<'static, str>,
    /// Every bad field at once, with what was expected.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, String>, required = false)]
    fields: BTreeMap<String, Cow<'static, str>>,
    /// Where the code is explained.
    doc_url: String,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Inner { status, code, message, fields, headers, elsewhere } = *self.0;
        let doc_url = format!("/docs#error-{code}");
        let mut response = json(status, &Refused { error: Reason { code, message, fields, doc_url } });
        response.headers_mut().extend(headers);
        if let Some(elsewhere) = elsewhere {
            response.extensions_mut().insert(elsewhere);
        }
        response
    }
}
