//! The whole server without I/O: routes each [`Input`] to its machine.
//!
//! ```text
//! Api ──▶ dial ──▶ Call ──▶ CallAction ──▶ Commit, Leg command, Media command, Reply, Notice
//!  └─▶ browser ─▶ Call                        │
//! Packet ─▶ Endpoint ─▶ LegEvent ─▶ Call      │
//! Committed, Media, Timeout ──────▶ Call      └─▶ Endpoint ─▶ bytes ─▶ outgoing guard ─▶ Transmit
//! ```
//!
//! [`Input`] and [`Output`] (in `io`) are the list of all that can enter or leave the program. What a call
//! asked to be durable is answered by `Input::Committed`, and only then does the call ask for what the step
//! allows; so nothing that follows a commit can leave before it.
//!
//! Several nodes are several switches. One that dies leaves its calls to another (`restore`), and one that may be
//! taken for dead sends no INVITE (`guard`).
//!
//! Deliberately absent: sockets, clocks, randomness, locks; decisions about one call (`call`) or one
//! dialog (`sip`).

mod browser;
mod commits;
mod dial;
mod guard;
mod io;
mod restore;
#[cfg(test)]
mod tests;
mod trace;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::call::{Call, CallAction, CallEvent, StepKind};
use crate::config::{CallConfig, MediaConfig};
use crate::events::Notice;
use crate::leg::{LegEvent, Loss};
use crate::media::{MediaCommand, MediaEvent, PortPair, PortPool};
use crate::model::{
    CallId, CommitId, IdSource, LegId, OrganizationId, RequestId, Side, Status, Timestamp, TokenDigest,
};
use crate::sip::{Endpoint, EndpointAction, EndpointConfig};
use crate::store::{Answer, Idempotency, IssuedToken, Recovered};
use crate::trace::Way;

pub use io::{
    BrowserCommand, BrowserReply, BrowserRequest, Command, Dial, IdempotencyKey, Input, Output, Reply, TokenOrder,
    Unavailable, UserLeg,
};

use browser::Desk;

/// What the switch needs of the configuration.
#[derive(Debug, Clone)]
pub struct SwitchConfig {
    pub endpoint: EndpointConfig,
    pub media: MediaConfig,
    pub calls: CallConfig,
    /// How long a browser may be away.
    pub grace: Duration,
}

/// One shard of calls, with its endpoint and its ports.
#[derive(Debug)]
pub struct Switch {
    config: SwitchConfig,
    ids: IdSource,
    endpoint: Endpoint,
    ports: PortPool,
    calls: BTreeMap<CallId, Box<Entry>>,
    /// How many of them have no terminal record.
    live: usize,
    deadlines: BTreeSet<(Timestamp, CallId)>,
    commits: BTreeMap<CommitId, Pending>,
    last_commit: u64,
    /// What calls are still to hear, in order; empty between two inputs.
    work: VecDeque<(CallId, CallEvent)>,
    forgotten: Vec<CallId>,
    /// By idempotency key, while the first dial with it is being admitted: its repetitions.
    repetitions: BTreeMap<[u8; 32], Vec<(RequestId, Dial)>>,
    /// Which call a browser's secret opens.
    tokens: BTreeMap<TokenDigest, CallId>,
    draining: Option<Timestamp>,
    /// Until when INVITEs may leave, where that is limited.
    lease: Option<Timestamp>,
    /// Whether messages of legs are told.
    tracing: bool,
}

/// A call and what the switch holds for it.
#[derive(Debug)]
struct Entry {
    call: Call,
    ports: BTreeMap<Side, HeldPair>,
    deadline: Option<Timestamp>,
    /// Counted in [`Switch::live`].
    live: bool,
    /// Who waits for the admission.
    asking: Option<Asking>,
    /// Who waits for the end to be durable.
    hanging_up: Vec<RequestId>,
    /// Written with the admission.
    idempotency: Option<Idempotency>,
    /// Likewise.
    token: Option<IssuedToken>,
    /// Where leg A is a browser.
    browser: Option<Box<Desk>>,
    /// Whether the store has a snapshot of it.
    stored: bool,
    /// The status that its facts have told.
    told: Option<Status>,
    /// Commits on their way that tell a status: each may be refused, and its fact with it.
    telling: u32,
}

