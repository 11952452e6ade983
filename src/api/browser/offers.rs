//! Offers and their answers: the first with a token, later ones with the secret that came with it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path as UrlPath, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, LINK, LOCATION};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::super::answer::{Problem, Refused};
use super::super::calls::id_of;
use super::super::{Api, body};
use super::answers;
use super::secret::{Opening, Returning, ask, browsers, find, not_here};
use crate::config::TurnServer;
use crate::media::{BrowserOffer, OfferError};
use crate::model::{CallId, ConnectionId, Path, RoomName, Timestamp};
use crate::switch::{BrowserCommand, BrowserReply};
use crate::webrtc::turn_credential;

const SDP: HeaderValue = HeaderValue::from_static("application/sdp");
const RECONNECT: HeaderName = HeaderName::from_static("revbridge-reconnect");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Connects a browser that dials: its offer, and our answer.
#[utoipa::path(
    post, path = "/v1/webrtc/connections", tag = "Browsers", operation_id = "connect",
    request_body(content = String, content_type = "application/sdp"), security(("token" = [])),
    responses(
        (status = 201, description = "Our answer", body = String, content_type = "application/sdp", headers(
            ("Location" = String, description = "Of the connection"),
            ("Revbridge-Reconnect" = String, description = "`rvr_…`: with it this browser dials, hangs up and comes back"),
            ("Link" = String, description = "One for each relay, with its credential (RFC 9725)"),
        )),
        (status = 400, description = "`offer_invalid`, `no_common_codec`", body = Refused),
        (status = 403, description = "`token_wrong_path`", body = Refused),
        (status = 409, description = "`token_used`", body = Refused),
    )
)]
pub async fn connect(
    State(api): State<Arc<Api>>,
    token: Opening,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    open(&api, token, Path::Browser, None, &headers, body).await
}

/// Connects a browser that joins: the destination is rung when its audio path stands.
#[utoipa::path(
    post, path = "/v1/rooms/{room}", tag = "Browsers", operation_id = "join",
    params(("room" = String, Path, description = "`room_name` of the token", pattern = "^room_[0-7][0-9A-HJKMNP-TV-Z]{25}$")),
    request_body(content = String, content_type = "application/sdp"), security(("token" = [])),
    responses(
        (status = 201, description = "Our answer", body = String, content_type = "application/sdp", headers(
            ("Location" = String, description = "Of the connection"),
            ("Revbridge-Reconnect" = String, description = "`rvr_…`: with it this browser dials, hangs up and comes back"),
            ("Link" = String, description = "One for each relay, with its credential (RFC 9725)"),
        )),
        (status = 400, description = "`offer_invalid`, `no_common_codec`", body = Refused),
        (status = 403, description = "`token_wrong_path`", body = Refused),
        (status = 409, description = "`token_used`", body = Refused),
    )
)]
pub async fn join(
    State(api): State<Arc<Api>>,
    token: Opening,
    UrlPath(room): UrlPath<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let room: RoomName = id_of(&room)?;
    open(&api, token, Path::Join, Some(room), &headers, body).await
}

async fn open(
    api: &Api,
    token: Opening,
    path: Path,
    room: Option<RoomName>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    judge(api, token, path, room).await?;
    let offer = offer(api, headers, body).await?;
    match ask(api, token.0, BrowserCommand::Connect { path, room, offer }).await? {
        BrowserReply::Connected { call, answer, returning } => {
            let mut response = described(StatusCode::CREATED, answer);
            let headers = response.headers_mut();
            let location = format!("/v1/webrtc/connections/{}", ConnectionId(call));
            for (name, value) in [(LOCATION, location), (RECONNECT, returning.reveal())] {
                headers.insert(name, HeaderValue::try_from(value).map_err(|_| Problem::internal())?);
            }
            relays(api, call, headers)?;
            Ok(response)
        }
        BrowserReply::Unknown => {
            not_here(api, token.0).await?;
            Err(answers::refused(BrowserReply::Unknown))
        }
        other => Err(answers::refused(other)),
    }
}

/// Before the body is read: a token that opens nothing is not worth it. Of those that come at once the switch
/// lets one in.
async fn judge(api: &Api, token: Opening, path: Path, room: Option<RoomName>) -> Result<(), Problem> {
    let state = find(api, token.0).await?.ok_or_else(answers::token_invalid)?;
    if state.path != path || room.is_some_and(|room| room.0 != state.call) {
        return Err(answers::wrong_path());
    }
    if state.is_used {
        return Err(answers::token_used());
    }
    if state.expires_at <= (api.clock)() { Err(answers::token_expired()) } else { Ok(()) }
}

/// Comes back: an ICE restart, or the page after a reload.
#[utoipa::path(
    patch, path = "/v1/webrtc/connections/{connection}", tag = "Browsers", operation_id = "reconnect",
    params(("connection" = String, Path, description = "Of `Location`", pattern = "^conn_[0-7][0-9A-HJKMNP-TV-Z]{25}$")),
    request_body(content = String, content_type = "application/sdp"), security(("returning" = [])),
    responses(
        (status = 200, description = "Our answer", body = String, content_type = "application/sdp"),
        (status = 400, description = "`offer_invalid`, `no_common_codec`", body = Refused),
    )
)]
pub async fn reconnect(
    State(api): State<Arc<Api>>,
    secret: Returning,
    UrlPath(connection): UrlPath<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let connection: ConnectionId = id_of(&connection)?;
    let offer = offer(&api, &headers, body).await?;
    match secret.ask(&api, BrowserCommand::Reconnect { connection, offer }).await? {
        BrowserReply::Answer(answer) => {
            let mut response = described(StatusCode::OK, answer);
            relays(&api, connection.0, response.headers_mut())?;
            Ok(response)
        }
        other => Err(answers::refused(other)),
    }
}

async fn offer(api: &Api, headers: &HeaderMap, body: Body) -> Result<Box<BrowserOffer>, Problem> {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (first, second) = (types.next().and_then(|t| t.to_str().ok()), types.next());
    let media = first.and_then(|t| t.split(';').next()).map(str::trim);
    let sdp = media.is_some_and(|m| m.eq_ignore_ascii_case("application/sdp"));
    if !sdp || second.is_some() || headers.contains_key(CONTENT_ENCODING) {
        let message = "send the offer as Content-Type: application/sdp, without Content-Encoding";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message));
    }
    let bytes = body::bytes(headers, body, api.read_timeout).await?;
    let text = std::str::from_utf8(&bytes).map_err(|_| answers::offer(OfferError::NotSdp))?;
    BrowserOffer::parse(text).map(Box::new).map_err(answers::offer)
}

fn described(status: StatusCode, sdp: Box<str>) -> Response {
    (status, [(CONTENT_TYPE, SDP), (CACHE_CONTROL, NO_STORE)], String::from(sdp)).into_response()
}

/// One `Link` for each relay (RFC 9725 §4.6), with a credential of this call.
fn relays(api: &Api, call: CallId, headers: &mut HeaderMap) -> Result<(), Problem> {
    let now = (api.clock)();
    for server in &browsers(api)?.config.turn {
        let link = HeaderValue::try_from(relay(server, call, now)).map_err(|_| Problem::internal())?;
        headers.append(LINK, link);
    }
    Ok(())
}

fn relay(server: &TurnServer, call: CallId, now: Timestamp) -> String {
    let made = turn_credential(&server.secret, &call.to_string(), now + server.ttl);
    format!(
        "<{}>; rel=\"ice-server\"; username=\"{}\"; credential=\"{}\"; credential-type=\"password\"",
        server.uri, made.username, made.credential
    )
}
