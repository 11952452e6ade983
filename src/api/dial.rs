//! `POST /v1/calls/dial`: ring both phones and bridge them, or say what would happen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::oneshot;
use utoipa::ToSchema;

use super::answer::{Data, Problem, Refused, stored};
use super::fields::Fields;
use super::guardrails::Verdict;
use super::idempotency::{Repeatable, conflict, find};
use super::json::Json;
use super::{Api, Caller, body, guardrails, refusal};
use crate::config::bounds::{MAX_DURATION_BOUND, RING_TIMEOUT_BOUND};
use crate::guardrails::Attempt;
use crate::model::{CallId, Confirm, E164, Status};
use crate::store::Answer;
use crate::switch::{Command, Dial, Reply, Unavailable, UserLeg};

/// Characters of `client_name` and `client_label`.
const LABEL_CHARS: usize = 120;

/// Who is called, and how.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "a description; `dial_of` reads the body, so that every mistake is named at once")]
pub struct DialRequest {
    /// The destination.
    to_number: E164,
    /// An active number that the organization owns: what the destination sees.
    #[schema(examples("+12025550100"))]
    from_number: E164,
    /// The user's own phone, never shown to the destination. Without it the phone that is stored for the key's user.
    #[schema(nullable = false)]
    connect_number: Option<E164>,
    /// `press_1`: the person must press 1 before the destination is rung. Default: the organization's.
    #[schema(nullable = false)]
    confirm: Option<Confirm>,
    /// For each leg.
    #[schema(minimum = 5, maximum = 120, default = 45, nullable = false)]
    ring_timeout_seconds: Option<u32>,
    /// Never above the organization's own.
    #[schema(minimum = 1, maximum = 14_400, nullable = false)]
    max_duration_seconds: Option<u32>,
    /// One line; comes back in the record.
    #[schema(max_length = 120, pattern = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$", nullable = false)]
    client_name: Option<String>,
    #[schema(max_length = 120, pattern = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$", nullable = false)]
    client_label: Option<String>,
    /// `true` is refused until the feature exists.
    #[schema(schema_with = only_false)]
    record: Option<bool>,
    /// Likewise.
    #[schema(schema_with = only_false)]
    amd: Option<bool>,
}

fn only_false() -> utoipa::openapi::schema::Object {
    utoipa::openapi::ObjectBuilder::new()
        .schema_type(utoipa::openapi::schema::Type::Boolean)
        .enum_values(Some([false]))
        .build()
}

/// Rings the user's own phone, then the destination, and joins them.
///
/// The answer leaves when the call is durable and
/// before anything rings. With `dry_run=true` nothing is placed, taken or stored: the verdict says what would happen.
#[utoipa::path(
    post, path = "/v1/calls/dial", tag = "Calls", operation_id = "dialCall", request_body = DialRequest, security(("key" = ["calls:write"])),
    params(("dry_run" = Option<bool>, Query, description = "Decide without calling")),
    responses(
        (status = 200, description = "The verdict of a dry run", body = Data<Verdict>),
        (status = 202, description = "Placed", body = Data<Dialed>, headers(
            ("Location" = String, description = "Of the call's record")
        )),
        (status = 403, description = "`caller_id_not_verified`, `destination_not_allowed`, `spend_limit_exceeded`",
            body = Refused),
        (status = 429, description = "`rate_limited`, `concurrency_limit`", body = Refused),
    )
)]
pub async fn dial(
    State(api): State<Arc<Api>>,
    caller: Caller,
    repeatable: Repeatable,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.needs("calls:write")?;
    let dry_run = is_dry_run(&uri)?;
    let object = body::object(&headers, body, api.read_timeout).await?;
    let key = repeatable.key(&caller, &object)?;
    let dial = Dial { idempotency: key, ..dial_of(object, &caller, api.default_ring_timeout)? };
    if dry_run {
        return preview(&api, dial).await;
    }
    let (answer, replay) = place(&api, &caller, dial).await?;
    Ok(stored(answer, replay))
}

fn is_dry_run(uri: &Uri) -> Result<bool, Problem> {
    let mut query = Fields::of_query(uri)?;
    let dry_run = query.word("dry_run", &[("true", true), ("false", false)]);
    query.finish()?;
    Ok(dry_run.unwrap_or(false))
}

