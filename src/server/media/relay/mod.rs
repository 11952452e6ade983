//! One media thread: waits, receives, asks the bridge, sends. `call` is one call with its sockets, `browser`
//! what browsers add.
//!
//! ```text
//!            ┌─ nap (only when busy) ◀───────────────────────────┐
//!            ▼                                                   │
//!  1 wait for sockets, commands or the next deadline             │
//!  2 one packet of each ready socket ──▶ verdict ──▶ send        │
//!    a few of the browsers' ──▶ peer ──▶ verdict ──▶ send        │
//!  3 deadlines ──▶ tones, reports, silence                       │
//!  4 commands, looked for at every turn: calls come and go here  │
//!  5 publish the counts ─────────────────────────────────────────┘
//! ```

mod browser;
mod call;
mod token;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, warn};

use call::Call;
use token::Door;
pub use token::Token;

use super::browsers::Browsers;
use super::counters::{Counts, Streams};
use super::offload::Offload;
use super::pace::Pace;
use super::ports::Ports;
use super::threads::Desk;
use crate::media::{
    Bridge, Channel, LegStats, MediaCommand, MediaEvent, PACKET, PortPair, Remote, Rules, Transmit, Verdict,
};
use crate::model::{CallId, LegId, Secret, Side, Timestamp};
use crate::server::clock::Clock;
use crate::server::poll::{Interest, MAX_READY, Poller, Ready};

/// Longer than any packet that Ethernet carries whole.
const BUFFER: usize = 2_048;
/// While it has calls, a thread looks for commands and deadlines by itself, and is not woken for each:
/// five wakes less for every call, for a few milliseconds that no ear notices. This often when a tone is
/// played,
const GLANCE: Duration = Duration::from_millis(8);
/// and this often when nothing is due: the length of one packet of audio.
const QUIET_GLANCE: Duration = Duration::from_millis(20);

/// The state of one thread.
pub struct Relay<F> {
    rules: Arc<Rules>,
    clock: Clock,
    desk: Arc<Desk>,
    report: F,
    poller: Poller,
    /// By slot; a slot is what a socket's token names.
    calls: Vec<Option<Box<Call>>>,
    vacant: Vec<usize>,
    slots: HashMap<CallId, usize>,
    /// When which slot wants to be asked. Outdated entries are passed over.
    deadlines: BinaryHeap<Reverse<(Timestamp, usize)>>,
    /// What the kernel relays of these calls.
    offload: Offload,
    /// Where browsers come in, if they may.
    browsers: Option<Browsers>,
    /// Legs whose ports are bound, or who have a browser.
    legs: u64,
    counts: Counts,
    pace: Pace,
    events: Vec<(Side, MediaEvent)>,
}

impl<F: Fn(LegId, MediaEvent)> Relay<F> {
    pub fn new(
        rules: Arc<Rules>,
        clock: Clock,
        desk: Arc<Desk>,
        offload: Offload,
        browsers: Option<Browsers>,
        report: F,
    ) -> io::Result<Self> {
        let poller = Poller::new()?;
        poller.add(&desk.waker, Token::Commands.bits(), Interest::Wakes)?;
        if let Some(browsers) = &browsers {
            browsers.register(&poller)?;
        }
        Ok(Self {
            rules,
            clock,
            desk,
            report,
            poller,
            calls: Vec::new(),
            vacant: Vec::new(),
            slots: HashMap::new(),
            deadlines: BinaryHeap::new(),
            offload,
            browsers,
            legs: 0,
            counts: Counts::default(),
            pace: Pace::default(),
            events: Vec::new(),
        })
    }

    /// Runs until told to stop.
    pub fn run(mut self) {
        let (mut ready, mut commands, mut buffer) = (Vec::new(), Vec::new(), [0; BUFFER]);
        while !self.desk.stops() {
            let now = self.clock.now();
            // A full batch means that packets are waiting already.
            if let Some(nap) = self.pace.nap(now).filter(|_| ready.len() < MAX_READY) {
                std::thread::sleep(nap);
            }
            let wait = self.until_next_glance(now);
            if let Err(error) = self.poller.wait(wait, &mut ready) {
                error!(%error, "a media thread cannot wait for its sockets and ends");
                return;
            }
            let now = self.clock.now();
            let mut packets = 0;
            for socket in &ready {
                packets += self.attend(now, socket, &mut buffer);
            }
            if let Some(browsers) = &mut self.browsers {
                browsers.streams.sweep(now);
            }
            self.pass_deadlines(now);
            self.desk.take(&mut commands);
            commands.drain(..).for_each(|(leg, command)| self.command(now, leg, command));
            self.pace.count(packets);
            let kernel = self.offload.streams;
            self.counts.streams = Streams { kernel, userspace: self.legs - kernel };
            self.desk.counters.publish(&self.counts);
        }
    }

