//! A start after an end that nobody announced.

use std::collections::BTreeMap;

use super::commits::Kept;
use super::{Entry, Output, Recovered, Switch};
use crate::call::Call;
use crate::events::Notice;
use crate::model::{LegId, Side, Timestamp};
use crate::store::Unfinished;

impl Switch {
    /// Takes up what the previous process left. Once, before the first [`Switch::handle`].
    pub fn restore(&mut self, now: Timestamp, recovered: Recovered, out: &mut Vec<Output>) {
        let last_alive = recovered.last_alive.unwrap_or(now);
        for unfinished in recovered.calls {
            self.take_up(now, last_alive, unfinished, out);
        }
        self.run(now, out);
    }

    fn take_up(&mut self, now: Timestamp, last_alive: Timestamp, unfinished: Unfinished, out: &mut Vec<Output>) {
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
        let call = Call::restore(now, last_alive, kept.call, unfinished.record, &mut actions);
        // Late packets of the old process's audio must not meet a new call.
        let plan = call.plan();
        for pair in [plan.user_leg.port, plan.destination_leg.port].into_iter().flatten() {
            if self.ports.claim(pair) {
                self.ports.release(now, pair);
            }
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
        };
        self.calls.insert(id, Box::new(entry));
        self.live += 1;
        for action in actions {
            self.act(now, id, action, out);
        }
        self.reschedule(id);
    }
}
