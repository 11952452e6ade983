//! The production switch in virtual time, between phones, clients, a network and a disk.
//!
//! ```text
//! next event or timeout ─▶ Switch::handle ─▶ outputs, one by one ─▶ network, disk, media, clients
//!          ▲                                   └─ a crash may fall between any two ─▶ restore  │
//!          └────────────────────────────── events in the future ◀──────────────────────────────┘
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use revbridge::events::Notice;
use revbridge::media::{MediaCommand, MediaEvent};
use revbridge::model::{CommitId, IdSource, LegId, RequestId, Side, Timestamp};
use revbridge::sip::Flow;
use revbridge::store::{Committed, Step};
use revbridge::switch::{Command, Input, Output, Reply, Switch};

use crate::checks::calls::Story;
use crate::checks::wire::Granted;
use crate::checks::{Check, Checks};
use crate::clients::{Clients, Request};
use crate::disk::{Disk, Written};
use crate::mutant::Mutant;
use crate::network::Network;
use crate::phone::message::{self, Incoming};
use crate::phone::{Effects, Phone, Timer, nonsense};
use crate::rng::Rng;
use crate::scenario::{CALM, Crash, CrashPoint, END, HANGUP, LAST_DIAL, Scenario};
use crate::setup;
use crate::shell::Shell;
use crate::trace::Trace;

/// Timeouts that the switch may need within one virtual second.
const MOST_TIMEOUTS: u32 = 2_000;
/// A leg without an owner lives no longer after a restart.
const ORPHAN: Duration = Duration::from_secs(1);

/// What is still to happen. Events of a process carry the number of its life and die with it.
#[derive(Debug)]
enum Event {
    ToPhone(Side, Rc<Incoming>),
    ToSwitch(Flow, Rc<[u8]>),
    Phone(Side, String, Timer),
    Written,
    Committed {
        life: u32,
        id: CommitId,
        committed: Committed,
    },
    Media {
        life: u32,
        leg: LegId,
        event: MediaEvent,
    },
    Ask(Request),
    Lower(usize),
    Crash(Duration),
    Start,
    /// A moment after a start: these phones must have been told that their call is over.
    Audit {
        life: u32,
        phones: Vec<(Side, String)>,
    },
    HangUpAll,
}

/// What a run came to.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub calls: u64,
    pub invites: u64,
    pub answered: u64,
    pub crashes: u64,
    pub packets: u64,
    pub lost: u64,
    pub steps: u64,
}

pub struct World {
    now: Timestamp,
    scenario: Scenario,
    queue: BTreeMap<(Timestamp, u64), Event>,
    sequence: u64,
    switch: Option<Switch>,
    life: u32,
    outputs: u64,
    crashes: Vec<Crash>,
    timeouts: (u64, u32),
    rng: Rng,
    network: Network,
    disk: Disk,
    shell: Shell,
    clients: Clients,
    phones: BTreeMap<(Side, String), Phone>,
    hung_up: BTreeSet<usize>,
    mutant: Option<Mutant>,
    pub checks: Checks,
    pub trace: Trace,
    tally: Tally,
}

impl World {
    pub fn new(scenario: Scenario, mutant: Option<Mutant>, traced: bool) -> Self {
        let mut rng = Rng::new(scenario.seed ^ 0x5eed);
        let now = scenario.start;
        let rules = setup::rules(&scenario.organizations);
        let mut world = Self {
            now,
            queue: BTreeMap::new(),
            sequence: 0,
            switch: None,
            life: 0,
            outputs: 0,
            crashes: scenario.crashes.clone(),
            timeouts: (0, 0),
            network: Network::new(scenario.network.clone(), rng.fork()),
            disk: Disk::new(scenario.disk.clone(), rules, rng.fork(), mutant),
            shell: Shell::new(scenario.media.clone(), setup::REST, rng.fork()),
            clients: Clients::default(),
            phones: BTreeMap::new(),
            hung_up: BTreeSet::new(),
            mutant,
            checks: Checks::default(),
            trace: Trace::new(traced, now),
            tally: Tally::default(),
            rng,
            scenario,
        };
        world.schedule();
        world
    }

