//! `/v1/admin/prices`: what a leg to numbers with a prefix costs. A call keeps the price of its admission.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;

use super::super::answer::{Data, Problem};
use super::super::body;
use super::super::idempotency::Repeatable;
use super::page::{Part, beyond};
use super::people::deleted;
use super::perform::{Asked, Show, answer, perform};
use super::{AdminApi, Administrator};
use crate::config;
use crate::config::bounds::{FIRST_SECONDS, PERIOD_BOUND, STEP_SECONDS};
use crate::guardrails::LegPrice;
use crate::model::Money;
use crate::store::tenants::{Change, Price};

/// A price as administrators see it.
#[derive(Debug, Serialize)]
pub struct PriceView {
    prefix: String,
    per_minute: Money,
    connect: Money,
    first_seconds: u32,
    step_seconds: u32,
}

fn view(price: &Price) -> PriceView {
    let LegPrice { per_minute, connect, first_seconds, step_seconds } = price.price;
    PriceView { prefix: price.prefix.clone(), per_minute, connect, first_seconds, step_seconds }
}

fn prefix_of(text: &str) -> Result<String, Problem> {
    config::prefix(text).map_err(|_| Problem::not_found())
}

pub async fn list(State(api): State<Arc<AdminApi>>, _: Administrator, uri: Uri) -> Result<Response, Problem> {
    let part = Part::of(&uri)?;
    let after = part.bound(|name| config::prefix(name).ok())?;
    let tenants = api.store.tenants();
    let rest = tenants.prices().filter(|price| beyond(&after, &price.prefix));
    Ok(part.answer(rest, |price| price.prefix.clone(), |price| view(price)))
}

pub async fn show(
    State(api): State<Arc<AdminApi>>,
    _: Administrator,
    Path(prefix): Path<String>,
) -> Result<Data<PriceView>, Problem> {
    let tenants = api.store.tenants();
    let price = tenants.price_of(&prefix).ok_or_else(Problem::not_found)?;
    Ok(Data { data: view(price) })
}

pub async fn set(
    State(api): State<Arc<AdminApi>>,
    by: Administrator,
    repeatable: Repeatable,
    Path(prefix): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = body::object(&headers, body, api.read_timeout).await?;
    let asked = Asked { by, repeatable, body, at: (api.clock)() };
    let mut fields = asked.fields();
    if let Err(text) = config::prefix(&prefix) {
        fields.wrong("prefix", text);
    }
    fields.require("per_minute", "an amount such as \"0.0100\"");
    let per_minute = fields.parsed("per_minute", "an amount such as \"0.0100\"", |text| text.parse::<Money>().ok());
    let connect = fields.parsed("connect", "an amount such as \"0.0020\"", |text| text.parse::<Money>().ok());
    let first = fields.seconds("first_seconds", &PERIOD_BOUND).map_or(FIRST_SECONDS, |time| time.as_secs());
    let step = fields.seconds("step_seconds", &PERIOD_BOUND).map_or(STEP_SECONDS, |time| time.as_secs());
    fields.finish()?;
    let seconds = |n: u64| u32::try_from(n).map_err(|_| Problem::internal());
    let price = LegPrice {
        per_minute: per_minute.ok_or_else(Problem::internal)?,
        connect: connect.unwrap_or(Money::ZERO),
        first_seconds: seconds(first)?,
        step_seconds: seconds(step)?,
    };
    let name = prefix.clone();
    let show: Show = Arc::new(move |tenants| answer(StatusCode::OK, None, tenants.price_of(&name).map(view)));
    perform(&api, asked, Change::SetPrice { prefix, price }, show).await
}

pub async fn remove(
    State(api): State<Arc<AdminApi>>,
    by: Administrator,
    repeatable: Repeatable,
    Path(prefix): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = body::optional(&headers, body, api.read_timeout).await?;
    let asked = Asked { by, repeatable, body, at: (api.clock)() };
    asked.fields().finish()?;
    let prefix = prefix_of(&prefix)?;
    perform(&api, asked, Change::RemovePrice { prefix: prefix.clone() }, deleted(prefix)).await
}
