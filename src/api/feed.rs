//! One reader of the store for all streams of an organization.
//!
//! ```text
//! outbox ─ 5 times a second ─▶ Feed ─ broadcast ─▶ stream, stream, stream …
//!    └──────── each stream, until it has caught up ────┘
//! ```
//!
//! The feed reads on from where it began; a stream subscribes, then reads the store up to now by itself, and
//! then takes from the feed what is newer. So nothing falls between. The store is what all nodes share, so it
//! makes no difference which of them a call lives on.
//!
//! A feed lives as long as somebody holds it. Deliberately absent: a queue per stream. What the feed keeps is
//! bounded, and a stream that falls behind it is over; its reader resumes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore, broadcast};

use super::Api;
use super::answer::Problem;
use crate::config::bounds::API_STREAMS_PER_KEY;
use crate::events::{FactKind, Told};
use crate::model::{CallId, OrganizationId, Status};
use crate::store::Event;

/// How late an event may be; a person notices a quarter of a second.
const TICK: Duration = Duration::from_millis(200);
/// Events of one read: as many as a second of a busy organization brings.
pub const PAGE: usize = 100;
/// Reads that the feed keeps for streams that are behind: about a hundred thousand bytes each, when full.
const KEPT: usize = 64;

/// An event, written once for all that are told.
#[derive(Debug)]
pub struct Line {
    pub position: u64,
    pub call: CallId,
    /// Nothing follows of its call.
    pub is_last: bool,
    pub text: Bytes,
}

impl Line {
    pub fn new(event: &Event, currency: &Arc<str>) -> Self {
        let Event { position, call, kind, at, ref record } = *event;
        let told = Told::new(position, kind, at, record, currency);
        // Strings and numbers, without a line feed: it cannot fail, and is one line of the stream.
        let data = serde_json::to_string(&told).unwrap_or_default();
        let text = format!("id: {position}\nevent: {}\ndata: {data}\n\n", kind.as_str());
        Self { position, call, is_last: is_last(kind, record.status), text: text.into() }
    }
}

/// An end is told once or twice, depending on how the call ended.
fn is_last(kind: FactKind, status: Status) -> bool {
    match kind {
        FactKind::CallNoAnswer | FactKind::CallBusy | FactKind::CallFailed => true,
        FactKind::CallCompleted => !matches!(status, Status::NoAnswer | Status::Busy | Status::Failed),
        FactKind::NewCall | FactKind::CallAnswered | FactKind::CallStatus => false,
    }
}

pub type Lines = Arc<[Line]>;

/// All feeds, and places for streams.
pub struct Streams {
    feeds: Mutex<HashMap<OrganizationId, Weak<Feed>>>,
    places: Arc<Semaphore>,
    by_key: Arc<Mutex<HashMap<[u8; 32], usize>>>,
}

impl Streams {
    /// A stream keeps a connection, so all of them get half of what the listener has.
    pub fn new(max_connections: usize) -> Self {
        let places = Arc::new(Semaphore::new((max_connections / 2).max(1)));
        Self { feeds: Mutex::default(), places, by_key: Arc::default() }
    }

    /// For a stream of whichever kind.
    pub fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// A place among those of this key; `None` when it has as many as it may.
    pub fn place_of(&self, key: [u8; 32]) -> Option<KeyPlace> {
        let mut held = lock(&self.by_key);
        let count = held.entry(key).or_default();
        if *count >= API_STREAMS_PER_KEY {
            return None;
        }
        *count += 1;
        Some(KeyPlace { key, held: Arc::clone(&self.by_key) })
    }

    /// The organization's feed; it has begun when this returns.
    pub async fn feed(&self, api: &Arc<Api>, organization: &OrganizationId) -> Result<Arc<Feed>, Problem> {
        let feed = {
            let mut feeds = lock(&self.feeds);
            feeds.retain(|_, feed| feed.strong_count() > 0);
            let alive = feeds.get(organization).and_then(Weak::upgrade);
            alive.unwrap_or_else(|| {
                let (lines, _) = broadcast::channel(KEPT);
                let feed = Arc::new(Feed { lines, begun: OnceCell::new() });
                feeds.insert(organization.clone(), Arc::downgrade(&feed));
                feed
            })
        };
        let of = organization.clone();
        let begin = async {
            let newest = api.read(move |store| store.newest_event(&of)).await?;
            tokio::spawn(read_on(Arc::downgrade(&feed), Arc::clone(api), organization.clone(), newest));
            Ok(())
        };
        feed.begun.get_or_try_init(|| begin).await?;
        Ok(feed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One of the streams that a key holds.
pub struct KeyPlace {
    key: [u8; 32],
    held: Arc<Mutex<HashMap<[u8; 32], usize>>>,
}

impl Drop for KeyPlace {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        if let Some(count) = held.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.key);
            }
        }
    }
}

/// What happens in an organization.
pub struct Feed {
    lines: broadcast::Sender<Lines>,
    begun: OnceCell<()>,
}

impl Feed {
    pub fn subscribe(&self) -> broadcast::Receiver<Lines> {
        self.lines.subscribe()
    }
}

/// The events after a position, written.
pub async fn read(
    api: &Api,
    organization: &OrganizationId,
    of: Option<CallId>,
    after: u64,
) -> Result<Vec<Line>, Problem> {
    let organization = organization.clone();
    let currency = Arc::clone(&api.currency);
    api.read(move |store| {
        let events = store.events(&organization, of, after, PAGE)?;
        Ok(events.iter().map(|event| Line::new(event, &currency)).collect())
    })
    .await
}

async fn read_on(feed: Weak<Feed>, api: Arc<Api>, organization: OrganizationId, mut after: u64) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        loop {
            if feed.strong_count() == 0 {
                return;
            }
            // What cannot be read now is read at the next tick.
            let Ok(lines) = read(&api, &organization, None, after).await else { break };
            let Some(newest) = lines.last() else { break };
            after = newest.position;
            let is_full = lines.len() == PAGE;
            let Some(feed) = feed.upgrade() else { return };
            // Nobody may be listening just now.
            let _ = feed.lines.send(lines.into());
            if !is_full {
                break;
            }
        }
    }
}
