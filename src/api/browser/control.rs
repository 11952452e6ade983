//! Dial and hang up, by the browser that is connected.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::answer::{Data, Problem, Refused, json};
use super::super::calls::{Nothing, id_of};
use super::super::fields::Fields;
use super::super::{Api, body};
use super::answers;
use super::secret::{Returning, find};
use crate::model::{CallId, ConnectionId, E164, Status};
use crate::switch::{BrowserCommand, BrowserReply};

/// Leaving it out is the same as naming the token's destination.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "a description; `dial` reads the body")]
pub struct BrowserDialRequest {
    /// The destination that the token was issued for.
    #[schema(nullable = false)]
    to_number: Option<E164>,
}

/// Where the browser's call stands.
#[derive(Serialize, ToSchema)]
pub struct Standing {
    call_id: CallId,
    status: Status,
}

/// Rings the destination: once, however often it is asked for.
#[utoipa::path(
    post, path = "/v1/webrtc/connections/{connection}/dial", tag = "Browsers", operation_id = "dialFromBrowser",
    params(("connection" = String, Path, description = "Of `Location`", pattern = "^conn_[0-7][0-9A-HJKMNP-TV-Z]{25}$")),
    request_body(content = Option<BrowserDialRequest>, content_type = "application/json"), security(("returning" = [])),
    responses(
        (status = 202, description = "It is rung, or was", body = Data<Standing>),
        (status = 403, description = "`token_wrong_path`, `token_destination_mismatch`", body = Refused),
    )
)]
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

/// Ends the browser's call; one that is over answers as well.
#[utoipa::path(
    post, path = "/v1/webrtc/connections/{connection}/hangup", tag = "Browsers", operation_id = "hangUpFromBrowser",
    params(("connection" = String, Path, description = "Of `Location`", pattern = "^conn_[0-7][0-9A-HJKMNP-TV-Z]{25}$")),
    request_body(content = Option<Nothing>, content_type = "application/json"), security(("returning" = [])),
    responses((status = 200, description = "The end is durable", body = Data<Standing>))
)]
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

/// Ends the browser's call, in WHIP's words.
#[utoipa::path(
    delete, path = "/v1/webrtc/connections/{connection}", tag = "Browsers", operation_id = "deleteConnection",
    params(("connection" = String, Path, description = "Of `Location`", pattern = "^conn_[0-7][0-9A-HJKMNP-TV-Z]{25}$")),
    security(("returning" = [])),
    responses((status = 204, description = "The end is durable"))
)]
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
