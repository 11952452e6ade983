//! One media thread: waits, receives, asks the bridge, sends.
//!
//! ```text
//!            ┌─ nap (only when busy) ◀───────────────────────────┐
//!            ▼                                                   │
//!  1 wait for sockets, commands or the next deadline             │
//!  2 one packet of each ready socket ──▶ verdict ──▶ send        │
//!  3 deadlines ──▶ tones, reports, silence                       │
//!  4 commands; calls come and go only here (looked for at every turn)                       │
//!  5 publish the counts ─────────────────────────────────────────┘
//! ```

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, warn};

use super::counters::{Counts, Streams};
use super::offload::{Lane, Offload};
use super::pace::Pace;
use super::ports::Ports;
use super::threads::Desk;
use crate::media::{Bridge, Channel, LegStats, MediaCommand, MediaEvent, PACKET, PortPair, Rules, Transmit, Verdict};
use crate::model::{CallId, LegId, Secret, Side, Timestamp};
use crate::server::clock::Clock;
use crate::server::poll::{Interest, MAX_READY, Poller};

/// Longer than any packet that Ethernet carries whole.
const BUFFER: usize = 2_048;
const COMMANDS: u64 = u64::MAX;
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
    /// Legs whose ports are bound.
    legs: u64,
    counts: Counts,
    pace: Pace,
    events: Vec<(Side, MediaEvent)>,
}

/// One call's audio with its sockets.
struct Call {
    id: CallId,
    bridge: Bridge,
    user: Option<Ports>,
    destination: Option<Ports>,
    /// By side: what that party sends.
    lanes: [Lane; 2],
    /// Its earliest entry among the deadlines.
    wakes_at: Option<Timestamp>,
}

/// Which socket of a leg is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Rtp,
    /// The party's own.
    Party,
    Rtcp,
}

