//! `/v1/admin/organizations/{id}/users` and `…/numbers`.

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
use super::organizations::{existing, id_of, required_id};
use super::page::{Part, beyond};
use super::perform::{Asked, Show, answer, perform};
use super::{AdminApi, Administrator};
use crate::config;
use crate::model::{E164, OrganizationId, UserId};
use crate::store::tenants::{Change, Number, User};

/// A user as administrators see one.
#[derive(Debug, Serialize)]
pub struct UserView {
    id: UserId,
    organization_id: OrganizationId,
    phone: Option<E164>,
    created_at: String,
}

fn user_view(user: &User) -> UserView {
    UserView {
        id: user.id.clone(),
        organization_id: user.organization.clone(),
        phone: user.phone,
        created_at: user.created_at.rfc3339(),
    }
}

/// A number as administrators see one.
#[derive(Debug, Serialize)]
pub struct NumberView {
    number: E164,
    organization_id: OrganizationId,
    created_at: String,
}

fn number_view(number: &Number) -> NumberView {
    NumberView {
        number: number.number,
        organization_id: number.organization.clone(),
        created_at: number.created_at.rfc3339(),
    }
}

fn user_of(text: &str) -> Result<UserId, Problem> {
    config::id(text).map(UserId).map_err(|_| Problem::not_found())
}

pub async fn users(
    State(api): State<Arc<AdminApi>>,
    _: Administrator,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let part = Part::of(&uri)?;
    let after = part.bound(|name| config::id(name).ok().map(UserId))?;
    let tenants = api.store.tenants();
    let owner = existing(&tenants, &id)?;
    let rest = tenants.users(&owner.id).filter(|user| beyond(&after, &user.id));
    Ok(part.answer(rest, |user| user.id.as_str().to_owned(), |user| user_view(user)))
}

pub async fn user(
    State(api): State<Arc<AdminApi>>,
    _: Administrator,
    Path((id, user)): Path<(String, String)>,
) -> Result<Data<UserView>, Problem> {
    let tenants = api.store.tenants();
    let user = tenants.user(&id_of(&id)?, &user_of(&user)?).ok_or_else(Problem::not_found)?;
    Ok(Data { data: user_view(user) })
}

pub async fn create_user(
    State(api): State<Arc<AdminApi>>,
    by: Administrator,
    repeatable: Repeatable,
    Path(organization): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = body::object(&headers, body, api.read_timeout).await?;
    let asked = Asked { by, repeatable, body, at: (api.clock)() };
    let mut fields = asked.fields();
    let id = required_id(&mut fields, "id");
    let phone = phone(&mut fields);
    fields.finish()?;
    let (organization, id) = (id_of(&organization)?, UserId(id.ok_or_else(Problem::internal)?));
    let location = format!("/v1/admin/organizations/{}/users/{}", organization.as_str(), id.as_str());
    let show = user_shown(StatusCode::CREATED, Some(location), &organization, &id);
    perform(&api, asked, Change::CreateUser { organization, id, phone }, show).await
}

pub async fn update_user(
    State(api): State<Arc<AdminApi>>,
    by: Administrator,
    repeatable: Repeatable,
    Path((organization, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = body::object(&headers, body, api.read_timeout).await?;
    let asked = Asked { by, repeatable, body, at: (api.clock)() };
    let mut fields = asked.fields();
    fields.require("phone", "a number in E.164 form, or null for none");
    let phone = phone(&mut fields);
    fields.finish()?;
    let (organization, id) = (id_of(&organization)?, user_of(&id)?);
    let show = user_shown(StatusCode::OK, None, &organization, &id);
    perform(&api, asked, Change::UpdateUser { organization, id, phone }, show).await
}

pub async fn delete_user(
    State(api): State<Arc<AdminApi>>,
    by: Administrator,
    repeatable: Repeatable,
    Path((organization, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = body::optional(&headers, body, api.read_timeout).await?;
    let asked = Asked { by, repeatable, body, at: (api.clock)() };
    asked.fields().finish()?;
    let (organization, id) = (id_of(&organization)?, user_of(&id)?);
    perform(&api, asked, Change::DeleteUser { organization, id: id.clone() }, deleted(id)).await
}

/// Absent and `null` are the same: none.
fn phone(fields: &mut Fields) -> Option<E164> {
    if fields.null("phone") { None } else { fields.number("phone") }
}

fn user_shown(status: StatusCode, location: Option<String>, owner: &OrganizationId, id: &UserId) -> Show {
    let (owner, id) = (owner.clone(), id.clone());
    Arc::new(move |tenants| answer(status, location.clone(), tenants.user(&owner, &id).map(user_view)))
}

/// What is left of something that was deleted.
#[derive(Serialize)]
struct Deleted<T> {
    id: T,
    deleted: bool,
}

/// The answer to a deletion.
pub fn deleted<T: Serialize + Clone + Send + Sync + 'static>(id: T) -> Show {
    Arc::new(move |_| answer(StatusCode::OK, None, Some(Deleted { id: id.clone(), deleted: true })))
}

pub async fn numbers(
    State(api): State<Arc<AdminApi>>,
    _: Administrator,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let part = Part::of(&uri)?;
    let after = part.bound(|name| E164::parse(name).ok())?;
    let tenants = api.store.tenants();
    let owner = existing(&tenants, &id)?;
    let rest = tenants.numbers(&owner.id).filter(|number| beyond(&after, &number.number));
    Ok(part.answer(rest, |number| String::from(&*number.number.text()), |number| number_view(number)))
}

pub async fn add_number(
    State(api): State<Arc<AdminApi>>,
    by: Administrator,
    repeatable: Repeatable,
    Path(organization): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = body::object(&headers, body, api.read_timeout).await?;
    let asked = Asked { by, repeatable, body, at: (api.clock)() };
    let mut fields = asked.fields();
    let number = fields.required_number("number");
    fields.finish()?;
    let (organization, number) = (id_of(&organization)?, number.ok_or_else(Problem::internal)?);
    let owner = organization.clone();
    let show: Show =
        Arc::new(move |tenants| answer(StatusCode::CREATED, None, tenants.number(&owner, number).map(number_view)));
    perform(&api, asked, Change::AddNumber { organization, number }, show).await
}

pub async fn remove_number(
    State(api): State<Arc<AdminApi>>,
    by: Administrator,
    repeatable: Repeatable,
    Path((organization, number)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = body::optional(&headers, body, api.read_timeout).await?;
    let asked = Asked { by, repeatable, body, at: (api.clock)() };
    asked.fields().finish()?;
    let organization = id_of(&organization)?;
    let number = E164::parse(&number).map_err(|_| Problem::not_found())?;
    perform(&api, asked, Change::RemoveNumber { organization, number }, deleted(number)).await
}
