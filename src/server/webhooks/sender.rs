//! Claims what is due, has it tried, and tells the store what came of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderName, USER_AGENT};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tokio::sync::{Notify, oneshot};
use tokio::task::{Id, JoinSet};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, error, warn};

use super::places::Places;
use super::post::{Net, Said};
use crate::config::WebhooksConfig;
use crate::events::{ReceiverId, SigningKey, Told, TryEnd, TryError, Verdict, WebhookUrl, retry_after, sign, verdict};
use crate::model::Timestamp;
use crate::server::clock::Clock;
use crate::store::{Claim, ClaimantId, Due, Next, Store, StoreDown, Tried};

/// How often somebody looks who was not woken: for what is tried again, and for what other nodes left.
const POLL: Duration = Duration::from_millis(500);
/// From a claim to the moment at which others may take it: a try, and a store that is slow to be told.
const LEASE: Duration = Duration::from_secs(30);
/// For tries under way when the server stops.
const STOP: Duration = Duration::from_secs(3);
/// How often the backlog is counted.
const COUNT: Duration = Duration::from_secs(5);

const AGENT: &str = concat!("revbridge/", env!("CARGO_PKG_VERSION"));
const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const OWN_SIGNATURE: HeaderName = HeaderName::from_static("x-revdesk-signature");

/// A try under way, for the case that it never ends by itself.
struct UnderWay {
    due: Due,
    began: Timestamp,
}

/// A try that ended.
struct Ended {
    result: Result<Said, TryError>,
    took: Duration,
}

pub struct Sender {
    max_in_flight: usize,
    by: ClaimantId,
    key: SigningKey,
    store: Arc<dyn Store>,
    clock: Clock,
    currency: Arc<str>,
    net: Arc<Net>,
    wake: Arc<Notify>,
    random: ChaCha20Rng,
    places: Places,
    /// Whose turn it was last.
    after: ReceiverId,
    tries: JoinSet<Ended>,
    under_way: HashMap<Id, UnderWay>,
    /// What the store has not been told yet.
    tried: Vec<Tried>,
    counted: Option<Instant>,
}

impl Sender {
    #[allow(clippy::too_many_arguments, reason = "called once, with what the start has put together")]
    pub fn new(
        config: &WebhooksConfig,
        key: SigningKey,
        store: Arc<dyn Store>,
        clock: Clock,
        currency: Arc<str>,
        net: Net,
        wake: Arc<Notify>,
        seed: [u8; 32],
    ) -> Self {
        let mut random = ChaCha20Rng::from_seed(seed);
        let mut by = [0; 16];
        random.fill_bytes(&mut by);
        Self {
            max_in_flight: config.max_in_flight,
            by: ClaimantId(by),
            key,
            store,
            clock,
            currency,
            net: Arc::new(net),
            wake,
            random,
            places: Places::new(config.max_in_flight_per_receiver),
            after: ReceiverId(i64::MAX),
            tries: JoinSet::new(),
            under_way: HashMap::new(),
            tried: Vec::new(),
            counted: None,
        }
    }

