//! Calls whose process ended without a word: our own of before, or those of a node that is dead.

use std::collections::BTreeMap;

use super::commits::Kept;
use super::{Entry, Output, Recovered, Switch};
use crate::call::Call;
use crate::events::Notice;
use crate::model::{LegId, Side, Timestamp};
use crate::store::Unfinished;

/// Whose process left a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// Ours of before, which used our ports.
    Here,
    /// Another node's.
    Elsewhere,
}

impl Switch {
    /// Takes up what the previous process left. Once, before the first [`Switch::handle`].
    pub fn restore(&mut self, now: Timestamp, recovered: Recovered, out: &mut Vec<Output>) {
        self.take_up_all(now, Left::Here, recovered, out);
    }

    /// Takes up what a node left that is dead. At any time.
    pub(super) fn take_over(&mut self, now: Timestamp, recovered: Recovered, out: &mut Vec<Output>) {
        self.take_up_all(now, Left::Elsewhere, recovered, out);
    }

    fn take_up_all(&mut self, now: Timestamp, left: Left, recovered: Recovered, out: &mut Vec<Output>) {
        for unfinished in recovered.calls {
            // One that is here already goes on as it is.
            if !self.calls.contains_key(&unfinished.call) {
                self.take_up(now, left, unfinished, out);
            }
        }
        self.run(now, out);
    }

    fn take_up(&mut self, now: Timestamp, left: Left, unfinished: Unfinished, out: &mut Vec<Output>) {
        let id = unfinished.call;
        let Ok(kept) = serde_json::from_slice::<Kept>(&unfinished.snapshot) else {
            return out.push(Output::Notice(Notice::CallPoisoned { call: id, what: "its snapshot cannot be read" }));
        };
        for (side, leg) in [(Side::User, kept.user_leg), (Side::Destination, kept.destination_leg)] {
            if let Some(leg) = leg {
                self.endpoint.restore(now, LegId { call: id, side }, leg);
            }
        }
        let told = Some(unfinished.record.status);
        let mut actions = Vec::new();
        let last_alive = unfinished.last_alive.unwrap_or(now);
        let call = Call::restore(now, last_alive, kept.call, unfinished.record, &mut actions);
        if left == Left::Here {
            self.rest_ports(now, &call);
        }
        let entry = Entry {
            call,
            ports: BTreeMap::new(),
            deadline: None,
            live: true,
            asking: None,
            hanging_up: Vec::new(),
            idempotency: None,
            token: None,
            browser: None,
            stored: true,
            told,
            telling: 0,
        };
        self.calls.insert(id, Box::new(entry));
        self.live += 1;
        for action in actions {
            self.act(now, id, action, out);
        }
        self.reschedule(id);
    }

    /// Late packets of the old process's audio must not meet a new call.
    fn rest_ports(&mut self, now: Timestamp, call: &Call) {
        let plan = call.plan();
        for pair in [plan.user_leg.port, plan.destination_leg.port].into_iter().flatten() {
            if self.ports.claim(pair) {
                self.ports.release(now, pair);
            }
        }
    }
}
