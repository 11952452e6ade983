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
mod offers;
mod rate;
mod secret;
mod stream;
mod tokens;
mod view;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::rate::Rates;
use super::Api;
use super::cors::{self, Cors};
use crate::config::WebrtcConfig;

pub use tokens::issued;

/// What the browser paths need besides.
pub struct BrowserApi {
    config: WebrtcConfig,
    rates: Rates,
}

impl BrowserApi {
    pub fn new(config: WebrtcConfig) -> Self {
        Self { config, rates: Rates::default() }
    }

    pub fn try_page(&self) -> bool {
        self.config.try_page
    }
}

/// For clients' servers, with their keys.
pub fn token_paths() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::default().routes(routes!(tokens::webrtc_token)).routes(routes!(tokens::room_token))
}

/// For browsers.
pub fn paths() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::default()
        .routes(routes!(offers::connect))
        .routes(routes!(offers::join))
        .routes(routes!(offers::reconnect, control::delete))
        .routes(routes!(control::dial))
        .routes(routes!(control::hangup))
        .routes(routes!(stream::events))
}

/// The paths for browsers, with what stands before them.
pub fn guarded(paths: Router<Arc<Api>>, api: &Arc<Api>, browser: &BrowserApi) -> Router<Arc<Api>> {
    let cors = Cors::for_browsers(&browser.config.allowed_origins);
    paths
        .method_not_allowed_fallback(super::no_such_method)
        .layer(from_fn_with_state(Arc::clone(api), rate::by_source))
        .layer(from_fn_with_state(cors, cors::cors))
}
