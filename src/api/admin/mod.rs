//! The second listener, for operators: what the process does, and `/v1/admin` to change who may call.
//!
//! ```text
//! Administrator (admin key) ─▶ fields ─▶ Change ─▶ store: decide, write, log ─▶ answer
//! ```
//!
//! A handler parses; whether the change may be is decided in [`tenants`](crate::store::tenants), for the
//! command line as well, which is a client of these paths. Envelope, idempotency, request ids and bounds are those
//! of the API for clients. Without an admin key these paths do not exist.
//!
//! Deliberately absent: secrets. A key's is in the one answer to the request that made it, and nowhere else.

mod changes;
mod erasures;
mod keys;
mod operations;
mod organizations;
mod page;
mod people;
mod perform;
mod prices;
mod reload;
mod route;
mod traces;

pub use keys::new_key;
pub use operations::Admin;
pub use reload::{NotReloaded, Reloaded};

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::routing::{delete, get, post};
use sha2::{Digest, Sha256};

use super::answer::Problem;
use super::auth::{bearer_of, unauthorized};
use super::ports::Ask;
use super::refusal::store_down;
use super::trace::LiveTraces;
use crate::config::AdminKey;
use crate::model::Timestamp;
use crate::store::{Store, StoreDown};

/// All that the handlers of `/v1/admin` need.
pub struct AdminApi {
    pub store: Arc<dyn Store>,
    pub clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
    pub keys: AdminKeys,
    pub switch: Box<dyn Ask>,
    /// Reads the configuration file again; may block.
    pub reload: Box<dyn Fn() -> Result<Reloaded, NotReloaded> + Send + Sync>,
    /// For a request's body.
    pub read_timeout: Duration,
    /// `None`: nothing is traced now; what was is stored.
    pub traces: Option<Arc<dyn LiveTraces>>,
    /// Operators see whole numbers in traces.
    pub whole_numbers: bool,
}

impl AdminApi {
    /// One blocking use of the store, away from the threads that serve connections.
    async fn with_store<T: Send + 'static>(
        &self,
        with: impl FnOnce(&dyn Store) -> Result<T, StoreDown> + Send + 'static,
    ) -> Result<T, Problem> {
        let store = Arc::clone(&self.store);
        let done = tokio::task::spawn_blocking(move || with(&*store)).await;
        done.map_err(|_| Problem::internal())?.map_err(|StoreDown| store_down())
    }
}

/// The keys for `/v1/admin`; a reload of the configuration replaces them.
#[derive(Clone)]
pub struct AdminKeys(Arc<RwLock<Arc<[AdminKey]>>>);

impl AdminKeys {
    pub fn new(keys: &[AdminKey]) -> Self {
        Self(Arc::new(RwLock::new(keys.into())))
    }

    pub fn replace(&self, keys: &[AdminKey]) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys.into();
    }

    fn all(&self) -> Arc<[AdminKey]> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Who asks, by name.
pub struct Administrator(AdminKey);

impl FromRequestParts<Arc<AdminApi>> for Administrator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<AdminApi>) -> Result<Self, Problem> {
        let keys = api.keys.all();
        if keys.is_empty() {
            return Err(Problem::not_found());
        }
        let secret = bearer_of(&parts.headers).ok_or_else(unauthorized)?;
        let digest: [u8; 32] = Sha256::digest(secret).into();
        // Every digest is compared to its end: how long that takes says nothing of any.
        let matching = keys.iter().fold(None, |found, key| if same(&key.sha256, &digest) { Some(key) } else { found });
        matching.cloned().map(Self).ok_or_else(unauthorized)
    }
}

fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// Every path for operators.
pub fn admin_router(admin: Admin, api: AdminApi) -> Router {
    let organization = "/v1/admin/organizations/{organization}";
    let below = |path: &str| format!("{organization}/{path}");
    let tenants = Router::new()
        .route("/v1/admin/organizations", get(organizations::list).post(organizations::create))
        .route(organization, get(organizations::show).patch(organizations::update).delete(organizations::close))
        .route(&below("users"), get(people::users).post(people::create_user))
        .route(&below("users/{user}"), get(people::user).patch(people::update_user).delete(people::delete_user))
        .route(&below("numbers"), get(people::numbers).post(people::add_number))
        .route(&below("numbers/{number}"), delete(people::remove_number))
        .route(&below("keys"), get(keys::list).post(keys::issue))
        .route(&below("calls/{call}/trace"), get(traces::get))
        .route("/v1/admin/keys/{key}", get(keys::show).delete(keys::revoke))
        .route("/v1/admin/keys/{key}/rotate", post(keys::rotate))
        .route("/v1/admin/prices", get(prices::list))
        .route("/v1/admin/prices/{prefix}", get(prices::show).put(prices::set).delete(prices::remove))
        .route("/v1/admin/changes", get(changes::list))
        .route("/v1/admin/erasures", post(erasures::erase))
        .route("/v1/admin/reload", post(reload::reload))
        .route("/v1/admin/route", get(route::show))
        .with_state(Arc::new(api));
    operations::routes(admin)
        .merge(tenants)
        .fallback(super::no_such_path)
        .method_not_allowed_fallback(super::no_such_method)
        .layer(axum::middleware::from_fn_with_state(super::request_id::Source::new(), super::request_id::label))
}
