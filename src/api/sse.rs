//! Server-sent events: the body that is written as they come, and the id after which a reader resumes.
//!
//! A body is asked for more only when its reader has taken what was written, so a slow reader holds one
//! connection and no queue.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame};

use super::answer::Problem;

/// Short of the 30 s after which proxies take a silent stream for dead.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Whoever writes a stream.
pub trait Writer: Send + Sized + 'static {
    /// What comes next, and who writes on; `None` when the stream is over.
    fn next(self) -> impl Future<Output = Option<(Bytes, Self)>> + Send;
}

/// Answers with `first` and whatever `writer` writes.
pub fn stream<W: Writer>(first: Bytes, writer: W) -> Response {
    let body = Stream(Box::pin(async move { Some((first, writer)) }));
    let head = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // nginx would hold events back until its buffer is full.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (StatusCode::OK, head, Body::new(body)).into_response()
}

/// The last event that a reader has seen; `None` when it says nothing.
pub fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let mut all = headers.get_all(LAST_EVENT_ID).iter();
    let (Some(value), None) = (all.next(), all.next()) else {
        return if headers.contains_key(LAST_EVENT_ID) { Err(unusable()) } else { Ok(None) };
    };
    match value.to_str() {
        Ok("") => Ok(None),
        Ok(text) => position(text).map(Some).ok_or_else(unusable),
        Err(_) => Err(unusable()),
    }
}

fn unusable() -> Problem {
    Problem::invalid("Last-Event-ID is not usable")
        .field("Last-Event-ID", "expected the id of an event of this stream, or no such header")
}

/// Plain digits, as they were sent.
pub fn position(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

type Next<W> = Pin<Box<dyn Future<Output = Option<(Bytes, W)>> + Send>>;

struct Stream<W>(Next<W>);

impl<W: Writer> HttpBody for Stream<W> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some((bytes, writer)) = ready!(self.0.as_mut().poll(cx)) else {
            self.0 = Box::pin(std::future::ready(None));
            return Poll::Ready(None);
        };
        self.0 = Box::pin(writer.next());
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}
