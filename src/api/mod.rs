//! The HTTP edge: requests become typed commands, replies become answers.
//!
//! ```text
//! connection ─ serve ─▶ limiter ─▶ router ─ auth ─▶ body ─ json ─▶ fields ─▶ Command ─▶ switch
//!                                                          reads ◀─────────┴─▶ Reply ─▶ answer or envelope
//! ```
//!
//! A request is refused before it costs anything: the head is bounded by [`serve()`], the key is judged
//! before the body is read, the body is bounded in bytes, depth and time, and every field that is wrong
//! is named at once. What passes is handed to the switch, which alone decides.
//!
//! Browsers have paths and secrets of their own (`browser`).
//!
//! Every handler is served by being listed in an `OpenApiRouter`, with its description: what is not documented is
//! not there. `docs/architecture.md` says how to add one.
//!
//! Deliberately absent: decisions about calls, TLS (a proxy's task), compression, cookies; and CORS but for the paths
//! that browsers use, unless the configuration names pages.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // An edge: it has sockets, time and channels.

mod admin;
mod answer;
mod auth;
mod body;
mod browser;
mod calls;
mod cors;
mod dial;
mod docs_page;
mod events;
mod feed;
mod fields;
mod forward;
mod guardrails;
mod idempotency;
mod json;
mod limiter;
mod list;
mod openapi;
mod ports;
mod refusal;
mod request_id;
mod serve;
mod sse;
mod trace;
mod try_page;
mod usage;
mod webhooks;

pub use admin::{Admin, AdminApi, AdminKeys, NotReloaded, Reloaded, admin_router, new_key};
pub use answer::Problem;
pub use auth::Caller;
pub use browser::{BrowserApi, issued};
pub use dial::{dial_of, dialed};
pub use json::Json;
pub use ports::{Ask, Busy};
pub use serve::{ServeLimits, serve};
pub use trace::LiveTraces;
pub use webhooks::{Lookup, WebhookApi};

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::{Extension, Router};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::cors::Cors;
use self::feed::Streams;
use self::limiter::Limiter;
use self::openapi::Document;
use crate::config::ApiConfig;
use crate::model::Timestamp;
use crate::store::{Store, StoreDown};

/// All that the handlers need.
pub struct Api {
    pub switch: Box<dyn Ask>,
    pub store: Arc<dyn Store>,
    pub clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
    pub default_ring_timeout: Duration,
    /// For a request's body.
    pub read_timeout: Duration,
    /// ISO 4217.
    pub currency: Arc<str>,
    pub edge: Edge,
    /// `None`: calls come from phones only.
    pub browser: Option<BrowserApi>,
    pub webhooks: WebhookApi,
    /// `None`: nothing is traced now; what was is stored.
    pub traces: Option<Arc<dyn LiveTraces>>,
}

/// What the edge keeps for itself: who has asked how often, which pages may, who listens.
pub struct Edge {
    limiter: Limiter,
    cors: Option<Cors>,
    streams: Streams,
}

impl Edge {
    pub fn new(config: &ApiConfig) -> Self {
        Self {
            limiter: Limiter::new(config.requests),
            cors: Cors::for_clients(&config.allowed_origins),
            streams: Streams::new(config.max_connections),
        }
    }
}

impl Api {
    /// One blocking read of the store, away from the threads that serve connections.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Store) -> Result<T, StoreDown> + Send + 'static,
    ) -> Result<T, Problem> {
        let store = Arc::clone(&self.store);
        let done = tokio::task::spawn_blocking(move || read(&*store)).await;
        done.map_err(|_| Problem::internal())?.map_err(|StoreDown| refusal::store_down())
    }
}

/// Every path for clients' servers, with their keys.
fn client_paths(with_browsers: bool) -> OpenApiRouter<Arc<Api>> {
    let paths = OpenApiRouter::with_openapi(openapi::base())
        .routes(routes!(dial::dial))
        .routes(routes!(list::list))
        .routes(routes!(calls::get))
        .routes(routes!(calls::hangup))
        .routes(routes!(trace::get))
        .routes(routes!(events::call))
        .routes(routes!(events::organization))
        .routes(routes!(guardrails::guardrails))
        .routes(routes!(usage::usage))
        .merge(webhooks::paths())
        .routes(routes!(openapi::document));
    if with_browsers { paths.merge(browser::token_paths()) } else { paths }
}

/// The OpenAPI document of every path there is.
pub fn document() -> String {
    let mut described = client_paths(true).into_openapi();
    described.merge(browser::paths().into_openapi());
    Document::of(&described).text().to_owned()
}

/// Every path of the first listener.
pub fn router(api: Api) -> Router {
    let api = Arc::new(api);
    let (clients, mut described) = client_paths(api.browser.is_some()).split_for_parts();
    let mut clients = clients
        .merge(docs_page::routes())
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(Arc::clone(&api), limiter::limit));
    if let Some(cors) = api.edge.cors.clone() {
        clients = clients.layer(from_fn_with_state(cors, cors::cors));
    }
    if let Some(browser) = &api.browser {
        let (paths, also) = browser::paths().split_for_parts();
        described.merge(also);
        clients = clients.merge(browser::guarded(paths, &api, browser));
        if browser.try_page() {
            clients = clients.merge(try_page::routes());
        }
    }
    clients
        .layer(Extension(Document::of(&described)))
        .layer(from_fn_with_state(Arc::clone(&api), forward::forward))
        .layer(from_fn_with_state(request_id::Source::new(), request_id::label))
        .with_state(api)
}

async fn no_such_path() -> Problem {
    Problem::not_found()
}

/// axum adds `Allow`.
async fn no_such_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "use a method that Allow names")
}
