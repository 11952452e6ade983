//! Dial and hang up, by the browser that is connected.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::super::answer::{Data, Problem, json};
use super::super::calls::id_of;
use super::super::fields::Fields;
use super::super::{Api, body};
use super::answers;
use super::secret::{Returning, find};
use crate::model::{CallId, ConnectionId, Status};
use crate::switch::{BrowserCommand, BrowserReply};

#[derive(Serialize)]
struct Standing {
    call_id: CallId,
    status: Status,
}

/// `POST …/dial`: as often as one likes; the destination is rung once.
pub async fn dial(
    State(api): State<Arc<Api>>,
    secret: Returning,
    UrlPath(connection): UrlPath<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let connection = id_of(&connection)?;
    let mut fields = Fields::new(body::optional(&headers, body, api.read_timeout).await?);
    let to = fields.number("to_number");
    fields.finish()?;
    match secret.ask(&api, BrowserCommand::Dial { connection, to }).await? {
        BrowserReply::Dialing { call, status } => {
            Ok(json(StatusCode::ACCEPTED, &Data { data: Standing { call_id: call, status } }))
        }
        other => Err(answers::refused(other)),
    }
}

/// `POST …/hangup`: idempotent, also for a call that is over.
pub async fn hangup(
    State(api): State<Arc<Api>>,
    secret: Returning,
    UrlPath(connection): UrlPath<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let connection = id_of(&connection)?;
    Fields::new(body::optional(&headers, body, api.read_timeout).await?).finish()?;
    let (call_id, status) = end(&api, secret, connection).await?;
    Ok(Data { data: Standing { call_id, status } }.into_response())
}

/// `DELETE …`: likewise.
pub async fn delete(
    State(api): State<Arc<Api>>,
    secret: Returning,
    UrlPath(connection): UrlPath<String>,
) -> Result<StatusCode, Problem> {
    end(&api, secret, id_of(&connection)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn end(api: &Api, secret: Returning, connection: ConnectionId) -> Result<(CallId, Status), Problem> {
    match secret.try_ask(api, BrowserCommand::Hangup { connection }).await? {
        Some(BrowserReply::Dialing { call, status }) => Ok((call, status)),
        Some(other) => Err(answers::refused(other)),
        // The switch has forgotten it; the store has its record.
        None => {
            let known = find(api, secret.0).await?.ok_or_else(answers::token_invalid)?;
            if known.call != connection.0 {
                return Err(Problem::not_found());
            }
            let record = api.read(move |store| store.get(&known.organization, known.call)).await?;
            record.map(|record| (record.id, record.status)).ok_or_else(Problem::not_found)
        }
    }
}
