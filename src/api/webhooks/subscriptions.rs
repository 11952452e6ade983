//! `GET` and `DELETE` of subscriptions.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::answer::{Data, Problem, json, stored};
use super::super::calls::{Nothing, id_of};
use super::super::fields::{Fields, NoQuery};
use super::super::idempotency::{Repeatable, conflict};
use super::super::{Api, Caller, body};
use crate::events::FactKind;
use crate::model::SubscriptionId;
use crate::store::{Answer, Idempotency, Once, SubscriptionState};

/// A subscription; nobody is shown its secret again.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookSubscription)]
pub struct Shown {
    id: SubscriptionId,
    webhook_url: String,
    #[schema(inline)]
    event_type: FactKind,
    state: Standing,
    created_at: String,
    pending_deliveries: u64,
    dead_deliveries: u64,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Standing {
    Active,
    /// Its receiver answered 410: a replay makes it active again.
    Disabled,
}

impl From<SubscriptionState> for Shown {
    fn from(state: SubscriptionState) -> Self {
        Self {
            id: state.id,
            webhook_url: state.url,
            event_type: state.kind,
            state: if state.disabled { Standing::Disabled } else { Standing::Active },
            created_at: state.created_at.rfc3339(),
            pending_deliveries: state.pending,
            dead_deliveries: state.dead,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = WebhookSubscriptions)]
pub struct Listed {
    data: Vec<Shown>,
    meta: Meta,
}

/// There is one page: an organization has few subscriptions.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookSubscriptionsMeta)]
struct Meta {
    page_size: usize,
}

/// The organization's subscriptions, on one page.
#[utoipa::path(
    get, path = "/v1/webhook_subscriptions", tag = "Webhooks", operation_id = "listWebhookSubscriptions",
    security(("key" = ["webhooks:write"])), responses((status = 200, description = "All of them", body = Listed))
)]
pub async fn list(State(api): State<Arc<Api>>, caller: Caller, _: NoQuery) -> Result<Response, Problem> {
    caller.needs("webhooks:write")?;
    let organization = caller.organization.id.clone();
    let all = api.read(move |store| store.subscriptions(&organization)).await?;
    let meta = Meta { page_size: api.webhooks.max_subscriptions };
    Ok(json(StatusCode::OK, &Listed { data: all.into_iter().map(Shown::from).collect(), meta }))
}

/// One subscription, without its secret.
#[utoipa::path(
    get, path = "/v1/webhook_subscriptions/{id}", tag = "Webhooks", operation_id = "getWebhookSubscription",
    params(("id" = SubscriptionId, Path)), security(("key" = ["webhooks:write"])),
    responses((status = 200, description = "The subscription", body = Data<Shown>))
)]
pub async fn get(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    _: NoQuery,
) -> Result<Response, Problem> {
    caller.needs("webhooks:write")?;
    let id = id_of(&id)?;
    let organization = caller.organization.id.clone();
    let found = api.read(move |store| store.subscription(&organization, id)).await?;
    let data = Shown::from(found.ok_or_else(Problem::not_found)?);
    Ok(json(StatusCode::OK, &Data { data }))
}

#[derive(Serialize, ToSchema)]
#[schema(as = WebhookSubscriptionDeleted)]
pub struct Deleted {
    id: SubscriptionId,
    deleted: bool,
}

/// End a subscription, with all that is pending for it.
///
/// From the answer on nothing more is sent, but for a try that is under way.
#[utoipa::path(
    delete, path = "/v1/webhook_subscriptions/{id}", tag = "Webhooks", operation_id = "deleteWebhookSubscription",
    params(("id" = SubscriptionId, Path)), request_body(content = Option<Nothing>, content_type = "application/json"),
    security(("key" = ["webhooks:write"])),
    responses((status = 200, description = "It is gone", body = Data<Deleted>))
)]
pub async fn delete(
    State(api): State<Arc<Api>>,
    caller: Caller,
    repeatable: Repeatable,
    Path(id): Path<String>,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.needs("webhooks:write")?;
    let id = id_of(&id)?;
    let object = body::optional(&headers, body, api.read_timeout).await?;
    let key = repeatable.key(&caller, &object)?;
    Fields::new(object).finish()?;
    let body = serde_json::to_string(&Data { data: Deleted { id, deleted: true } }).map_err(|_| Problem::internal())?;
    let answer = Answer { status: StatusCode::OK.as_u16(), location: None, body };
    let once =
        key.map(|key| Idempotency { key: key.key, body: key.body, request_id: key.request_id, answer: answer.clone() });
    let (organization, now) = (caller.organization.id.clone(), (api.clock)());
    match api.read(move |store| store.unsubscribe(&organization, id, now, once)).await? {
        Once::Done(true) => Ok(stored(answer, false)),
        Once::Done(false) => Err(Problem::not_found()),
        Once::Replayed(first) => Ok(stored(first, true)),
        Once::Conflict { request_id } => Err(conflict(&request_id)),
    }
}