    /// `None`, for ever, without calls.
    fn until_next_glance(&self, now: Timestamp) -> Option<Duration> {
        let has_calls = !self.slots.is_empty() || self.browsers.as_ref().is_some_and(|all| all.streams.has_strangers());
        if !self.desk.glance(has_calls) {
            return Some(Duration::ZERO);
        }
        let due = self.deadlines.peek().map_or(QUIET_GLANCE, |Reverse((at, _))| at.since(now));
        // A deadline may wait for the glance: a tone's packets are spaced by their own clock.
        has_calls.then_some(due.clamp(GLANCE, QUIET_GLANCE))
    }

    /// What a socket is ready for; how many packets that were, or so.
    fn attend(&mut self, now: Timestamp, socket: &Ready, buffer: &mut [u8]) -> usize {
        match Token::of(socket.token) {
            Token::Commands => 0,
            Token::Leg(slot, side, door) => {
                self.receive(now, slot, side, door, buffer);
                1
            }
            Token::Browsers => self.receive_datagrams(now, buffer),
            Token::Listener => {
                self.accept(now);
                1
            }
            Token::Stream(place) => {
                self.receive_stream(now, place, socket, buffer);
                1
            }
        }
    }

    /// One packet; a socket that has more is ready again at once.
    fn receive(&mut self, now: Timestamp, slot: usize, side: Side, door: Door, buffer: &mut [u8]) {
        let Some(call) = self.calls.get_mut(slot).and_then(Option::as_deref_mut) else { return };
        let Some((length, from)) = call.ports(side).and_then(|ports| door.receive(ports, buffer)) else { return };
        // Judged by up-to-date numbers, and the last to need that for a while.
        if door != Door::Rtcp && call.lane(side).is_in_kernel() {
            self.counts.relayed += call.take_back(now, side, &mut self.offload);
        }
        let packet = &mut buffer[..length];
        match door {
            Door::Rtp | Door::Party => self.relay(now, slot, side, Remote::Phone(from), packet),
            Door::Rtcp => match call.bridge.rtcp(now, side, from, packet) {
                Verdict::Dropped(cause) => self.counts.drop(cause),
                Verdict::Consumed | Verdict::Forward { .. } => {}
            },
        }
        // A packet at the party's own door cannot have changed where the party is.
        if door == Door::Rtp
            && let Some(call) = self.calls[slot].as_deref_mut()
        {
            call.follow(&self.poller, slot, side);
            if call.lane(side.other()).misses(call.bridge.target(side)) {
                self.counts.relayed += call.take_back(now, side.other(), &mut self.offload);
            }
        }
        self.report_events(slot);
    }

    /// A packet of the party of `side`, to the other one if it is to hear it.
    fn relay(&mut self, now: Timestamp, slot: usize, side: Side, from: Remote, packet: &mut [u8]) {
        let Some(call) = self.calls[slot].as_deref_mut() else { return };
        match call.bridge.rtp(now, side, from, packet, &mut self.events) {
            Verdict::Forward { to, remote: Remote::Phone(at), range } => {
                match call.send(to, Channel::Rtp, at, &packet[range]) {
                    Ok(()) => {
                        self.counts.relayed += 1;
                        call.offer(now, side, &mut self.offload);
                    }
                    Err(_) => {
                        self.counts.dropped.send += 1;
                        call.bridge.unsent(to);
                    }
                }
            }
            Verdict::Forward { to, remote: Remote::Browser, range } => {
                self.counts.relayed += 1;
                self.send_to_browser(now, slot, to, &packet[range]);
            }
            Verdict::Consumed => {}
            Verdict::Dropped(cause) => self.counts.drop(cause),
        }
    }

    fn pass_deadlines(&mut self, now: Timestamp) {
        while let Some(&Reverse((at, slot))) = self.deadlines.peek().filter(|Reverse((at, _))| *at <= now) {
            self.deadlines.pop();
            let Some(call) = self.calls[slot].as_deref_mut().filter(|call| call.wakes_at == Some(at)) else { continue };
            call.wakes_at = None;
            self.elapse(now, slot);
            self.poll(now, slot);
        }
    }

    /// Sends and reports what is due of a call.
    fn poll(&mut self, now: Timestamp, slot: usize) {
        if let Some(call) = self.calls[slot].as_deref_mut() {
            self.counts.relayed += call.refresh(&self.offload);
        }
        let mut buffer = [0; PACKET];
        while let Some(call) = self.calls[slot].as_deref_mut()
            && let Some(transmit) = call.bridge.poll(now, &mut buffer, &mut self.events)
        {
            let Transmit { side, channel, remote, length } = transmit;
            match remote {
                Remote::Browser => self.send_to_browser(now, slot, side, &buffer[..length]),
                Remote::Phone(at) if call.send(side, channel, at, &buffer[..length]).is_err() => {
                    self.counts.dropped.send += 1;
                    if channel == Channel::Rtp {
                        call.bridge.unsent(side);
                    }
                }
                Remote::Phone(_) => {}
            }
        }
        self.schedule(slot);
        self.report_events(slot);
    }

