//! `GET /openapi.json`: what the handlers say of themselves, and what holds for all of them.
//!
//! ```text
//! #[utoipa::path] on each handler ─ routes!() ─▶ router and document at once ─ complete() ─▶ OpenAPI 3.1
//! ```
//!
//! A handler is served only by being listed with its description, so none is left out. What the layers in front of
//! the handlers do for every path (ids, keys, limits, repetition) is written into every operation here, by rule.
//!
//! `docs/openapi.json` is a copy that a test compares. Deliberately absent: anything that is said of the API by hand
//! in a second place.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Extension;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{OpenApi as Described, RefOr, Schema};
use utoipa::{OpenApi, PartialSchema, ToSchema};

use super::answer::Refused;
use super::fields::NoQuery;
use crate::model::{CallId, E164, Status, Timestamp};

/// Every `error.code`, with what it means for the client.
pub const ERRORS: [(&str, &str); 35] = [
    ("invalid_request", "Something in the request is wrong; `fields` names all of it, with what was expected."),
    ("unauthorized", "The key is missing, unknown, revoked or expired."),
    ("insufficient_scope", "The key is good, but not for this; `WWW-Authenticate` names the scope."),
    ("not_found", "There is nothing here, or it belongs to another organization."),
    ("method_not_allowed", "The path is there, but not for this method; `Allow` lists those that are."),
    ("request_timeout", "The body took too long to arrive."),
    (
        "idempotency_conflict",
        "This `Idempotency-Key` came with another body before; `conflicts_with` is the id of that request.",
    ),
    ("payload_too_large", "The body is larger than 64 kB."),
    ("unsupported_media_type", "The body is not of the type that this path reads, or is compressed."),
    (
        "rate_limited",
        "Too many calls in the last 60 seconds, or too many requests; `RateLimit-Policy` says which. The same request passes after `Retry-After`.",
    ),
    ("concurrency_limit", "The legs in use and this call's would be more than allowed."),
    ("stream_limit", "The key holds as many event streams as it may."),
    ("subscription_limit", "The organization has as many webhook subscriptions as it may."),
    ("caller_id_not_verified", "`from_number` is not an active number of the organization."),
    (
        "destination_not_allowed",
        "A number is outside the allowlist, an emergency or short code, another number of the same call, or has no price.",
    ),
    ("spend_limit_exceeded", "Today's spend, all open reservations and this call would be more than the daily limit."),
    ("token_invalid", "This is not a browser's token, or not of the kind that this path takes."),
    ("token_expired", "The token's time, or its call, is over."),
    ("token_used", "The token has opened its call before."),
    ("token_wrong_path", "The token is for the other browser path."),
    ("token_destination_mismatch", "The token's call goes to another number."),
    ("offer_invalid", "The offer cannot be answered; `fields.sdp` says why."),
    ("no_common_codec", "The offer has no codec that this call can use."),
    (
        "unavailable",
        "Nothing can be done now: draining, no trunk, no port, no room, or no store. Try again after `Retry-After`.",
    ),
    ("already_exists", "Of `/v1/admin`: there is one of this name."),
    ("taken", "Of `/v1/admin`: another organization has it."),
    ("organization_closed", "Of `/v1/admin`: the organization is closed."),
    ("key_not_active", "Of `/v1/admin`: the key is revoked or expired."),
    ("already_rotated", "Of `/v1/admin`: the key has a successor."),
    ("too_many", "Of `/v1/admin`: there are as many as may be."),
    ("invalid_configuration", "Of `/v1/admin`: the file has mistakes; the message holds all of them."),
    ("number_in_use", "Of `/v1/admin`: calls with this number are not over."),
    ("number_owned", "Of `/v1/admin`: the number is an organization's own, no person's."),
    ("number_declared", "Of `/v1/admin`: the number is still declared; the message says where."),
    ("internal_error", "Our fault. Try again, then tell us the `X-Request-Id`."),
];

/// `error.code`.
pub struct ErrorCode;

impl PartialSchema for ErrorCode {
    fn schema() -> RefOr<Schema> {
        let codes = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(ERRORS.map(|(code, _)| code)));
        codes.description(Some("A closed list; `x-meanings` explains each.")).into()
    }
}

impl ToSchema for ErrorCode {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("ErrorCode")
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "revbridge",
        description = "Rings two phones and joins them, showing only a number that the organization owns.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "Calls", description = "Placing calls, ending them, and reading their records."),
        (name = "Events", description = "What happens, as it happens."),
        (name = "Webhooks", description = "What happens, sent to a URL of yours."),
        (name = "Tokens", description = "One call for a browser, issued by a server that has a key."),
        (name = "Browsers", description = "For the browser that holds a token: never for a key."),
        (name = "About", description = "This document."),
    ),
    components(schemas(Refused, ErrorCode, E164, CallId, Status, Timestamp))
)]
struct Base;

/// What all paths have in common, before any is added.
pub fn base() -> Described {
    Base::openapi()
}

/// The finished document, as it is served.
#[derive(Clone)]
pub struct Document(Arc<str>);

impl Document {
    pub fn of(described: &Described) -> Self {
        // Strings and maps: there is nothing in it that could fail to be written.
        let mut document = serde_json::to_value(described).unwrap_or_default();
        complete(&mut document);
        Self(serde_json::to_string_pretty(&document).unwrap_or_default().into())
    }

    pub fn text(&self) -> &str {
        &self.0
    }
}

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "About", operation_id = "getDocument",
    responses((status = 200, description = "OpenAPI 3.1", body = Object))
)]
pub async fn document(Extension(Document(text)): Extension<Document>, _: NoQuery) -> Response {
    let head = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (head, text.to_string()).into_response()
}

