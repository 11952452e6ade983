//! Which pages may speak to which paths (Fetch §3.2), by exact origin.
//!
//! Browser paths and client paths have a list each, and what a page may send there. Where a list is empty, client
//! paths know nothing of CORS at all.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// What pages of these origins may send, and read of the answers.
#[derive(Debug, Clone)]
pub struct Cors {
    origins: Arc<[String]>,
    methods: HeaderValue,
    allowed: HeaderValue,
    exposed: HeaderValue,
}

impl Cors {
    pub fn for_browsers(origins: &[String]) -> Self {
        Self {
            origins: origins.into(),
            methods: HeaderValue::from_static("GET, POST, PATCH, DELETE"),
            allowed: HeaderValue::from_static("Authorization, Content-Type, Last-Event-ID"),
            exposed: HeaderValue::from_static("Location, Link, Revbridge-Reconnect, Retry-After, X-Request-Id"),
        }
    }

    /// `None` when no page may.
    pub fn for_clients(origins: &[String]) -> Option<Self> {
        let cors = Self {
            origins: origins.into(),
            methods: HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE"),
            allowed: HeaderValue::from_static(
                "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, X-Request-Id",
            ),
            exposed: HeaderValue::from_static(
                "Location, Retry-After, RateLimit, RateLimit-Policy, Idempotency-Replay, Last-Event-ID, X-Request-Id",
            ),
        };
        (!origins.is_empty()).then_some(cors)
    }
}

/// Two hours: the longest that every browser remembers a preflight.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// Answers preflights itself. Everything else goes on: whether a page may read the answer is its browser's
/// to decide, by what stands in it; and no secret is ever sent by itself.
pub async fn cors(State(cors): State<Cors>, request: Request, next: Next) -> Response {
    let allowed = request.headers().get(ORIGIN).and_then(|origin| allow(&cors.origins, origin));
    let preflight =
        request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = allowed {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        permit(headers, &cors, preflight);
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

fn permit(headers: &mut HeaderMap, cors: &Cors, preflight: bool) {
    if preflight {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, cors.methods.clone());
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, cors.allowed.clone());
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    } else {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, cors.exposed.clone());
    }
}
