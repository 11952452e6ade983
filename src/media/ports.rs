//! Which port pairs are free.
//!
//! ```text
//!     ◀──put back───┐
//!   free ──take──▶ in use ──release──▶ resting ──(rest has passed)──▶ free
//!                    └────quarantine──▶ somebody else holds it ──────▶ free
//! ```
//!
//! First in, first out, so a pair rests as long as the range allows and never less than `rest`: the
//! late packets of an old call find a closed port, not a new call. Deliberately absent: which call
//! holds which pair; that is the call's own state.

use std::collections::VecDeque;
use std::time::Duration;

use super::PortPair;
use crate::model::Timestamp;

/// How long a pair that could not be bound is left alone: whoever holds it is not ours and is
/// unlikely to let go within a call's setup.
const QUARANTINE: Duration = Duration::from_secs(300);

/// The port pairs of one range.
#[derive(Debug)]
pub struct PortPool {
    rest: Duration,
    /// Not in use, in the order in which they become free.
    free: VecDeque<(Timestamp, PortPair)>,
    /// Held by somebody else, in the order in which we try again.
    quarantined: VecDeque<(Timestamp, PortPair)>,
}

impl PortPool {
    /// All pairs between `first` and `last`, both included. RTP takes the even port of a pair
    /// (RFC 3550 §11), so an odd `first` or an even `last` stays unused.
    pub fn new(first: u16, last: u16, rest: Duration) -> Self {
        let free = (first..last)
            .filter(|port| port.is_multiple_of(2))
            .map(|port| (Timestamp::default(), PortPair(port)))
            .collect();
        Self { rest, free, quarantined: VecDeque::new() }
    }

    /// The pair that has rested longest; `None` when none has rested long enough.
    pub fn take(&mut self, now: Timestamp) -> Option<PortPair> {
        self.readmit(now);
        let (from, _) = *self.free.front()?;
        if from > now {
            return None;
        }
        self.free.pop_front().map(|(_, pair)| pair)
    }

    /// The call that held it is over.
    pub fn release(&mut self, now: Timestamp, pair: PortPair) {
        self.free.push_back((now + self.rest, pair));
    }

    /// It was never opened: no packet can be late for it.
    pub fn put_back(&mut self, pair: PortPair) {
        self.free.push_front((Timestamp::default(), pair));
    }

    /// It could not be bound.
    pub fn quarantine(&mut self, now: Timestamp, pair: PortPair) {
        self.quarantined.push_back((now + QUARANTINE, pair));
    }

    /// Takes this very pair, for a call that held it before a restart; false when it is not here.
    pub fn claim(&mut self, pair: PortPair) -> bool {
        let Some(at) = self.free.iter().position(|&(_, free)| free == pair) else { return false };
        self.free.remove(at).is_some()
    }

    /// How many pairs [`PortPool::take`] could hand out now.
    pub fn left(&self, now: Timestamp) -> usize {
        let ready = |queue: &VecDeque<(Timestamp, PortPair)>| queue.partition_point(|&(from, _)| from <= now);
        ready(&self.free) + ready(&self.quarantined)
    }

    fn readmit(&mut self, now: Timestamp) {
        while let Some(&(from, pair)) = self.quarantined.front() {
            if from > now {
                break;
            }
            self.quarantined.pop_front();
            // To the front: it has been free for longer than any pair has rested.
            self.free.push_front((from, pair));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + seconds * 1_000)
    }

    #[test]
    fn pairs_are_even_and_odd_and_lie_inside_the_range() {
        let mut pool = PortPool::new(20_001, 20_006, REST);
        assert_eq!(pool.left(at(0)), 2);
        assert_eq!(pool.take(at(0)), Some(PortPair(20_002)));
        assert_eq!(pool.take(at(0)), Some(PortPair(20_004)));
        assert_eq!(pool.take(at(0)), None);
        assert_eq!(PortPool::new(65_534, 65_535, REST).take(at(0)), Some(PortPair(65_534)));
    }

    #[test]
    fn a_pair_rests_before_it_is_used_again_and_the_longest_rested_comes_first() {
        let mut pool = PortPool::new(20_000, 20_003, REST);
        let (a, b) = (pool.take(at(0)).unwrap(), pool.take(at(0)).unwrap());
        pool.release(at(1), b);
        pool.release(at(2), a);
        assert_eq!((pool.take(at(10)), pool.left(at(10))), (None, 0));
        assert_eq!((pool.left(at(11)), pool.left(at(12))), (1, 2));
        assert_eq!(pool.take(at(12)), Some(b));
        assert_eq!(pool.take(at(12)), Some(a));
    }

    #[test]
    fn a_pair_that_could_not_be_bound_is_left_alone_for_a_while() {
        let mut pool = PortPool::new(20_000, 20_003, REST);
        let held = pool.take(at(0)).unwrap();
        pool.quarantine(at(0), held);
        let other = pool.take(at(0)).unwrap();
        assert_ne!(held, other);
        assert_eq!(pool.take(at(299)), None);
        assert_eq!(pool.left(at(300)), 1);
        assert_eq!(pool.take(at(300)), Some(held));
    }

    #[test]
    fn a_restored_call_claims_its_pair_once() {
        let mut pool = PortPool::new(20_000, 20_003, REST);
        assert!(pool.claim(PortPair(20_002)));
        assert!(!pool.claim(PortPair(20_002)));
        assert!(!pool.claim(PortPair(30_000)));
        assert_eq!(pool.take(at(0)), Some(PortPair(20_000)));
        assert_eq!(pool.take(at(0)), None);
    }
}