    /// All that is known from the beginning.
    fn schedule(&mut self) {
        self.after(Duration::ZERO, Event::Start);
        for (index, plan) in self.scenario.calls.clone().into_iter().enumerate() {
            self.after(plan.at, Event::Ask(Request::Dial(index)));
            if let Some(wait) = plan.repeats.filter(|_| plan.keyed) {
                self.after(plan.at + wait, Event::Ask(Request::Dial(index)));
            }
            if let Some(wait) = plan.hangup {
                self.after(plan.at + wait, Event::Ask(Request::Hangup(index)));
            }
        }
        for (index, organization) in self.scenario.organizations.clone().into_iter().enumerate() {
            if let Some((at, ..)) = organization.lowered {
                self.after(at, Event::Lower(index));
            }
        }
        for crash in self.scenario.crashes.clone() {
            if let CrashPoint::At(at) = crash.when {
                self.after(at, Event::Crash(crash.down));
            }
        }
        if let Some(at) = self.scenario.drain {
            self.after(at, Event::Ask(Request::Drain));
        }
        self.after(HANGUP, Event::HangUpAll);
    }

    /// Runs to the end or to the first violation.
    pub fn run(&mut self) -> Tally {
        let end = self.scenario.start + END;
        while self.checks.violation.is_none() {
            let next = self.queue.first_key_value().map(|(key, _)| key.0);
            let wake = self.wake();
            let Some(at) = next.into_iter().chain(wake).min().filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            self.tally.steps += 1;
            if next.is_some_and(|next| wake.is_none_or(|wake| next <= wake)) {
                if let Some((_, event)) = self.queue.pop_first() {
                    self.happen(event);
                }
            } else {
                self.count_timeout();
                self.input(Input::Timeout);
            }
        }
        if self.checks.violation.is_none() {
            self.now = end;
            self.finish();
        }
        self.tally.packets = self.network.carried;
        self.tally.lost = self.network.lost;
        self.tally.invites = self.checks.wire.invites;
        self.tally.calls = self.checks.books.calls() as u64;
        self.tally
    }

    /// When the switch wants to be woken, and a little later: no clock is exact.
    fn wake(&self) -> Option<Timestamp> {
        let wanted = self.switch.as_ref()?.next_timeout()?;
        if self.mutant == Some(Mutant::StuckClock) && self.tally.steps > 50 {
            return Some(self.now);
        }
        let late = Rng::new(wanted.as_micros() ^ self.scenario.seed).micros(0, 2_000);
        Some(self.now.max(wanted + late))
    }

    fn count_timeout(&mut self) {
        let second = self.now.as_millis() / 1_000;
        self.timeouts = if self.timeouts.0 == second { (second, self.timeouts.1 + 1) } else { (second, 1) };
        self.checks.unless(self.timeouts.1 < MOST_TIMEOUTS, Check::BusyLoop, || {
            format!("{MOST_TIMEOUTS} timeouts in one second")
        });
    }

