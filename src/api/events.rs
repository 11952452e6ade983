//! `GET /v1/events` and `GET /v1/calls/{id}/events`: what happens, as server-sent events.
//!
//! ```text
//! opened ─▶ catching up: pages of the store ─ the last is not full ─▶ live: from the feed ─▶ over
//! ```
//!
//! A stream ends with its call, with its key, with the server, and when its reader falls too far behind. Its
//! reader comes again with `Last-Event-ID` and misses nothing. The organization's stream has no other end.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast};
use tokio::time::Instant;
use utoipa::IntoParams;

use super::answer::{Problem, Refused};
use super::calls::{find, id_of};
use super::feed::{Feed, KeyPlace, Line, Lines, PAGE, read};
use super::fields::Fields;
use super::refusal::{RATE_LIMIT, RATE_LIMIT_POLICY};
use super::serve::Stopping;
use super::sse::{self, HEARTBEAT, LAST_EVENT_ID, Writer};
use super::{Api, Caller, refusal};
use crate::config::bounds::API_STREAMS_PER_KEY;
use crate::events::Told;
use crate::model::{CallId, OrganizationId};
use crate::switch::Unavailable;

/// A key that was revoked loses its streams within this.
const KEY_CHECK: Duration = Duration::from_secs(1);
/// Milliseconds until a browser comes again: at once for a person, spread for a server that was restarted.
const RETRY: &[u8] = b"retry: 2000\n";
/// Streams end when somebody closes one; nobody knows when.
const STREAMS_RETRY_SECONDS: u64 = 5;
const SCOPE: &str = "calls:read";

/// What a stream can be told.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "a description; `after` reads the query")]
pub struct EventsQuery {
    /// Only what comes after this event; `Last-Event-ID`, where both are given, counts.
    #[param(pattern = "^[0-9]{1,19}$")]
    after: Option<String>,
}

/// Everything that happens in the organization, from now on or after the event that is named.
///
/// `id` is the event's
/// `sequence`, `event` its `type`, `data` the event as JSON. It ends with the key, with the server, or when its reader
/// falls too far behind; with `Last-Event-ID` nothing is missed.
#[utoipa::path(
    get, path = "/v1/events", tag = "Events", operation_id = "streamEvents", params(EventsQuery), security(("key" = ["calls:read"])),
    responses(
        (status = 200, description = "Server-sent events without end", body = Told, content_type = "text/event-stream",
            headers(("Last-Event-ID" = u64, description = "The event that the stream begins after"))),
        (status = 429, description = "`rate_limited`, `stream_limit`", body = Refused),
    )
)]
pub async fn organization(
    State(api): State<Arc<Api>>,
    caller: Caller,
    stopping: Stopping,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.needs(SCOPE)?;
    let after = after(&uri, &headers)?;
    let reader = Reader::open(api, caller, stopping, None).await?;
    let after = match after {
        Some(after) => after,
        None => {
            let organization = reader.organization().clone();
            reader.api.read(move |store| store.newest_event(&organization)).await?
        }
    };
    Ok(reader.answer(after))
}

/// What happens to one call, from its beginning or after the event that is named, until it has ended.
///
/// A call that is over answers with all of it.
#[utoipa::path(
    get, path = "/v1/calls/{id}/events", tag = "Events", operation_id = "streamCallEvents", params(("id" = CallId, Path), EventsQuery),
    security(("key" = ["calls:read"])),
    responses(
        (status = 200, description = "Server-sent events", body = Told, content_type = "text/event-stream",
            headers(("Last-Event-ID" = u64, description = "The event that the stream begins after"))),
        (status = 429, description = "`rate_limited`, `stream_limit`", body = Refused),
    )
)]
pub async fn call(
    State(api): State<Arc<Api>>,
    caller: Caller,
    stopping: Stopping,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.needs(SCOPE)?;
    let call = id_of(&id)?;
    let after = after(&uri, &headers)?;
    let has_ended = find(&api, &caller, call).await?.status.is_terminal();
    let mut reader = Reader::open(api, caller, stopping, Some(call)).await?;
    reader.has_ended = has_ended;
    Ok(reader.answer(after.unwrap_or(0)))
}

/// `Last-Event-ID`, else `after`: a browser keeps the address when it comes again, and adds the header.
fn after(uri: &Uri, headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let mut query = Fields::of_query(uri)?;
    let after = query.parsed("after", "the id of an event, in digits", sse::position);
    query.finish()?;
    Ok(sse::last_event_id(headers)?.or(after))
}

enum Phase {
    CatchingUp,
    Live(broadcast::Receiver<Lines>),
}