    /// Sees to it that the call is asked again in time.
    fn schedule(&mut self, slot: usize) {
        let Some(call) = self.calls[slot].as_deref_mut() else { return };
        if let Some(at) = call.next_timeout()
            && call.wakes_at.is_none_or(|earlier| at < earlier)
        {
            call.wakes_at = Some(at);
            self.deadlines.push(Reverse((at, slot)));
        }
    }

    fn command(&mut self, now: Timestamp, leg: LegId, command: MediaCommand) {
        if let Some(call) = self.slots.get(&leg.call).and_then(|&slot| self.calls[slot].as_deref_mut()) {
            for side in Side::BOTH {
                self.counts.relayed += call.take_back(now, side, &mut self.offload);
            }
        }
        match command {
            MediaCommand::Open { port, secret } => self.open(now, leg, port, secret),
            MediaCommand::Connect { offer, secret } => self.connect(now, leg, &offer, secret),
            MediaCommand::Close => self.close(now, leg),
            MediaCommand::Remote(agreed) => self.with(now, leg, |bridge| bridge.remote(now, leg.side, &agreed)),
            MediaCommand::Play(source) => self.with(now, leg, |bridge| bridge.play(now, leg.side, source)),
        }
    }

    /// Changes a call, if it is there, and carries out what follows at once.
    fn with(&mut self, now: Timestamp, leg: LegId, change: impl FnOnce(&mut Bridge)) {
        let Some(&slot) = self.slots.get(&leg.call) else { return };
        if let Some(call) = self.calls[slot].as_deref_mut() {
            change(&mut call.bridge);
            self.poll(now, slot);
        }
    }

    fn open(&mut self, now: Timestamp, leg: LegId, port: PortPair, secret: Secret) {
        let slot = self.slot(leg.call);
        let opened = Ports::bind(self.rules.address, port).and_then(|ports| {
            self.poller.add(&ports.rtp, Token::Leg(slot, leg.side, Door::Rtp).bits(), Interest::Read)?;
            self.poller.add(&ports.rtcp, Token::Leg(slot, leg.side, Door::Rtcp).bits(), Interest::Read)?;
            Ok(ports)
        });
        let Some(call) = self.calls[slot].as_deref_mut() else { return };
        match opened {
            Ok(ports) => {
                self.legs += u64::from(call.ports_mut(leg.side).replace(ports).is_none());
                call.bridge.open(now, leg.side, secret);
            }
            Err(error) => {
                warn!(?leg, port = port.0, %error, "media ports cannot be bound");
                self.vacate_if_over(slot);
                (self.report)(leg, MediaEvent::Failed);
            }
        }
    }

    fn close(&mut self, now: Timestamp, leg: LegId) {
        if let Some(&slot) = self.slots.get(&leg.call) {
            self.dismiss(now, slot, leg.side);
        }
        let stats = self.slots.get(&leg.call).copied().and_then(|slot| {
            let call = self.calls[slot].as_deref_mut()?;
            let mut buffer = [0; PACKET];
            let (stats, bye) = call.bridge.close(now, leg.side, &mut buffer)?;
            if let Some(Transmit { side, channel, remote: Remote::Phone(at), length }) = bye {
                // The last word; nobody is left to hear that it did not arrive.
                let _ = call.send(side, channel, at, &buffer[..length]);
            }
            self.legs -= u64::from(call.ports_mut(leg.side).take().is_some());
            self.counts.lost += stats.lost;
            self.vacate_if_over(slot);
            Some(stats)
        });
        // A leg that never had ports is closed all the same, with nothing to tell.
        (self.report)(leg, MediaEvent::Closed(stats.unwrap_or_else(LegStats::default)));
    }

    /// The call's slot, a new one if it has none.
    fn slot(&mut self, id: CallId) -> usize {
        if let Some(&slot) = self.slots.get(&id) {
            return slot;
        }
        let call = Box::new(Call::new(id, Bridge::new(Arc::clone(&self.rules))));
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.calls.push(None);
            self.calls.len() - 1
        });
        self.calls[slot] = Some(call);
        self.slots.insert(id, slot);
        slot
    }

    fn vacate_if_over(&mut self, slot: usize) {
        if let Some(call) = self.calls[slot].take_if(|call| call.bridge.is_empty()) {
            self.slots.remove(&call.id);
            self.vacant.push(slot);
        }
    }

    fn report_events(&mut self, slot: usize) {
        if self.events.is_empty() {
            return;
        }
        let Some(call) = self.calls[slot].as_deref() else { return };
        for (side, event) in self.events.drain(..) {
            (self.report)(LegId { call: call.id, side }, event);
        }
    }
}
