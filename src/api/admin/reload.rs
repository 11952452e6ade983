//! `POST /v1/admin/reload`: reads the configuration file again, as SIGHUP does, and says what came of it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::super::answer::{Data, Problem};
use super::super::body;
use super::super::fields::Fields;
use super::super::idempotency::Repeatable;
use super::super::refusal::store_down;
use super::{AdminApi, Administrator};
use crate::config::ConfigErrors;
use crate::store::StoreDown;
use crate::store::tenants::Skipped;

/// What of the file could not be applied.
pub type Reloaded = Vec<Skipped>;

/// Why the old configuration stays.
#[derive(Debug)]
pub enum NotReloaded {
    File(ConfigErrors),
    /// A file that `[tls]` names cannot be used.
    Tls(String),
    Store(StoreDown),
}

#[derive(Debug, Serialize)]
pub struct ReloadView {
    /// What the file declares and cannot be, and why.
    skipped: Vec<SkippedView>,
}

#[derive(Debug, Serialize)]
struct SkippedView {
    kind: &'static str,
    name: String,
    reason: String,
}

/// Idempotent by itself, so its key is only checked.
pub async fn reload(
    State(api): State<Arc<AdminApi>>,
    by: Administrator,
    repeatable: Repeatable,
    headers: HeaderMap,
    body: Body,
) -> Result<Data<ReloadView>, Problem> {
    let body = body::optional(&headers, body, api.read_timeout).await?;
    repeatable.key_of(&by.0.sha256, &body)?;
    Fields::new(body).finish()?;
    let done = tokio::task::spawn_blocking(move || (api.reload)()).await.map_err(|_| Problem::internal())?;
    match done {
        Ok(skipped) => {
            let skipped = skipped.iter().map(|Skipped { id, why }| SkippedView {
                kind: id.kind().as_str(),
                name: id.name(),
                reason: why.to_string(),
            });
            Ok(Data { data: ReloadView { skipped: skipped.collect() } })
        }
        Err(NotReloaded::Store(StoreDown)) => Err(store_down()),
        Err(NotReloaded::Tls(problem)) => {
            let message = "a certificate or key of [tls] cannot be used, so the old configuration stays";
            Err(Problem::new(StatusCode::BAD_REQUEST, "invalid_configuration", message).field("tls", problem))
        }
        Err(NotReloaded::File(errors)) => {
            let message = "the file has mistakes, so the old configuration stays";
            let problem = Problem::new(StatusCode::BAD_REQUEST, "invalid_configuration", message);
            let each = errors.problems.into_iter();
            Err(each.fold(problem, |problem, p| problem.field(format!("{}:{}", p.line, p.column), p.message)))
        }
    }
}