    fn after(&mut self, wait: Duration, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + wait, self.sequence), event);
    }

    /// The faults of this world are over.
    fn healthy(&self) -> bool {
        self.now >= self.scenario.start + CALM
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::ToPhone(side, message) => self.deliver(side, &message),
            Event::ToSwitch(flow, bytes) => self.input(Input::Packet(flow, &bytes)),
            Event::Phone(side, call_id, timer) => {
                self.with_phone(side, call_id, |phone, now, fx| phone.timer(now, timer, fx))
            }
            Event::Written => self.written(),
            Event::Committed { life, id, committed } if life == self.life => self.committed(id, committed),
            Event::Media { life, leg, event } if life == self.life => {
                self.trace.say(self.now, || format!("media    {leg:?} {event:?}"));
                self.input(Input::Media(leg, event));
            }
            Event::Committed { .. } | Event::Media { .. } => {}
            Event::Ask(request) => self.ask(request),
            Event::Lower(index) => self.lower(index),
            Event::Crash(down) => self.crash(down),
            Event::Start => self.start(),
            Event::Audit { life, phones } if life == self.life => self.audit(&phones),
            Event::Audit { .. } => {}
            Event::HangUpAll => self.hang_up_all(),
        }
    }

    // ── the process ──

    fn input(&mut self, input: Input<'_>) {
        let Some(switch) = &mut self.switch else { return };
        let mut outputs = Vec::new();
        switch.handle(self.now, input, &mut outputs);
        self.perform(outputs);
    }

    fn start(&mut self) {
        if self.switch.is_some() {
            return;
        }
        self.life += 1;
        self.outputs = 0;
        let mut switch = Switch::new(setup::config(), IdSource::new(self.rng.bytes()), self.now);
        let mut outputs = Vec::new();
        let recovered = self.disk.recover();
        self.trace.say(self.now, || format!("START    {} calls to take up", recovered.calls.len()));
        switch.restore(self.now, recovered, &mut outputs);
        self.switch = Some(switch);
        let held = |phone: &&Phone| phone.is_up() || phone.waits_for_cancel();
        let phones: Vec<_> = self.phones.iter().filter(|(_, p)| held(p)).map(|(key, _)| key.clone()).collect();
        let sound = self.scenario.is_lossless() && self.scenario.disk.slow == 0 && self.scenario.disk.fails == 0;
        if self.life > 1 && sound {
            let wait = ORPHAN + self.network.longest() * 2;
            self.after(wait, Event::Audit { life: self.life, phones });
        }
        self.perform(outputs);
    }

    fn crash(&mut self, down: Duration) {
        if self.healthy() || self.switch.take().is_none() {
            return;
        }
        self.trace.say(self.now, || format!("CRASH    down for {down:?}"));
        self.tally.crashes += 1;
        self.life += 1;
        for written in self.disk.crash(self.now) {
            self.durable(&written);
        }
        self.shell.crash();
        self.checks.wire.crashed();
        for request in self.clients.crash() {
            let again = match request {
                Request::Dial(index) => self.scenario.calls[index].keyed,
                Request::Hangup(_) | Request::Drain => true,
            };
            if again {
                self.after(down + Duration::from_millis(100), Event::Ask(request));
            }
        }
        self.after(down, Event::Start);
    }

    /// Does what the switch wants, one by one; the process may die between any two.
    fn perform(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            self.outputs += 1;
            let dies = |c: &Crash| matches!(c.when, CrashPoint::Output(n) if n == self.outputs);
            if let Some(at) = self.crashes.iter().position(dies).filter(|_| !self.healthy()) {
                let crash = self.crashes.remove(at);
                return self.crash(crash.down);
            }
            self.execute(output);
        }
    }

    fn execute(&mut self, output: Output) {
        match output {
            Output::Transmit(flow, bytes) => self.transmit(flow, &bytes),
            Output::Commit(id, commit) => {
                self.trace.say(self.now, || format!("commit   {id:?} {} {}", commit.call, step_name(&commit.step)));
                self.checks.wire.committing(commit.call, id);
                self.disk.commit(id, commit);
                self.write();
            }
            Output::Forget(calls) => {
                self.trace.say(self.now, || format!("forget   {calls:?}"));
                self.disk.forget(calls);
                self.write();
            }
            Output::Reply(id, reply) => self.reply(id, &reply),
            Output::Media(leg, command) => self.media(leg, command),
            Output::Notice(notice) => self.notice(&notice),
        }
    }

    fn notice(&mut self, notice: &Notice) {
        match notice {
            Notice::CallPoisoned { call, what } => self.checks.fail(Check::Poisoned, format!("{call}: {what}")),
            Notice::MaskingBlocked { call, side, method } => {
                self.checks.fail(Check::Masking, format!("{call}: the guard stopped a {method} to {side:?}"));
            }
            Notice::Signal { .. } => {}
            other => self.trace.say(self.now, || format!("notice   {other:?}")),
        }
    }

    // ── the disk ──

    fn write(&mut self) {
        if self.mutant == Some(Mutant::AnswersEarly) {
            // The answer does not wait for the data, which needs two seconds more.
            if self.disk.begin(true).is_some() {
                let early = self.disk.answers_early();
                for (id, committed) in early {
                    self.after(Duration::ZERO, Event::Committed { life: self.life, id, committed });
                }
                self.after(Duration::from_secs(2), Event::Written);
            }
            return;
        }
        let healthy = self.healthy();
        if let Some(wait) = self.disk.begin(healthy) {
            self.after(wait, Event::Written);
        }
    }

    fn written(&mut self) {
        for written in self.disk.end(self.now) {
            self.durable(&written);
            let wait = self.rng.micros(0, 300);
            let event = Event::Committed { life: self.life, id: written.id, committed: written.committed };
            if self.mutant != Some(Mutant::AnswersEarly) {
                self.after(wait, event);
            }
        }
        self.write();
    }

    fn durable(&mut self, written: &Written) {
        let commit = &written.commit;
        self.trace.say(self.now, || {
            format!("durable  {:?} {} {}", written.id, commit.call, committed_name(&written.committed))
        });
        self.checks.wire.durable(commit.call, written.id);
        self.checks.on_durable(written);
        let permit = match &written.committed {
            Committed::Admitted { permit, .. } | Committed::Permitted(permit) => permit,
            _ => return,
        };
        let digits = |number: revbridge::model::E164| number.text().digits().to_owned();
        let (to, shown) = (digits(permit.to()), digits(permit.shown().number()));
        self.checks.wire.grant(Granted { leg: permit.leg(), to, shown });
    }

    fn committed(&mut self, id: CommitId, committed: Committed) {
        self.input(Input::Committed(id, committed));
    }

    // ── the network ──

    fn transmit(&mut self, flow: Flow, bytes: &[u8]) {
        if flow == setup::stranger() {
            let answers = bytes.starts_with(b"SIP/2.0 ");
            return self.checks.unless(answers, Check::Protocol, || "a request to a stranger".to_owned());
        }
        let Some(side) = Side::BOTH.into_iter().find(|side| setup::flow(*side) == flow) else {
            return self.checks.fail(Check::Protocol, format!("a packet to {}", flow.remote));
        };
        let bytes = self.tamper(side, bytes);
        // rsip knows no other methods than its own.
        let known = String::from_utf8_lossy(&bytes).replace("FROBNICATE", "OPTIONS");
        let message = match Incoming::read(known.as_bytes()) {
            Ok(message) => message,
            Err(e) => return self.checks.fail(Check::Protocol, format!("not readable: {e}\n{known}")),
        };
        self.trace.say(self.now, || format!("S ─▶ {}   {}", side.letter(), message.summary()));
        self.checks.on_sent(side, &message, &bytes);
        if self.mutant == Some(Mutant::LosesByes) && side == Side::Destination && message.method == rsip::Method::Bye {
            return;
        }
        let message = Rc::new(message);
        for wait in self.network.carry(self.healthy()) {
            self.after(wait, Event::ToPhone(side, message.clone()));
        }
    }

    /// Where mutants put their hands on the wire.
    fn tamper(&self, side: Side, bytes: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(bytes);
        let to_b = side == Side::Destination;
        match self.mutant {
            Some(Mutant::LeaksNumber) if to_b => {
                text.replace("Max-Forwards", "X-Caller: 1 (415) 777-0001\r\nMax-Forwards").into()
            }
            Some(Mutant::LeaksMark) if to_b => {
                let hidden = crate::checks::masking::base64(b"x-kanarya-7-x");
                let hidden = String::from_utf8_lossy(&hidden).into_owned();
                text.replace("Max-Forwards", &format!("X-Opaque: {hidden}\r\nMax-Forwards")).into()
            }
            Some(Mutant::OtherNumber) if text.starts_with("INVITE") => text.replacen("4420794", "4420799", 1).into(),
            _ => bytes.to_vec(),
        }
    }

    fn deliver(&mut self, side: Side, message: &Incoming) {
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
    fn deliver_new(&mut self, side: Side, message: &Incoming, request: &rsip::Request) {
        let index = setup::index_of(&message::user(&request.uri));
        let plan = index.and_then(|index| self.scenario.calls.get(index)).map(|plan| match side {
            Side::User => plan.a.clone(),
            Side::Destination => plan.b.clone(),
        });
        match (request.method, index, plan) {
            (rsip::Method::Invite, Some(index), Some(plan)) if message.to_tag.is_none() => {
                let home = setup::home(side);
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

    fn with_phone(&mut self, side: Side, call_id: String, what: impl FnOnce(&mut Phone, Timestamp, &mut Effects)) {
        let Some(phone) = self.phones.get_mut(&(side, call_id.clone())) else { return };
        let mut effects = Effects::default();
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

    fn phone_sends(&mut self, side: Side, bytes: Vec<u8>) {
        self.trace.say(self.now, || {
            let summary = Incoming::read(&bytes).map_or_else(|_| "nonsense".to_owned(), |m| m.summary());
            format!("S ◀─ {}   {summary}", side.letter())
        });
        let overheard = self.network.is_overheard(self.healthy());
        if let Some(forged) = overheard.then(|| nonsense::forgery(&bytes)).flatten() {
            self.trace.say(self.now, || "S ◀─ stranger".to_owned());
            self.after(Duration::ZERO, Event::ToSwitch(setup::stranger(), forged.into()));
        }
        let bytes: Rc<[u8]> = bytes.into();
        for wait in self.network.carry(self.healthy()) {
            self.after(wait, Event::ToSwitch(setup::flow(side), bytes.clone()));
        }
    }

    // ── media and clients ──

    fn media(&mut self, leg: LegId, mut command: MediaCommand) {
        self.trace.say(self.now, || format!("media    {leg:?} ◀ {}", media_name(&command)));
        if let (Some(Mutant::SharesPorts), MediaCommand::Open { port, .. }) = (self.mutant, &mut command) {
            port.0 = 20_000;
        }
        if self.mutant == Some(Mutant::LosesClose) && command == MediaCommand::Close {
            self.after(
                Duration::ZERO,
                Event::Media { life: self.life, leg, event: MediaEvent::Closed(Default::default()) },
            );
            return;
        }
        let presses = leg.side == Side::User && self.presses(leg);
        let healthy = self.healthy();
        for (wait, leg, event) in self.shell.command(self.now, leg, command, presses, healthy, &mut self.checks) {
            self.after(wait, Event::Media { life: self.life, leg, event });
        }
    }

    fn presses(&self, leg: LegId) -> bool {
        let row = self.disk.tables.calls.get(&leg.call);
        let index = row.and_then(|row| setup::index_of(&row.record.connect_number.text()));
        index.is_some_and(|index| self.scenario.calls[index].presses)
    }

    fn ask(&mut self, request: Request) {
        if self.switch.is_none() {
            return self.after(Duration::from_millis(500), Event::Ask(request));
        }
        if self.now >= self.scenario.start + LAST_DIAL && matches!(request, Request::Dial(_)) {
            return;
        }
        let command = match request {
            Request::Dial(index) => Command::Dial(Box::new(setup::dial(index, &self.scenario.calls[index]))),
            Request::Hangup(index) => {
                let Some(call) = self.clients.calls.get(&index) else { return };
                self.hung_up.insert(index);
                let organization = setup::organization(self.scenario.calls[index].organization);
                Command::Hangup { organization, call: *call }
            }
            Request::Drain => Command::Drain { deadline: Duration::from_secs(10) },
        };
        self.trace.say(self.now, || format!("ask      {request:?}"));
        let id = self.clients.ask(request);
        self.input(Input::Api(id, command));
    }

    fn reply(&mut self, id: RequestId, reply: &Reply) {
        self.trace.say(self.now, || format!("reply    {id:?} {reply:?}"));
        if self.mutant == Some(Mutant::LosesReplies) && id.0.is_multiple_of(3) {
            return;
        }
        if let Reply::Dialed { call, .. } = reply {
            let durable = self.disk.tables.calls.contains_key(call);
            self.checks.unless(durable, Check::Barrier, || format!("{call} is accepted before it is durable"));
        }
        self.clients.hear(id, reply, &mut self.checks);
    }

    fn lower(&mut self, index: usize) {
        let plan = &self.scenario.organizations[index];
        let Some((_, legs, micros)) = plan.lowered else { return };
        let mut limits = setup::limits(plan, index);
        limits.max_concurrent_legs = legs;
        limits.daily_spend_limit = revbridge::model::Money::from_micros(micros);
        self.trace.say(self.now, || format!("limits   {legs} legs, {micros} micro-units"));
        self.disk.declare(&setup::organization(index), limits);
    }

    fn hang_up_all(&mut self) {
        let live: Vec<_> = self.clients.calls.keys().copied().collect();
        for index in live {
            self.ask(Request::Hangup(index));
        }
    }

    // ── the end ──

    fn audit(&mut self, phones: &[(Side, String)]) {
        for key in phones {
            let Some(phone) = self.phones.get(key) else { continue };
            let held = phone.is_up() || phone.waits_for_cancel();
            self.checks.unless(!held, Check::Orphan, || format!("{} hears nothing after the restart", phone.name()));
        }
    }

    fn finish(&mut self) {
        if let Some(switch) = &self.switch {
            self.checks.on_quiet(switch.gauges(self.now), self.shell.open(), self.phones.values());
        }
        let pending = self.clients.pending();
        self.checks.unless(pending == 0, Check::Reply, || format!("{pending} requests have no answer"));
        self.checks.on_tables(&self.disk.tables);
        for row in self.disk.tables.calls.values() {
            let Some(index) = setup::index_of(&row.record.connect_number.text()) else { continue };
            let phone = |side| {
                let number = setup::phone_number(side, index);
                self.phones.values().find(|p| p.home.side == side && number.ends_with(p.number.trim_start_matches('+')))
            };
            let story = Story {
                scenario: &self.scenario,
                plan: &self.scenario.calls[index],
                record: &row.record,
                a: phone(Side::User),
                b: phone(Side::Destination),
                crashed: self.tally.crashes > 0,
                hung_up: self.hung_up.contains(&index),
                prices: setup::prices(),
                now: self.now,
            };
            self.tally.answered += u64::from(row.record.answered_at.is_some());
            self.checks.on_story(&story);
        }
    }
}

fn step_name(step: &Step) -> &'static str {
    match step {
        Step::Admit(_) => "admit",
        Step::PermitLeg(_) => "permit leg",
        Step::Extend { .. } => "extend",
        Step::Settle { .. } => "settle",
        Step::Keep => "keep",
    }
}

fn committed_name(committed: &Committed) -> String {
    match committed {
        Committed::Done => "done".into(),
        Committed::Admitted { .. } => "admitted".into(),
        Committed::Permitted(_) => "permitted".into(),
        Committed::Extended => "extended".into(),
        Committed::Refused(refusal) => format!("refused {refusal:?}"),
        Committed::Replayed(_) => "replayed".into(),
        Committed::Conflict { .. } => "conflict".into(),
        Committed::Unavailable => "unavailable".into(),
    }
}

fn media_name(command: &MediaCommand) -> String {
    match command {
        MediaCommand::Open { port, .. } => format!("open {}", port.0),
        MediaCommand::Remote(_) => "remote".into(),
        MediaCommand::Play(source) => format!("play {source:?}"),
        MediaCommand::Close => "close".into(),
    }
}
