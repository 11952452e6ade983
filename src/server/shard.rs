//! The switch thread: the only owner of the [`Switch`].
//!
//! ```text
//!            ┌─ nap (only when busy) ◀──────────────────────────────┐
//!            ▼                                                      │
//!  1 wait for a socket, the inbox or the next deadline              │
//!  2 inbox: commands, commits, media events ─┐                      │
//!  3 sockets: packets ───────────────────────┼─▶ Switch::handle ─▶ outputs, carried out in order
//!  4 deadline passed ────────────────────────┘                      │
//!  5 once a second: gauges; drained? ───────────────────────────────┘
//! ```
//!
//! Deliberately absent: locks around the switch, tasks per call, a timer per transaction.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::{info, warn};

use super::clock::Clock;
use super::inbox::{Inbox, Message};
use super::media::MediaThreads;
use super::pace::Pace;
use super::poll::{Interest, Poller, Ready};
use super::streams::Streams;
use super::udp::{Sent, SipSocket};
use super::{logs, metrics};
use crate::config::Transport;
use crate::model::{CallId, CommitId, RequestId, Timestamp};
use crate::sip::Flow;
use crate::store::Commit;
use crate::switch::{Command, Gauges, Input, Output, Reply, Switch};
use crate::trace::Passed;

/// Where outputs go that are neither packets nor replies.
pub struct Outlets {
    pub commit: Box<dyn FnMut(CommitId, Box<Commit>) + Send>,
    pub forget: Box<dyn FnMut(Vec<CallId>) + Send>,
    pub trace: Box<dyn FnMut(Box<Passed>) + Send>,
    pub media: MediaThreads,
    /// TCP and TLS, where anything is on them.
    pub streams: Option<Streams>,
}

/// What other threads may know of the switch, refreshed once a second.
#[derive(Debug, Default)]
pub struct Vitals {
    trunks_in_service: AtomicU64,
}

impl Vitals {
    pub fn trunks_in_service(&self) -> u64 {
        self.trunks_in_service.load(Ordering::Relaxed)
    }
}

/// Why the thread ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Drained,
    /// Another process is this node now.
    Fenced,
}

const INBOX: u64 = u64::MAX;
/// Packets of one socket before the others and the inbox have their turn.
const PACKETS_PER_TURN: usize = 64;
/// More than any UDP payload.
const BUFFER_BYTES: usize = 65_536;
const HOUSEKEEPING: Duration = Duration::from_secs(1);
const HOUSEKEEPING_WHILE_DRAINING: Duration = Duration::from_millis(50);
/// After the drain deadline the calls that are left get their BYE, record and event within this.
const DRAIN_GRACE: Duration = Duration::from_secs(5);

/// The thread's state.
pub struct Shard {
    clock: Clock,
    switch: Switch,
    poller: Poller,
    sockets: Vec<SipSocket>,
    inbox: Inbox,
    outlets: Outlets,
    vitals: Arc<Vitals>,
    replies: HashMap<RequestId, oneshot::Sender<Reply>>,
    next_request: u64,
    commits: HashMap<CommitId, Timestamp>,
    traffic: Traffic,
    pace: Pace,
    housekeeping_at: Timestamp,
    /// While draining: the moment at which the thread ends whatever is left.
    drain_until: Option<Timestamp>,
    ended: Option<Ended>,
    // Buffers that every turn uses again.
    outputs: Vec<Output>,
    messages: Vec<Message>,
    buffer: Vec<u8>,
}

/// Packets since the last housekeeping.
#[derive(Debug, Default)]
struct Traffic {
    received: u64,
    sent: u64,
    dropped: u64,
}

