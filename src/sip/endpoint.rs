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
use std::time::Duration;

use bytes::Bytes;

use super::attempts::Attempts;
use super::guard::{Forbidden, Party};
use super::ident::Token;
use super::leg::{Context, Detour, Facts, Known, Leg, LegSnapshot, Packet};
use super::noise::Strangers;
use super::ping::Ping;
use super::public::Public;
use super::register::{Answer, Registration};
use super::route::{Candidate, Target, Trunks, listener_for, tried_of};
use super::wire::{Message, Method, StartLine};
use super::{Down, EndpointAction, EndpointConfig, Flow, reply, stray};
use crate::events::{NoiseKind, Notice};
use crate::leg::{Failure, LegCommand, LegEvent, Loss};
use crate::model::{CallId, E164, LegId, Secret, Side, Timestamp};

/// All of SIP: transactions, dialogs, legs, trunks.
#[derive(Debug)]
pub struct Endpoint {
    config: EndpointConfig,
    public: Public,
    /// By what a leg is known that does not exist.
    nobody: Arc<Party>,
    secret: Secret,
    strangers: Strangers,
    trunks: Trunks,
    /// One for each address of a trunk that is asked; `None` where an address is none any more.
    pings: Vec<Option<Ping>>,
    /// One for each trunk that asks for it, at the first of its addresses.
    registrations: Vec<Option<Registration>>,
    legs: HashMap<LegId, Box<Attempts>>,
    owners: HashMap<Token, Owner>,
    /// Those that a connection can belong to, by their trunk's address.
    connected: BTreeSet<(IpAddr, LegId)>,
    deadlines: BTreeSet<(Timestamp, Owner)>,
    /// Whether what comes for a leg is told.
    tracing: bool,
}

/// Whose a Call-ID or a deadline is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    /// Which attempt at it; of a deadline, any.
    Leg(LegId, usize),
    Ping(usize),
    Registration(usize),
}

impl Endpoint {
    /// `secret` feeds what belongs to no leg: tags of stray answers, OPTIONS pings, weighted choice.
    pub fn new(config: EndpointConfig, secret: Secret, now: Timestamp) -> Self {
        let trunks = Trunks::new(&config.trunks, &config.listeners, secret);
        let mut endpoint = Self {
            public: Public::new(&config),
            nobody: Arc::default(),
            secret,
            strangers: Strangers::new(secret),
            trunks,
            pings: vec![],
            registrations: vec![],
            legs: HashMap::new(),
            owners: HashMap::new(),
            connected: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            tracing: false,
            config,
        };
        endpoint.keep_pinging(now);
        endpoint.keep_registering(now);
        endpoint
    }

    /// The DNS has said where a trunk is; where it was, live legs go on.
    pub fn targets(&mut self, now: Timestamp, trunk: &str, targets: &[Target], out: &mut Vec<EndpointAction>) {
        let before = self.trunks.is_up(trunk);
        self.trunks.set_targets(trunk, targets);
        self.public.add(targets.iter().map(|target| target.address.ip()));
        self.keep_pinging(now);
        self.keep_registering(now);
        let in_service = self.trunks.is_up(trunk);
        if before != in_service {
            out.push(EndpointAction::Notice(Notice::TrunkHealth { trunk: trunk.into(), in_service }));
        }
    }

