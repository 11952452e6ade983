//! `/metrics`, `/health`, `/ready`: they ask for no key.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;

use super::super::answer::{Problem, json};

type Metrics = dyn Fn() -> String + Send + Sync;
type Ready = dyn Fn() -> Result<(), &'static str> + Send + Sync;

/// What operators are shown. Both closures may block for as long as a read of the store takes.
#[derive(Clone)]
pub struct Admin {
    /// In Prometheus' text format.
    pub metrics: Arc<Metrics>,
    /// Whether new calls can be placed, or why not.
    pub ready: Arc<Ready>,
}

pub fn routes(admin: Admin) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .with_state(admin)
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

async fn metrics(State(admin): State<Admin>) -> Result<Response, Problem> {
    let text = tokio::task::spawn_blocking(move || (admin.metrics)()).await.map_err(|_| Problem::internal())?;
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// Alive: it answers.
async fn health() -> Response {
    json(StatusCode::OK, &Health { status: "ok", reason: None })
}

async fn ready(State(admin): State<Admin>) -> Result<Response, Problem> {
    let ready = tokio::task::spawn_blocking(move || (admin.ready)()).await.map_err(|_| Problem::internal())?;
    Ok(match ready {
        Ok(()) => json(StatusCode::OK, &Health { status: "ready", reason: None }),
        Err(reason) => json(StatusCode::SERVICE_UNAVAILABLE, &Health { status: "not_ready", reason: Some(reason) }),
    })
}
