//! Webhooks: who wants to be told of what, and what is yet to be told to whom.
//!
//! ```text
//!  commit with a fact ──▶ pending ── claim ──▶ tried ──▶ delivered
//!                            ▲                   ├─ again at … ─▶ pending
//!                            └─── replay ─ dead ◀┘ 24 h, or gone
//! ```
//!
//! A delivery is written in the transaction that makes its fact true, one for each subscription to it that is
//! there by then; it holds no body, for that is made from the event of the outbox. Whoever sends claims some:
//! a lease in the store, so that any number of nodes may send, and what a node that died had claimed is tried
//! again by another. So each is delivered at least once, always with the same event id.
//!
//! Deliveries of one call to one URL are claimed in the order of their events: none before those that came
//! earlier are delivered or dead.

use std::collections::BTreeMap;

use super::{Answer, Event, Idempotency, StoreDown};
use crate::events::{FactKind, KeyPrint, ReceiverId, SecretSeed, TryError};
use crate::model::{CallId, EventId, OrganizationId, SubscriptionId, Timestamp};

/// Who is told of one kind of fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    pub id: SubscriptionId,
    pub kind: FactKind,
    /// Normalized, and checked by the rules for webhooks.
    pub url: String,
    pub created_at: Timestamp,
    /// With the key of this print it gives the signing secret; alone, nothing.
    pub seed: SecretSeed,
    pub key: KeyPrint,
    /// The organization and the host and port of the URL: what shares places for tries.
    pub receiver: ReceiverId,
    /// The organization and the whole URL: what the order of a call's deliveries is kept for.
    pub lane: i64,
}

/// A subscription and how it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionState {
    pub id: SubscriptionId,
    pub kind: FactKind,
    pub url: String,
    pub created_at: Timestamp,
    /// Its receiver said 410: what it would be told is dead from the start, until it is replayed.
    pub disabled: bool,
    pub pending: u64,
    pub dead: u64,
}

/// What became of a request that has an effect once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Once<T> {
    Done(T),
    /// It was made before, with the same body.
    Replayed(Answer),
    /// Its key was used before with another body, by this request.
    Conflict {
        request_id: std::sync::Arc<str>,
    },
}

/// Whether a subscription was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subscribed {
    Taken,
    /// The organization has as many as it may.
    TooMany,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeliveryState {
    Pending,
    Delivered,
    Dead,
}

impl DeliveryState {
    pub const ALL: [DeliveryState; 3] = [DeliveryState::Pending, DeliveryState::Delivered, DeliveryState::Dead];

    pub fn as_str(self) -> &'static str {
        match self {
            DeliveryState::Pending => "pending",
            DeliveryState::Delivered => "delivered",
            DeliveryState::Dead => "dead",
        }
    }
}

/// In the order in which they were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(pub i64);

/// One delivery, for people.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    pub id: DeliveryId,
    pub event: EventId,
    pub kind: FactKind,
    pub call: CallId,
    /// Of the event.
    pub at: Timestamp,
    pub state: DeliveryState,
    /// Tries so far.
    pub attempts: u32,
    pub last_tried_at: Option<Timestamp>,
    pub last_status: Option<u16>,
    pub last_error: Option<TryError>,
    /// `None` when there will be none, or it is being tried.
    pub next_try_at: Option<Timestamp>,
}

/// Which deliveries of a subscription to list, newest event first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryFilter {
    pub state: DeliveryState,
    /// Deliveries at most.
    pub limit: usize,
    /// [`DeliveryPage::next`] of the page before.
    pub cursor: Option<DeliveryCursor>,
}

/// A place in a list: of this event's time and this delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryCursor {
    pub at: Timestamp,
    pub id: DeliveryId,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeliveryPage {
    pub deliveries: Vec<Delivery>,
    pub next: Option<DeliveryCursor>,
}

/// Which dead deliveries to try again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replay {
    All,
    /// Of events at this time or later.
    Since(Timestamp),
    Events(Vec<EventId>),
}

/// One process, in all its claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimantId(pub [u8; 16]);