    /// Until `stop` is dropped.
    pub async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        describe();
        let mut polls = interval(POLL);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.settle().await;
            self.claim().await;
            tokio::select! {
                _ = &mut stop => break,
                Some(ended) = self.tries.join_next_with_id() => self.ended(ended),
                () = self.wake.notified() => {}
                _ = polls.tick() => self.count().await,
            }
            while let Some(ended) = self.tries.try_join_next_with_id() {
                self.ended(ended);
            }
        }
        self.finish().await;
    }

    /// One call of the store, which blocks.
    async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn Store) -> Result<T, StoreDown> + Send + 'static,
    ) -> Result<T, StoreDown> {
        let store = Arc::clone(&self.store);
        tokio::task::spawn_blocking(move || ask(&*store)).await.unwrap_or(Err(StoreDown))
    }

    /// Tells the store. What it does not take is kept until it does; if that is too long, others try again.
    async fn settle(&mut self) {
        if self.tried.is_empty() {
            return;
        }
        let (by, tried) = (self.by, self.tried.clone());
        if self.ask(move |store| store.settle(by, tried)).await.is_ok() {
            self.tried.clear();
        }
    }

    async fn claim(&mut self) {
        let free = self.max_in_flight.saturating_sub(self.tries.len());
        // A store that takes no result would give the same deliveries again.
        if free == 0 || !self.tried.is_empty() {
            return;
        }
        let now = self.clock.now();
        let claim = Claim {
            by: self.by,
            now,
            until: now + LEASE,
            key: self.key.print(),
            limit: free,
            per_receiver: Places::OF_OTHERS,
            places: self.places.left(),
            after: self.after,
        };
        let claimed = self.ask(move |store| store.claim(&claim)).await.unwrap_or_default();
        for due in claimed {
            self.begin(due);
        }
    }

    fn begin(&mut self, due: Due) {
        self.after = due.receiver;
        self.places.take(due.receiver);
        let began = self.clock.now();
        let post = self.request(&due, began);
        let net = Arc::clone(&self.net);
        let task = self.tries.spawn(async move {
            let started = Instant::now();
            let result = match post {
                Some((url, request)) => net.post(&url, request).await,
                None => Err(TryError::Protocol),
            };
            Ended { result, took: started.elapsed() }
        });
        self.under_way.insert(task.id(), UnderWay { due, began });
    }

    /// The URL was judged when it was set; it is judged again, by the rules of now.
    fn request(&self, due: &Due, now: Timestamp) -> Option<(WebhookUrl, Request<Full<Bytes>>)> {
        let url = WebhookUrl::parse(&due.url, self.net.reach).ok()?;
        let event = &due.event;
        let told = Told::new(event.position, event.kind, event.at, &event.record, &self.currency);
        let id = told.id.to_string();
        let body = serde_json::to_vec(&told).ok()?;
        let secret = self.key.secret(due.subscription, &due.seed);
        let signatures = sign(&secret, &id, now.as_millis() / 1_000, &body);
        let request = Request::post(url.target())
            .header(HOST, url.authority())
            .header(USER_AGENT, AGENT)
            .header(CONTENT_TYPE, "application/json")
            .header(WEBHOOK_ID, id)
            .header(WEBHOOK_TIMESTAMP, signatures.timestamp)
            .header(WEBHOOK_SIGNATURE, signatures.standard)
            .header(OWN_SIGNATURE, signatures.own)
            .header(CONNECTION, "close")
            .body(Full::new(body.into()));
        request.ok().map(|request| (url, request))
    }

    fn ended(&mut self, ended: Result<(Id, Ended), tokio::task::JoinError>) {
        let (id, ended) = match ended {
            Ok((id, ended)) => (id, Some(ended)),
            Err(error) => (error.id(), None),
        };
        let Some(UnderWay { due, began }) = self.under_way.remove(&id) else { return };
        let Some(Ended { result, took }) = ended else {
            error!(subscription = %due.subscription, "a try of a webhook ended in a panic: a bug");
            return self.places.give_back(due.receiver, None);
        };
        self.places.give_back(due.receiver, result.is_ok().then_some(took));
        histogram!("revbridge_webhook_seconds").record(took);
        let now = self.clock.now();
        let (said, error) = match result {
            Ok(said) => (Some(said), None),
            Err(error) => (None, Some(error)),
        };
        let asked = said.as_ref().and_then(|said| said.retry_after.as_deref());
        let end = TryEnd {
            before: due.attempts,
            first: due.first_tried_at.unwrap_or(began),
            now,
            status: said.as_ref().map(|said| said.status),
            error,
            retry_after: asked.and_then(|text| retry_after(text, now)),
            random: self.random.next_u64(),
        };
        self.judge(&due, began, &end);
    }

    fn judge(&mut self, due: &Due, began: Timestamp, end: &TryEnd) {
        let (next, error, result) = match verdict(end) {
            Verdict::Delivered => (Next::Delivered, None, "delivered"),
            Verdict::Again { at, why } => (Next::Again(at), Some(why), "retried"),
            Verdict::Dead { why: TryError::Gone } => (Next::Gone, Some(TryError::Gone), "dead"),
            Verdict::Dead { why } => (Next::Dead, Some(why), "dead"),
        };
        counter!("revbridge_webhook_deliveries_total", "result" => result).increment(1);
        let (subscription, call) = (due.subscription, due.event.call);
        let (kind, why) = (due.event.kind.as_str(), error.map_or("", TryError::as_str));
        match next {
            Next::Delivered | Next::Again(_) | Next::Untried => {
                debug!(%subscription, %call, event = kind, result, why, status = end.status, "webhook");
            }
            Next::Dead => warn!(%subscription, %call, event = kind, why, "webhook given up"),
            Next::Gone => warn!(%subscription, "the receiver of a webhook answered 410: the subscription is disabled"),
        }
        self.tried.push(Tried { id: due.id, at: began, status: end.status, error, next });
    }

    /// What is under way gets a moment; the rest is given back, to be tried by others or after the next start.
    async fn finish(mut self) {
        let all = async {
            while let Some(ended) = self.tries.join_next_with_id().await {
                self.ended(ended);
            }
        };
        let _ = tokio::time::timeout(STOP, all).await;
        let now = self.clock.now();
        let left = self.under_way.values().map(|try_| try_.due.id);
        let left = left.map(|id| Tried { id, at: now, status: None, error: None, next: Next::Untried });
        self.tried.extend(left);
        self.settle().await;
    }

    async fn count(&mut self) {
        if self.counted.is_some_and(|last| last.elapsed() < COUNT) {
            return;
        }
        let key = self.key.print();
        let Ok(backlog) = self.ask(move |store| store.backlog(key)).await else { return };
        gauge!("revbridge_webhook_deliveries_pending").set(backlog.pending as f64);
        gauge!("revbridge_webhook_deliveries_dead").set(backlog.dead as f64);
        if backlog.of_other_keys > 0 && self.counted.is_none() {
            warn!(
                deliveries = backlog.of_other_keys,
                "webhooks wait for the key that their secrets were made with; restore [webhooks] key_file"
            );
        }
        self.counted = Some(Instant::now());
    }
}

fn describe() {
    describe_counter!("revbridge_webhook_deliveries_total", "Tries of webhooks by result: delivered, retried, dead");
    describe_histogram!("revbridge_webhook_seconds", "One try of a webhook, from the lookup to the answer");
    describe_gauge!("revbridge_webhook_deliveries_pending", "Webhooks that are not delivered yet");
    describe_gauge!("revbridge_webhook_deliveries_dead", "Webhooks that were given up and can be replayed");
    for result in ["delivered", "retried", "dead"] {
        counter!("revbridge_webhook_deliveries_total", "result" => result).absolute(0);
    }
}
