//! The one place that reads the time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::model::Timestamp;
use crate::webrtc::Timeline;

/// The wall clock as it was when the program started, moved on by the monotonic clock: within one run
/// it never goes back and never jumps, whatever is done to the machine's date.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    wall: Duration,
    since: Instant,
}

impl Clock {
    /// Starts at the wall clock, or at `not_before` when the wall clock is behind what the previous
    /// run has already written.
    pub fn start(not_before: Option<Timestamp>) -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let floor = not_before.map_or(Duration::ZERO, |t| Duration::from_micros(t.as_micros()));
        Self { wall: wall.max(floor), since: Instant::now() }
    }

    /// The same time for those who count by the monotonic clock alone.
    pub fn timeline(&self) -> Timeline {
        let wall = u64::try_from(self.wall.as_micros()).unwrap_or(u64::MAX);
        Timeline::new(self.since, Timestamp::from_micros(wall))
    }

    pub fn now(&self) -> Timestamp {
        let micros = (self.wall + self.since.elapsed()).as_micros();
        Timestamp::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_starts_before_what_the_previous_run_wrote() {
        let future = Clock::start(None).now() + Duration::from_secs(3600);
        let clock = Clock::start(Some(future));
        let first = clock.now();
        assert!(first >= future);
        assert!(clock.now() >= first);
    }
}