    /// A registration for each trunk that asks for it. One whose first address has moved begins anew there.
    fn keep_registering(&mut self, now: Timestamp) {
        let asking = self.config.trunks.iter().filter(|trunk| trunk.register.is_some());
        let first = |name: &str| self.trunks.addresses().find(|trunk| *trunk.name == *name).cloned();
        let places: Vec<_> = asking.filter_map(|trunk| first(&trunk.name)).collect();
        for trunk in places {
            let of_trunk = |place: &Option<Registration>| {
                place.as_ref().is_some_and(|registration| registration.trunk().name == trunk.name)
            };
            let index = self.registrations.iter().position(of_trunk);
            if let Some(Some(registration)) = index.map(|index| &self.registrations[index]) {
                if tried_of(registration.trunk()) == tried_of(&trunk) {
                    continue;
                }
                let index = index.unwrap_or_default();
                self.owners.remove(&registration.call_id());
                self.deadlines.remove(&(registration.next_timeout(), Owner::Registration(index)));
                self.trunks.set_registered(&trunk.name, false);
            }
            let listener = listener_for(&self.config.listeners, trunk.transport, trunk.target);
            let new = listener.and_then(|listener| Registration::new(&trunk, listener, self.secret, now));
            let index = index.unwrap_or(self.registrations.len());
            if let Some(registration) = &new {
                self.owners.insert(registration.call_id(), Owner::Registration(index));
                self.deadlines.insert((registration.next_timeout(), Owner::Registration(index)));
            }
            match self.registrations.get_mut(index) {
                Some(place) => *place = new,
                None => self.registrations.push(new),
            }
        }
    }

    /// A ping for each address that is to be asked, and none for any other.
    fn keep_pinging(&mut self, now: Timestamp) {
        let addresses: Vec<_> = self.trunks.addresses().cloned().collect();
        for index in 0..self.pings.len() {
            let gone = |ping: &mut Ping| !addresses.iter().any(|trunk| tried_of(trunk) == tried_of(ping.trunk()));
            if let Some(ping) = self.pings[index].take_if(gone) {
                self.owners.remove(&ping.call_id());
                self.deadlines.remove(&(ping.next_timeout(), Owner::Ping(index)));
            }
        }
        for trunk in &addresses {
            let asked = |ping: &Ping| tried_of(trunk) == tried_of(ping.trunk());
            let listener = listener_for(&self.config.listeners, trunk.transport, trunk.target);
            let Some(listener) = listener.filter(|_| !self.pings.iter().flatten().any(asked)) else { continue };
            let Some(ping) = Ping::new(trunk, listener, self.secret, now) else { continue };
            let index = self.pings.iter().position(Option::is_none).unwrap_or(self.pings.len());
            self.owners.insert(ping.call_id(), Owner::Ping(index));
            self.deadlines.insert((ping.next_timeout(), Owner::Ping(index)));
            match self.pings.get_mut(index) {
                Some(place) => *place = Some(ping),
                None => self.pings.push(Some(ping)),
            }
        }
    }

    /// From now on what comes for a leg is told, as [`EndpointAction::Heard`].
    pub fn trace(&mut self) {
        self.tracing = true;
    }

    /// Whether any trunk takes calls to this number now.
    pub fn has_route(&self, now: Timestamp, number: E164) -> bool {
        self.trunks.has_route(now, number, &[])
    }

    /// The trunks that take calls to this number, and what each choice goes by: the first comes first.
    pub fn candidates(&self, now: Timestamp, number: E164) -> Vec<Candidate> {
        self.trunks.candidates(now, number)
    }

    pub fn trunks_in_service(&self) -> usize {
        self.trunks.in_service()
    }

    /// Makes a leg that has not spoken yet, or a further attempt at one, so that a snapshot can hold it before its INVITE
    /// leaves. From here on [`Endpoint::snapshot`] knows it. `false` when no trunk takes the number that was not tried.
    pub fn prepare(&mut self, now: Timestamp, leg: LegId, secret: Secret, to: E164, shown: E164) -> bool {
        let trunk = match self.legs.get(&leg) {
            Some(attempts) => self.trunks.choose(now, to, &attempts.tried()),
            None => self.trunks.choose(now, to, &[]),
        };
        let Some(trunk) = trunk else { return false };
        let listener = listener_for(&self.config.listeners, trunk.transport, trunk.target);
        // `route` gives no trunk without a listener; a flow to nowhere is what such a leg would get.
        let (local, advertised) = listener.map_or((trunk.target, trunk.target), |l| (l.local, l.advertised));
        let facts = Facts::new(leg, secret, trunk, local, advertised, to, shown);
        let detour = Detour::beside(&self.config.listeners, facts.flow);
        let new = Leg::new(Facts { detour, ..facts });
        match self.legs.get_mut(&leg) {
            Some(attempts) => attempts.add(new),
            None => _ = self.legs.insert(leg, Box::new(Attempts::new(new))),
        }
        if let Some(attempts) = self.legs.get_mut(&leg) {
            attempts.on_trunk = true;
        }
        self.enlist(leg);
        true
    }

