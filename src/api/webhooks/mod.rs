//! Webhook subscriptions: who is told of what, what could not be told, and telling it again.
//!
//! ```text
//! POST ─ fields ─ URL rules ─ lookup of the name ─▶ store ─▶ 201 with the secret, once
//! ```
//!
//! The secret is in no table and in no stored answer: both hold its seed, and what repeats the request makes the
//! secret again (`events::SigningKey`).
//!
//! Deliberately absent: sending (`server::webhooks`), and changing a subscription: a new one and the end of the
//! old one do it without a moment in which nobody is told.

mod deliveries;
mod subscribe;
mod subscriptions;

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use crate::events::{Reach, SigningKey};

/// The addresses that a name has now.
pub type Lookup =
    Arc<dyn Fn(String, u16) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> + Send + Sync>;

/// What these paths need besides.
pub struct WebhookApi {
    pub key: SigningKey,
    pub reach: Reach,
    pub lookup: Lookup,
    /// Subscriptions of one organization.
    pub max_subscriptions: usize,
}

pub fn paths() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(subscribe::subscribe, subscriptions::list))
        .routes(routes!(subscriptions::get, subscriptions::delete))
        .routes(routes!(deliveries::list))
        .routes(routes!(deliveries::replay))
}
