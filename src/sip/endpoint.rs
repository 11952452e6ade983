//! All of SIP behind one door: bytes and commands in, bytes and events out.
//!
//! ```text
//! packet ─▶ wire ─┬ Call-ID of a leg, from its trunk ─▶ Leg ─▶ LegEvent, Transmit
//!                 ├ Call-ID of a ping ────────────────▶ Ping ─▶ TrunkHealth
//!                 └ anything else ────────────────────▶ one cheap answer, or none
//! ```
//!
//! Every message of a leg carries the leg's own Call-ID, so that finds the leg; within the leg, branch,
//! CSeq and tags find the transaction and the dialog.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::guard::{Forbidden, Party};
use super::ident::Token;
use super::leg::{Context, Detour, Facts, Known, Leg, LegSnapshot, Packet};
use super::noise::Strangers;
use super::ping::Ping;
use super::route::{Trunks, listener_for};
use super::wire::{Host, Message, Method, StartLine};
use super::{Down, EndpointAction, EndpointConfig, Flow, stray};
use crate::config::Trunk;
use crate::events::{NoiseKind, Notice};
use crate::leg::{LegCommand, LegEvent};
use crate::model::{CallId, E164, LegId, Secret, Side, Timestamp};

/// All of SIP: transactions, dialogs, legs, trunks.
#[derive(Debug)]
pub struct Endpoint {
    config: EndpointConfig,
    /// Our own hosts and those of the trunks, which say nothing of a party.
    public: Vec<String>,
    /// By what a leg is known that does not exist.
    nobody: Arc<Party>,
    secret: Secret,
    strangers: Strangers,
    trunks: Trunks,
    /// By the trunk's place in the configuration.
    pings: Vec<Option<Ping>>,
    legs: HashMap<LegId, Box<Entry>>,
    owners: HashMap<Token, Owner>,
    /// Those that a connection can belong to, by their trunk's address.
    connected: BTreeSet<(IpAddr, LegId)>,
    deadlines: BTreeSet<(Timestamp, Owner)>,
}

#[derive(Debug)]
struct Entry {
    leg: Leg,
    /// As it stands in the table of deadlines.
    deadline: Option<Timestamp>,
    /// What the guard looks for, and what the leg knew when that was prepared.
    party: Option<(Known, Arc<Party>)>,
}

/// Whose a Call-ID or a deadline is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Leg(LegId),
    Ping(usize),
}

impl Endpoint {
    /// `secret` feeds what belongs to no leg: tags of stray answers, OPTIONS pings, weighted choice.
    pub fn new(config: EndpointConfig, secret: Secret, now: Timestamp) -> Self {
        let trunks = Trunks::new(&config.trunks, &config.listeners, secret);
        let mut endpoint = Self {
            public: public_hosts(&config),
            nobody: Arc::default(),
            secret,
            strangers: Strangers::new(secret),
            trunks,
            pings: vec![],
            legs: HashMap::new(),
            owners: HashMap::new(),
            connected: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            config,
        };
        for (index, trunk) in endpoint.config.trunks.iter().enumerate() {
            let listener = listener_for(&endpoint.config.listeners, trunk.transport, trunk.target);
            let ping = listener.and_then(|listener| Ping::new(trunk, listener, secret, now));
            if let Some(ping) = &ping {
                endpoint.owners.insert(ping.call_id(), Owner::Ping(index));
                endpoint.deadlines.insert((ping.next_timeout(), Owner::Ping(index)));
            }
            endpoint.pings.push(ping);
        }
        endpoint
    }

    /// The trunk that takes calls to this number now: longest prefix, then priority, then weight, among
    /// those in service.
    pub fn route(&mut self, number: E164) -> Option<Arc<Trunk>> {
        self.trunks.route(number)
    }

    pub fn trunks_in_service(&self) -> usize {
        self.trunks.in_service()
    }