    /// A leg that is not known is gone already.
    pub fn command(&mut self, now: Timestamp, leg: LegId, command: LegCommand, out: &mut Vec<EndpointAction>) {
        if let LegCommand::Invite { .. } = &command {
            self.be_patient(now, leg);
        }
        let Some(attempts) = self.legs.get_mut(&leg) else {
            if let LegCommand::End(_) = command {
                out.push(EndpointAction::Leg(leg, LegEvent::Gone));
            }
            return;
        };
        let from = out.len();
        attempts.command(command, &mut self.config.context(now, out));
        self.settle(now, leg, None, from, out);
    }

    /// A trunk that says nothing is given up early where another could take the call.
    fn be_patient(&mut self, now: Timestamp, leg: LegId) {
        let failover = self.config.failover;
        if self.may_go_on(now, leg)
            && let Some(attempts) = self.legs.get_mut(&leg)
        {
            attempts.last_mut().set_patience(failover);
        }
    }

    /// Whoever could have been asked instead may be gone by now: then the silence has to be borne.
    fn wait_on(&mut self, now: Timestamp, leg: LegId) {
        let is_due = self.legs.get(&leg).is_some_and(|attempts| attempts.last().is_impatient(now));
        if is_due
            && !self.may_go_on(now, leg)
            && let Some(attempts) = self.legs.get_mut(&leg)
        {
            attempts.last_mut().bear_silence();
        }
    }

    /// Whether another trunk could be asked for this leg.
    fn may_go_on(&self, now: Timestamp, leg: LegId) -> bool {
        self.legs.get(&leg).is_some_and(|attempts| {
            let to = attempts.last().facts().to;
            attempts.may_go_on() && self.trunks.has_route(now, to, &attempts.tried())
        })
    }

    /// After a leg has acted: what came to nothing because of its trunk is remembered of the trunk, and may go on elsewhere.
    fn settle(
        &mut self,
        now: Timestamp,
        leg: LegId,
        retry_after: Option<Duration>,
        from: usize,
        out: &mut Vec<EndpointAction>,
    ) {
        self.reschedule(leg);
        for index in from..out.len() {
            let EndpointAction::Leg(id, event) = &mut out[index] else { continue };
            let Some(failure) = failure_of_trunk(event).filter(|_| *id == leg) else { continue };
            let Some(attempts) = self.legs.get(&leg).filter(|attempts| attempts.last().reached_nobody()) else {
                continue;
            };
            let trunk = Arc::clone(attempts.trunk());
            self.trunks.failed(now, tried_of(&trunk), retry_after);
            let trunk = trunk.name.clone();
            let elsewhere = self.may_go_on(now, leg);
            if elsewhere {
                *event = LegEvent::Unreached(failure);
            }
            out.push(EndpointAction::Notice(Notice::TrunkFailed { trunk, elsewhere }));
        }
    }

    pub fn packet(&mut self, now: Timestamp, flow: Flow, packet: &[u8], out: &mut Vec<EndpointAction>) {
        // RFC 5626 §3.5.1 keep-alives, and what is too short to be anything.
        if packet.iter().all(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return;
        }
        match Message::parse(packet) {
            Ok(message) => {
                self.heard(flow, &message, packet, out);
                match message.start {
                    StartLine::Request { method, .. } => self.request(now, flow, &message, method, packet, out),
                    StartLine::Response { status, .. } => self.response(now, flow, &message, status, out),
                }
            }
            Err(error) => {
                noise(NoiseKind::Malformed, out);
                if error.answerable.is_some() && self.may_answer(now, flow, out) {
                    out.extend(stray::refuse_malformed(&error, flow, self.secret));
                }
            }
        }
    }

