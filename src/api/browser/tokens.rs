//! `POST /v1/webrtc-token` and `POST /v1/room-token`: a call is admitted, and a browser's token issued for it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::answer::{Data, Problem, Refused};
use super::super::auth::bearer_of;
use super::super::dial::place;
use super::super::fields::{Fields, NoQuery};
use super::super::idempotency::{REPLAY, Repeatable};
use super::super::{Api, Caller, body};
use super::answers;
use super::secret::{browsers, find};
use crate::config::bounds::{ROOM_TTL, ROOM_TTL_BOUND};
use crate::model::{CallId, Confirm, E164, Opener, Path, RoomName, Token, TokenSeed};
use crate::store::Answer;
use crate::switch::{Dial, TokenOrder, UserLeg};

/// The one call that a browser's token is for.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "a description; `issue` reads the body, so that every mistake is named at once")]
pub struct WebrtcTokenRequest {
    /// The destination.
    to_number: E164,
    /// An active number that the organization owns: what the destination sees.
    #[schema(examples("+12025550100"))]
    from_number: E164,
}

/// The one call that a browser may join.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "likewise")]
pub struct RoomTokenRequest {
    /// The destination.
    to_number: E164,
    /// An active number that the organization owns: what the destination sees.
    #[schema(examples("+12025550100"))]
    from_number: E164,
    /// In which the browser must join.
    #[schema(minimum = 30, maximum = 600, default = 120, nullable = false)]
    ttl_seconds: Option<u32>,
}

/// A token for a browser that dials.
///
/// One call, one caller ID, one destination; dead at the call's end.
#[utoipa::path(
    post, path = "/v1/webrtc-token", tag = "Tokens", operation_id = "issueWebrtcToken",
    request_body = WebrtcTokenRequest, security(("key" = ["voice:webrtc"])),
    responses(
        (status = 200, description = "The token, shown once", body = Data<WebrtcToken>),
        (status = 403, description = "`caller_id_not_verified`, `destination_not_allowed`, `spend_limit_exceeded`",
            body = Refused),
        (status = 409, description = "`token_used`", body = Refused),
        (status = 429, description = "`rate_limited`, `concurrency_limit`", body = Refused),
    )
)]
pub async fn webrtc_token(
    State(api): State<Arc<Api>>,
    caller: Caller,
    repeatable: Repeatable,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    issue(&api, &caller, repeatable, Path::Browser, &headers, body).await
}

/// A token for a browser that only joins.
///
/// The server places the call when the browser's audio path stands, so nobody answers to silence.
#[utoipa::path(
    post, path = "/v1/room-token", tag = "Tokens", operation_id = "issueRoomToken",
    request_body = RoomTokenRequest, security(("key" = ["voice:webrtc"])),
    responses(
        (status = 200, description = "The token, shown once", body = Data<RoomToken>),
        (status = 403, description = "`caller_id_not_verified`, `destination_not_allowed`, `spend_limit_exceeded`",
            body = Refused),
        (status = 409, description = "`token_used`", body = Refused),
        (status = 429, description = "`rate_limited`, `concurrency_limit`", body = Refused),
    )
)]
pub async fn room_token(
    State(api): State<Arc<Api>>,
    caller: Caller,
    repeatable: Repeatable,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    issue(&api, &caller, repeatable, Path::Join, &headers, body).await
}

async fn issue(
    api: &Api,
    caller: &Caller,
    repeatable: Repeatable,
    path: Path,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.needs("voice:webrtc")?;
    let object = body::object(headers, body, api.read_timeout).await?;
    let idempotency = repeatable.key(caller, &object)?;
    let mut fields = Fields::new(object);
    let to = fields.required_number("to_number");
    let from = fields.required_number("from_number");
    let organization = &*caller.organization;
    let valid = match path {
        Path::Join => {
            fields.seconds("ttl_seconds", &ROOM_TTL_BOUND).unwrap_or(std::time::Duration::from_secs(ROOM_TTL))
        }
        Path::Browser | Path::Bridge => organization.max_duration,
    };
    fields.finish()?;
    let (Some(to), Some(from)) = (to, from) else { return Err(Problem::internal()) };
    let key = headers.get("idempotency-key").map_or(&[][..], HeaderValue::as_bytes);
    let opener = Opener::new(bearer_of(headers).unwrap_or_default(), key);
    let dial = Dial {
        organization: organization.id.clone(),
        user: caller.user.clone(),
        from,
        to,
        connect: UserLeg::Browser(TokenOrder { path, valid, opener, seed: None }),
        confirm: Confirm::None,
        ring_timeout: api.default_ring_timeout,
        max_duration: organization.max_duration,
        client_name: None,
        client_label: None,
        answer: issued,
        idempotency,
    };
    let (answer, replay) = place(api, caller, dial).await?;
    open(api, &answer, &opener, replay).await
}

/// The answer as it is stored: with a seed, not with a token.
#[derive(Serialize, Deserialize)]
struct Sealed {
    seed: TokenSeed,
    call_id: CallId,
    path: Path,
    expires_in: u64,
    from_number: E164,
    /// `None` when it was erased since.
    to_number: Option<E164>,
}

/// The answer of a call with a browser's token, for the store.
pub fn issued(call: CallId, dial: &Dial) -> Answer {
    let body = match &dial.connect {
        UserLeg::Phone(_) => None,
        UserLeg::Browser(order) => order.seed.map(|seed| Sealed {
            seed,
            call_id: call,
            path: order.path,
            expires_in: order.valid.as_secs(),
            from_number: dial.from,
            to_number: Some(dial.to),
        }),
    };
    // Strings and numbers: there is nothing in it that could fail to be written.
    let body = body.and_then(|sealed| serde_json::to_string(&sealed).ok()).unwrap_or_default();
    Answer { status: StatusCode::OK.as_u16(), location: None, body }
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebrtcToken {
    token: String,
    expires_in: u64,
    call_id: CallId,
    from_number: E164,
    to_number: Option<E164>,
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoomToken {
    token: String,
    room_url: String,
    room_name: String,
    call_id: CallId,
    expires_in: u64,
    from_number: E164,
    to_number: Option<E164>,
}

/// Makes the token again for its client. A repetition gets it until it is used.
async fn open(api: &Api, answer: &Answer, opener: &Opener, replay: bool) -> Result<Response, Problem> {
    let sealed: Sealed = serde_json::from_str(&answer.body).map_err(|_| Problem::internal())?;
    let Sealed { seed, call_id, path, expires_in, from_number, to_number } = sealed;
    let token = Token::of_seed(&seed, opener);
    if replay && find(api, token.digest()).await?.is_none_or(|state| state.is_used) {
        return Err(answers::token_used());
    }
    let token = token.reveal();
    let mut response = match path {
        Path::Join => {
            let room_name = RoomName(call_id).to_string();
            let room_url = format!("{}/v1/rooms/{room_name}", browsers(api)?.config.public_url);
            let data = RoomToken { token, room_url, room_name, call_id, expires_in, from_number, to_number };
            Data { data }.into_response()
        }
        Path::Browser | Path::Bridge => {
            Data { data: WebrtcToken { token, expires_in, call_id, from_number, to_number } }.into_response()
        }
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if replay {
        response.headers_mut().insert(REPLAY, HeaderValue::from_static("true"));
    }
    Ok(response)
}
