//! From a configuration to a running server, and down again.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use tokio::sync::watch;
use tracing::{info, warn};

use super::clock::Clock;
use super::cluster::Heart;
use super::dns::Dns;
use super::http::{self, Listeners, Shared};
use super::inbox::{Inbox, Message};
use super::media::MediaThreads;
use super::reload::{self, Reload};
use super::shard::{Ended, Outlets, Shard, Vitals};
use super::signals::Signals;
use super::trace::Tracer;
use super::udp::SipSocket;
use super::webhooks::{Webhooks, signing_key};
use super::{logs, metrics, poll, stir, streams};
use crate::api::AdminKeys;
use crate::config::Config;
use crate::model::IdSource;
use crate::sip::EndpointConfig;
use crate::sip::identity::Signer;
use crate::store::tenants::Declaration;
use crate::store::{Retention, Store, StoreDown, open};
use crate::switch::{Input, Switch, SwitchConfig};

/// Runs the server until it is told to stop and has drained. `path` is where `config` came from.
///
/// The order matters: whatever can be refused (ports, the database's lock) is taken first, then the
/// calls of the previous process are taken up, and only then does anybody hear of us.
pub fn run(config: &Config, path: &Path, verbose: bool) -> anyhow::Result<()> {
    logs::install(config.log.json, verbose);
    let recorder = metrics::install()?;
    metrics::zero(&config.trunks);
    if let Err(error) = poll::raise_descriptor_limit() {
        warn!(%error, "cannot raise the limit of open files; each call takes several");
    }
    let listeners = Listeners::bind(config)?;
    let udp = config.sip.listeners.iter().filter(|l| !l.transport.is_reliable());
    let sockets = udp.map(|l| SipSocket::bind(l.local)).collect::<Result<Vec<_>, _>>()?;
    let streams = streams::Bound::bind(config)?;
    let identities = streams.identities();
    let inbox = Inbox::new(config.api.max_waiting)?;

    let answers = inbox.clone();
    let committed = move |all: Vec<_>| answers.post(all.into_iter().map(|(id, c)| Message::Committed(id, c)));
    let opening = Instant::now();
    let (store, recovered) = open::open(&config.store, &config.cluster.node, committed)
        .with_context(|| format!("cannot open the store {} ([store] url)", config.store.url))?;
    store.keep(Retention { traces: config.trace.keep, ..Retention::from(&config.store) });
    let clock = Clock::start(recovered.last_alive);
    let skipped = store.declare(Declaration::from(config), clock.now());
    reload::tell(&skipped.map_err(|StoreDown| anyhow!("the store cannot be written"))?);
    let webhook_key = signing_key(&config.webhooks.key_file)?;
    let signer = config.stir.as_ref().map(stir::signer).transpose()?;
    let webhooks = Webhooks::start(
        &config.webhooks,
        webhook_key.clone(),
        Arc::clone(&store) as Arc<dyn Store>,
        clock,
        config.calls.currency.as_str().into(),
    );
    let webhooks = webhooks.context("cannot start the webhooks thread")?;

    let events = inbox.clone();
    let report = move |leg, event| events.post([Message::Media(leg, event)]);
    let media = MediaThreads::start(&config.media, config.webrtc.as_ref(), clock, report)
        .context("cannot start the media threads")?;

    let mut switch = Switch::new(switch_config(config, signer), IdSource::new(seed()?), clock.now());
    let tracer =
        config.trace.enabled.then(|| Tracer::start(Arc::clone(&store), clock, config.trace.hep.as_ref())).transpose();
    let tracer = tracer.context("cannot start the trace thread")?;
    if tracer.is_some() {
        switch.trace();
    }
    let mut restored = Vec::new();
    switch.restore(clock.now(), recovered, &mut restored);
    if store.cluster().is_some() {
        // Taking the name was the first sign of life.
        let lease = Input::Lease(clock.now() + config.cluster.lease - opening.elapsed());
        switch.handle(clock.now(), lease, &mut restored);
    }

    let vitals = Arc::new(Vitals::default());
    let (commits, forgets) = (Arc::clone(&store), Arc::clone(&store));
    let dns = Dns::start(&config.sip, &config.trunks, &inbox)?;
    let streams = streams.start(&config.trunks, inbox.clone()).context("cannot start the streams thread")?;
    let passed = tracer.as_ref().map(Tracer::way);
    let mut ended = passed.clone();
    let outlets = Outlets {
        commit: Box::new(move |id, commit| commits.submit(id, commit)),
        forget: Box::new(move |calls| {
            if let Some(way) = &mut ended {
                way.forget(&calls);
            }
            forgets.forget(calls);
        }),
        trace: Box::new(move |message| {
            if let Some(way) = &passed {
                way.passed(message);
            }
        }),
        media,
        streams,
    };
    let shard = Shard::new(clock, switch, sockets, inbox.clone(), outlets, Arc::clone(&vitals))?;

    let draining = Arc::new(AtomicBool::new(false));
    let admin_keys = AdminKeys::new(&config.admin.keys);
    if config.admin.keys.is_empty() {
        info!("/v1/admin is off: [admin] has no key");
    }
    let reload = Reload {
        config: path.to_owned(),
        store: Arc::clone(&store),
        clock,
        admin_keys,
        identities,
        turn: Arc::default(),
    };
    let signals = Signals {
        inbox: inbox.clone(),
        reload: reload.clone(),
        drain_deadline: config.calls.drain_deadline,
        draining: Arc::clone(&draining),
    };
    let heart = Heart::start(store.clone(), &config.cluster, clock, inbox.clone()).context("cannot start a thread")?;
    let traces = tracer.as_ref().map(Tracer::kept);
    let shared = Shared { clock, inbox, store, vitals, draining, metrics: recorder, reload, webhook_key, traces };
    let ended = serve(config, listeners, shared, signals, move || shard.run(restored));
    // Before the store closes: what was tried, and what ended calls have said, is written down.
    drop(tracer);
    drop(webhooks);
    drop(heart);
    drop(dns);
    match ended? {
        Ended::Drained => Ok(()),
        Ended::Fenced => bail!(
            "another process has taken the place of node {} and its calls: this one was not heard for [cluster] \
             lease_seconds, or was started twice; start it again when it can reach its store",
            config.cluster.node
        ),
    }
}

