//! When a media thread naps: one wake for many packets instead of one for each.
//!
//! Waking costs several times what relaying does. A thread that sees many packets sleeps a little
//! before each wait, so that a wake finds a batch; the nap bounds what that adds to the latency.
//! A thread that cannot keep up does not nap at all.

use std::time::Duration;

use crate::model::Timestamp;

const WINDOW: Duration = Duration::from_millis(100);
/// Packets per second from which a nap is worth its latency.
const BUSY: u64 = 5_000;
/// Packets per second from which the nap is the longest.
const BUSIEST: u64 = 20_000;
const SHORTEST: Duration = Duration::from_micros(250);
const LONGEST: Duration = Duration::from_micros(500);

/// Packets of the current window, and the nap that the last one came to.
#[derive(Debug, Default)]
pub struct Pace {
    window_ends: Timestamp,
    packets: u64,
    nap: Option<Duration>,
}

impl Pace {
    pub fn count(&mut self, packets: usize) {
        self.packets += packets as u64;
    }

    /// How long to sleep before the next wait.
    pub fn nap(&mut self, now: Timestamp) -> Option<Duration> {
        if now >= self.window_ends {
            let elapsed = WINDOW + now.since(self.window_ends).min(WINDOW * 10);
            let per_second = self.packets * 1_000_000 / elapsed.as_micros() as u64;
            self.nap = (per_second > BUSY).then(|| nap(per_second));
            self.packets = 0;
            self.window_ends = now + WINDOW;
        }
        self.nap
    }
}

/// From the shortest to the longest, in proportion.
fn nap(per_second: u64) -> Duration {
    let over = per_second.min(BUSIEST) - BUSY;
    SHORTEST + (LONGEST - SHORTEST) * over as u32 / (BUSIEST - BUSY) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nap_is_bounded_and_ends_with_the_load() {
        let mut pace = Pace::default();
        let at = |ms: u64| Timestamp::from_millis(1_000_000 + ms);
        assert_eq!(pace.nap(at(0)), None);
        pace.count(501);
        assert_eq!(pace.nap(at(50)), None);
        assert!(pace.nap(at(100)).is_some_and(|nap| nap >= SHORTEST && nap < SHORTEST * 11 / 10));
        pace.count(100_000);
        assert_eq!(pace.nap(at(200)), Some(LONGEST));
        assert_eq!(pace.nap(at(300)), None);
    }
}
