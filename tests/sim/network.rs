//! The network between the server and both carriers: loses, doubles, delays and so reorders.

use std::time::Duration;

use crate::rng::Rng;
use crate::scenario::NetworkPlan;

#[derive(Debug)]
pub struct Network {
    plan: NetworkPlan,
    rng: Rng,
    pub lost: u64,
    pub carried: u64,
}

impl Network {
    pub fn new(plan: NetworkPlan, rng: Rng) -> Self {
        Self { plan, rng, lost: 0, carried: 0 }
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

    pub fn is_overheard(&mut self, healthy: bool) -> bool {
        !healthy && self.rng.chance(self.plan.strangers)
    }

    pub fn longest(&self) -> Duration {
        self.plan.delay.1
    }
}