/// Starts the switch thread and serves HTTP until that thread ends.
fn serve(
    config: &Config,
    listeners: Listeners,
    shared: Shared,
    signals: Signals,
    switch: impl FnOnce() -> std::io::Result<Ended> + Send + 'static,
) -> anyhow::Result<Ended> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = watch::channel(());
    let switch = std::thread::Builder::new().name("switch".to_owned()).spawn(move || {
        // Dropped at the end of the thread, also when it panics: then HTTP stops, and the process ends.
        let _stop = stop;
        switch()
    })?;
    info!(api = %config.api.listen, admin = %config.admin.listen, sip = %addresses(config), "ready");
    runtime.block_on(http::serve(config, listeners, shared, signals, stopped))?;
    Ok(switch.join().map_err(|_| anyhow!("the switch thread has panicked; start again to take the calls up"))??)
}

fn addresses(config: &Config) -> String {
    config.sip.listeners.iter().map(|l| format!("{}:{}", l.transport.as_str(), l.local)).collect::<Vec<_>>().join(" ")
}

fn switch_config(config: &Config, signer: Option<Arc<Signer>>) -> SwitchConfig {
    SwitchConfig {
        endpoint: EndpointConfig {
            listeners: config.sip.listeners.clone(),
            trunks: config.trunks.clone(),
            failover: config.sip.failover,
            product: concat!("revbridge/", env!("CARGO_PKG_VERSION")).into(),
            signer,
        },
        media: config.media.clone(),
        calls: config.calls.clone(),
        grace: config.webrtc.as_ref().map_or(Duration::ZERO, |webrtc| webrtc.grace),
    }
}

fn seed() -> anyhow::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("the system gives no random bytes")?;
    Ok(seed)
}
