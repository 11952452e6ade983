//! `/v1/admin/organizations`: limits, allowed destinations and defaults for calls.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;

use super::super::answer::{Data, Problem};
use super::super::body;
use super::super::fields::Fields;
use super::super::idempotency::Repeatable;
use super::page::{Part, beyond};
use super::perform::{Asked, Show, answer, note, perform};
use super::{AdminApi, Administrator};
use crate::config;
use crate::model::{Confirm, Money, OrganizationId};
use crate::store::tenants::{Change, Organization, SettingsPatch, Tenants};

/// An organization as administrators see it.
#[derive(Debug, Serialize)]
pub struct OrganizationView {
    id: OrganizationId,
    status: &'static str,
    max_concurrent_legs: u32,
    max_calls_per_minute: u32,
    daily_spend_limit: Money,
    max_legs_per_user: Option<u32>,
    max_legs_per_destination: Option<u32>,
    breaker_window_seconds: u32,
    breaker_short_answers: u32,
    breaker_answer_percent: u32,
    breaker_min_calls: u32,
    breaker_pause_seconds: u32,
    timezone: String,
    allowed_destinations: Vec<String>,
    confirm: Confirm,
    max_duration_seconds: u64,
    created_at: String,
    closed_at: Option<String>,
}

fn view(organization: &Organization) -> OrganizationView {
    let limits = &organization.limits;
    OrganizationView {
        id: organization.id.clone(),
        status: if organization.is_open() { "active" } else { "closed" },
        max_concurrent_legs: limits.max_concurrent_legs,
        max_calls_per_minute: limits.max_calls_per_minute,
        daily_spend_limit: limits.daily_spend_limit,
        max_legs_per_user: limits.max_legs_per_user,
        max_legs_per_destination: limits.max_legs_per_destination,
        breaker_window_seconds: limits.breakers.window_seconds,
        breaker_short_answers: limits.breakers.short_answers,
        breaker_answer_percent: limits.breakers.answer_percent,
        breaker_min_calls: limits.breakers.min_calls,
        breaker_pause_seconds: limits.breakers.pause_seconds,
        timezone: limits.timezone.clone(),
        allowed_destinations: organization.allowed_destinations.clone(),
        confirm: organization.confirm,
        max_duration_seconds: organization.max_duration.as_secs(),
        created_at: organization.created_at.rfc3339(),
        closed_at: organization.closed_at.map(|at| at.rfc3339()),
    }
}

/// The id in a path. What is none cannot exist either.
pub fn id_of(text: &str) -> Result<OrganizationId, Problem> {
    config::id(text).map(OrganizationId).map_err(|_| Problem::not_found())
}

/// The organization in a path, if there is one.
pub fn existing(tenants: &Tenants, text: &str) -> Result<Arc<Organization>, Problem> {
    tenants.organization(&id_of(text)?).cloned().ok_or_else(Problem::not_found)
}

pub async fn list(State(api): State<Arc<AdminApi>>, _: Administrator, uri: Uri) -> Result<Response, Problem> {
    let part = Part::of(&uri)?;
    let after = part.bound(|name| config::id(name).ok().map(OrganizationId))?;
    let tenants = api.store.tenants();
    let rest = tenants.organizations().filter(|organization| beyond(&after, &organization.id));
    Ok(part.answer(rest, |organization| organization.id.as_str().to_owned(), |organization| view(organization)))
}

pub async fn show(
    State(api): State<Arc<AdminApi>>,
    _: Administrator,
    Path(id): Path<String>,
) -> Result<Data<OrganizationView>, Problem> {
    Ok(Data { data: view(&*existing(&api.store.tenants(), &id)?) })
}

pub async fn create(
    State(api): State<Arc<AdminApi>>,
    by: Administrator,
    repeatable: Repeatable,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = body::object(&headers, body, api.read_timeout).await?;
    let asked = Asked { by, repeatable, body, at: (api.clock)() };
    let mut fields = asked.fields();
    let id = required_id(&mut fields, "id");
    let settings = settings(&mut fields);
    let missing = settings.missing();
    note(&mut fields, missing.into_iter().filter(|p| !asked.body.contains_key(p.field)).collect());
    fields.finish()?;
    let id = OrganizationId(id.ok_or_else(Problem::internal)?);
    let answer = created(id.clone(), format!("/v1/admin/organizations/{}", id.as_str()));
    perform(&api, asked, Change::CreateOrganization { id, settings }, answer).await
}

pub async fn update(
    State(api): State<Arc<AdminApi>>,
    by: Administrator,
    repeatable: Repeatable,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = body::object(&headers, body, api.read_timeout).await?;
    let asked = Asked { by, repeatable, body, at: (api.clock)() };
    let mut fields = asked.fields();
    let mut settings = settings(&mut fields);
    settings.closed = fields.flag("closed");
    note(&mut fields, settings.problems());
    fields.finish()?;
    let id = id_of(&id)?;
    perform(&api, asked, Change::UpdateOrganization { id: id.clone(), settings }, shown(id)).await
}

pub async fn close(
    State(api): State<Arc<AdminApi>>,
    by: Administrator,
    repeatable: Repeatable,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = body::optional(&headers, body, api.read_timeout).await?;
    let asked = Asked { by, repeatable, body, at: (api.clock)() };
    asked.fields().finish()?;
    let id = id_of(&id)?;
    perform(&api, asked, Change::CloseOrganization { id: id.clone() }, shown(id)).await
}

fn created(id: OrganizationId, location: String) -> Show {
    Arc::new(move |tenants| {
        let data = tenants.organization(&id).map(|organization| view(organization));
        answer(StatusCode::CREATED, Some(location.clone()), data)
    })
}

fn shown(id: OrganizationId) -> Show {
    Arc::new(move |tenants| {
        answer(StatusCode::OK, None, tenants.organization(&id).map(|organization| view(organization)))
    })
}

/// An id that somebody gives to something new.
pub fn required_id(fields: &mut Fields, name: &str) -> Option<Arc<str>> {
    fields.require(name, "1 to 64 letters, digits, '-', '_' or '.'");
    fields.parsed(name, "1 to 64 letters, digits, '-', '_' or '.'", |text| config::id(text).ok())
}

/// The settings that a body names; what is wrong with them is noted.
fn settings(fields: &mut Fields) -> SettingsPatch {
    let patch = SettingsPatch {
        max_concurrent_legs: fields.whole("max_concurrent_legs"),
        max_calls_per_minute: fields.whole("max_calls_per_minute"),
        daily_spend_limit: fields.parsed("daily_spend_limit", "an amount such as \"50.00\"", |text| text.parse().ok()),
        max_legs_per_user: fields.whole("max_legs_per_user"),
        max_legs_per_destination: fields.whole("max_legs_per_destination"),
        breaker_window_seconds: fields.whole("breaker_window_seconds"),
        breaker_short_answers: fields.whole("breaker_short_answers"),
        breaker_answer_percent: fields.whole("breaker_answer_percent"),
        breaker_min_calls: fields.whole("breaker_min_calls"),
        breaker_pause_seconds: fields.whole("breaker_pause_seconds"),
        timezone: fields.parsed("timezone", "an IANA time zone", |text| Some(text.to_owned())),
        allowed_destinations: fields.texts("allowed_destinations"),
        confirm: fields.word("confirm", &[("none", Confirm::None), ("press_1", Confirm::Press1)]),
        max_duration_seconds: fields.whole("max_duration_seconds"),
        closed: None,
    };
    note(fields, patch.problems());
    patch
}