/// One stream.
struct Reader {
    api: Arc<Api>,
    caller: Caller,
    of: Option<CallId>,
    feed: Arc<Feed>,
    /// The last event that was written or passed over.
    after: u64,
    phase: Phase,
    /// The call had ended when the stream was opened: after the pages of the store nothing comes.
    has_ended: bool,
    is_over: bool,
    written_at: Instant,
    stopping: Stopping,
    _places: (OwnedSemaphorePermit, KeyPlace),
}

impl Reader {
    async fn open(api: Arc<Api>, caller: Caller, stopping: Stopping, of: Option<CallId>) -> Result<Self, Problem> {
        let streams = &api.edge.streams;
        let of_key = streams.place_of(caller.sha256).ok_or_else(too_many)?;
        let place = streams.place().ok_or_else(|| refusal::unavailable(Unavailable::Full))?;
        let feed = streams.feed(&api, &caller.organization.id).await?;
        Ok(Self {
            api,
            caller,
            of,
            feed,
            after: 0,
            phase: Phase::CatchingUp,
            has_ended: false,
            is_over: false,
            written_at: Instant::now(),
            stopping,
            _places: (place, of_key),
        })
    }

    fn organization(&self) -> &OrganizationId {
        &self.caller.organization.id
    }

    /// The first bytes carry the id, so that even a reader that was cut off before any event resumes here.
    fn answer(mut self, after: u64) -> Response {
        self.after = after;
        let first = [RETRY, format!("id: {after}\n\n").as_bytes()].concat();
        let mut response = sse::stream(first.into(), self);
        response.headers_mut().insert(LAST_EVENT_ID, after.into());
        response
    }

    /// Whether the key is still good for this.
    fn may_go_on(&self) -> bool {
        let key = self.api.store.authenticate(&self.caller.sha256);
        key.is_some_and(|key| key.organization.id == *self.organization() && Caller(key).has(SCOPE))
    }

    /// A page of the store. It subscribes first: what comes after this read comes by the feed.
    async fn catch_up(&mut self) -> Result<Bytes, Problem> {
        let subscribed = self.feed.subscribe();
        let lines = read(&self.api, self.organization(), self.of, self.after).await?;
        let bytes = self.write(&lines);
        if lines.len() < PAGE {
            self.phase = Phase::Live(subscribed);
            self.is_over |= self.has_ended;
        }
        Ok(bytes)
    }

    /// What of these is new to the reader.
    fn write(&mut self, lines: &[Line]) -> Bytes {
        let mut bytes = BytesMut::new();
        for line in lines.iter().filter(|line| line.position > self.after) {
            if self.of.is_none_or(|call| call == line.call) {
                bytes.extend_from_slice(&line.text);
                self.is_over |= self.of.is_some() && line.is_last;
            }
        }
        self.after = lines.last().map_or(self.after, |line| line.position.max(self.after));
        bytes.freeze()
    }

    /// Something to write, or nothing yet; `None` when nothing can follow.
    async fn turn(&mut self) -> Option<Bytes> {
        let Phase::Live(feed) = &mut self.phase else { return self.catch_up().await.ok() };
        let news = tokio::select! {
            news = tokio::time::timeout(KEY_CHECK, feed.recv()) => news,
            () = self.stopping.stopped() => {
                // What became durable until now is told before the end.
                self.has_ended = true;
                return self.catch_up().await.ok();
            }
        };
        match news {
            Ok(Ok(lines)) => Some(self.write(&lines)),
            // It did not take what it was sent, or nobody feeds it any more.
            Ok(Err(RecvError::Lagged(_) | RecvError::Closed)) => None,
            Err(_) if self.written_at.elapsed() >= HEARTBEAT => Some(Bytes::from_static(b":\n\n")),
            Err(_) => Some(Bytes::new()),
        }
    }
}

impl Writer for Reader {
    async fn next(mut self) -> Option<(Bytes, Self)> {
        while !self.is_over && self.may_go_on() {
            let bytes = self.turn().await?;
            if !bytes.is_empty() {
                self.written_at = Instant::now();
                return Some((bytes, self));
            }
        }
        None
    }
}

fn too_many() -> Problem {
    let message = "this key holds as many streams as it may; close one, and try again";
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "stream_limit", message)
        .retry_after(STREAMS_RETRY_SECONDS)
        .header(RATE_LIMIT_POLICY, format!("\"streams\";q={API_STREAMS_PER_KEY}"))
        .header(RATE_LIMIT, format!("\"streams\";r=0;t={STREAMS_RETRY_SECONDS}"))
}
