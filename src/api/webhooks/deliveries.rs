//! What a subscription was not told yet, or could not be: to list, and to try again.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::super::answer::{Data, Problem, json};
use super::super::calls::id_of;
use super::super::fields::{Fields, NoQuery};
use super::super::idempotency::{Repeatable, keep, replay as replayed};
use super::super::{Api, Caller, body};
use crate::events::FactKind;
use crate::model::{CallId, EventId, SubscriptionId, Timestamp};
use crate::store::{Answer, Delivery, DeliveryCursor, DeliveryFilter, DeliveryId, DeliveryPage, DeliveryState, Replay};

const PAGE: usize = 50;
const PAGE_MAX: usize = 100;
/// Events that one request may name.
const NAMED_MAX: usize = 100;

/// An event that a subscription was not told of yet, or could not be.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookDelivery)]
pub struct Shown {
    event_id: EventId,
    #[serde(rename = "type")]
    #[schema(inline)]
    kind: FactKind,
    call_id: CallId,
    /// Of the event.
    created_at: String,
    /// `pending` or `dead`.
    state: &'static str,
    attempts: u32,
    last_attempt_at: Option<String>,
    last_status: Option<u16>,
    last_error: Option<&'static str>,
    next_attempt_at: Option<String>,
}

impl From<Delivery> for Shown {
    fn from(delivery: Delivery) -> Self {
        Self {
            event_id: delivery.event,
            kind: delivery.kind,
            call_id: delivery.call,
            created_at: delivery.at.rfc3339(),
            state: delivery.state.as_str(),
            attempts: delivery.attempts,
            last_attempt_at: delivery.last_tried_at.map(Timestamp::rfc3339),
            last_status: delivery.last_status,
            last_error: delivery.last_error.map(|error| error.as_str()),
            next_attempt_at: delivery.next_try_at.map(Timestamp::rfc3339),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = WebhookDeliveries)]
pub struct Listed {
    data: Vec<Shown>,
    meta: Meta,
}

#[derive(Serialize, ToSchema)]
#[schema(as = WebhookDeliveriesMeta)]
struct Meta {
    /// Of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{16}[0-7][0-9a-f]{15}$")]
    cursor: Option<String>,
    page_size: usize,
}

/// Which deliveries.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "a description; `filter` reads the query")]
pub struct DeliveriesQuery {
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
    /// Of the page before.
    #[param(pattern = "^[0-9a-f]{16}[0-7][0-9a-f]{15}$")]
    cursor: Option<String>,
    /// `dead` unless it is given.
    #[param(inline)]
    state: Option<StateWord>,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(dead_code, reason = "a description")]
enum StateWord {
    Pending,
    Dead,
    Delivered,
}

/// What a subscription was not told yet, or could not be: newest event first.
#[utoipa::path(
    get, path = "/v1/webhook_subscriptions/{id}/deliveries", tag = "Webhooks",
    operation_id = "listWebhookDeliveries", params(("id" = SubscriptionId, Path), DeliveriesQuery),
    security(("key" = ["webhooks:write"])), responses((status = 200, description = "A page", body = Listed))
)]
pub async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    caller.needs("webhooks:write")?;
    let id: SubscriptionId = id_of(&id)?;
    let filter = filter(&uri)?;
    let organization = caller.organization.id.clone();
    let page = api.read(move |store| store.deliveries(&organization, id, &filter)).await?;
    let DeliveryPage { deliveries, next } = page.ok_or_else(Problem::not_found)?;
    let cursor = next.map(|next| format!("{:016x}{:016x}", next.at.as_micros(), next.id.0));
    let meta = Meta { cursor, page_size: filter.limit };
    Ok(json(StatusCode::OK, &Listed { data: deliveries.into_iter().map(Shown::from).collect(), meta }))
}

fn filter(uri: &Uri) -> Result<DeliveryFilter, Problem> {
    let mut query = Fields::of_query(uri)?;
    let limit = query.parsed("limit", "a whole number from 1 to 100", |text| {
        text.parse().ok().filter(|n| (1..=PAGE_MAX).contains(n))
    });
    let cursor = query.parsed("cursor", "the cursor of a page before", cursor);
    let state = query.word("state", &DeliveryState::ALL.map(|state| (state.as_str(), state)));
    query.finish()?;
    Ok(DeliveryFilter { state: state.unwrap_or(DeliveryState::Dead), limit: limit.unwrap_or(PAGE), cursor })
}

fn cursor(text: &str) -> Option<DeliveryCursor> {
    let plain = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let (at, id) = text.split_at_checked(16).filter(|_| plain)?;
    let at = Timestamp::from_micros(u64::from_str_radix(at, 16).ok()?);
    Some(DeliveryCursor { at, id: DeliveryId(i64::from_str_radix(id, 16).ok()?) })
}

/// Which of the dead deliveries; all of them unless one of the two is given.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "a description; `which` reads the body")]
pub struct ReplayRequest {
    #[schema(max_items = 100, nullable = false, examples(json!(["evt_01KFBJ8Y6T3W8QZ5M4N7R2C9XD"])))]
    event_ids: Option<Vec<EventId>>,
    /// Of events from then on.
    #[schema(nullable = false)]
    since: Option<Timestamp>,
}

#[derive(Serialize, ToSchema)]
pub struct Replayed {
    /// Deliveries that are pending again.
    replayed: u64,
}

/// Try dead deliveries again, as if for the first time.
///
/// A repetition finds none dead, so it does no harm.
#[utoipa::path(
    post, path = "/v1/webhook_subscriptions/{id}/replay", tag = "Webhooks", operation_id = "replayWebhookDeliveries",
    params(("id" = SubscriptionId, Path)), request_body = Option<ReplayRequest>,
    security(("key" = ["webhooks:write"])),
    responses((status = 200, description = "They are pending", body = Data<Replayed>))
)]
pub async fn replay(
    State(api): State<Arc<Api>>,
    caller: Caller,
    repeatable: Repeatable,
    Path(id): Path<String>,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.needs("webhooks:write")?;
    let id: SubscriptionId = id_of(&id)?;
    let object = body::optional(&headers, body, api.read_timeout).await?;
    let key = repeatable.key(&caller, &object)?;
    let which = which(Fields::new(object))?;
    if let Some(response) = replayed(&api, key.as_ref()).await? {
        return Ok(response);
    }
    let (organization, now) = (caller.organization.id.clone(), (api.clock)());
    let done = api.read(move |store| store.replay(&organization, id, &which, now)).await?;
    let data = Data { data: Replayed { replayed: done.ok_or_else(Problem::not_found)? } };
    let Some(key) = key else { return Ok(data.into_response()) };
    let body = serde_json::to_string(&data).map_err(|_| Problem::internal())?;
    keep(&api, key, Answer { status: StatusCode::OK.as_u16(), location: None, body }).await
}

fn which(mut fields: Fields) -> Result<Replay, Problem> {
    if fields.has("event_ids") && fields.has("since") {
        fields.wrong("since", "leave it out, or event_ids");
    }
    let expected = "a list of at most 100 event ids, such as [\"evt_01JH…\"]";
    let events = fields.several("event_ids", expected, NAMED_MAX, |text| text.parse::<EventId>().ok());
    let since =
        fields.parsed("since", "the time of an event, such as 2026-01-31T09:00:00.000Z", Timestamp::parse_rfc3339);
    fields.finish()?;
    Ok(match (events, since) {
        (Some(events), _) => Replay::Events(events),
        (None, Some(since)) => Replay::Since(since),
        (None, None) => Replay::All,
    })
}
