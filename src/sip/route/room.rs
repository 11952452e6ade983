//! How many calls a trunk takes, at once and in a second.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::Timestamp;

const SECOND: Duration = Duration::from_secs(1);

/// What a trunk has room for. Counted from the legs that are on it, so it cannot drift.
#[derive(Debug)]
pub struct Room {
    most: Option<u32>,
    most_per_second: Option<u32>,
    /// Legs on it now.
    on: u32,
    /// When the last ones began: as many as a second may see.
    began: VecDeque<Timestamp>,
}

impl Room {
    pub fn new(most: Option<u32>, most_per_second: Option<u32>) -> Self {
        Self { most, most_per_second, on: 0, began: VecDeque::new() }
    }

    /// Whether another leg may begin now: any second, not only those that the clock counts, sees at most so many.
    pub fn is_left(&self, now: Timestamp) -> bool {
        let fits = self.most.is_none_or(|most| self.on < most);
        fits && self.most_per_second.is_none_or(|most| self.in_second(now) < most)
    }

    pub fn on(&self) -> u32 {
        self.on
    }

    pub fn in_second(&self, now: Timestamp) -> u32 {
        self.began.iter().filter(|began| now.since(**began) < SECOND).count() as u32
    }

    pub fn begin(&mut self, now: Timestamp) {
        self.on += 1;
        if let Some(most) = self.most_per_second {
            self.began.push_back(now);
            while self.began.len() > most as usize {
                self.began.pop_front();
            }
        }
    }

    /// One that a restart has found.
    pub fn resume(&mut self) {
        self.on += 1;
    }

    pub fn end(&mut self) {
        self.on = self.on.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_sees_more_than_it_may() {
        let at = Timestamp::from_millis;
        let mut room = Room::new(None, Some(3));
        let mut began = Vec::new();
        for ms in (0..5_000).step_by(10) {
            if room.is_left(at(ms)) {
                room.begin(at(ms));
                began.push(ms);
            }
        }
        assert_eq!(began.len(), 15);
        assert!(began.windows(4).all(|four| four[3] - four[0] >= 1_000), "{began:?}");
    }

    #[test]
    fn at_once_is_counted_from_what_is_there() {
        let now = Timestamp::from_millis(1);
        let mut room = Room::new(Some(2), None);
        room.resume();
        room.begin(now);
        assert!(!room.is_left(now));
        room.end();
        assert!(room.is_left(now));
        room.end();
        room.end();
        assert_eq!(room.on(), 0);
    }
}
