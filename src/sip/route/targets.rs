//! Where the trunks are: one entry for each address that a trunk has.
//!
//! A trunk with an address has that one. One with a name has none until the shell has asked the DNS (RFC 3263 §4), and
//! others when the answer changes; what is known of an address that stays, stays.

use std::sync::Arc;

use crate::config::{Listener, Transport, Trunk};
use crate::model::Timestamp;
use std::net::SocketAddr;

use super::listener_for;

/// An address of a trunk, as the DNS gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    pub transport: Transport,
    pub address: SocketAddr,
    /// Of NAPTR and SRV together: lower first.
    pub priority: u32,
    /// Of SRV: shares among equals.
    pub weight: u16,
}

/// One address of one trunk, with what is known of it.
#[derive(Debug)]
pub struct Entry {
    /// As it is at this address.
    pub trunk: Arc<Trunk>,
    pub priority: u32,
    pub weight: u16,
    pub in_service: bool,
    pub avoided_until: Option<Timestamp>,
}

impl Entry {
    /// An address that no listener can reach is never in service.
    pub fn new(trunk: Arc<Trunk>, target: Target, listeners: &[Listener]) -> Self {
        let in_service = listener_for(listeners, target.transport, target.address).is_some();
        let trunk = if trunk.transport == target.transport && trunk.target == target.address {
            trunk
        } else {
            Arc::new(Trunk { transport: target.transport, target: target.address, ..Trunk::clone(&trunk) })
        };
        let Target { priority, weight, .. } = target;
        Self { trunk, priority, weight, in_service, avoided_until: None }
    }

    pub fn is_at(&self, target: Target) -> bool {
        self.trunk.transport == target.transport && self.trunk.target == target.address
    }
}

/// The entries of one trunk after an answer of the DNS: those that stay keep what is known of them.
pub fn renewed(old: Vec<Entry>, trunk: &Arc<Trunk>, targets: &[Target], listeners: &[Listener]) -> Vec<Entry> {
    let mut old: Vec<_> = old.into_iter().map(Some).collect();
    let kept = |old: &mut Vec<Option<Entry>>, target: Target| {
        let found = old.iter_mut().find(|entry| entry.as_ref().is_some_and(|entry| entry.is_at(target)))?;
        let Target { priority, weight, .. } = target;
        found.take().map(|entry| Entry { priority, weight, ..entry })
    };
    let mut entries: Vec<Entry> = Vec::new();
    for target in targets {
        if !entries.iter().any(|entry| entry.is_at(*target)) {
            let entry = kept(&mut old, *target);
            entries.push(entry.unwrap_or_else(|| Entry::new(Arc::clone(trunk), *target, listeners)));
        }
    }
    entries
}
