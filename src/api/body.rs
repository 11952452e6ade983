//! A request's body, bounded in bytes and in time.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use super::answer::Problem;
use super::json::Json;
use crate::config::bounds::API_BODY_BYTES;

/// The JSON object in the body.
pub async fn object(headers: &HeaderMap, body: Body, time: Duration) -> Result<BTreeMap<String, Json>, Problem> {
    must_be_json(headers)?;
    parse(&bytes(headers, body, time).await?)
}

/// Like [`object`], where no body is as good as an empty object.
pub async fn optional(headers: &HeaderMap, body: Body, time: Duration) -> Result<BTreeMap<String, Json>, Problem> {
    let bytes = bytes(headers, body, time).await?;
    if bytes.is_empty() {
        return Ok(BTreeMap::new());
    }
    must_be_json(headers)?;
    parse(&bytes)
}

fn must_be_json(headers: &HeaderMap) -> Result<(), Problem> {
    if is_json(headers) {
        return Ok(());
    }
    let message = "send the body as Content-Type: application/json, without Content-Encoding";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message))
}

fn parse(bytes: &[u8]) -> Result<BTreeMap<String, Json>, Problem> {
    match Json::parse(bytes) {
        Ok(Json::Object(object)) => Ok(object),
        Ok(other) => Err(Problem::invalid(format!("the body must be a JSON object, found {}", other.kind()))),
        Err(e) => Err(Problem::invalid(format!("the body is not JSON that we read: {e}"))),
    }
}

/// `application/json`, in UTF-8 when it says a charset.
fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(Ok(text)), None) = (types.next().map(HeaderValue::to_str), types.next()) else { return false };
    let mut parts = text.split(';').map(str::trim);
    let media = parts.next().is_some_and(|m| m.eq_ignore_ascii_case("application/json"));
    let utf8 = parts.all(|p| {
        !p.to_ascii_lowercase().starts_with("charset=") || p[8..].trim_matches('"').eq_ignore_ascii_case("utf-8")
    });
    media && utf8 && !headers.contains_key(CONTENT_ENCODING)
}

pub(super) async fn bytes(headers: &HeaderMap, body: Body, time: Duration) -> Result<Bytes, Problem> {
    // Known to be too large: not a byte of it is read.
    let declared = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|n| n > API_BODY_BYTES as u64) {
        return Err(too_large());
    }
    tokio::time::timeout(time, collect(body)).await.map_err(|_| too_slow())?
}

async fn collect(mut body: Body) -> Result<Bytes, Problem> {
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let broken = |_| closing(Problem::invalid("the body ended early or was framed wrongly"));
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        if all.len() + data.len() > API_BODY_BYTES {
            return Err(too_large());
        }
        all.extend_from_slice(&data);
    }
    Ok(all.freeze())
}

fn too_large() -> Problem {
    let message = format!("a body has at most {API_BODY_BYTES} bytes; send less");
    closing(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", message))
}

fn too_slow() -> Problem {
    closing(Problem::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the body took too long; send it at once"))
}

/// What is left of the body will not be read, so the connection cannot serve another request.
fn closing(problem: Problem) -> Problem {
    problem.header(CONNECTION, HeaderValue::from_static("close"))
}
