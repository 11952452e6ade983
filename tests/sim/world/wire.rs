//! Everything on the wire: what leaves is judged, then carried to the phone whose call it is, and back.

use std::rc::Rc;
use std::time::Duration;

use revbridge::config::Transport;
use revbridge::model::{Side, Timestamp};
use revbridge::sip::{Down, Flow};
use revbridge::switch::Input;

use super::{Event, World};
use crate::checks::{Check, masking};
use crate::mutant::Mutant;
use crate::phone::message::{self, Incoming};
use crate::phone::{Effects, Home, Phone, nonsense};
use crate::scenario::StreamPlan;
use crate::setup;

impl World {
    pub(super) fn transmit(&mut self, flow: Flow, bytes: &[u8]) {
        if flow == setup::stranger(self.node) {
            let answers = bytes.starts_with(b"SIP/2.0 ");
            return self.checks.unless(answers, Check::Protocol, || "a request to a stranger".to_owned());
        }
        let Some(side) = Side::BOTH.into_iter().find(|side| self.leads_to(*side, flow)) else {
            return self.checks.fail(Check::Protocol, format!("a packet from {} to {}", flow.local, flow.remote));
        };
        let bytes = self.tamper(side, bytes);
        // rsip knows no other methods than its own.
        let known = String::from_utf8_lossy(&bytes).replace("FROBNICATE", "OPTIONS");
        let message = match Incoming::read(known.as_bytes()) {
            Ok(message) => message,
            Err(e) => return self.checks.fail(Check::Protocol, format!("not readable: {e}\n{known}")),
        };
        self.trace.say(self.now, || format!("S ─▶ {}   {}", side.letter(), message.summary()));
        self.checks.on_sent(side, flow.transport, &message, &bytes, &self.disk.tables);
        let rings = side == Side::Destination && message.method == rsip::Method::Invite && message.to_tag.is_none();
        if let Some(leg) = self.checks.wire.legs.get(&message.call_id).copied().filter(|_| rings && is_request(&bytes))
        {
            self.browser_first(leg.call);
        }
        if self.mutant == Some(Mutant::LosesPracks) && message.method == rsip::Method::PRack {
            return;
        }
        if self.mutant == Some(Mutant::LosesByes) && side == Side::Destination && message.method == rsip::Method::Bye {
            return;
        }
        if self.scenario.names[side as usize].is_some() {
            self.doors.insert(message.call_id.clone(), flow.remote);
        }
        let message = Rc::new(message);
        if flow == setup::gateway(side, self.node) {
            return self.pass(side, message);
        }
        match self.scenario.stream(side) {
            Some(plan) => self.transmit_in_stream(side, plan, flow, message),
            None => {
                for wait in self.network.carry(self.healthy()) {
                    self.after(wait, Event::ToPhone(side, self.node, message.clone()));
                }
            }
        }
    }

    fn transmit_in_stream(&mut self, side: Side, plan: StreamPlan, flow: Flow, message: Rc<Incoming>) {
        let (now, node, life) = (self.now, self.node, self.life);
        if flow == setup::made_by_trunk(side, node, plan.transport) {
            // The trunk keeps its own connections; what was sent on one of them as it closed is lost.
            let cut = !self.healthy() && self.rng.chance(plan.cuts);
            if !cut {
                let (at, _) = self.network.reply(now, side);
                self.after(at.since(now), Event::ToPhone(side, node, message));
            } else {
                let wait = self.rng.millis(0, 1_000);
                self.after(wait, Event::Down { life, side, flow, why: Down::Closed });
            }
            return;
        }
        let sent = self.network.send(now, side, plan, self.healthy());
        if let Some(at) = sent.arrives {
            self.after(at.since(now), Event::ToPhone(side, node, message));
        }
        if let Some((wait, why)) = sent.down {
            self.trace.say(now, || format!("S ─/─ {}   {why:?}", side.letter()));
            self.after(wait, Event::Down { life, side, flow, why });
        }
    }

