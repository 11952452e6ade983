//! `X-Request-Id` on every response: the client's own when it is harmless, else ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// As long as ids of tracing systems get.
const LONGEST: usize = 128;

/// The id of the request at hand.
#[derive(Debug, Clone)]
pub struct RequestLabel(pub Arc<str>);

/// Draws ids: random per process, counted within it.
#[derive(Debug, Clone)]
pub struct Source(Arc<(u64, AtomicU64)>);

impl Source {
    pub fn new() -> Self {
        // Without randomness ids are still unique within the process, and nothing rests on more.
        Self(Arc::new((getrandom::u64().unwrap_or_default(), AtomicU64::new(1))))
    }

    fn next(&self) -> Arc<str> {
        let (process, count) = &*self.0;
        format!("req_{process:016x}{:012x}", count.fetch_add(1, Ordering::Relaxed)).into()
    }
}

/// Labels the request for its handler and its response for the client.
pub async fn label(State(source): State<Source>, mut request: Request, next: Next) -> Response {
    let id = client_id(&request).unwrap_or_else(|| source.next());
    request.extensions_mut().insert(RequestLabel(Arc::clone(&id)));
    let mut response = next.run(request).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    response
}

/// It is stored, logged and sent back, so only letters that mean nothing anywhere are taken.
fn client_id(request: &Request) -> Option<Arc<str>> {
    let text = request.headers().get(X_REQUEST_ID)?.to_str().ok()?;
    let harmless = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
    ((1..=LONGEST).contains(&text.len()) && text.bytes().all(harmless)).then(|| text.into())
}