/// A commit that the store has not answered yet.
#[derive(Debug)]
struct Pending {
    call: CallId,
    kind: StepKind,
    /// The status told before it, where it tells another.
    told_before: Option<Status>,
}

/// A pair of ports that a call holds.
#[derive(Debug, Clone, Copy)]
struct HeldPair {
    pair: PortPair,
    /// The audio was told to bind it.
    opened: bool,
}

/// A dial that waits for its answer.
#[derive(Debug)]
struct Asking {
    request: RequestId,
    /// The 202, once the call is durable.
    answer: Answer,
    key: Option<IdempotencyKey>,
}

impl Switch {
    pub fn new(config: SwitchConfig, mut ids: IdSource, now: Timestamp) -> Self {
        let (first, last) = config.media.ports;
        Self {
            endpoint: Endpoint::new(config.endpoint.clone(), ids.secret(), now),
            ports: PortPool::new(first, last, config.media.rest),
            config,
            ids,
            calls: BTreeMap::new(),
            live: 0,
            deadlines: BTreeSet::new(),
            commits: BTreeMap::new(),
            last_commit: 0,
            work: VecDeque::new(),
            forgotten: Vec::new(),
            repetitions: BTreeMap::new(),
            tokens: BTreeMap::new(),
            draining: None,
            lease: None,
            tracing: false,
        }
    }

    pub fn handle(&mut self, now: Timestamp, input: Input<'_>, out: &mut Vec<Output>) {
        match input {
            Input::Api(request, command) => self.command(now, request, command, out),
            Input::Packet(flow, packet) => {
                let mut actions = Vec::new();
                self.endpoint.packet(now, flow, packet, &mut actions);
                self.endpoint_did(now, actions, out);
            }
            Input::Targets(trunk, targets) => {
                let mut actions = Vec::new();
                self.endpoint.targets(now, trunk, targets, &mut actions);
                self.endpoint_did(now, actions, out);
            }
            Input::FlowDown(flow, why) => {
                let mut actions = Vec::new();
                self.endpoint.flow_down(now, flow, why, &mut actions);
                self.endpoint_did(now, actions, out);
            }
            Input::Committed(commit, committed) => {
                if let Some(Pending { call, kind, told_before }) = self.commits.remove(&commit) {
                    self.untell(call, told_before, &committed);
                    self.work.push_back((call, CallEvent::Committed(kind, committed)));
                    self.run(now, out);
                    self.reply_to_hangups(call, kind, out);
                }
            }
            Input::Media(leg, event) => self.media(now, leg, event),
            Input::Lease(until) => self.lease = Some(until),
            Input::TakeOver(recovered) => self.take_over(now, recovered, out),
            Input::Timeout => self.timeout(now, out),
        }
        self.run(now, out);
    }