    /// The trunk's address, or a connection that it has made.
    fn leads_to(&self, side: Side, flow: Flow) -> bool {
        let transport = self.scenario.transport(side);
        let made = transport.is_reliable() && flow == setup::made_by_trunk(side, self.node, transport);
        let named = self.scenario.names[side as usize].is_some() && flow == setup::back_door(side, self.node);
        made || named || flow == setup::flow(side, self.node, transport) || flow == setup::gateway(side, self.node)
    }

    pub(super) fn down(&mut self, side: Side, flow: Flow, why: Down) {
        self.trace.say(self.now, || format!("down     {} {why:?}", side.letter()));
        if flow == setup::flow(side, self.node, flow.transport) {
            self.network.noticed(side);
        }
        self.checks.wire.connection_lost(side);
        self.input(Input::FlowDown(flow, why));
    }

    pub(super) fn arrive(&mut self, flow: Flow, bytes: &[u8]) {
        if flow.local != setup::server(self.node) {
            // To a node that is dead.
            return;
        }
        let response = bytes.starts_with(b"SIP/2.0 ") && self.switch.is_some();
        if let Some(message) = response.then(|| Incoming::read(bytes).ok()).flatten() {
            match message.status().unwrap_or_default() {
                status @ ..200 => self.checks.wire.rings(message.call_id, status > 100),
                503 if message.method == rsip::Method::Invite => self.checks.wire.refuses(message.call_id),
                _ => {}
            }
        }
        self.input(Input::Packet(flow, bytes));
    }

    /// Where mutants put their hands on the wire.
    pub(super) fn tamper(&self, side: Side, bytes: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(bytes);
        let to_b = side == Side::Destination;
        match self.mutant {
            Some(Mutant::LeaksNumber) if to_b => {
                text.replace("Max-Forwards", "X-Caller: 1 (415) 777-0001\r\nMax-Forwards").into()
            }
            Some(Mutant::LeaksMark) if to_b => {
                let hidden = masking::base64(b"x-kanarya-7-x");
                let hidden = String::from_utf8_lossy(&hidden).into_owned();
                text.replace("Max-Forwards", &format!("X-Opaque: {hidden}\r\nMax-Forwards")).into()
            }
            Some(Mutant::OtherNumber) if text.starts_with("INVITE") => text.replacen("4420794", "4420799", 1).into(),
            Some(Mutant::WidensOffer) if to_b => text.replace("RTP/AVP 8 ", "RTP/AVP 8 0 ").into(),
            Some(Mutant::WrongTag) if text.starts_with("BYE") => text.replace("-tag0", "-tag9").into(),
            _ => bytes.to_vec(),
        }
    }

    pub(super) fn deliver(&mut self, side: Side, node: u8, message: &Incoming) {
        if message.request().is_some() {
            self.sources.insert((side, message.branch.clone(), message.method.to_string()), node);
        }
        let known = self.phones.contains_key(&(side, message.call_id.clone()));
        match message.request() {
            Some(request) if !known => self.deliver_new(side, message, request),
            // The answer to an INVITE with Replaces, which is a call of its own.
            None if !known => {
                let phone = |p: &&Phone| p.home.side == side && p.asked(&message.branch);
                if let Some(call_id) = self.phones.values().find(phone).map(|p| p.call_id().to_owned()) {
                    self.with_phone(side, call_id, |phone, now, fx| phone.receive(now, message, fx));
                }
            }
            Some(_) | None => {
                self.with_phone(side, message.call_id.clone(), |phone, now, fx| phone.receive(now, message, fx));
            }
        }
    }

    /// A request of a Call-ID that no phone knows: a new call, or a ping of the trunk.
    pub(super) fn deliver_new(&mut self, side: Side, message: &Incoming, request: &rsip::Request) {
        let index = setup::index_of(&message::user(&request.uri));
        let plan = index.and_then(|index| self.scenario.calls.get(index)).map(|plan| match side {
            Side::User => plan.a.clone(),
            Side::Destination => plan.b.clone(),
        });
        match (request.method, index, plan) {
            (rsip::Method::Invite, Some(index), Some(plan)) if message.to_tag.is_none() => {
                let behind = self.is_behind_gateway(&message.call_id);
                let transport = if behind { Transport::Udp } else { self.scenario.transport(side) };
                let home = Home { transport: transport.as_via(), ..setup::home(side) };
                let rng = self.rng.fork();
                let phone = Phone::new(home, index, plan, message, request, rng);
                self.phones.insert((side, message.call_id.clone()), phone);
                self.with_phone(side, message.call_id.clone(), |phone, _, fx| phone.begin(fx));
            }
            (rsip::Method::Options, ..) => {
                let text = message::response(request, 200, Some("ping"), &[], None);
                self.phone_sends(side, text.into_bytes());
            }
            (rsip::Method::Cancel, ..) => {
                let text = message::response(request, 481, Some("gone"), &[], None);
                self.phone_sends(side, text.into_bytes());
            }
            _ => self.checks.fail(Check::Protocol, format!("{side:?} does not know of {}", message.summary())),
        }
    }

