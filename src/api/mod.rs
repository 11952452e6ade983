//! The HTTP edge: requests become typed commands, replies become answers.
//!
//! ```text
//! connection ─ serve ─▶ router ─ auth ─▶ body ─ json ─▶ fields ─▶ Command ─▶ switch
//!                                                 reads ◀─────────┴─▶ Reply ─▶ answer or envelope
//! ```
//!
//! A request is refused before it costs anything: the head is bounded by [`serve()`], the key is judged
//! before the body is read, the body is bounded in bytes, depth and time, and every field that is wrong
//! is named at once. What passes is handed to the switch, which alone decides.
//!
//! Browsers have paths and secrets of their own (`browser`).
//!
//! Deliberately absent: decisions about calls, TLS (a proxy's task), compression, cookies; and CORS but for
//! the paths that browsers use.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // An edge: it has sockets, time and channels.

mod admin;
mod answer;
mod auth;
mod body;
mod browser;
mod calls;
mod dial;
mod fields;
mod guardrails;
mod idempotency;
mod json;
mod list;
mod ports;
mod refusal;
mod request_id;
mod serve;
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
pub use webhooks::{Lookup, WebhookApi};

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};

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
    /// `None`: calls come from phones only.
    pub browser: Option<BrowserApi>,
    pub webhooks: WebhookApi,
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

/// Every path for clients.
pub fn router(api: Api) -> Router {
    let api = Arc::new(api);
    let mut browsers = Router::new();
    if let Some(browser) = &api.browser {
        browsers = browser::token_routes().merge(browser::routes(&api));
        if browser.try_page() {
            browsers = browsers.merge(try_page::routes());
        }
    }
    Router::new()
        .route("/v1/calls/dial", post(dial::dial))
        .route("/v1/calls", get(list::list))
        .route("/v1/calls/{id}", get(calls::get))
        .route("/v1/calls/{id}/hangup", post(calls::hangup))
        .route("/v1/guardrails", get(guardrails::guardrails))
        .route("/v1/usage", get(usage::usage))
        .merge(webhooks::routes())
        .merge(browsers)
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(axum::middleware::from_fn_with_state(request_id::Source::new(), request_id::label))
        .with_state(api)
}

async fn no_such_path() -> Problem {
    Problem::not_found()
}

/// axum adds `Allow`.
async fn no_such_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "use a method that Allow names")
}