/// A request for deliveries to try now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub by: ClaimantId,
    pub now: Timestamp,
    /// Then they are free for others, unless they were settled.
    pub until: Timestamp,
    /// Only of subscriptions whose secrets this key gives.
    pub key: KeyPrint,
    /// Deliveries at most.
    pub limit: usize,
    /// Of one receiver at most.
    pub per_receiver: usize,
    /// In place of `per_receiver`, for those receivers that are named.
    pub places: BTreeMap<ReceiverId, usize>,
    /// Receivers take turns: those after this one first.
    pub after: ReceiverId,
}

/// A delivery to try.
#[derive(Debug, Clone, PartialEq)]
pub struct Due {
    pub id: DeliveryId,
    pub subscription: SubscriptionId,
    pub url: String,
    pub seed: SecretSeed,
    pub receiver: ReceiverId,
    /// Tries before this one.
    pub attempts: u32,
    /// Of those, the first.
    pub first_tried_at: Option<Timestamp>,
    pub event: Event,
}

/// What came of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tried {
    pub id: DeliveryId,
    /// When the try began.
    pub at: Timestamp,
    pub status: Option<u16>,
    pub error: Option<TryError>,
    pub next: Next,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Delivered,
    Again(Timestamp),
    Dead,
    /// Dead, and the receiver wants to be told nothing any more: the subscription is disabled, and what else
    /// it would be told is dead too.
    Gone,
    /// Given back: nothing was sent.
    Untried,
}

/// What waits to be sent, by whatever node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    pub pending: u64,
    pub dead: u64,
    /// Pending deliveries of subscriptions that were made with another key: nobody here can sign them.
    pub of_other_keys: u64,
}

/// Subscriptions and deliveries. All of it blocks on the disk or the network.
pub trait Deliveries {
    /// Takes the subscription, unless the organization has `most`; with `once`, in the same transaction as the
    /// answer that is kept for a repetition.
    fn subscribe(
        &self,
        organization: &OrganizationId,
        subscription: Subscription,
        most: usize,
        once: Option<Idempotency>,
    ) -> Result<Once<Subscribed>, StoreDown>;

    /// Oldest first.
    fn subscriptions(&self, organization: &OrganizationId) -> Result<Vec<SubscriptionState>, StoreDown>;

    /// `None` also for one of another organization.
    fn subscription(
        &self,
        organization: &OrganizationId,
        id: SubscriptionId,
    ) -> Result<Option<SubscriptionState>, StoreDown>;

    /// Ends the subscription: from now on nothing is written for it, claimed for it, or known of it. `false`
    /// when there is none.
    fn unsubscribe(
        &self,
        organization: &OrganizationId,
        id: SubscriptionId,
        now: Timestamp,
        once: Option<Idempotency>,
    ) -> Result<Once<bool>, StoreDown>;

    /// `None` when there is no such subscription.
    fn deliveries(
        &self,
        organization: &OrganizationId,
        id: SubscriptionId,
        filter: &DeliveryFilter,
    ) -> Result<Option<DeliveryPage>, StoreDown>;

    /// Makes dead deliveries pending again, with all their tries before them, and enables the subscription.
    /// How many; `None` when there is no such subscription.
    fn replay(
        &self,
        organization: &OrganizationId,
        id: SubscriptionId,
        which: &Replay,
        now: Timestamp,
    ) -> Result<Option<u64>, StoreDown>;

    /// Claims deliveries that are due and first in their call's order at their URL. Writes nothing when none is.
    fn claim(&self, claim: &Claim) -> Result<Vec<Due>, StoreDown>;

    /// Tells what came of claims. What is no longer claimed by this process stays as it is.
    fn settle(&self, by: ClaimantId, tried: Vec<Tried>) -> Result<(), StoreDown>;

    fn backlog(&self, key: KeyPrint) -> Result<Backlog, StoreDown>;

    /// `wake` is called after each transaction of this process that made deliveries due. Once, at the start.
    fn on_deliveries(&self, wake: Box<dyn Fn() + Send + Sync>);
}