fn complete(document: &mut Value) {
    document["components"]["headers"] = headers();
    document["components"]["securitySchemes"] = schemes();
    document["components"]["schemas"]["ErrorCode"]["x-meanings"] =
        ERRORS.iter().map(|(code, meaning)| ((*code).to_owned(), json!(meaning))).collect::<Map<_, _>>().into();
    let paths = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.iter_mut());
    for (path, item) in paths {
        let has_parameter = path.contains('{');
        for (method, operation) in item.as_object_mut().into_iter().flat_map(|item| item.iter_mut()) {
            complete_operation(operation, method, has_parameter);
        }
    }
}

/// Who may use a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Credential {
    Nothing,
    Key,
    Token,
}

fn complete_operation(operation: &mut Value, method: &str, has_parameter: bool) {
    let names = |scheme: &str| {
        operation["security"].as_array().is_some_and(|all| all.iter().any(|one| one.get(scheme).is_some()))
    };
    let credential = match (names("key"), names("token") || names("returning")) {
        (true, _) => Credential::Key,
        (false, true) => Credential::Token,
        (false, false) => Credential::Nothing,
    };
    let repeatable = credential == Credential::Key && method != "get";
    let has_body = operation.get("requestBody").is_some();
    require_an_object(operation);
    let mut errors = vec![("400", "`invalid_request`"), ("429", "`rate_limited`")];
    errors.extend(
        match credential {
            Credential::Nothing => [None; 4],
            Credential::Key => [
                Some(("401", "`unauthorized`")),
                Some(("403", "`insufficient_scope`")),
                Some(("500", "`internal_error`")),
                Some(("503", "`unavailable`")),
            ],
            Credential::Token => [
                Some(("401", "`token_invalid`, `token_expired`")),
                None,
                Some(("500", "`internal_error`")),
                Some(("503", "`unavailable`")),
            ],
        }
        .into_iter()
        .flatten(),
    );
    errors.extend(has_parameter.then_some(("404", "`not_found`")));
    errors.extend(repeatable.then_some(("409", "`idempotency_conflict`")));
    if has_body {
        let of_bodies =
            [("408", "`request_timeout`"), ("413", "`payload_too_large`"), ("415", "`unsupported_media_type`")];
        errors.extend(of_bodies);
    }
    if repeatable {
        parameters(operation).push(idempotency_key());
    }
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    for (status, text) in errors {
        let response = responses.entry(status).or_insert_with(|| {
            let body = json!({"application/json": {"schema": {"$ref": "#/components/schemas/Refused"}}});
            json!({"description": "", "content": body})
        });
        add_text(response, text);
    }
    for (status, response) in responses {
        let mut names = vec!["X-Request-Id"];
        match status.as_str() {
            "401" | "403" => names.push("WWW-Authenticate"),
            "429" => names.extend(["Retry-After", "RateLimit", "RateLimit-Policy"]),
            "503" => names.push("Retry-After"),
            status if status.starts_with('2') && repeatable => names.push("Idempotency-Replay"),
            _ => {}
        }
        for name in names {
            response["headers"][name] = json!({"$ref": format!("#/components/headers/{name}")});
        }
    }
}

/// A body that may be left out is still no `null`.
fn require_an_object(operation: &mut Value) {
    let Some(schema) = operation.pointer_mut("/requestBody/content/application~1json/schema") else { return };
    let object = schema["oneOf"].as_array().and_then(|all| all.iter().find(|one| one["type"] != "null")).cloned();
    if let Some(object) = object {
        *schema = object;
    }
}

/// Says a code that the description does not name yet.
fn add_text(response: &mut Value, text: &str) {
    let said = response["description"].as_str().unwrap_or_default().to_owned();
    let new: Vec<&str> = text.split(", ").filter(|code| !said.contains(code)).collect();
    let all = std::iter::once(said.as_str()).chain(new).filter(|part| !part.is_empty()).collect::<Vec<_>>();
    response["description"] = all.join(", ").into();
}

fn parameters(operation: &mut Value) -> &mut Vec<Value> {
    if !operation["parameters"].is_array() {
        operation["parameters"] = json!([]);
    }
    match &mut operation["parameters"] {
        Value::Array(all) => all,
        _ => unreachable!("just made"),
    }
}

fn idempotency_key() -> Value {
    json!({
        "name": "Idempotency-Key", "in": "header",
        "description": "The same request with the same key happens once, for 24 hours; only successes are kept.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    })
}

fn headers() -> Value {
    let text = |description: &str, required: bool| json!({"description": description, "required": required, "schema": {"type": "string"}});
    json!({
        "X-Request-Id": text("Names this request: tell it to us when something went wrong. It is the one that the request came with, when that is 1 to 128 of `0-9 A-Z a-z _ . : -`.", true),
        "WWW-Authenticate": text("RFC 6750; names the scope that is missing.", true),
        "Retry-After": {
            "description": "Whole seconds after which the same request would pass.", "required": true,
            "schema": {"type": "integer", "minimum": 1},
        },
        "RateLimit": text("What is left, and in how many seconds there is more.", true),
        "RateLimit-Policy": text("Which limit, how much of it, and in how many seconds.", true),
        "Idempotency-Replay": {
            "description": "`true` when this answer was given before.",
            "schema": {"type": "string", "enum": ["true"]},
        },
    })
}

fn schemes() -> Value {
    let bearer = |description: &str| json!({"type": "http", "scheme": "bearer", "description": description});
    json!({
        "key": bearer("An API key, with the scopes that each operation names: `calls:read`, `calls:trace`, `calls:write`, `voice:webrtc`, `webhooks:write`."),
        "token": bearer("`rvw_…`: the token of one call, for the first connection."),
        "returning": bearer("`rvr_…`: what came with the answer to the first connection."),
    })
}
