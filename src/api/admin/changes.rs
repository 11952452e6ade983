//! `GET /v1/admin/changes`: who changed what, newest first.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;

use super::super::answer::Problem;
use super::super::fields::Fields;
use super::page::{Part, listed};
use super::{AdminApi, Administrator};
use crate::config;
use crate::model::OrganizationId;
use crate::store::ChangeFilter;
use crate::store::tenants::Entry;

/// One line of the audit log.
#[derive(Debug, Serialize)]
pub struct ChangeView {
    /// Its place in the log, which grows.
    sequence: i64,
    at: String,
    /// `file`, or the name of an admin key.
    by: Arc<str>,
    request_id: Option<Arc<str>>,
    /// `key.revoke`, `organization.update`, …
    action: String,
    organization_id: Option<OrganizationId>,
    name: String,
    /// Without secrets; a user's phone by its last digits.
    before: Value,
    after: Value,
}

fn view(sequence: i64, entry: &Entry) -> ChangeView {
    let value = |text: &Option<String>| text.as_deref().and_then(|t| serde_json::from_str(t).ok()).unwrap_or_default();
    ChangeView {
        sequence,
        at: entry.at.rfc3339(),
        by: Arc::clone(&entry.by.name),
        request_id: entry.by.request_id.clone(),
        action: format!("{}.{}", entry.kind.as_str(), entry.verb.as_str()),
        organization_id: entry.organization.clone(),
        name: entry.name.clone(),
        before: value(&entry.before),
        after: value(&entry.after),
    }
}

pub async fn list(State(api): State<Arc<AdminApi>>, _: Administrator, uri: Uri) -> Result<Response, Problem> {
    let mut query = Fields::of_query(&uri)?;
    let part = Part::take(&mut query);
    let organization = query.parsed("organization", "the id of an organization", |text| config::id(text).ok());
    query.finish()?;
    let cursor = match part.bound(|text| text.parse::<i64>().ok())? {
        std::ops::Bound::Excluded(cursor) | std::ops::Bound::Included(cursor) => Some(cursor),
        std::ops::Bound::Unbounded => None,
    };
    let limit = part.limit;
    let filter = ChangeFilter { limit, cursor, organization: organization.map(OrganizationId) };
    let page = api.with_store(move |store| store.changes(&filter)).await?;
    let data: Vec<_> = page.entries.iter().map(|(sequence, entry)| view(*sequence, entry)).collect();
    Ok(listed(data, page.next.map(|next| next.to_string()), limit))
}
