//! A trunk in front of a side's phones that does not always do its work.

use std::rc::Rc;
use std::time::Duration;

use revbridge::model::Side;

use super::{Event, World};
use crate::phone::message::{self, Incoming};
use crate::setup;

/// What it makes of one call, decided by the INVITE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    Open,
    /// Nothing passes; of the INVITE it says nothing.
    Dropped,
    /// The INVITE passes once, so much later.
    Delayed,
    Refused,
}

impl World {
    /// A message of the server for a side's gateway.
    pub(super) fn pass(&mut self, side: Side, message: Rc<Incoming>) {
        let new = message.to_tag.is_none() && message.request().is_some_and(|r| r.method == rsip::Method::Invite);
        let known = self.gateways.get(&message.call_id).copied();
        let passage = known.unwrap_or_else(|| if new { self.passage(side, &message) } else { Passage::Open });
        match passage {
            Passage::Open => self.carry_to_phone(side, message),
            Passage::Delayed if !new => self.carry_to_phone(side, message),
            Passage::Refused if new => self.refuse(side, &message),
            Passage::Dropped | Passage::Delayed | Passage::Refused => {}
        }
    }

    fn passage(&mut self, side: Side, message: &Rc<Incoming>) -> Passage {
        let healthy = self.healthy();
        let Some(plan) = self.scenario.gateway(side) else { return Passage::Open };
        let passage = if healthy {
            Passage::Open
        } else if self.rng.chance(plan.drops) {
            Passage::Dropped
        } else if self.rng.chance(plan.delays) {
            Passage::Delayed
        } else if self.rng.chance(plan.refuses) {
            Passage::Refused
        } else {
            Passage::Open
        };
        self.trace.say(self.now, || format!("gateway  {} {passage:?}", side.letter()));
        if passage == Passage::Delayed {
            let wait = self.rng.millis(1_000, 15_000);
            self.after(wait, Event::ToPhone(side, self.node, Rc::clone(message)));
        }
        self.gateways.insert(message.call_id.clone(), passage);
        passage
    }

    fn carry_to_phone(&mut self, side: Side, message: Rc<Incoming>) {
        for wait in self.network.carry(self.healthy()) {
            self.after(wait, Event::ToPhone(side, self.node, message.clone()));
        }
    }

    fn refuse(&mut self, side: Side, message: &Incoming) {
        let Some(request) = message.request() else { return };
        let text = message::response(request, 503, Some("gateway"), &[], None);
        let flow = setup::gateway(side, self.node);
        for wait in self.network.carry(self.healthy()) {
            let wait = wait + Duration::from_millis(5);
            self.after(wait, Event::ToSwitch(flow, text.clone().into_bytes().into()));
        }
    }

    /// Whether what a phone says goes by its side's gateway.
    pub(super) fn is_behind_gateway(&self, call_id: &str) -> bool {
        self.gateways.contains_key(call_id)
    }
}
