//! The calls that hold something, by call, by user and by destination.
//!
//! Deliberately absent: counters. The two indexes are sets of the same calls, changed together with them in
//! [`Leases::insert`] and [`Leases::remove`], and what is in use is how many calls a set has.

use std::collections::{BTreeMap, BTreeSet};

use super::Lease;
use crate::model::{CallId, E164, Money, UserId};

const FIRST: CallId = CallId::from_bytes([0; 16]);
const LAST: CallId = CallId::from_bytes([0xff; 16]);

#[derive(Debug, Clone, Default)]
pub(super) struct Leases {
    by_call: BTreeMap<CallId, Lease>,
    by_user: BTreeSet<(UserId, CallId)>,
    by_destination: BTreeSet<(E164, CallId)>,
}

impl Leases {
    pub fn get(&self, call: CallId) -> Option<&Lease> {
        self.by_call.get(&call)
    }

    /// Sets `amount` more aside for the call, and returns its lease; `None` when it has none.
    pub fn extend(&mut self, call: CallId, amount: Money) -> Option<&Lease> {
        let lease = self.by_call.get_mut(&call)?;
        lease.reserved += amount;
        Some(lease)
    }

    pub fn insert(&mut self, lease: Lease) {
        let (call, user, to) = (lease.attempt.call, lease.attempt.user.clone(), lease.attempt.to);
        self.remove(call);
        self.by_call.insert(call, lease);
        self.by_user.insert((user, call));
        self.by_destination.insert((to, call));
    }

    pub fn remove(&mut self, call: CallId) -> Option<Lease> {
        let lease = self.by_call.remove(&call)?;
        self.by_user.remove(&(lease.attempt.user.clone(), call));
        self.by_destination.remove(&(lease.attempt.to, call));
        Some(lease)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.by_call.values()
    }

    pub fn calls(&self) -> u64 {
        self.by_call.len() as u64
    }

    pub fn calls_of(&self, user: &UserId) -> u64 {
        self.by_user.range((user.clone(), FIRST)..=(user.clone(), LAST)).count() as u64
    }

    pub fn calls_to(&self, destination: E164) -> u64 {
        self.by_destination.range((destination, FIRST)..=(destination, LAST)).count() as u64
    }
}
