//! How many tries one receiver may have under way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::events::ReceiverId;

/// A receiver that takes longer to answer is slow.
const SLOW: Duration = Duration::from_secs(1);

/// Receivers that are remembered as quick.
const QUICK_MOST: usize = 1_000;

/// Places of receivers. One that has not answered quickly the last time has a single one, so a thousand receivers
/// that never answer take a place each and not all there are.
#[derive(Debug)]
pub struct Places {
    per_receiver: usize,
    under_way: BTreeMap<ReceiverId, usize>,
    quick: BTreeSet<ReceiverId>,
}

impl Places {
    pub fn new(per_receiver: usize) -> Self {
        Self { per_receiver, under_way: BTreeMap::new(), quick: BTreeSet::new() }
    }

    pub fn take(&mut self, receiver: ReceiverId) {
        *self.under_way.entry(receiver).or_default() += 1;
    }

    /// `answered` is how long the receiver took, if it said anything.
    pub fn give_back(&mut self, receiver: ReceiverId, answered: Option<Duration>) {
        if let Some(count) = self.under_way.get_mut(&receiver) {
            *count -= 1;
            if *count == 0 {
                self.under_way.remove(&receiver);
            }
        }
        if answered.is_some_and(|took| took < SLOW) {
            self.quick.insert(receiver);
            if self.quick.len() > QUICK_MOST {
                self.quick.pop_first();
            }
        } else {
            self.quick.remove(&receiver);
        }
    }

    /// For a receiver that [`Places::left`] does not name.
    pub const OF_OTHERS: usize = 1;

    /// Places left, of those receivers that do not have exactly one.
    pub fn left(&self) -> BTreeMap<ReceiverId, usize> {
        let known: BTreeSet<_> = self.quick.iter().chain(self.under_way.keys()).copied().collect();
        let left = |receiver: &ReceiverId| {
            let all = if self.quick.contains(receiver) { self.per_receiver } else { Self::OF_OTHERS };
            all.saturating_sub(self.under_way.get(receiver).copied().unwrap_or(0))
        };
        known.into_iter().map(|receiver| (receiver, left(&receiver))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_has_one_place_until_it_answers_quickly_and_again_when_it_does_not() {
        let (mut places, receiver) = (Places::new(4), ReceiverId(7));
        let left = |places: &Places| places.left().get(&receiver).copied().unwrap_or(Places::OF_OTHERS);
        assert_eq!(left(&places), 1);
        places.take(receiver);
        assert_eq!(left(&places), 0);
        places.give_back(receiver, Some(Duration::from_millis(20)));
        assert_eq!(left(&places), 4);
        places.take(receiver);
        places.take(receiver);
        assert_eq!(left(&places), 2);
        places.give_back(receiver, None);
        assert_eq!(left(&places), 0, "one is still under way");
        places.give_back(receiver, Some(SLOW));
        assert_eq!((left(&places), places.left().len()), (1, 0), "nothing is kept of it");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut places = Places::new(4);
        for receiver in (0..5_000).map(ReceiverId) {
            places.take(receiver);
            places.give_back(receiver, Some(Duration::ZERO));
        }
        assert_eq!(places.left().len(), QUICK_MOST);
    }
}