impl Shard {
    pub fn new(
        clock: Clock,
        switch: Switch,
        sockets: Vec<SipSocket>,
        inbox: Inbox,
        outlets: Outlets,
        vitals: Arc<Vitals>,
    ) -> std::io::Result<Self> {
        let poller = Poller::new()?;
        poller.add(inbox.waker(), INBOX, Interest::Wakes)?;
        for (token, socket) in (0..).zip(&sockets) {
            poller.add(socket, token, Interest::Read)?;
        }
        Ok(Self {
            clock,
            switch,
            poller,
            sockets,
            inbox,
            outlets,
            vitals,
            replies: HashMap::new(),
            next_request: 0,
            commits: HashMap::new(),
            traffic: Traffic::default(),
            pace: Pace::default(),
            housekeeping_at: clock.now(),
            drain_until: None,
            ended: None,
            outputs: Vec::new(),
            messages: Vec::new(),
            buffer: vec![0; BUFFER_BYTES],
        })
    }

    /// Runs until drained or fenced. `restored` is what taking up the previous process's calls put out.
    pub fn run(mut self, restored: Vec<Output>) -> std::io::Result<Ended> {
        self.outputs = restored;
        self.carry_out();
        let mut ready = Vec::new();
        loop {
            if let Some(ended) = self.ended {
                return Ok(ended);
            }
            if let Some(nap) = self.pace.nap(self.clock.now()) {
                std::thread::sleep(nap);
            }
            self.poller.wait(Some(self.until_next_deadline()), &mut ready)?;
            self.turn(&ready)?;
        }
    }

    fn turn(&mut self, ready: &[Ready]) -> std::io::Result<()> {
        self.take_messages();
        for event in ready.iter().filter(|event| event.token != INBOX) {
            let Some(index) = usize::try_from(event.token).ok().filter(|i| *i < self.sockets.len()) else { continue };
            if event.writable && self.sockets[index].flush() {
                self.poller.modify(&self.sockets[index], event.token, Interest::Read)?;
            }
            if event.readable {
                self.receive(index);
            }
        }
        let now = self.clock.now();
        if self.switch.next_timeout().is_some_and(|deadline| deadline <= now) {
            self.handle(now, Input::Timeout);
        }
        if now >= self.housekeeping_at {
            self.keep_house(now);
        }
        Ok(())
    }

    fn until_next_deadline(&self) -> Duration {
        let next = self.switch.next_timeout().map_or(self.housekeeping_at, |t| t.min(self.housekeeping_at));
        next.since(self.clock.now())
    }

    fn take_messages(&mut self) {
        let mut messages = std::mem::take(&mut self.messages);
        self.inbox.take(&mut messages);
        for message in messages.drain(..) {
            let now = self.clock.now();
            match message {
                Message::Command(command, answer) => self.command(now, command, answer),
                Message::Committed(id, committed) => {
                    if let Some(handed_over) = self.commits.remove(&id) {
                        metrics::commit(now.since(handed_over));
                    }
                    self.handle(now, Input::Committed(id, committed));
                }
                Message::Media(leg, event) => {
                    self.outlets.media.heard(leg, &event);
                    self.handle(now, Input::Media(leg, event));
                }
                Message::Packet(flow, packet) => {
                    self.traffic.received += 1;
                    self.pace.packet();
                    self.handle(now, Input::Packet(flow, &packet));
                }
                Message::Targets(trunk, targets) => {
                    if let Some(streams) = &self.outlets.streams {
                        streams.know(&trunk, &targets);
                    }
                    self.handle(now, Input::Targets(&trunk.name, &targets));
                }
                Message::FlowDown(flow, why) => self.handle(now, Input::FlowDown(flow, why)),
                Message::Lease(until) => self.handle(now, Input::Lease(until)),
                Message::TakeOver(recovered) => self.handle(now, Input::TakeOver(recovered)),
                // Whoever took over ends the calls. What else was waiting is of no use to anybody.
                Message::Fenced => self.ended = Some(Ended::Fenced),
            }
        }
        self.messages = messages;
    }