/// The dial that a body asks for in the caller's name, or all that is wrong with it.
pub fn dial_of(body: BTreeMap<String, Json>, caller: &Caller, default_ring_timeout: Duration) -> Result<Dial, Problem> {
    let mut fields = Fields::new(body);
    let to = fields.required_number("to_number");
    let from = fields.required_number("from_number");
    let connect = match caller.phone {
        Some(phone) if !fields.has("connect_number") => Some(phone),
        Some(_) | None => fields.required_number("connect_number"),
    };
    let confirm = fields.word("confirm", &[("none", Confirm::None), ("press_1", Confirm::Press1)]);
    let ring_timeout = fields.seconds("ring_timeout_seconds", &RING_TIMEOUT_BOUND);
    let max_duration = fields.seconds("max_duration_seconds", &MAX_DURATION_BOUND);
    let client_name = fields.label("client_name", LABEL_CHARS);
    let client_label = fields.label("client_label", LABEL_CHARS);
    fields.must_be_false("record", "recording does not exist yet; leave it out");
    fields.must_be_false("amd", "answering machine detection does not exist yet; leave it out");
    fields.finish()?;
    let (Some(to), Some(from), Some(connect)) = (to, from, connect) else { return Err(Problem::internal()) };
    let organization = &*caller.organization;
    Ok(Dial {
        organization: organization.id.clone(),
        user: caller.user.clone(),
        from,
        to,
        connect: UserLeg::Phone(connect),
        confirm: confirm.unwrap_or(organization.confirm),
        ring_timeout: ring_timeout.unwrap_or(default_ring_timeout),
        max_duration: max_duration.unwrap_or(organization.max_duration).min(organization.max_duration),
        client_name: client_name.map(Arc::from),
        client_label: client_label.map(Arc::from),
        answer: dialed,
        idempotency: None,
    })
}

/// Has a call placed. The answer that was stored with it, and whether that was for an earlier request.
pub async fn place(api: &Api, caller: &Caller, dial: Dial) -> Result<(Answer, bool), Problem> {
    let (attempt, key) = (attempt(&dial), dial.idempotency.clone());
    match ask(api, Command::Dial(Box::new(dial))).await? {
        Reply::Dialed { answer, call: _ } => Ok((answer, false)),
        Reply::Replayed(answer) => Ok((answer, true)),
        Reply::Conflict { request_id } => Err(conflict(&request_id)),
        Reply::Refused(why) => Err(refusal::refused(why, &caller.organization.limits)),
        // What was answered before needs no room for a call.
        Reply::Unavailable(why) => match find(api, key.as_ref()).await? {
            Some(first) => Ok((first, true)),
            None => Err(unavailable(api, caller, attempt, why).await),
        },
        Reply::Browser(_) | Reply::Hangup { .. } | Reply::NotLive | Reply::Route(_) | Reply::Draining => {
            Err(Problem::internal())
        }
    }
}

/// Nothing can be placed now; but a call that the guardrails refuse is refused all the same, so that
/// its caller does not come back for it (the order of refusals is part of the contract).
async fn unavailable(api: &Api, caller: &Caller, attempt: Attempt, why: Unavailable) -> Problem {
    let now = (api.clock)();
    match api.read(move |store| store.preview(attempt, now)).await {
        Ok(Some(preview)) => match preview.checks.iter().find_map(|check| check.refusal) {
            Some(refusal) => refusal::refused(refusal, &caller.organization.limits),
            None => refusal::unavailable(why),
        },
        Ok(None) | Err(_) => refusal::unavailable(why),
    }
}

async fn preview(api: &Api, dial: Dial) -> Result<Response, Problem> {
    let now = (api.clock)();
    let attempt = attempt(&dial);
    let preview = api.read(move |store| store.preview(attempt, now)).await?.ok_or_else(Problem::not_found)?;
    Ok(Data { data: guardrails::verdict(&preview, &api.currency) }.into_response())
}

/// What the guardrails judge of a dial that is no call (yet): no id is drawn for it.
fn attempt(dial: &Dial) -> Attempt {
    Attempt {
        call: CallId::from_bytes([0; 16]),
        organization: dial.organization.clone(),
        user: dial.user.clone(),
        from: dial.from,
        to: dial.to,
        connect: dial.connect.phone(),
    }
}

/// Hands a command to the switch and waits for its reply.
pub async fn ask(api: &Api, command: Command) -> Result<Reply, Problem> {
    let (reply, answer) = oneshot::channel();
    api.switch.ask(command, reply).map_err(|super::Busy| refusal::busy())?;
    // The sender is only dropped when the process ends.
    answer.await.map_err(|_| refusal::unavailable(crate::switch::Unavailable::Draining))
}

/// A call that was placed.
#[derive(Serialize, ToSchema)]
pub struct Dialed {
    call_id: CallId,
    /// The same as `call_id`.
    provider_call_sid: CallId,
    from_number: E164,
    to_number: E164,
    #[schema(value_type = Status)]
    status: &'static str,
    /// `exact_from_number`.
    selection_source: &'static str,
    /// `none`.
    evidence_state: &'static str,
    #[schema(required, value_type = Option<String>)]
    health_warning: Option<&'static str>,
    /// `none`.
    recommended_action: &'static str,
}

/// The 202. It is stored with the call, so that a repetition gets the same bytes.
pub fn dialed(call: CallId, dial: &Dial) -> Answer {
    let data = Dialed {
        call_id: call,
        provider_call_sid: call,
        from_number: dial.from,
        to_number: dial.to,
        status: Status::Queued.as_str(),
        selection_source: "exact_from_number",
        evidence_state: "none",
        health_warning: None,
        recommended_action: "none",
    };
    // Strings and constants: there is nothing in it that could fail to be written.
    let body = serde_json::to_string(&Data { data }).unwrap_or_default();
    Answer { status: StatusCode::ACCEPTED.as_u16(), location: Some(format!("/v1/calls/{call}")), body }
}
