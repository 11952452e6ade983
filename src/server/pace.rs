//! When the switch thread naps: under load, many small wakes are exchanged for fewer full ones.
//!
//! Waking for each packet costs more than handling it. Once more than [`BUSY_PER_SECOND`] inputs
//! arrive, the thread sleeps [`NAP`] before each wait, so that a wake finds a batch. The nap is bounded
//! and adds at most its own length to each step of a call.

use std::time::Duration;

use crate::model::Timestamp;

const WINDOW: Duration = Duration::from_millis(100);
const BUSY_PER_SECOND: u32 = 3_000;
pub const NAP: Duration = Duration::from_micros(500);

/// Inputs of the current window, and whether the last one was busy.
#[derive(Debug, Default)]
pub struct Pace {
    window_ends: Timestamp,
    inputs: u32,
    busy: bool,
}

impl Pace {
    pub fn count(&mut self, inputs: u32) {
        self.inputs = self.inputs.saturating_add(inputs);
    }

    /// How long to sleep before the next wait.
    pub fn nap(&mut self, now: Timestamp) -> Option<Duration> {
        if now >= self.window_ends {
            let windows_per_second = 1_000 / u32::try_from(WINDOW.as_millis()).unwrap_or(100);
            self.busy = self.inputs.saturating_mul(windows_per_second) > BUSY_PER_SECOND;
            self.inputs = 0;
            self.window_ends = now + WINDOW;
        }
        self.busy.then_some(NAP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn naps_after_a_busy_window_and_wakes_up_after_a_quiet_one() {
        let mut pace = Pace::default();
        let at = |ms| Timestamp::from_millis(ms);
        assert_eq!(pace.nap(at(1_000)), None);
        pace.count(BUSY_PER_SECOND / 10 + 1);
        assert_eq!(pace.nap(at(1_050)), None);
        assert_eq!(pace.nap(at(1_100)), Some(NAP));
        assert_eq!(pace.nap(at(1_200)), None);
    }
}