    fn command(&mut self, now: Timestamp, command: Command, answer: oneshot::Sender<Reply>) {
        if let Command::Drain { deadline } = command {
            info!(deadline_s = deadline.as_secs(), live_calls = self.switch.gauges(now).live_calls, "draining");
            self.drain_until = Some(now + deadline + DRAIN_GRACE);
        }
        let request = RequestId(self.next_request);
        self.next_request += 1;
        self.replies.insert(request, answer);
        self.handle(now, Input::Api(request, command));
    }

    fn receive(&mut self, index: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..PACKETS_PER_TURN {
            let Some((length, remote)) = self.sockets[index].receive(&mut buffer) else { break };
            let flow = Flow { transport: Transport::Udp, local: self.sockets[index].local, remote };
            self.traffic.received += 1;
            self.pace.packet();
            self.handle(self.clock.now(), Input::Packet(flow, &buffer[..length]));
        }
        self.buffer = buffer;
    }

    fn handle(&mut self, now: Timestamp, input: Input<'_>) {
        self.switch.handle(now, input, &mut self.outputs);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        let mut outputs = std::mem::take(&mut self.outputs);
        for output in outputs.drain(..) {
            match output {
                Output::Transmit(flow, bytes) => self.transmit(flow, bytes),
                Output::Commit(id, commit) => {
                    self.commits.insert(id, self.clock.now());
                    (self.outlets.commit)(id, commit);
                }
                Output::Forget(calls) => (self.outlets.forget)(calls),
                Output::Trace(passed) => (self.outlets.trace)(passed),
                Output::Media(leg, command) => self.outlets.media.command(leg, command),
                Output::Reply(request, reply) => {
                    if let Some(answer) = self.replies.remove(&request) {
                        // A client that went away does not read its answer; the call lives on.
                        let _ = answer.send(reply);
                    }
                }
                Output::Notice(notice) => {
                    metrics::count(&notice);
                    logs::say(&notice);
                }
            }
        }
        self.outputs = outputs;
    }

    fn transmit(&mut self, flow: Flow, bytes: bytes::Bytes) {
        if flow.transport.is_reliable() {
            match self.outlets.streams.as_ref().is_some_and(|streams| streams.send(flow, bytes)) {
                true => self.traffic.sent += 1,
                false => self.traffic.dropped += 1,
            }
            return;
        }
        let Some(index) = self.sockets.iter().position(|socket| socket.local == flow.local) else {
            // A call from before a restart whose listener is not configured any more.
            self.traffic.dropped += 1;
            return;
        };
        match self.sockets[index].send(flow.remote, bytes) {
            Sent::Now => self.traffic.sent += 1,
            Sent::Queued => {
                self.traffic.sent += 1;
                if let Err(error) = self.poller.modify(&self.sockets[index], index as u64, Interest::ReadWrite) {
                    warn!(%error, "cannot wait for a writable socket");
                }
            }
            Sent::Dropped => self.traffic.dropped += 1,
        }
    }

    fn keep_house(&mut self, now: Timestamp) {
        self.housekeeping_at =
            now + if self.drain_until.is_some() { HOUSEKEEPING_WHILE_DRAINING } else { HOUSEKEEPING };
        let gauges = self.switch.gauges(now);
        metrics::gauges(&gauges);
        metrics::media(&self.outlets.media.counts());
        let Traffic { received, sent, dropped } = std::mem::take(&mut self.traffic);
        metrics::packets(received, sent, dropped);
        self.vitals.trunks_in_service.store(gauges.trunks_in_service as u64, Ordering::Relaxed);
        if self.drained(now, &gauges) {
            self.ended = Some(Ended::Drained);
        }
    }

    /// Nothing is left to end, to send or to make durable; or the time for it has run out.
    fn drained(&self, now: Timestamp, gauges: &Gauges) -> bool {
        let Some(until) = self.drain_until else { return false };
        let Gauges { live_calls, live_legs, commits_in_flight, .. } = *gauges;
        if live_calls + live_legs + commits_in_flight == 0 {
            info!("drained");
            return true;
        }
        if now < until {
            return false;
        }
        warn!(live_calls, live_legs, commits_in_flight, "ended before everything was drained");
        true
    }
}
