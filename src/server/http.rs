//! The HTTP listeners and the signals, on a small tokio runtime of their own.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::watch;

use super::clock::Clock;
use super::inbox::Inbox;
use super::reload::Reload;
use super::shard::Vitals;
use super::signals::Signals;
use super::trace::Kept;
use super::webhooks::{lookup, reach};
use crate::api::{self, Admin, AdminApi, Api, BrowserApi, Edge, LiveTraces, ServeLimits, WebhookApi};
use crate::config::Config;
use crate::events::SigningKey;
use crate::store::{Store, StoreDown};

/// Histograms grow until this is done.
const METRICS_UPKEEP: std::time::Duration = std::time::Duration::from_secs(5);

/// Both listeners, bound before anything else of the program is visible.
pub struct Listeners {
    api: TcpListener,
    admin: TcpListener,
}

impl Listeners {
    pub fn bind(config: &Config) -> anyhow::Result<Self> {
        Ok(Self { api: bind(config.api.listen, "[api]")?, admin: bind(config.admin.listen, "[admin]")? })
    }
}

fn bind(address: SocketAddr, section: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| {
        format!("cannot listen on {address} ({section} listen); is another program using this port?")
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// What the handlers share with the rest of the shell.
pub struct Shared {
    pub clock: Clock,
    pub inbox: Inbox,
    pub store: Arc<dyn Store>,
    pub vitals: Arc<Vitals>,
    pub draining: Arc<AtomicBool>,
    pub metrics: PrometheusHandle,
    pub reload: Reload,
    pub webhook_key: SigningKey,
    pub traces: Option<Kept>,
}

/// Serves until `stopped` changes.
pub async fn serve(
    config: &Config,
    listeners: Listeners,
    shared: Shared,
    signals: Signals,
    stopped: watch::Receiver<()>,
) -> anyhow::Result<()> {
    let api_listener = tokio::net::TcpListener::from_std(listeners.api)?;
    let admin_listener = tokio::net::TcpListener::from_std(listeners.admin)?;
    tokio::spawn(signals.watch().context("cannot take over signals")?);
    let upkeep = shared.metrics.clone();
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(METRICS_UPKEEP);
        loop {
            ticks.tick().await;
            upkeep.run_upkeep();
        }
    });
    let limits = ServeLimits::from(&config.api);
    let clients = api::router(clients(config, &shared));
    let administrators = administrators(config, &shared);
    let operators = api::admin_router(operators(shared), administrators);
    tokio::join!(
        api::serve(api_listener, clients, limits, until(stopped.clone())),
        api::serve(admin_listener, operators, limits, until(stopped)),
    );
    Ok(())
}

async fn until(mut stopped: watch::Receiver<()>) {
    // An error says that the other end is gone, which is the same.
    let _ = stopped.changed().await;
}

fn clients(config: &Config, shared: &Shared) -> Api {
    let clock = shared.clock;
    Api {
        switch: Box::new(shared.inbox.clone()),
        store: Arc::clone(&shared.store),
        clock: Box::new(move || clock.now()),
        default_ring_timeout: config.calls.default_ring_timeout,
        read_timeout: config.api.read_timeout,
        currency: config.calls.currency.as_str().into(),
        edge: Edge::new(&config.api),
        browser: config.webrtc.clone().map(BrowserApi::new),
        traces: shared.traces.clone().map(|kept| Arc::new(kept) as Arc<dyn LiveTraces>),
        webhooks: WebhookApi {
            key: shared.webhook_key.clone(),
            reach: reach(&config.webhooks),
            lookup: lookup(),
            max_subscriptions: config.webhooks.max_subscriptions,
        },
    }
}

fn administrators(config: &Config, shared: &Shared) -> AdminApi {
    let (clock, reload) = (shared.clock, shared.reload.clone());
    AdminApi {
        store: Arc::clone(&shared.store),
        clock: Box::new(move || clock.now()),
        keys: reload.admin_keys.clone(),
        switch: Box::new(shared.inbox.clone()),
        reload: Box::new(move || reload.run()),
        read_timeout: config.api.read_timeout,
        traces: shared.traces.clone().map(|kept| Arc::new(kept) as Arc<dyn LiveTraces>),
        whole_numbers: config.log.debug_numbers,
    }
}

fn operators(shared: Shared) -> Admin {
    let Shared { store, vitals, draining, metrics, .. } = shared;
    let ready = move || {
        if draining.load(Ordering::Relaxed) {
            return Err("draining");
        }
        if vitals.trunks_in_service() == 0 {
            return Err("no trunk is in service");
        }
        store.ping().map_err(|StoreDown| "the store cannot be read")
    };
    Admin { metrics: Arc::new(move || metrics.render()), ready: Arc::new(ready) }
}
