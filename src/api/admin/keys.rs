//! `/v1/admin/…/keys`: issue, rotate, revoke. A secret is shown once, in the answer to the request that made it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::super::answer::{Data, Problem, json, stored};
use super::super::body;
use super::super::calls::id_of as key_of;
use super::super::fields::Fields;
use super::super::idempotency::Repeatable;
use super::organizations::{existing, id_of};
use super::page::{Part, beyond};
use super::perform::{Asked, Performed, Show, answer, make, perform};
use super::{AdminApi, Administrator};
use crate::config;
use crate::config::bounds::{KEY_NAME_CHARS, ROTATION_OVERLAP, ROTATION_OVERLAP_BOUND};
use crate::model::{KeyId, OrganizationId, Timestamp, UserId};
use crate::store::tenants::{Change, Key, Tenants};

/// A key as administrators see it.
#[derive(Debug, Serialize)]
pub struct KeyView {
    id: KeyId,
    organization_id: OrganizationId,
    user_id: UserId,
    name: Option<Arc<str>>,
    scopes: Arc<[String]>,
    status: &'static str,
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    /// The key that took its place.
    rotated_to: Option<KeyId>,
}

fn view(key: &Key, now: Timestamp) -> KeyView {
    let status = match (key.revoked_at, key.is_good(now)) {
        (Some(_), _) => "revoked",
        (None, true) => "active",
        (None, false) => "expired",
    };
    KeyView {
        id: key.id,
        organization_id: key.organization.clone(),
        user_id: key.user.clone(),
        name: key.name.clone(),
        scopes: Arc::clone(&key.scopes),
        status,
        created_at: key.created_at.rfc3339(),
        expires_at: key.expires_at.map(|at| at.rfc3339()),
        revoked_at: key.revoked_at.map(|at| at.rfc3339()),
        rotated_to: key.rotated_to,
    }
}

/// A new key.
#[derive(Debug, Serialize)]
pub struct IssuedView {
    #[serde(flatten)]
    key: KeyView,
    /// `null` in the answer to a repeated request.
    secret: Option<String>,
    note: &'static str,
}

const SHOWN: &str = "keep the secret: it is shown this once and stored nowhere";
const NOT_SHOWN: &str = "the secret was in the first answer to this request and cannot be shown again; \
                         rotate the key if it is lost";

/// A secret that nobody can guess, and its digest.
pub fn new_key() -> Result<(String, [u8; 32]), getrandom::Error> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)?;
    let secret = format!("rvk_{}", hex::encode(secret));
    let sha256 = Sha256::digest(&secret).into();
    Ok((secret, sha256))
}

pub async fn list(
    State(api): State<Arc<AdminApi>>,
    _: Administrator,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let part = Part::of(&uri)?;
    let after = part.bound(|name| name.parse::<KeyId>().ok())?;
    let (tenants, now) = (api.store.tenants(), (api.clock)());
    let owner = existing(&tenants, &id)?;
    let rest = tenants.keys(&owner.id).filter(|key| beyond(&after, &key.id));
    Ok(part.answer(rest, |key| key.id.to_string(), |key| view(key, now)))
}

pub async fn show(
    State(api): State<Arc<AdminApi>>,
    _: Administrator,
    Path(id): Path<String>,
) -> Result<Data<KeyView>, Problem> {
    let tenants = api.store.tenants();
    let key = tenants.key(key_of(&id)?).ok_or_else(Problem::not_found)?;
    Ok(Data { data: view(key, (api.clock)()) })
}

pub async fn issue(
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
    fields.require("user_id", "the id of a user of this organization");
    let user = fields.parsed("user_id", "the id of a user of this organization", |text| config::id(text).ok());
    fields.require("scopes", "a list such as [\"calls:read\", \"calls:write\"]");
    let scopes = fields.texts("scopes");
    let name = if fields.null("name") { None } else { fields.label("name", KEY_NAME_CHARS) };
    let expires_at = expiry(&mut fields);
    fields.finish()?;
    let organization = id_of(&organization)?;
    let (Some(user), Some(scopes)) = (user, scopes) else { return Err(Problem::internal()) };
    let (secret, sha256) = new_key().map_err(|_| Problem::internal())?;
    let (user, name) = (UserId(user), name.map(Arc::from));
    let change = Change::IssueKey { organization, user, name, scopes, expires_at, sha256 };
    hand_out(&api, asked, change, secret, sha256).await
}

pub async fn rotate(
    State(api): State<Arc<AdminApi>>,
    by: Administrator,
    repeatable: Repeatable,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = body::optional(&headers, body, api.read_timeout).await?;
    let asked = Asked { by, repeatable, body, at: (api.clock)() };
    let mut fields = asked.fields();
    let overlap = fields.seconds("overlap_seconds", &ROTATION_OVERLAP_BOUND);
    let expires_at = expiry(&mut fields);
    fields.finish()?;
    let overlap = overlap.unwrap_or(Duration::from_secs(ROTATION_OVERLAP));
    let (secret, sha256) = new_key().map_err(|_| Problem::internal())?;
    let change = Change::RotateKey { id: key_of(&id)?, sha256, overlap, expires_at };
    hand_out(&api, asked, change, secret, sha256).await
}

fn expiry(fields: &mut Fields) -> Option<Timestamp> {
    if fields.null("expires_at") {
        return None;
    }
    fields.parsed("expires_at", "a time such as 2027-01-31T09:00:00.000Z", Timestamp::parse_rfc3339)
}

/// Has a key made and shows its secret; what is stored for a repetition has none.
async fn hand_out(
    api: &AdminApi,
    asked: Asked,
    change: Change,
    secret: String,
    sha256: [u8; 32],
) -> Result<Response, Problem> {
    let (at, id) = (asked.at, KeyId::of(asked.at, &sha256));
    let location = format!("/v1/admin/keys/{id}");
    let issued = move |tenants: &Tenants, secret: Option<String>| {
        let note = if secret.is_some() { SHOWN } else { NOT_SHOWN };
        tenants.key(id).map(|key| IssuedView { key: view(key, at), secret, note })
    };
    let repeated = location.clone();
    let show: Show =
        Arc::new(move |tenants| answer(StatusCode::CREATED, Some(repeated.clone()), issued(tenants, None)));
    let mut response = match make(api, asked, change, show).await? {
        Performed::Before(answer) => stored(answer, true),
        Performed::Now(tenants) => {
            let data = issued(&tenants, Some(secret)).ok_or_else(Problem::internal)?;
            json(StatusCode::CREATED, &Data { data })
        }
    };
    let location = HeaderValue::try_from(location).map_err(|_| Problem::internal())?;
    response.headers_mut().entry(LOCATION).or_insert(location);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

pub async fn revoke(
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
    let (id, now): (KeyId, _) = (key_of(&id)?, asked.at);
    let show: Show = Arc::new(move |tenants| answer(StatusCode::OK, None, tenants.key(id).map(|key| view(key, now))));
    perform(&api, asked, Change::RevokeKey { id }, show).await
}