    /// The earliest moment at which `Input::Timeout` has something to do.
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let calls = self.deadlines.first().map(|(at, _)| *at);
        [calls, self.endpoint.next_timeout(), self.draining].into_iter().flatten().min()
    }

    fn timeout(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        if self.endpoint.next_timeout().is_some_and(|at| at <= now) {
            let mut actions = Vec::new();
            self.endpoint.timeout(now, &mut actions);
            self.endpoint_did(now, actions, out);
        }
        if self.draining.is_some_and(|at| at <= now) {
            self.draining = Some(Timestamp::from_micros(u64::MAX));
            let live = self.calls.iter().filter(|(_, entry)| !entry.call.is_settled());
            self.work.extend(live.map(|(id, _)| (*id, CallEvent::Drain)));
        }
        let due = self.deadlines.iter().take_while(|(at, _)| *at <= now);
        self.work.extend(due.map(|(_, call)| (*call, CallEvent::Timeout)));
    }

    fn media(&mut self, now: Timestamp, leg: LegId, event: MediaEvent) {
        if let Some(entry) = self.calls.get_mut(&leg.call) {
            match event {
                MediaEvent::Closed(_) => {
                    if let Some(held) = entry.ports.remove(&leg.side) {
                        self.ports.release(now, held.pair);
                    }
                }
                MediaEvent::Failed => {
                    if let Some(held) = entry.ports.remove(&leg.side) {
                        self.ports.quarantine(now, held.pair);
                    }
                }
                MediaEvent::Digit(_)
                | MediaEvent::Flowing
                | MediaEvent::Silent
                | MediaEvent::BrowserAnswer(_)
                | MediaEvent::BrowserRefused(_)
                | MediaEvent::BrowserUp
                | MediaEvent::BrowserDown
                | MediaEvent::Quality(_) => {}
            }
        }
        self.work.push_back((leg.call, CallEvent::Media(leg.side, event)));
    }

    /// Lets the calls hear what they are still to hear, until nothing is left.
    fn run(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let mut actions = Vec::new();
        while let Some((id, event)) = self.work.pop_front() {
            let Some(entry) = self.calls.get_mut(&id) else { continue };
            if let Err(what) = deliver(&mut entry.call, now, event, &mut actions) {
                actions.clear();
                out.push(Output::Notice(Notice::CallPoisoned { call: id, what }));
                entry.call.poisoned(now, &mut actions);
            }
            for action in actions.drain(..) {
                self.act(now, id, action, out);
            }
            self.reschedule(id);
        }
        if !self.forgotten.is_empty() {
            out.push(Output::Forget(std::mem::take(&mut self.forgotten)));
        }
    }

    fn act(&mut self, now: Timestamp, id: CallId, action: CallAction, out: &mut Vec<Output>) {
        match action {
            CallAction::Prepare(side) => self.prepare(now, LegId { call: id, side }),
            CallAction::Commit { kind, step, facts } => self.commit(now, id, kind, step, facts, out),
            CallAction::Leg(side, command) => {
                let mut actions = Vec::new();
                self.endpoint.command(now, LegId { call: id, side }, command, &mut actions);
                self.endpoint_did(now, actions, out);
            }
            CallAction::Media(side, command) => self.media_command(LegId { call: id, side }, command, out),
            CallAction::Offered(offered) => self.offered(id, offered, out),
            CallAction::Tell(event) => self.tell_browser(id, event, out),
            CallAction::Notice(notice) => out.push(Output::Notice(notice)),
            CallAction::Reply(refused) => self.reply_to_dial(now, id, refused, out),
            CallAction::Forget => self.forget(now, id, out),
        }
    }

    fn endpoint_did(&mut self, now: Timestamp, actions: Vec<EndpointAction>, out: &mut Vec<Output>) {
        for action in actions {
            match action {
                EndpointAction::Transmit { leg, flow, bytes, request } => {
                    let leaves = !request || self.may_leave(now, leg, &bytes, out);
                    self.trace_sent(now, leg, flow, &bytes, leaves, out);
                    if leaves {
                        out.push(Output::Transmit(flow, bytes));
                    }
                }
                EndpointAction::Leg(leg, event) => self.work.push_back((leg.call, CallEvent::Leg(leg.side, event))),
                EndpointAction::Notice(notice) => out.push(Output::Notice(notice)),
                EndpointAction::Heard(leg, flow, bytes) => self.trace_leg(now, leg, flow, Way::Received, bytes, out),
            }
        }
    }

    /// Gives a leg its identity and its trunk.
    fn prepare(&mut self, now: Timestamp, leg: LegId) {
        let Some(entry) = self.calls.get(&leg.call) else { return };
        let plan = entry.call.plan();
        let to = match leg.side {
            Side::User => plan.connect.phone(),
            Side::Destination => Some(plan.to),
        };
        let Some(to) = to else { return };
        let shown = plan.from;
        if !self.endpoint.prepare(now, leg, self.ids.secret(), to, shown) {
            self.work.push_back((leg.call, CallEvent::Leg(leg.side, LegEvent::Lost(Loss::Transport))));
        }
    }

    fn forget(&mut self, now: Timestamp, id: CallId, out: &mut Vec<Output>) {
        if Side::BOTH.into_iter().any(|side| self.endpoint.has_pending_end(LegId { call: id, side }))
            && let Some(entry) = self.calls.get_mut(&id)
        {
            return entry.call.linger(now);
        }
        let Some(mut entry) = self.calls.remove(&id) else { return };
        if let Some(desk) = &mut entry.browser {
            desk.dismiss(out);
            for digest in desk.digests() {
                self.tokens.remove(&digest);
            }
        }
        self.live -= usize::from(entry.live);
        for side in Side::BOTH {
            self.endpoint.forget(LegId { call: id, side });
        }
        for held in entry.ports.into_values() {
            match held.opened {
                // Its closing was never reported; it rests all the same.
                true => self.ports.release(now, held.pair),
                false => self.ports.put_back(held.pair),
            }
        }
        if let Some(at) = entry.deadline {
            self.deadlines.remove(&(at, id));
        }
        if entry.stored {
            self.forgotten.push(id);
        }
    }

    fn reschedule(&mut self, id: CallId) {
        let Some(entry) = self.calls.get_mut(&id) else { return };
        if entry.live && entry.call.is_settled() {
            entry.live = false;
            self.live -= 1;
        }
        let next = entry.call.next_timeout();
        if next != entry.deadline {
            if let Some(at) = entry.deadline {
                self.deadlines.remove(&(at, id));
            }
            if let Some(at) = next {
                self.deadlines.insert((at, id));
            }
            entry.deadline = next;
        }
    }

    fn media_command(&mut self, leg: LegId, command: MediaCommand, out: &mut Vec<Output>) {
        let held = self.calls.get_mut(&leg.call).and_then(|entry| entry.ports.get_mut(&leg.side));
        if let (MediaCommand::Open { .. }, Some(held)) = (&command, held) {
            held.opened = true;
        }
        out.push(Output::Media(leg, command));
    }

    /// Answered when the end is durable, so that a record read afterwards says who ended the call.
    fn hangup(&mut self, request: RequestId, organization: &OrganizationId, call: CallId, out: &mut Vec<Output>) {
        match self.calls.get_mut(&call) {
            Some(entry) if entry.live && entry.call.plan().organization == *organization => {
                entry.hanging_up.push(request);
                self.work.push_back((call, CallEvent::Hangup));
            }
            Some(_) | None => out.push(Output::Reply(request, Reply::NotLive)),
        }
    }

    /// The end is durable, or could not be made so for now: either way it is decided.
    fn reply_to_hangups(&mut self, call: CallId, kind: StepKind, out: &mut Vec<Output>) {
        let Some(entry) = self.calls.get_mut(&call).filter(|_| kind == StepKind::Settle) else { return };
        let status = entry.call.record().status;
        let replies = entry.hanging_up.drain(..).map(|request| Output::Reply(request, Reply::Hangup { call, status }));
        out.extend(replies);
    }

    fn command(&mut self, now: Timestamp, request: RequestId, command: Command, out: &mut Vec<Output>) {
        match command {
            Command::Dial(dial) => self.dial(now, request, *dial, out),
            Command::Hangup { organization, call } => {
                self.hangup(request, &organization, call, out);
            }
            Command::Route(number) => {
                out.push(Output::Reply(request, Reply::Route(self.endpoint.candidates(now, number))));
            }
            Command::Browser(asked) => self.browser(now, request, *asked, out),
            Command::Drain { deadline } => {
                self.draining.get_or_insert(now + deadline);
                // A token that nobody has used is no call yet, and none begins any more.
                let awaiting = self.calls.iter().filter(|(_, entry)| entry.call.awaits_browser());
                self.work.extend(awaiting.map(|(id, _)| (*id, CallEvent::Drain)));
                out.push(Output::Reply(request, Reply::Draining));
            }
        }
    }

    /// Numbers for gauges.
    pub fn gauges(&self, now: Timestamp) -> Gauges {
        let live = self.calls.values().filter(|entry| !entry.call.is_settled());
        Gauges {
            browsers: self.calls.values().filter(|entry| entry.call.has_browser()).count(),
            live_calls: self.live,
            live_legs: live.map(|entry| entry.call.live_legs()).sum(),
            calls: self.calls.len(),
            ports_left: self.ports.left(now),
            trunks_in_service: self.endpoint.trunks_in_service(),
            commits_in_flight: self.commits.len(),
        }
    }
}

/// Hands a call its event. A broken invariant panics in tests; in production it ends that one call.
fn deliver(call: &mut Call, now: Timestamp, event: CallEvent, out: &mut Vec<CallAction>) -> Result<(), &'static str> {
    if cfg!(debug_assertions) {
        call.handle(now, event, out);
        return Ok(());
    }
    catch_unwind(AssertUnwindSafe(|| call.handle(now, event, out))).map_err(|_| "a broken invariant")
}

/// What is in use now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Calls without a terminal record.
    pub live_calls: usize,
    /// Legs that ring or talk.
    pub live_legs: usize,
    /// Browsers whose audio path stands.
    pub browsers: usize,
    /// Calls in memory, ended ones that still take down late answers included.
    pub calls: usize,
    pub ports_left: usize,
    pub trunks_in_service: usize,
    pub commits_in_flight: usize,
}
