//! `GET …/events`: what happens to a browser's call, as server-sent events, until it has ended.
//!
//! The stream asks the switch for what comes after the last event that it has written, and waits. So a slow
//! reader holds one request and no queue, and `Last-Event-ID` is the same question from a new connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path as UrlPath, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::super::answer::Problem;
use super::super::calls::id_of;
use super::super::{Api, Busy, refusal};
use super::secret::{Returning, browsers};
use super::{answers, view};
use crate::events::{BrowserEvent, BrowserState};
use crate::model::{ConnectionId, TokenDigest};
use crate::switch::{BrowserCommand, BrowserReply, BrowserRequest, Command, Reply, Unavailable};

/// Short of the 30 s after which proxies take a silent stream for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

pub async fn events(
    State(api): State<Arc<Api>>,
    secret: Returning,
    UrlPath(connection): UrlPath<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let connection: ConnectionId = id_of(&connection)?;
    let seen = last_event_id(&headers)?;
    // From the beginning there is always something, so this is answered at once.
    let all = match secret.ask(&api, BrowserCommand::Watch { connection, after: 0 }).await? {
        BrowserReply::Events(all) => all,
        other => return Err(answers::refused(other)),
    };
    let place = Arc::clone(&browsers(&api)?.streams).try_acquire_owned();
    let place = place.map_err(|_| refusal::unavailable(Unavailable::Full))?;
    let newest = all.last().map_or(0, |(id, _)| *id);
    let mut watcher =
        Watcher { api, secret: secret.0, connection, after: newest, asked: None, over: false, _place: place };
    let missed = all.into_iter().filter(|(id, _)| *id > seen).collect();
    let first = watcher.write(missed);
    let stream = Stream(Box::pin(async move { Some((first, watcher)) }));
    let head = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // nginx would hold events back until its buffer is full.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((StatusCode::OK, head, Body::new(stream)).into_response())
}

fn last_event_id(headers: &HeaderMap) -> Result<u64, Problem> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(0) };
    let id = value.to_str().ok().filter(|text| !text.is_empty()).map_or(Some(0), |text| text.parse().ok());
    id.ok_or_else(|| {
        let expected = "expected the id of an event of this stream, or no such header";
        Problem::invalid("Last-Event-ID is not usable").field("Last-Event-ID", expected)
    })
}

/// One reader of one call's events.
struct Watcher {
    api: Arc<Api>,
    secret: TokenDigest,
    connection: ConnectionId,
    /// The last event that was written.
    after: u64,
    /// A question that the switch has not answered yet.
    asked: Option<oneshot::Receiver<Reply>>,
    over: bool,
    _place: OwnedSemaphorePermit,
}

impl Watcher {
    fn write(&mut self, events: Vec<(u64, BrowserEvent)>) -> Bytes {
        // A comment: the head of the response leaves with it at the latest.
        let mut text = String::from(":\n\n");
        for (id, event) in events {
            view::write(&mut text, id, self.connection.0, &event);
            self.after = self.after.max(id);
            self.over |= matches!(event, BrowserEvent::State { state: BrowserState::Ended, .. });
        }
        text.into()
    }

    async fn next(mut self) -> Option<(Bytes, Self)> {
        if self.over {
            return None;
        }
        let mut asked = match self.asked.take() {
            Some(asked) => asked,
            None => self.ask()?,
        };
        match tokio::time::timeout(HEARTBEAT, &mut asked).await {
            Err(_) => {
                self.asked = Some(asked);
                Some((self.write(Vec::new()), self))
            }
            Ok(Ok(Reply::Browser(BrowserReply::Events(events)))) if !events.is_empty() => {
                Some((self.write(events), self))
            }
            // Nothing more comes, another stream took this one's place, or the process ends.
            Ok(_) => None,
        }
    }

    fn ask(&self) -> Option<oneshot::Receiver<Reply>> {
        let (reply, asked) = oneshot::channel();
        let command = BrowserCommand::Watch { connection: self.connection, after: self.after };
        let request = BrowserRequest { secret: self.secret, command };
        let handed_over = self.api.switch.ask(Command::Browser(Box::new(request)), reply);
        // The reader comes again, with the id of the last event.
        handed_over.map_err(|Busy| ()).ok().map(|()| asked)
    }
}

type Next = Pin<Box<dyn Future<Output = Option<(Bytes, Watcher)>> + Send>>;

/// A body that is written as the events come.
struct Stream(Next);

impl HttpBody for Stream {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some((bytes, watcher)) = ready!(self.0.as_mut().poll(cx)) else {
            self.0 = Box::pin(std::future::ready(None));
            return Poll::Ready(None);
        };
        self.0 = Box::pin(watcher.next());
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}