    /// Makes a leg that has not spoken yet, so that a snapshot can hold it before its INVITE leaves.
    /// From here on [`Endpoint::snapshot`] knows it.
    pub fn prepare(&mut self, leg: LegId, secret: Secret, trunk: Arc<Trunk>, to: E164, shown: E164) {
        let listener = listener_for(&self.config.listeners, trunk.transport, trunk.target);
        // `route` gives no trunk without a listener; a flow to nowhere is what such a leg would get.
        let (local, advertised) = listener.map_or((trunk.target, trunk.target), |l| (l.local, l.advertised));
        let facts = Facts::new(leg, secret, trunk, local, advertised, to, shown);
        let detour = Detour::beside(&self.config.listeners, facts.flow);
        self.insert(Leg::new(Facts { detour, ..facts }));
    }

    /// A leg that is not known is gone already.
    pub fn command(&mut self, now: Timestamp, leg: LegId, command: LegCommand, out: &mut Vec<EndpointAction>) {
        let Some(entry) = self.legs.get_mut(&leg) else {
            if let LegCommand::End(_) = command {
                out.push(EndpointAction::Leg(leg, LegEvent::Gone));
            }
            return;
        };
        entry.leg.command(command, &mut Context { now, product: &self.config.product, out });
        self.reschedule(leg);
    }

    pub fn packet(&mut self, now: Timestamp, flow: Flow, packet: &[u8], out: &mut Vec<EndpointAction>) {
        // RFC 5626 §3.5.1 keep-alives, and what is too short to be anything.
        if packet.iter().all(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return;
        }
        match Message::parse(packet) {
            Ok(message) => match message.start {
                StartLine::Request { method, .. } => self.request(now, flow, &message, method, packet, out),
                StartLine::Response { status, .. } => self.response(now, flow, &message, status, out),
            },
            Err(error) => {
                noise(NoiseKind::Malformed, out);
                if error.answerable.is_some() && self.may_answer(now, flow, out) {
                    out.extend(stray::refuse_malformed(&error, flow, self.secret));
                }
            }
        }
    }

    /// A connection is lost, or could not be made. `flow` is one on which something was sent or came.
    pub fn flow_down(&mut self, now: Timestamp, flow: Flow, why: Down, out: &mut Vec<EndpointAction>) {
        let ip = flow.remote.ip();
        let first = LegId { call: CallId::from_bytes([0; 16]), side: Side::User };
        let legs: Vec<LegId> =
            self.connected.range((ip, first)..).take_while(|(at, _)| *at == ip).map(|(_, leg)| *leg).collect();
        for id in legs {
            if let Some(entry) = self.legs.get_mut(&id) {
                entry.leg.flow_down(flow, why, &mut Context { now, product: &self.config.product, out });
                self.reschedule(id);
            }
        }
        for index in 0..self.pings.len() {
            self.ping(index, out, |ping, _, _| ping.flow_down(now, flow));
        }
    }

    pub fn timeout(&mut self, now: Timestamp, out: &mut Vec<EndpointAction>) {
        let due: Vec<Owner> = self.deadlines.iter().take_while(|(at, _)| *at <= now).map(|(_, owner)| *owner).collect();
        for owner in due {
            match owner {
                Owner::Leg(id) => {
                    if let Some(entry) = self.legs.get_mut(&id) {
                        entry.leg.timeout(&mut Context { now, product: &self.config.product, out });
                        self.reschedule(id);
                    }
                }
                Owner::Ping(index) => self.ping(index, out, |ping, product, out| ping.timeout(now, product, out)),
            }
        }
    }

