//! Which pages may speak to the browser paths (Fetch §3.2), by exact origin.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::super::Api;

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PATCH, DELETE");
const ALLOWED: HeaderValue = HeaderValue::from_static("Authorization, Content-Type, Last-Event-ID");
const EXPOSED: HeaderValue = HeaderValue::from_static("Location, Link, Revbridge-Reconnect, Retry-After, X-Request-Id");
/// Two hours: the longest that every browser remembers a preflight.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// Answers preflights itself. Everything else goes on: whether a page may read the answer is its browser's
/// to decide, by what stands in it; and no secret is ever sent by itself.
pub async fn cors(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let origins = api.browser.as_ref().map_or(&[][..], |browser| &browser.config.allowed_origins);
    let allowed = request.headers().get(ORIGIN).and_then(|origin| allow(origins, origin));
    let preflight =
        request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = allowed {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        permit(headers, preflight);
    }
    response
}

/// What `Access-Control-Allow-Origin` says to this origin, if anything.
fn allow(origins: &[String], origin: &HeaderValue) -> Option<HeaderValue> {
    if origins.iter().any(|allowed| allowed == "*") {
        return Some(HeaderValue::from_static("*"));
    }
    origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()).then(|| origin.clone())
}

fn permit(headers: &mut HeaderMap, preflight: bool) {
    if preflight {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED);
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    } else {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}
