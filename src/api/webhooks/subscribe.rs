//! `POST /v1/webhook_subscriptions`: an organization wants to be told of one kind of event.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

use super::super::answer::{Data, Problem, Refused, json};
use super::super::fields::{Fields, NoQuery};
use super::super::idempotency::{REPLAY, Repeatable, conflict, find};
use super::super::{Api, Caller, body};
use super::WebhookApi;
use crate::events::{FactKind, SecretSeed, UrlProblem, WebhookUrl};
use crate::model::SubscriptionId;
use crate::store::{Answer, Idempotency, Once, Subscribed, Subscription};

/// Longer than a name server takes that is there at all.
const LOOKUP: Duration = Duration::from_secs(3);

/// Who is to be told of what.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "a description; `fields` reads the body, so that every mistake is named at once")]
pub struct SubscriptionRequest {
    /// `https`, on the Internet; without credentials or a fragment.
    #[schema(max_length = 2048, examples("https://example.com/hooks"))]
    webhook_url: String,
    #[schema(schema_with = event_type)]
    event_type: FactKind,
}

fn event_type() -> Object {
    let words = FactKind::webhooks().map(FactKind::as_str);
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).build()
}

/// The answer; its secret is shown here and nowhere else.
#[derive(Serialize, ToSchema)]
pub struct Created {
    id: SubscriptionId,
    /// `whsec_` and base64, as Standard Webhooks libraries take it.
    secret: String,
}

/// The answer as it is stored.
#[derive(Serialize, Deserialize)]
struct Sealed {
    id: SubscriptionId,
    seed: SecretSeed,
}

/// Subscribe to one type of event.
///
/// Each is sent to the URL at least once, in order per call, signed by the scheme of Standard Webhooks and by
/// `X-RevDesk-Signature`, and tried for 24 hours.
#[utoipa::path(
    post, path = "/v1/webhook_subscriptions", tag = "Webhooks", operation_id = "createWebhookSubscription",
    request_body = SubscriptionRequest, security(("key" = ["webhooks:write"])),
    responses(
        (status = 201, description = "From now on; the secret is shown this once", body = Data<Created>, headers(
            ("Location" = String, description = "Of the subscription")
        )),
        (status = 403, description = "`subscription_limit`", body = Refused),
    )
)]
pub async fn subscribe(
    State(api): State<Arc<Api>>,
    caller: Caller,
    repeatable: Repeatable,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.needs("webhooks:write")?;
    let object = body::object(&headers, body, api.read_timeout).await?;
    let key = repeatable.key(&caller, &object)?;
    let (url, kind) = fields(&api.webhooks, Fields::new(object))?;
    if let Some(first) = find(&api, key.as_ref()).await? {
        return open(&api.webhooks, &first, true);
    }
    reachable(&api.webhooks, &url).await?;
    let organization = caller.organization.id.clone();
    let subscription = Subscription {
        id: SubscriptionId::new((api.clock)(), random()?),
        kind,
        url: url.as_str().to_owned(),
        created_at: (api.clock)(),
        seed: SecretSeed(random()?),
        key: api.webhooks.key.print(),
        receiver: url.receiver(&organization),
        lane: url.lane(&organization),
    };
    let answer = sealed(&subscription)?;
    let once =
        key.map(|key| Idempotency { key: key.key, body: key.body, request_id: key.request_id, answer: answer.clone() });
    let most = api.webhooks.max_subscriptions;
    match api.read(move |store| store.subscribe(&organization, subscription, most, once)).await? {
        Once::Done(Subscribed::Taken) => open(&api.webhooks, &answer, false),
        Once::Done(Subscribed::TooMany) => Err(too_many(most)),
        Once::Replayed(first) => open(&api.webhooks, &first, true),
        Once::Conflict { request_id } => Err(conflict(&request_id)),
    }
}

fn fields(webhooks: &WebhookApi, mut fields: Fields) -> Result<(WebhookUrl, FactKind), Problem> {
    let url = fields.required_text("webhook_url", "the https URL to send to, such as https://example.com/hooks");
    let url = url.and_then(|text| {
        let url = WebhookUrl::parse(&text, webhooks.reach);
        url.map_err(|problem| fields.wrong("webhook_url", problem.to_string())).ok()
    });
    let kinds: Vec<_> = FactKind::webhooks().map(|kind| (kind.as_str(), kind)).collect();
    if !fields.has("event_type") {
        fields.wrong(
            "event_type",
            format!("missing; expected one of {}", kinds.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ")),
        );
    }
    let kind = fields.word("event_type", &kinds);
    fields.finish()?;
    url.zip(kind).ok_or_else(Problem::internal)
}

/// Refuses a name that leads where nothing is sent. One that has no address now is judged when something is
/// sent, as every one is again.
async fn reachable(webhooks: &WebhookApi, url: &WebhookUrl) -> Result<(), Problem> {
    if url.address().is_some() {
        return Ok(());
    }
    let lookup = (webhooks.lookup)(url.host().to_owned(), url.port());
    let Ok(Ok(found)) = tokio::time::timeout(LOOKUP, lookup).await else { return Ok(()) };
    if found.iter().all(|address| webhooks.reach.allows(url, *address)) {
        return Ok(());
    }
    Err(Problem::invalid("correct the fields that are named").field("webhook_url", UrlProblem::Address.to_string()))
}

fn too_many(most: usize) -> Problem {
    let message = format!("an organization has at most {most} webhook subscriptions; delete one");
    Problem::new(StatusCode::FORBIDDEN, "subscription_limit", message)
}

fn random<const N: usize>() -> Result<[u8; N], Problem> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| Problem::internal())?;
    Ok(bytes)
}

fn sealed(subscription: &Subscription) -> Result<Answer, Problem> {
    let sealed = Sealed { id: subscription.id, seed: subscription.seed };
    let body = serde_json::to_string(&sealed).map_err(|_| Problem::internal())?;
    let location = Some(format!("/v1/webhook_subscriptions/{}", subscription.id));
    Ok(Answer { status: StatusCode::CREATED.as_u16(), location, body })
}

/// Makes the secret for the answer.
fn open(webhooks: &WebhookApi, answer: &Answer, replay: bool) -> Result<Response, Problem> {
    let Sealed { id, seed } = serde_json::from_str(&answer.body).map_err(|_| Problem::internal())?;
    let data = Created { id, secret: webhooks.key.secret(id, &seed).reveal() };
    let mut response = json(StatusCode::CREATED, &Data { data });
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(location) = answer.location.as_ref().and_then(|at| HeaderValue::try_from(at).ok()) {
        headers.insert(LOCATION, location);
    }
    if replay {
        headers.insert(REPLAY, HeaderValue::from_static("true"));
    }
    Ok(response)
}
