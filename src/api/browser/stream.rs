//! `GET …/events`: what happens to a browser's call, as server-sent events, until it has ended.
//!
//! The stream asks the switch for what comes after the last event that it has written, and waits. So a slow
//! reader holds one request and no queue, and `Last-Event-ID` is the same question from a new connection.

use std::sync::Arc;

use axum::extract::{Path as UrlPath, State};
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::super::answer::Problem;
use super::super::calls::id_of;
use super::super::sse::{self, HEARTBEAT, Writer};
use super::super::{Api, Busy, refusal};
use super::secret::Returning;
use super::{answers, view};
use crate::events::{BrowserEvent, BrowserState};
use crate::model::{ConnectionId, TokenDigest};
use crate::switch::{BrowserCommand, BrowserReply, BrowserRequest, Command, Reply, Unavailable};

/// What happens to the browser's call, until it has ended.
#[utoipa::path(
    get, path = "/v1/webrtc/connections/{connection}/events", tag = "Browsers", operation_id = "streamBrowserEvents",
    params(("connection" = String, Path, description = "Of `Location`", pattern = "^conn_[0-7][0-9A-HJKMNP-TV-Z]{25}$")),
    security(("returning" = [])),
    responses((status = 200, description = "Server-sent events: `state`, `peer`, `quality`", body = String,
        content_type = "text/event-stream"))
)]
pub async fn events(
    State(api): State<Arc<Api>>,
    secret: Returning,
    UrlPath(connection): UrlPath<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let connection: ConnectionId = id_of(&connection)?;
    let seen = sse::last_event_id(&headers)?.unwrap_or(0);
    // From the beginning there is always something, so this is answered at once.
    let all = match secret.ask(&api, BrowserCommand::Watch { connection, after: 0 }).await? {
        BrowserReply::Events(all) => all,
        other => return Err(answers::refused(other)),
    };
    let place = api.edge.streams.place().ok_or_else(|| refusal::unavailable(Unavailable::Full))?;
    let newest = all.last().map_or(0, |(id, _)| *id);
    let mut watcher =
        Watcher { api, secret: secret.0, connection, after: newest, asked: None, over: false, _place: place };
    let missed = all.into_iter().filter(|(id, _)| *id > seen).collect();
    let first = watcher.write(missed);
    Ok(sse::stream(first, watcher))
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

    fn ask(&self) -> Option<oneshot::Receiver<Reply>> {
        let (reply, asked) = oneshot::channel();
        let command = BrowserCommand::Watch { connection: self.connection, after: self.after };
        let request = BrowserRequest { secret: self.secret, command };
        let handed_over = self.api.switch.ask(Command::Browser(Box::new(request)), reply);
        // The reader comes again, with the id of the last event.
        handed_over.map_err(|Busy| ()).ok().map(|()| asked)
    }
}

impl Writer for Watcher {
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
}
