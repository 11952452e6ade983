//! The network between the server and both carriers. UDP loses, doubles, delays and so reorders; a connection delivers
//! in order or is cut, and then nobody knows what of it arrived.

use std::time::Duration;

use revbridge::model::{Side, Timestamp};
use revbridge::sip::Down;

use crate::rng::Rng;
use crate::scenario::{NetworkPlan, StreamPlan};

#[derive(Debug)]
pub struct Network {
    plan: NetworkPlan,
    rng: Rng,
    pub lost: u64,
    pub carried: u64,
    /// Connections of the server to each side's trunk.
    lines: [Line; 2],
}

/// The connection of the server to one trunk.
#[derive(Debug, Default, Clone, Copy)]
struct Line {
    state: State,
    /// When the last message arrives, in each direction: none overtakes it.
    last: [Timestamp; 2],
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    None,
    Stands,
    /// Cut, or refused, and the server has not noticed: what it sends goes with what it sent before.
    Lost,
}

/// What becomes of a message that the server sends on a connection.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// When it arrives, if it does.
    pub arrives: Option<Timestamp>,
    /// What the server is told of the connection, and after how long.
    pub down: Option<(Duration, Down)>,
}

impl Network {
    pub fn new(plan: NetworkPlan, rng: Rng) -> Self {
        Self { plan, rng, lost: 0, carried: 0, lines: [Line::default(); 2] }
    }

    /// After how long each copy of a packet arrives: none when it is lost, two when it is doubled.
    pub fn carry(&mut self, healthy: bool) -> Vec<Duration> {
        if !healthy && self.rng.chance(self.plan.loss) {
            self.lost += 1;
            return Vec::new();
        }
        self.carried += 1;
        let copies = if !healthy && self.rng.chance(self.plan.duplicate) { 2 } else { 1 };
        let (from, to) = self.plan.delay;
        (0..copies).map(|_| self.rng.micros(from.as_micros() as u64, to.as_micros() as u64)).collect()
    }

    /// On the connection to this side's trunk; another is made when none stands.
    pub fn send(&mut self, now: Timestamp, side: Side, plan: StreamPlan, healthy: bool) -> Sent {
        let state = self.lines[side as usize].state;
        if state == State::Lost {
            self.lost += 1;
            return Sent { arrives: None, down: None };
        }
        if state == State::None && !healthy && self.rng.chance(plan.refuses) {
            self.lost += 1;
            self.lines[side as usize].state = State::Lost;
            let why = if self.rng.chance(100) { Down::Certificate } else { Down::Unreachable };
            return Sent { arrives: None, down: Some((self.rng.millis(0, 50), why)) };
        }
        self.lines[side as usize].state = State::Stands;
        let cut = !healthy && self.rng.chance(plan.cuts);
        if cut {
            self.lines[side as usize].state = State::Lost;
        }
        let arrives = (!cut || self.rng.chance(500)).then(|| self.in_order(now, side, 0));
        match arrives {
            Some(_) => self.carried += 1,
            None => self.lost += 1,
        }
        Sent { arrives, down: cut.then(|| (self.rng.millis(0, 3_000), Down::Closed)) }
    }

    /// The server knows.
    pub fn noticed(&mut self, side: Side) {
        self.lines[side as usize].state = State::None;
    }

    /// A message of this side's trunk: when it arrives, and whether on a connection that the trunk has made.
    pub fn reply(&mut self, now: Timestamp, side: Side) -> (Timestamp, bool) {
        self.carried += 1;
        let own = self.lines[side as usize].state != State::Stands || self.rng.chance(200);
        (self.in_order(now, side, 1), own)
    }

    fn in_order(&mut self, now: Timestamp, side: Side, direction: usize) -> Timestamp {
        let (from, to) = self.plan.delay;
        let at = now + self.rng.micros(from.as_micros() as u64, to.as_micros() as u64);
        let last = &mut self.lines[side as usize].last[direction];
        *last = at.max(*last);
        *last
    }

    pub fn is_overheard(&mut self, healthy: bool) -> bool {
        !healthy && self.rng.chance(self.plan.strangers)
    }

    pub fn longest(&self) -> Duration {
        self.plan.delay.1
    }
}
