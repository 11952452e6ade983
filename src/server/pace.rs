//! When the switch thread naps: under load, many small wakes are exchanged for fewer full ones.
//!
//! Waking for each packet costs more than handling it. Once more than [`BUSY_PER_SECOND`] packets
//! arrive, the thread sleeps [`NAP`] before each wait, so that a wake finds a batch. The nap is bounded
//! and adds at most its own length to each step of a call.
//!
//! Deliberately not counted: commands and commits. Those of a flood of refused requests would make the
//! live calls wait, and the packets of calls that are set up are counted anyhow.

use std::time::Duration;

use crate::model::Timestamp;

const WINDOW: Duration = Duration::from_millis(100);
const BUSY_PER_SECOND: u32 = 2_000;
pub const NAP: Duration = Duration::from_micros(500);

/// Packets of the current window, and whether the last one was busy.
#[derive(Debug, Default)]
pub struct Pace {
    window_ends: Timestamp,
    packets: u32,
    busy: bool,
}

impl Pace {
    pub fn packet(&mut self) {
        self.packets = self.packets.saturating_add(1);
    }

    /// How long to sleep before the next wait.
    pub fn nap(&mut self, now: Timestamp) -> Option<Duration> {
        if now >= self.window_ends {
            let windows_per_second = 1_000 / u32::try_from(WINDOW.as_millis()).unwrap_or(100);
            self.busy = self.packets.saturating_mul(windows_per_second) > BUSY_PER_SECOND;
            self.packets = 0;
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
        (0..=BUSY_PER_SECOND / 10).for_each(|_| pace.packet());
        assert_eq!(pace.nap(at(1_050)), None);
        assert_eq!(pace.nap(at(1_100)), Some(NAP));
        assert_eq!(pace.nap(at(1_200)), None);
    }
}