    fn heard(&self, flow: Flow, message: &Message<'_>, packet: &[u8], out: &mut Vec<EndpointAction>) {
        if self.tracing
            && let Some(Owner::Leg(id, attempt)) = self.owner(message.call_id)
            && let Some(leg) = self.legs.get(&id).and_then(|attempts| attempts.legs().get(attempt))
            && leg.facts().hears(flow)
        {
            out.push(EndpointAction::Heard(id, flow, Bytes::copy_from_slice(packet)));
        }
    }

    /// A connection is lost, or could not be made. `flow` is one on which something was sent or came.
    pub fn flow_down(&mut self, now: Timestamp, flow: Flow, why: Down, out: &mut Vec<EndpointAction>) {
        let ip = flow.remote.ip();
        let first = LegId { call: CallId::from_bytes([0; 16]), side: Side::User };
        let legs: Vec<LegId> =
            self.connected.range((ip, first)..).take_while(|(at, _)| *at == ip).map(|(_, leg)| *leg).collect();
        for id in legs {
            if let Some(attempts) = self.legs.get_mut(&id) {
                let from = out.len();
                let mut cx = self.config.context(now, out);
                attempts.all(&mut cx, |leg, cx| leg.flow_down(flow, why, cx));
                self.settle(now, id, None, from, out);
            }
        }
        for index in 0..self.pings.len() {
            self.ping(index, out, |ping, _, _| ping.flow_down(now, flow));
            self.registration(index, out, |registration, _, _| registration.flow_down(now, flow));
        }
    }

    pub fn timeout(&mut self, now: Timestamp, out: &mut Vec<EndpointAction>) {
        let due: Vec<Owner> = self.deadlines.iter().take_while(|(at, _)| *at <= now).map(|(_, owner)| *owner).collect();
        for owner in due {
            match owner {
                Owner::Leg(id, _) => {
                    self.wait_on(now, id);
                    if let Some(attempts) = self.legs.get_mut(&id) {
                        let from = out.len();
                        attempts.all(&mut self.config.context(now, out), Leg::timeout);
                        self.settle(now, id, None, from, out);
                    }
                }
                Owner::Ping(index) => self.ping(index, out, |ping, product, out| ping.timeout(now, product, out)),
                Owner::Registration(index) => {
                    self.registration(index, out, |registration, product, out| registration.timeout(now, product, out));
                }
            }
        }
    }

