//! The production switch in virtual time, between phones, clients, a network and a disk.
//!
//! ```text
//! next event or timeout ─▶ Switch::handle ─▶ outputs, one by one ─▶ network, disk, media, clients
//!          ▲                                   └─ a crash may fall between any two ─▶ restore, or another takes over  │
//!          └────────────────────────────── events in the future ◀──────────────────────────────┘
//! ```

mod browsers;
mod desk;
mod gateway;
mod process;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use revbridge::media::MediaEvent;
use revbridge::model::{CommitId, LegId, Side, Timestamp};
use revbridge::sip::{Down, Flow};
use revbridge::store::Committed;
use revbridge::switch::{Input, Switch};

use crate::browser::Browser;
use crate::checks::{Check, Checks};
use crate::clients::{Clients, Request};
use crate::disk::Disk;
use crate::mutant::Mutant;
use crate::network::Network;
use crate::phone::message::Incoming;
use crate::phone::{Phone, Timer};
use crate::rng::Rng;
use crate::scenario::{CALM, Crash, CrashPoint, END, HANGUP, Scenario};
use crate::setup;
use crate::shell::Shell;
use crate::trace::Trace;
use gateway::Passage;

/// Timeouts that the switch may need within one virtual second.
const MOST_TIMEOUTS: u32 = 2_000;
/// A leg without an owner lives no longer after a restart.
const ORPHAN: Duration = Duration::from_secs(1);

/// What is still to happen. Events of a process carry the number of its life and die with it.
#[derive(Debug)]
enum Event {
    /// From this node.
    ToPhone(Side, u8, Rc<Incoming>),
    ToSwitch(Flow, Rc<[u8]>),
    /// The process notices what became of a connection.
    Down {
        life: u32,
        side: Side,
        flow: Flow,
        why: Down,
    },
    Phone(Side, String, Timer),
    /// The DNS says something else of a trunk's name.
    Resolved(Side),
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
    /// Of [`Mutant::FalseUp`].
    FalseUp {
        life: u32,
        leg: LegId,
    },
    Ask(Request),
    Lower(usize),
    Crash(Crash),
    Start,
    /// A while after a start: this phone must have been told that its call is over.
    Audit {
        life: u32,
        phone: (Side, String),
        fork: Option<usize>,
    },
    HangUpAll,
}

/// What a run came to.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub calls: u64,
    pub invites: u64,
    pub answered: u64,
    /// Browsers that came in with their token.
    pub browsers: u64,
    pub crashes: u64,
    /// Of these, by another node.
    pub take_overs: u64,
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
    /// What a gateway makes of a call, by its Call-ID.
    gateways: BTreeMap<String, Passage>,
    /// By which address of a trunk that has a name a call went, by its Call-ID.
    doors: BTreeMap<String, SocketAddr>,
    /// Which node it is.
    node: u8,
    /// This life took another node's calls over.
    took_over: bool,
    /// Where each request came from: the phone's answers go there (RFC 3581).
    sources: BTreeMap<(Side, String, String), u8>,
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
    /// By the index of their call.
    browsers: BTreeMap<usize, Browser>,
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
            gateways: BTreeMap::new(),
            doors: BTreeMap::new(),
            node: 0,
            took_over: false,
            sources: BTreeMap::new(),
            outputs: 0,
            crashes: scenario.crashes.clone(),
            timeouts: (0, 0),
            network: Network::new(scenario.network.clone(), rng.fork()),
            disk: Disk::new(scenario.disk.clone(), rules, rng.fork(), mutant),
            shell: Shell::new(scenario.media.clone(), setup::REST, rng.fork()),
            clients: Clients::default(),
            phones: BTreeMap::new(),
            hung_up: BTreeSet::new(),
            browsers: BTreeMap::new(),
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
                self.after(at, Event::Crash(crash));
            }
        }
        for side in Side::BOTH {
            for (at, _) in self.scenario.names[side as usize].clone().unwrap_or_default() {
                self.after(at, Event::Resolved(side));
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
        self.tally.browsers = self.browsers.values().filter(|browser| browser.secret.is_some()).count() as u64;
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
            Event::ToPhone(side, node, message) => self.deliver(side, node, &message),
            Event::ToSwitch(flow, bytes) => self.arrive(flow, &bytes),
            Event::Down { life, side, flow, why } if life == self.life => self.down(side, flow, why),
            Event::Phone(side, call_id, timer) => {
                self.with_phone(side, call_id, |phone, now, fx| phone.timer(now, timer, fx))
            }
            Event::Resolved(side) => self.resolve(side),
            Event::Written => self.written(),
            Event::Committed { life, id, committed } if life == self.life => self.committed(id, committed),
            Event::Media { life, leg, event } if life == self.life => {
                self.trace.say(self.now, || format!("media    {leg:?} {event:?}"));
                self.browser_is_heard(leg, &event);
                self.input(Input::Media(leg, event));
            }
            Event::FalseUp { life, leg } if life == self.life => self.input(Input::Media(leg, MediaEvent::BrowserUp)),
            Event::Down { .. } | Event::Committed { .. } | Event::Media { .. } | Event::FalseUp { .. } => {}
            Event::Ask(request) => self.ask(request),
            Event::Lower(index) => self.lower(index),
            Event::Crash(crash) => self.crash(&crash),
            Event::Start => self.start(),
            Event::Audit { life, phone, fork } if life == self.life => self.audit(&phone, fork),
            Event::Audit { .. } => {}
            Event::HangUpAll => self.hang_up_all(),
        }
    }
}