    pub(super) fn with_phone(
        &mut self,
        side: Side,
        call_id: String,
        what: impl FnOnce(&mut Phone, Timestamp, &mut Effects),
    ) {
        let Some(phone) = self.phones.get_mut(&(side, call_id.clone())) else { return };
        let (server_forgot, clean) = (self.tally.crashes > 0, self.scenario.is_clean());
        let mut effects = Effects { server_forgot, clean, ..Effects::default() };
        what(phone, self.now, &mut effects);
        for fault in effects.faults {
            let name = phone.name();
            self.checks.fail(Check::Protocol, format!("{name}: {fault}"));
        }
        for (wait, timer) in effects.timers {
            self.after(wait, Event::Phone(side, call_id.clone(), timer));
        }
        for bytes in effects.sends {
            self.phone_sends(side, bytes);
        }
    }

    pub(super) fn phone_sends(&mut self, side: Side, bytes: Vec<u8>) {
        self.trace.say(self.now, || {
            let summary = Incoming::read(&bytes).map_or_else(|_| "nonsense".to_owned(), |m| m.summary());
            format!("S ◀─ {}   {summary}", side.letter())
        });
        let overheard = self.network.is_overheard(self.healthy());
        if let Some(forged) = overheard.then(|| nonsense::forgery(&bytes)).flatten() {
            self.trace.say(self.now, || "S ◀─ stranger".to_owned());
            self.after(Duration::ZERO, Event::ToSwitch(setup::stranger(self.node), forged.into()));
        }
        let (node, transport) = (self.addressee(side, &bytes), self.scenario.transport(side));
        if Incoming::read(&bytes).is_ok_and(|message| self.is_behind_gateway(&message.call_id)) {
            let bytes: Rc<[u8]> = bytes.into();
            for wait in self.network.carry(self.healthy()) {
                self.after(wait, Event::ToSwitch(setup::gateway(side, node), bytes.clone()));
            }
            return;
        }
        // Whoever was called by one address answers and asks from there.
        let door = Incoming::read(&bytes).ok().and_then(|message| self.doors.get(&message.call_id).copied());
        let mut flow = setup::flow(side, node, transport);
        flow.remote = door.unwrap_or(flow.remote);
        let bytes: Rc<[u8]> = bytes.into();
        if transport.is_reliable() {
            let (at, own) = self.network.reply(self.now, side);
            let flow = if own { setup::made_by_trunk(side, node, transport) } else { flow };
            return self.after(at.since(self.now), Event::ToSwitch(flow, bytes));
        }
        for wait in self.network.carry(self.healthy()) {
            self.after(wait, Event::ToSwitch(flow, bytes.clone()));
        }
    }

    /// Which node a phone's message goes to: an answer to where its request came from, a request to the Contact
    /// that was named; nonsense to whoever lives.
    fn addressee(&self, side: Side, bytes: &[u8]) -> u8 {
        let Ok(message) = Incoming::read(bytes) else { return self.node };
        match message.request() {
            None => self.sources.get(&(side, message.branch, message.method.to_string())).copied().unwrap_or(self.node),
            Some(request) => {
                let host = request.uri.host().to_string();
                (0..self.node).find(|node| setup::server(*node).ip().to_string() == host).unwrap_or(self.node)
            }
        }
    }
}

fn is_request(bytes: &[u8]) -> bool {
    !bytes.starts_with(b"SIP/2.0 ")
}