    /// The earliest moment at which [`Endpoint::timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    pub fn snapshot(&self, leg: LegId) -> Option<LegSnapshot> {
        self.legs.get(&leg).map(|entry| entry.leg.snapshot())
    }

    /// Takes a leg up. It may have sent anything that a leg can have sent after that snapshot: an
    /// INVITE of which it does not know whether it left, requests up to the end of its CSeq block.
    ///
    /// The leg goes on where it can; an end that was under way has to be commanded again. One that spoke
    /// from a listener which is none of ours (another node's, or one that is not configured any more) goes on
    /// from one of ours: its peer hears the end, and what it says to the old address is lost.
    pub fn restore(&mut self, _now: Timestamp, leg: LegId, snapshot: LegSnapshot) {
        let trunk = snapshot.trunk(self.trunks.named(&snapshot.trunk));
        self.insert(Leg::restore(leg, trunk, &self.config.listeners, snapshot));
    }

    /// The call is over for good: drop what is left of its legs.
    pub fn forget(&mut self, leg: LegId) {
        if let Some(entry) = self.legs.remove(&leg) {
            let facts = entry.leg.facts();
            self.owners.remove(&facts.call_id);
            self.connected.remove(&(facts.flow.remote.ip(), leg));
            if let Some(at) = entry.deadline {
                self.deadlines.remove(&(at, Owner::Leg(leg)));
            }
        }
    }

    /// Strings that identify this leg's party or its dialog (numbers, hosts, addresses, Call-ID, tags):
    /// none of them may occur in a request of the other leg.
    ///
    /// Left out is what says nothing: our own hosts and those of the trunks, and what is so short that
    /// it occurs in any message by chance.
    pub fn identity(&self, leg: LegId) -> Vec<String> {
        self.legs.get(&leg).map_or_else(Vec::new, |entry| Known::of(&entry.leg).strings(&self.public))
    }

    /// What must not occur in a request that leaves this leg: all by which the other leg of its call is
    /// known at this moment.
    pub fn forbidden(&mut self, leg: LegId) -> Forbidden {
        let others = self.party(LegId { call: leg.call, side: leg.side.other() });
        Forbidden::between(others, self.party(leg))
    }

    fn party(&mut self, leg: LegId) -> Arc<Party> {
        match self.legs.get_mut(&leg) {
            Some(entry) => entry.party(&self.public),
            None => Arc::clone(&self.nobody),
        }
    }

    /// When both legs have ended, hardly a request follows: for one that does, the search is prepared again.
    fn release(&mut self, call: CallId) {
        let legs = Side::BOTH.map(|side| LegId { call, side });
        if legs.iter().all(|leg| self.legs.get(leg).is_none_or(|entry| entry.leg.is_over())) {
            for leg in legs {
                if let Some(entry) = self.legs.get_mut(&leg) {
                    entry.party = None;
                }
            }
        }
    }

    fn insert(&mut self, leg: Leg) {
        let id = leg.facts().id;
        self.forget(id);
        self.owners.insert(leg.facts().call_id, Owner::Leg(id));
        if leg.facts().connects() {
            self.connected.insert((leg.facts().flow.remote.ip(), id));
        }
        self.legs.insert(id, Box::new(Entry { leg, deadline: None, party: None }));
        self.reschedule(id);
    }

    fn reschedule(&mut self, id: LegId) {
        let Some(entry) = self.legs.get_mut(&id) else { return };
        if entry.leg.is_over() {
            self.release(id.call);
        }
        let Some(entry) = self.legs.get_mut(&id) else { return };
        let deadline = entry.leg.next_timeout();
        if deadline == entry.deadline {
            return;
        }
        if let Some(at) = std::mem::replace(&mut entry.deadline, deadline) {
            self.deadlines.remove(&(at, Owner::Leg(id)));
        }
        if let Some(at) = deadline {
            self.deadlines.insert((at, Owner::Leg(id)));
        }
    }

    fn owner(&self, call_id: &str) -> Option<Owner> {
        self.owners.get(&Token::parse(call_id.as_bytes())?).copied()
    }

    fn response(
        &mut self,
        now: Timestamp,
        flow: Flow,
        message: &Message<'_>,
        status: u16,
        out: &mut Vec<EndpointAction>,
    ) {
        // RFC 3261 §8.1.3.3: a second Via shows that the response is not for us.
        if message.vias().nth(1).is_some() {
            return noise(NoiseKind::UnknownTransaction, out);
        }
        match self.owner(message.call_id) {
            Some(Owner::Leg(id)) => {
                let Some(entry) = self.legs.get_mut(&id) else { return };
                let facts = entry.leg.facts();
                if !facts.hears(flow) {
                    return noise(NoiseKind::Stranger, out);
                }
                let tag = message.from.tag().and_then(|tag| Token::parse(tag.as_bytes()));
                if tag != Some(facts.local_tag) {
                    return noise(NoiseKind::UnknownTransaction, out);
                }
                entry.leg.response(message, status, &mut Context { now, product: &self.config.product, out });
                self.reschedule(id);
            }
            Some(Owner::Ping(index)) => {
                self.ping(index, out, |ping, _, _| ping.response(now, flow, message, status));
            }
            None => noise(NoiseKind::UnknownTransaction, out),
        }
    }

    fn request(
        &mut self,
        now: Timestamp,
        flow: Flow,
        message: &Message<'_>,
        method: Method,
        bytes: &[u8],
        out: &mut Vec<EndpointAction>,
    ) {
        let Some(Owner::Leg(id)) = self.owner(message.call_id) else {
            let answered = method == Method::Ack || self.may_answer(now, flow, out);
            if answered {
                stray::answer(message, method, flow, self.secret, out);
            }
            return;
        };
        let Some(entry) = self.legs.get_mut(&id) else { return };
        if !entry.leg.facts().hears(flow) {
            // Whoever knows the Call-ID and is not the trunk learns nothing, not even that it is right.
            return noise(NoiseKind::Stranger, out);
        }
        let packet = Packet { message, method, bytes, flow };
        entry.leg.request(packet, &mut Context { now, product: &self.config.product, out });
        self.reschedule(id);
    }

    /// Whether what belongs to no leg gets its answer. A trunk always does.
    fn may_answer(&mut self, now: Timestamp, flow: Flow, out: &mut Vec<EndpointAction>) -> bool {
        let source = flow.remote.ip();
        let may = self.trunks.has_address(source) || self.strangers.may_answer(now, source);
        if !may {
            noise(NoiseKind::Flood, out);
        }
        may
    }

    /// Lets a ping act; what it then knows of its trunk is noted.
    fn ping(
        &mut self,
        index: usize,
        out: &mut Vec<EndpointAction>,
        act: impl FnOnce(&mut Ping, &str, &mut Vec<EndpointAction>) -> Option<bool>,
    ) {
        let Some(Some(ping)) = self.pings.get_mut(index) else { return };
        self.deadlines.remove(&(ping.next_timeout(), Owner::Ping(index)));
        let health = act(ping, &self.config.product, out);
        self.deadlines.insert((ping.next_timeout(), Owner::Ping(index)));
        if let Some(in_service) = health
            && self.trunks.set_in_service(index, in_service)
        {
            let trunk = self.config.trunks[index].name.clone();
            out.push(EndpointAction::Notice(Notice::TrunkHealth { trunk, in_service }));
        }
    }
}

impl Entry {
    fn party(&mut self, public: &[String]) -> Arc<Party> {
        if let Some((known, party)) = &self.party
            && known.is_of(&self.leg)
        {
            return Arc::clone(party);
        }
        let known = Known::of(&self.leg);
        let party = Arc::new(Party::new(known.strings(public)));
        self.party = Some((known, Arc::clone(&party)));
        party
    }
}

fn public_hosts(config: &EndpointConfig) -> Vec<String> {
    let listeners = config.listeners.iter().flat_map(|l| [l.local.ip(), l.advertised.ip()]);
    let targets = config.trunks.iter().map(|t| t.target.ip());
    listeners.chain(targets).map(|ip| Host::Ip(ip).to_string()).collect()
}

fn noise(kind: NoiseKind, out: &mut Vec<EndpointAction>) {
    out.push(EndpointAction::Notice(Notice::Noise { kind }));
}