    /// The earliest moment at which [`Endpoint::timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    pub fn snapshot(&self, leg: LegId) -> Option<LegSnapshot> {
        self.legs.get(&leg).map(|attempts| attempts.snapshot())
    }

    /// Takes a leg up. It may have sent anything that a leg can have sent after that snapshot: an
    /// INVITE of which it does not know whether it left, requests up to the end of its CSeq block.
    ///
    /// The leg goes on where it can; an end that was under way has to be commanded again. One that spoke
    /// from a listener which is none of ours (another node's, or one that is not configured any more) goes on
    /// from one of ours: its peer hears the end, and what it says to the old address is lost.
    pub fn restore(&mut self, _now: Timestamp, leg: LegId, snapshot: LegSnapshot) {
        let legs = snapshot.attempts().into_iter().map(|snapshot| {
            let trunk = snapshot.trunk(self.trunks.named(&snapshot.trunk));
            Leg::restore(leg, trunk, &self.config.listeners, snapshot)
        });
        let Some(mut attempts) = Attempts::restored(legs) else { return };
        if !attempts.is_over() {
            attempts.on_trunk = true;
            self.trunks.resumed(&attempts.trunk().name);
        }
        self.insert(leg, attempts);
    }

    /// A CANCEL or a BYE of this leg waits for its answer: a phone may have said only now that it rings.
    pub fn has_pending_end(&self, leg: LegId) -> bool {
        self.legs.get(&leg).is_some_and(|attempts| attempts.has_pending_end())
    }

    /// The call is over for good: drop what is left of its legs.
    pub fn forget(&mut self, leg: LegId) {
        let Some(attempts) = self.legs.remove(&leg) else { return };
        for attempt in attempts.legs() {
            let facts = attempt.facts();
            self.owners.remove(&facts.call_id);
            self.connected.remove(&(facts.flow.remote.ip(), leg));
        }
        if let Some(at) = attempts.deadline {
            self.deadlines.remove(&(at, Owner::Leg(leg, 0)));
        }
        if attempts.on_trunk {
            self.trunks.ended(&attempts.trunk().name);
        }
    }

    /// Strings that identify this leg's party or its dialog (numbers, hosts, addresses, Call-ID, tags):
    /// none of them may occur in a request of the other leg.
    ///
    /// Left out is what says nothing: our own hosts and those of the trunks, and what is so short that
    /// it occurs in any message by chance.
    pub fn identity(&self, leg: LegId) -> Vec<String> {
        let legs = self.legs.get(&leg).map(|attempts| attempts.legs()).unwrap_or_default();
        legs.iter().flat_map(|leg| Known::of(leg).strings(self.public.hosts())).collect()
    }

    /// What must not occur in a request that leaves this leg: all by which the other leg of its call is
    /// known at this moment.
    pub fn forbidden(&mut self, leg: LegId) -> Forbidden {
        let others = self.party(LegId { call: leg.call, side: leg.side.other() });
        Forbidden::between(others, self.party(leg), self.public.party())
    }

    fn party(&mut self, leg: LegId) -> Arc<Party> {
        match self.legs.get_mut(&leg) {
            Some(attempts) => attempts.party(self.public.hosts()),
            None => Arc::clone(&self.nobody),
        }
    }

    /// When both legs have ended, hardly a request follows: for one that does, the search is prepared again.
    fn release(&mut self, call: CallId) {
        let legs = Side::BOTH.map(|side| LegId { call, side });
        if legs.iter().all(|leg| self.legs.get(leg).is_none_or(|attempts| attempts.is_over())) {
            for leg in legs {
                if let Some(attempts) = self.legs.get_mut(&leg) {
                    attempts.forget_party();
                }
            }
        }
    }

    fn insert(&mut self, id: LegId, attempts: Attempts) {
        self.forget(id);
        self.legs.insert(id, Box::new(attempts));
        self.enlist(id);
    }

    /// By what each attempt at a leg is found.
    fn enlist(&mut self, id: LegId) {
        let Some(attempts) = self.legs.get(&id) else { return };
        for (index, attempt) in attempts.legs().iter().enumerate() {
            let facts = attempt.facts();
            self.owners.insert(facts.call_id, Owner::Leg(id, index));
            if facts.connects() {
                self.connected.insert((facts.flow.remote.ip(), id));
            }
        }
        self.reschedule(id);
    }

    fn reschedule(&mut self, id: LegId) {
        let Some(attempts) = self.legs.get_mut(&id) else { return };
        if attempts.last().is_over() && std::mem::replace(&mut attempts.on_trunk, false) {
            self.trunks.ended(&attempts.trunk().name);
        }
        if attempts.is_over() {
            self.release(id.call);
        }
        let Some(attempts) = self.legs.get_mut(&id) else { return };
        let deadline = attempts.next_timeout();
        if deadline == attempts.deadline {
            return;
        }
        if let Some(at) = std::mem::replace(&mut attempts.deadline, deadline) {
            self.deadlines.remove(&(at, Owner::Leg(id, 0)));
        }
        if let Some(at) = deadline {
            self.deadlines.insert((at, Owner::Leg(id, 0)));
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
            Some(Owner::Leg(id, attempt)) => {
                let Some(attempts) = self.legs.get_mut(&id) else { return };
                let Some(facts) = attempts.legs().get(attempt).map(Leg::facts) else { return };
                if !facts.hears(flow) {
                    return noise(NoiseKind::Stranger, out);
                }
                let tag = message.from.tag().and_then(|tag| Token::parse(tag.as_bytes()));
                if tag != Some(facts.local_tag) {
                    return noise(NoiseKind::UnknownTransaction, out);
                }
                let from = out.len();
                let mut cx = self.config.context(now, out);
                attempts.act(attempt, &mut cx, |leg, cx| leg.response(message, status, cx));
                self.settle(now, id, reply::retry_after(message), from, out);
            }
            Some(Owner::Ping(index)) => {
                self.ping(index, out, |ping, _, _| ping.response(now, flow, message, status));
            }
            Some(Owner::Registration(index)) => {
                let answer = Answer { flow, message, status, retry_after: reply::retry_after(message) };
                self.registration(index, out, |registration, product, out| {
                    registration.response(now, answer, product, out);
                });
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
        let Some(Owner::Leg(id, attempt)) = self.owner(message.call_id) else {
            let answered = method == Method::Ack || self.may_answer(now, flow, out);
            if answered {
                stray::answer(message, method, flow, self.secret, out);
            }
            return;
        };
        let Some(attempts) = self.legs.get_mut(&id) else { return };
        if !attempts.legs().get(attempt).is_some_and(|leg| leg.facts().hears(flow)) {
            // Whoever knows the Call-ID and is not the trunk learns nothing, not even that it is right.
            return noise(NoiseKind::Stranger, out);
        }
        let packet = Packet { message, method, bytes, flow };
        let from = out.len();
        let mut cx = self.config.context(now, out);
        attempts.act(attempt, &mut cx, |leg, cx| leg.request(packet, cx));
        self.settle(now, id, None, from, out);
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
        let asked = Arc::clone(ping.trunk());
        if let Some(in_service) = health
            && self.trunks.set_in_service(tried_of(&asked), in_service)
        {
            self.say_health(&asked.name, out);
        }
    }

    /// Likewise for a registration: a trunk that asks for one takes calls while it knows us.
    fn registration(
        &mut self,
        index: usize,
        out: &mut Vec<EndpointAction>,
        act: impl FnOnce(&mut Registration, &str, &mut Vec<EndpointAction>),
    ) {
        let Some(Some(registration)) = self.registrations.get_mut(index) else { return };
        self.deadlines.remove(&(registration.next_timeout(), Owner::Registration(index)));
        act(registration, &self.config.product, out);
        self.deadlines.insert((registration.next_timeout(), Owner::Registration(index)));
        let (trunk, registered) = (registration.trunk().name.clone(), registration.is_registered());
        if self.trunks.set_registered(&trunk, registered) {
            self.say_health(&trunk, out);
        }
    }

    fn say_health(&self, trunk: &Arc<str>, out: &mut Vec<EndpointAction>) {
        let (trunk, in_service) = (Arc::clone(trunk), self.trunks.is_up(trunk));
        out.push(EndpointAction::Notice(Notice::TrunkHealth { trunk, in_service }));
    }
}

impl EndpointConfig {
    fn context<'a>(&'a self, now: Timestamp, out: &'a mut Vec<EndpointAction>) -> Context<'a> {
        Context { now, product: &self.product, signer: self.signer.as_deref(), out }
    }
}

/// The failure of a trunk, and not of whom it rings.
fn failure_of_trunk(event: &LegEvent) -> Option<Failure> {
    match event {
        LegEvent::Refused { status: 503, q850 } => Some(Failure::Refused { status: 503, q850: *q850 }),
        LegEvent::Lost(loss @ (Loss::Timeout | Loss::Transport | Loss::Certificate)) => Some(Failure::Lost(*loss)),
        LegEvent::Lost(Loss::Dialog | Loss::NoAck | Loss::Expired | Loss::MaskingGuard | Loss::Unauthorized)
        | LegEvent::Refused { .. }
        | LegEvent::Progress { .. }
        | LegEvent::Answered { .. }
        | LegEvent::Unreached(_)
        | LegEvent::Offer { .. }
        | LegEvent::LateAnswer(_)
        | LegEvent::Digit(_)
        | LegEvent::Hangup(_)
        | LegEvent::Stray { .. }
        | LegEvent::Gone => None,
    }
}

fn noise(kind: NoiseKind, out: &mut Vec<EndpointAction>) {
    out.push(EndpointAction::Notice(Notice::Noise { kind }));
}