impl<F: Fn(LegId, MediaEvent)> Relay<F> {
    pub fn new(rules: Arc<Rules>, clock: Clock, desk: Arc<Desk>, offload: Offload, report: F) -> io::Result<Self> {
        let poller = Poller::new()?;
        poller.add(&desk.waker, COMMANDS, Interest::Wakes)?;
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
            for socket in ready.iter().filter(|socket| socket.token != COMMANDS) {
                self.receive(now, socket.token, &mut buffer);
            }
            self.pass_deadlines(now);
            self.desk.take(&mut commands);
            commands.drain(..).for_each(|(leg, command)| self.command(now, leg, command));
            self.pace.count(ready.len());
            let kernel = self.offload.streams;
            self.counts.streams = Streams { kernel, userspace: self.legs - kernel };
            self.desk.counters.publish(&self.counts);
        }
    }

    /// `None`, for ever, without calls.
    fn until_next_glance(&self, now: Timestamp) -> Option<Duration> {
        let has_calls = !self.slots.is_empty();
        if !self.desk.glance(has_calls) {
            return Some(Duration::ZERO);
        }
        let due = self.deadlines.peek().map_or(QUIET_GLANCE, |Reverse((at, _))| at.since(now));
        // A deadline may wait for the glance: a tone's packets are spaced by their own clock.
        has_calls.then_some(due.clamp(GLANCE, QUIET_GLANCE))
    }

    /// One packet; a socket that has more is ready again at once.
    fn receive(&mut self, now: Timestamp, token: u64, buffer: &mut [u8]) {
        let (slot, side, door) = read_token(token);
        let Some(call) = self.calls.get_mut(slot).and_then(Option::as_deref_mut) else { return };
        let Some((length, from)) = call.ports(side).and_then(|ports| door.receive(ports, buffer)) else { return };
        // Judged by up-to-date numbers, and the last to need that for a while.
        if door != Door::Rtcp && call.lane(side).is_in_kernel() {
            self.counts.relayed += call.take_back(now, side, &mut self.offload);
        }
        let packet = &mut buffer[..length];
        let verdict = match door {
            Door::Rtp | Door::Party => call.bridge.rtp(now, side, from, packet, &mut self.events),
            Door::Rtcp => call.bridge.rtcp(now, side, from, packet),
        };
        match verdict {
            Verdict::Forward { to, remote, range } => {
                let sent = call.ports(to).map(|ports| ports.send_rtp(remote, &packet[range]));
                match sent {
                    Some(Ok(())) => {
                        self.counts.relayed += 1;
                        call.offer(now, side, &mut self.offload);
                    }
                    Some(Err(_)) | None => {
                        self.counts.dropped.send += 1;
                        call.bridge.unsent(to);
                    }
                }
            }
            Verdict::Consumed => {}
            Verdict::Dropped(cause) => self.counts.drop(cause),
        }
        // A packet at the party's own door cannot have changed where the party is.
        if door == Door::Rtp {
            call.follow(&self.poller, slot, side);
            if call.lane(side.other()).misses(call.bridge.target(side)) {
                self.counts.relayed += call.take_back(now, side.other(), &mut self.offload);
            }
        }
        self.report_events(slot);
    }

    fn pass_deadlines(&mut self, now: Timestamp) {
        while let Some(&Reverse((at, slot))) = self.deadlines.peek().filter(|Reverse((at, _))| *at <= now) {
            self.deadlines.pop();
            let Some(call) = self.calls[slot].as_deref_mut().filter(|call| call.wakes_at == Some(at)) else { continue };
            call.wakes_at = None;
            self.poll(now, slot);
        }
    }

    /// Sends and reports what is due of a call.
    fn poll(&mut self, now: Timestamp, slot: usize) {
        let Some(call) = self.calls[slot].as_deref_mut() else { return };
        self.counts.relayed += call.refresh(&self.offload);
        let mut buffer = [0; PACKET];
        while let Some(transmit) = call.bridge.poll(now, &mut buffer, &mut self.events) {
            if call.send(&transmit, &buffer).is_err() {
                self.counts.dropped.send += 1;
                if transmit.channel == Channel::Rtp {
                    call.bridge.unsent(transmit.side);
                }
            }
        }
        if let Some(at) = call.bridge.next_timeout()
            && call.wakes_at.is_none_or(|earlier| at < earlier)
        {
            call.wakes_at = Some(at);
            self.deadlines.push(Reverse((at, slot)));
        }
        self.report_events(slot);
    }

    fn command(&mut self, now: Timestamp, leg: LegId, command: MediaCommand) {
        if let Some(call) = self.slots.get(&leg.call).and_then(|&slot| self.calls[slot].as_deref_mut()) {
            for side in Side::BOTH {
                self.counts.relayed += call.take_back(now, side, &mut self.offload);
            }
        }
        match command {
            MediaCommand::Open { port, secret } => self.open(now, leg, port, secret),
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
            self.poller.add(&ports.rtp, token(slot, leg.side, Door::Rtp), Interest::Read)?;
            self.poller.add(&ports.rtcp, token(slot, leg.side, Door::Rtcp), Interest::Read)?;
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
        let stats = self.slots.get(&leg.call).copied().and_then(|slot| {
            let call = self.calls[slot].as_deref_mut()?;
            let mut buffer = [0; PACKET];
            let (stats, bye) = call.bridge.close(now, leg.side, &mut buffer)?;
            if let Some(bye) = bye {
                // The last word; nobody is left to hear that it did not arrive.
                let _ = call.send(&bye, &buffer);
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
        let bridge = Bridge::new(Arc::clone(&self.rules));
        let call =
            Box::new(Call { id, bridge, user: None, destination: None, lanes: Default::default(), wakes_at: None });
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

impl Call {
    fn ports(&self, side: Side) -> Option<&Ports> {
        match side {
            Side::User => self.user.as_ref(),
            Side::Destination => self.destination.as_ref(),
        }
    }

    fn ports_mut(&mut self, side: Side) -> &mut Option<Ports> {
        match side {
            Side::User => &mut self.user,
            Side::Destination => &mut self.destination,
        }
    }

    fn lane(&self, side: Side) -> &Lane {
        &self.lanes[side as usize]
    }

    /// The kernel may go on with what this party sends.
    fn offer(&mut self, now: Timestamp, side: Side, offload: &mut Offload) {
        if let [Some(by), Some(out)] = [side, side.other()].map(|side| self.ports(side).map(|ports| ports.local)) {
            offload.offer(now, &self.bridge, side, [by, out], &mut self.lanes[side as usize]);
        }
    }

    fn take_back(&mut self, now: Timestamp, side: Side, offload: &mut Offload) -> u64 {
        offload.take_back(now, &mut self.bridge, side, &mut self.lanes[side as usize])
    }

    fn refresh(&mut self, offload: &Offload) -> u64 {
        let mut refresh = |side: Side| offload.refresh(&mut self.bridge, side, &mut self.lanes[side as usize]);
        refresh(Side::User) + refresh(Side::Destination)
    }

    fn send(&self, transmit: &Transmit, buffer: &[u8]) -> io::Result<()> {
        let ports = self.ports(transmit.side).ok_or(io::ErrorKind::NotConnected)?;
        let packet = &buffer[..transmit.length];
        match transmit.channel {
            Channel::Rtp => ports.send_rtp(transmit.remote, packet),
            Channel::Rtcp => ports.send_rtcp(transmit.remote, packet),
        }
    }

    /// Gives a party that has just been found a socket of its own.
    fn follow(&mut self, poller: &Poller, slot: usize, side: Side) {
        let latched = self.bridge.latched(side);
        let Some(ports) = self.ports_mut(side) else { return };
        if !ports.lags_behind(latched) {
            return;
        }
        let followed = latched.map_or(Ok(false), |at| ports.follow(at)).and_then(|is_new| match &ports.party {
            Some(party) if is_new => poller.add(&party.socket, token(slot, side, Door::Party), Interest::Read),
            Some(_) | None => Ok(()),
        });
        if let Err(error) = followed {
            warn!(call = %self.id, %error, "a party has no socket of its own; its audio goes on by the shared one");
            if let Some(ports) = self.ports_mut(side) {
                ports.party = None;
                ports.shares = true;
            }
        }
    }
}

impl Door {
    /// The next packet and where it came from.
    fn receive(self, ports: &Ports, buffer: &mut [u8]) -> Option<(usize, std::net::SocketAddr)> {
        let from_anybody = |socket: &UdpSocket, buffer: &mut [u8]| socket.recv_from(buffer).ok();
        match self {
            Door::Rtp => from_anybody(&ports.rtp, buffer),
            Door::Rtcp => from_anybody(&ports.rtcp, buffer),
            Door::Party => {
                let party = ports.party.as_ref()?;
                Some((party.socket.recv(buffer).ok()?, party.to))
            }
        }
    }
}

fn token(slot: usize, side: Side, door: Door) -> u64 {
    let side = match side {
        Side::User => 0,
        Side::Destination => 1,
    };
    let door = match door {
        Door::Rtp => 0,
        Door::Party => 1,
        Door::Rtcp => 2,
    };
    (slot as u64) << 3 | side << 2 | door
}

fn read_token(token: u64) -> (usize, Side, Door) {
    let side = if token & 4 == 0 { Side::User } else { Side::Destination };
    let door = match token & 3 {
        0 => Door::Rtp,
        1 => Door::Party,
        _ => Door::Rtcp,
    };
    ((token >> 3) as usize, side, door)
}
