//! What browsers ask: an answer to their offer, and then to dial, to hang up, to come back, to be told.
//!
//! ```text
//! preflight ─ cors ─▶ rate of the source ─▶ secret ─▶ rate of the secret ─▶ store: used? over? which path?
//!                                                                             └─▶ body ─▶ offer ─▶ switch
//! ```
//!
//! A request carries a token (`rvw_`, once) or the secret that came with its answer (`rvr_`), never an API
//! key. What it may cost is bounded before its body is read. Two secrets never meet a log: they are digested
//! where they are read.
//!
//! Deliberately absent: cookies, and anything that a page of another origin could make a browser send.

mod answers;
mod control;
mod cors;
mod offers;
mod rate;
mod secret;
mod stream;
mod tokens;
mod view;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, patch, post};
use tokio::sync::Semaphore;

use self::rate::Rates;
use super::Api;
use crate::config::WebrtcConfig;

pub use tokens::issued;

/// What the browser paths need besides.
pub struct BrowserApi {
    config: WebrtcConfig,
    rates: Rates,
    /// Places for streams of events.
    streams: Arc<Semaphore>,
}

impl BrowserApi {
    /// `max_connections`: of the listener. A stream keeps one, so they get half of them.
    pub fn new(config: WebrtcConfig, max_connections: usize) -> Self {
        let streams = Arc::new(Semaphore::new((max_connections / 2).max(1)));
        Self { config, rates: Rates::default(), streams }
    }

    pub fn try_page(&self) -> bool {
        self.config.try_page
    }
}

/// For clients' servers, with their keys.
pub fn token_routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/v1/webrtc-token", post(tokens::webrtc_token))
        .route("/v1/room-token", post(tokens::room_token))
}

/// For browsers.
pub fn routes(api: &Arc<Api>) -> Router<Arc<Api>> {
    Router::new()
        .route("/v1/webrtc/connections", post(offers::connect))
        .route("/v1/rooms/{room}", post(offers::join))
        .route("/v1/webrtc/connections/{connection}", patch(offers::reconnect).delete(control::delete))
        .route("/v1/webrtc/connections/{connection}/dial", post(control::dial))
        .route("/v1/webrtc/connections/{connection}/hangup", post(control::hangup))
        .route("/v1/webrtc/connections/{connection}/events", get(stream::events))
        .method_not_allowed_fallback(super::no_such_method)
        .layer(from_fn_with_state(Arc::clone(api), rate::by_source))
        .layer(from_fn_with_state(Arc::clone(api), cors::cors))
}
