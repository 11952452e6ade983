//! The media threads as the switch sees them: commands in, events back after a while. No audio.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use revbridge::media::{LegStats, MediaCommand, MediaEvent, OfferError, PortPair, Source};
use revbridge::model::{LegId, Side, Timestamp};
use revbridge::sdp::Codec;

use crate::checks::{Check, Checks};
use crate::rng::Rng;
use crate::scenario::MediaPlan;

#[derive(Debug)]
struct Stream {
    /// `None` for a browser.
    port: Option<PortPair>,
    has_remote: bool,
    hears_peer: bool,
    flowing: bool,
}

#[derive(Debug)]
pub struct Shell {
    streams: BTreeMap<LegId, Stream>,
    /// Legs that opened one, or tried to, in this life of the process.
    known: BTreeSet<LegId>,
    /// When each pair was closed last.
    closed: BTreeMap<PortPair, Timestamp>,
    /// Opens that failed in this life of the process: their pairs are somebody else's.
    failed: usize,
    rest: Duration,
    plan: MediaPlan,
    rng: Rng,
}

impl Shell {
    pub fn new(plan: MediaPlan, rest: Duration, rng: Rng) -> Self {
        let (streams, known, closed) = Default::default();
        Self { streams, known, closed, failed: 0, rest, plan, rng }
    }

    /// The process is gone, and every socket with it; late packets still come.
    pub fn crash(&mut self, now: Timestamp) {
        self.closed.extend(self.streams.values().filter_map(|stream| Some((stream.port?, now))));
        self.streams.clear();
        self.known.clear();
        self.failed = 0;
    }

    /// From now on these are the sockets of another node.
    pub fn elsewhere(&mut self) {
        self.closed.clear();
    }

    pub fn open(&self) -> usize {
        self.streams.len()
    }

    pub fn failed(&self) -> usize {
        self.failed
    }

    /// Does what the switch wants; the events come after these waits. `presses` says whether this user
    /// presses 1 when asked to.
    pub fn command(
        &mut self,
        now: Timestamp,
        leg: LegId,
        command: MediaCommand,
        presses: bool,
        healthy: bool,
        checks: &mut Checks,
    ) -> Vec<(Duration, LegId, MediaEvent)> {
        if !matches!(command, MediaCommand::Open { .. } | MediaCommand::Connect { .. }) {
            checks.unless(self.known.contains(&leg), Check::Ports, || format!("{leg:?} never opened a stream"));
        }
        match command {
            MediaCommand::Open { port, .. } => self.on_open(now, leg, port, healthy, checks),
            MediaCommand::Connect { .. } => self.on_connect(leg, healthy),
            MediaCommand::Remote(_) => self.on_remote(leg, healthy),
            MediaCommand::Play(source) => self.on_play(leg, source, presses, healthy),
            MediaCommand::Close => self.on_close(now, leg),
        }
    }

    fn on_open(
        &mut self,
        now: Timestamp,
        leg: LegId,
        port: PortPair,
        healthy: bool,
        checks: &mut Checks,
    ) -> Vec<(Duration, LegId, MediaEvent)> {
        self.known.insert(leg);
        if let Some((other, _)) = self.streams.iter().find(|(_, s)| s.port == Some(port)) {
            checks.fail(Check::Ports, format!("{leg:?} opens {port:?}, which {other:?} has"));
        }
        if self.closed.get(&port).is_some_and(|at| now.since(*at) < self.rest) {
            checks.fail(Check::Ports, format!("{leg:?} opens {port:?} before it has rested"));
        }
        if !healthy && self.rng.chance(self.plan.open_fails) {
            self.failed += 1;
            return vec![(self.rng.millis(0, 5), leg, MediaEvent::Failed)];
        }
        let stream = Stream { port: Some(port), has_remote: false, hears_peer: false, flowing: false };
        if self.streams.insert(leg, stream).is_some() {
            checks.fail(Check::Ports, format!("{leg:?} opens a second stream"));
        }
        Vec::new()
    }

    /// An offer of a browser; a second one on a live leg leaves what there is when nothing can be done with it.
    fn on_connect(&mut self, leg: LegId, healthy: bool) -> Vec<(Duration, LegId, MediaEvent)> {
        self.known.insert(leg);
        let wait = self.rng.millis(0, 5);
        if !healthy && self.rng.chance(self.plan.open_fails) {
            return vec![(wait, leg, MediaEvent::BrowserRefused(OfferError::Unavailable))];
        }
        let fresh = Stream { port: None, has_remote: true, hears_peer: false, flowing: false };
        self.streams.entry(leg).or_insert(fresh);
        vec![(wait, leg, MediaEvent::BrowserAnswer("v=0".into()))]
    }

    fn on_remote(&mut self, leg: LegId, healthy: bool) -> Vec<(Duration, LegId, MediaEvent)> {
        // No stream: its ports could not be bound, and the switch does not know yet.
        if let Some(stream) = self.streams.get_mut(&leg) {
            stream.has_remote = true;
        }
        self.flow(leg, healthy)
    }

    fn on_play(
        &mut self,
        leg: LegId,
        source: Source,
        presses: bool,
        healthy: bool,
    ) -> Vec<(Duration, LegId, MediaEvent)> {
        if let Some(stream) = self.streams.get_mut(&leg) {
            stream.hears_peer = source == Source::Peer;
        }
        if source == Source::Prompt && presses {
            let digit = self.rng.pick(&['1', '1', '1', '5']);
            return vec![(self.rng.millis(300, 12_000), leg, MediaEvent::Digit(digit))];
        }
        self.flow(leg, healthy)
    }

    /// Audio flows once both legs know where to send and hear each other.
    fn flow(&mut self, leg: LegId, healthy: bool) -> Vec<(Duration, LegId, MediaEvent)> {
        let legs = Side::BOTH.map(|side| LegId { call: leg.call, side });
        let ready = |leg: &LegId| self.streams.get(leg).is_some_and(|s| s.has_remote && s.hears_peer && !s.flowing);
        if !legs.iter().all(ready) {
            return Vec::new();
        }
        let mut events = Vec::new();
        for leg in legs {
            if let Some(stream) = self.streams.get_mut(&leg) {
                stream.flowing = true;
            }
            events.push((self.rng.millis(5, 200), leg, MediaEvent::Flowing));
        }
        if !healthy && self.rng.chance(self.plan.falls_silent) {
            events.push((self.rng.millis(500, 20_000), self.rng.pick(&legs), MediaEvent::Silent));
        }
        events
    }

    fn on_close(&mut self, now: Timestamp, leg: LegId) -> Vec<(Duration, LegId, MediaEvent)> {
        let packets = match self.streams.remove(&leg) {
            Some(stream) => {
                self.closed.extend(stream.port.map(|port| (port, now)));
                if stream.flowing { 100 } else { 0 }
            }
            None => 0,
        };
        let stats = LegStats { codec: Some(Codec::Pcmu), packets_received: packets, ..LegStats::default() };
        vec![(self.rng.millis(0, 50), leg, MediaEvent::Closed(stats))]
    }
}
