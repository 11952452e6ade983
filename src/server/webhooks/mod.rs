//! Sends what subscribers are to be told: a thread of its own, so that no receiver is ever in a call's way.
//!
//! ```text
//!  store thread ── wake ──▶ sender ── claim ──▶ a task per try: resolve ─ connect ─ TLS ─ post
//!                             ▲  └──── settle ◀─────────────────┘
//!  every half second ─────────┘
//! ```
//!
//! Each try takes one of a bounded number of places, and of one receiver's fewer: one that is slow has a single
//! one, so it holds up nobody but itself. What a try may cost is bounded in time and in bytes.
//!
//! Deliberately absent: connections kept open between tries (a receiver gets few a minute), redirects, proxies and
//! HTTP/2; and any decision about what is due, which the store makes for all nodes.

mod key;
mod limited;
mod places;
mod post;
mod sender;
#[cfg(test)]
mod tests;
mod tls;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::Context;
use tokio::sync::{Notify, oneshot};
use tracing::error;

use self::post::Net;
use self::sender::Sender;
use super::clock::Clock;
use crate::api::Lookup;
use crate::config::WebhooksConfig;
use crate::events::{Reach, SigningKey};
use crate::store::Store;

pub use key::read_or_make as signing_key;

/// Threads for name servers and the store beside one for each try.
const MORE_THREADS: usize = 4;

/// The sender at work. Dropping it ends its thread.
pub struct Webhooks {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Webhooks {
    pub fn start(
        config: &WebhooksConfig,
        key: SigningKey,
        store: Arc<dyn Store>,
        clock: Clock,
        currency: Arc<str>,
    ) -> anyhow::Result<Self> {
        let tls = tls::connector(config.ca_file.as_deref())?;
        let net = Net { tls, reach: reach(config), lookup: lookup(), time: post::TRY };
        let wake = Arc::new(Notify::new());
        let woken = Arc::clone(&wake);
        store.on_deliveries(Box::new(move || woken.notify_one()));
        let sender = Sender::new(config, key, store, clock, currency, net, wake, seed()?);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(config.max_in_flight + MORE_THREADS)
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("webhooks".to_owned()).spawn(move || {
            runtime.block_on(sender.run(stopped));
            // A name server that does not answer is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Webhooks {
    /// Waits for the tries under way, for a bounded time.
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            error!("the webhooks thread has panicked; what it had claimed is sent after the next start");
        }
    }
}

/// Whom the configuration lets webhooks reach.
pub fn reach(config: &WebhooksConfig) -> Reach {
    Reach { loopback: config.allow_http_loopback }
}

/// Asks as every program of this machine does: `/etc/hosts`, then the name servers.
pub fn lookup() -> Lookup {
    Arc::new(|host, port| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((host, port)).await?;
            let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
            addresses.dedup();
            if addresses.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(addresses) }
        })
    })
}

fn seed() -> anyhow::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("the system gives no random bytes")?;
    Ok(seed)
}
