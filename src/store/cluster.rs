//! Several nodes on one store: who lives, and who takes the place of one that does not.
//!
//! ```text
//!   node a                     store                         node b
//!   beat, each second ─▶ (epoch 4, beat 17) ◀── looks: the same for a whole lease? ─ take over ─▶ epoch 5
//!   every commit: am I still epoch 4? ──┴─ no: nothing is written, and the process ends itself
//! ```
//!
//! A node has a name and a row. Whoever takes the name (its own process at its start, another node in its
//! place) raises the row's epoch, and each transaction of the engine checks the epoch that it began with: so of
//! two who think that they are the same node, one can write. That another is dead is *seen*, by beats that do
//! not come for a whole lease of the looker's own monotonic time, never read from a clock of somebody else.
//!
//! Deliberately absent: elections (whoever sees it first takes over), messages between nodes, and a lease that
//! is worth more than the epoch: it only keeps INVITEs back that no transaction can call back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Recovered, StoreDown};
use crate::model::{CallId, Timestamp};

/// A node, as its row shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub id: Arc<str>,
    /// One more whenever somebody takes the name.
    pub epoch: u64,
    /// One more each second; 0 when nobody lives under this name.
    pub beat: u64,
    /// How other nodes reach its API.
    pub url: Option<Arc<str>>,
}

/// Why a node was not heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unheard {
    Down(StoreDown),
    /// Somebody has taken this node's name: all that it does from now on is void.
    Fenced,
}

impl From<StoreDown> for Unheard {
    fn from(down: StoreDown) -> Self {
        Unheard::Down(down)
    }
}

/// What a store with several nodes does besides. All of it blocks.
pub trait Cluster {
    /// This node's name.
    fn node(&self) -> &str;

    /// Says that this node lives, and how others reach it. Returns all others, living or dead.
    fn beat(&self, url: Option<&str>) -> Result<Vec<Peer>, Unheard>;

    /// Takes the place of a node, if it still is as it was seen: from then on it is fenced and its calls are
    /// ours. `None` when it has moved, or another was faster. After [`Unheard::Down`] nobody knows whether it has
    /// happened: asked again, it says so, and what is recovered then may hold calls of ours that live.
    fn take_over(&self, dead: &Peer) -> Result<Option<Recovered>, Unheard>;

    /// The other node that has this call; `None` for one of ours, and for one that is over or never was.
    fn owner(&self, call: CallId) -> Result<Option<Peer>, StoreDown>;
}

/// How often a node beats and looks.
pub const BEAT: Duration = Duration::from_secs(1);

/// Looks that are further apart saw nothing in between: this process stood still, or the store was away.
const BLINK: Duration = Duration::from_secs(3);

/// What one node has seen of the others.
#[derive(Debug)]
pub struct Watch {
    lease: Duration,
    seen: BTreeMap<Arc<str>, Sight>,
    looked: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sight {
    epoch: u64,
    beat: u64,
    since: Timestamp,
}

impl Watch {
    pub fn new(lease: Duration) -> Self {
        Self { lease, seen: BTreeMap::new(), looked: None }
    }

    /// A look at the others at `now`, by a clock that never jumps. Those that have been seen unmoved for a
    /// whole lease, without a break, are dead.
    pub fn look(&mut self, now: Timestamp, peers: &[Peer]) -> Vec<Peer> {
        if self.looked.is_none_or(|last| now.since(last) > BLINK) {
            self.seen.clear();
        }
        self.looked = Some(now);
        self.seen.retain(|id, _| peers.iter().any(|peer| peer.id == *id));
        let living = peers.iter().filter(|peer| peer.beat > 0);
        living.filter(|peer| self.is_dead(now, peer)).cloned().collect()
    }

    fn is_dead(&mut self, now: Timestamp, peer: &Peer) -> bool {
        let fresh = Sight { epoch: peer.epoch, beat: peer.beat, since: now };
        let sight = self.seen.entry(peer.id.clone()).or_insert(fresh);
        if (sight.epoch, sight.beat) != (fresh.epoch, fresh.beat) {
            *sight = fresh;
        }
        now.since(sight.since) >= self.lease
    }

    /// The store could not be read: nobody could beat then either, so that is held against no one.
    pub fn blind(&mut self) {
        self.looked = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(10);

    fn peer(epoch: u64, beat: u64) -> Vec<Peer> {
        vec![Peer { id: "b".into(), epoch, beat, url: None }]
    }

    fn at(second: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + second * 1_000)
    }

    /// When the watch first takes b for dead, looking each second at what `shows` of it.
    fn dead_at(mut shows: impl FnMut(&mut Watch, u64) -> Option<Vec<Peer>>) -> Option<u64> {
        let mut watch = Watch::new(LEASE);
        (0..60).find(|second| {
            let peers = shows(&mut watch, *second);
            peers.is_some_and(|peers| !watch.look(at(*second), &peers).is_empty())
        })
    }

    #[test]
    fn a_node_that_does_not_move_for_a_lease_is_dead() {
        assert_eq!(dead_at(|_, _| Some(peer(1, 7))), Some(10));
        assert_eq!(dead_at(|_, second| Some(peer(1, 1 + second.min(20)))), Some(30), "its last beat was seen at 20");
        assert_eq!(dead_at(|_, second| Some(peer(1, 1 + second / 9))), None, "slow is not dead");
        assert_eq!(dead_at(|_, second| Some(peer(1 + second / 9, 7))), None, "nor is one that starts again and again");
    }

    #[test]
    fn nobody_lives_under_a_name_without_a_beat() {
        assert_eq!(dead_at(|_, _| Some(peer(3, 0))), None);
    }

    #[test]
    fn a_store_that_was_away_makes_nobody_dead() {
        // Away from 5 to 14, and b needs two more seconds to find its way back.
        let away = |watch: &mut Watch, second| match second {
            5..15 => {
                watch.blind();
                None
            }
            15..17 => Some(peer(1, 5)),
            _ => Some(peer(1, second)),
        };
        assert_eq!(dead_at(away), None);
        // One that died meanwhile is missed a whole lease later.
        let died = |watch: &mut Watch, second| match second {
            5..15 => {
                watch.blind();
                None
            }
            _ => Some(peer(1, 5)),
        };
        assert_eq!(dead_at(died), Some(25));
    }

    #[test]
    fn a_node_that_stood_still_itself_begins_anew() {
        let mut watch = Watch::new(LEASE);
        assert_eq!(watch.look(at(0), &peer(1, 7)), []);
        assert_eq!(watch.look(at(30), &peer(1, 7)), [], "it did not look in between");
        for second in 31..40 {
            assert_eq!(watch.look(at(second), &peer(1, 7)), []);
        }
        assert_eq!(watch.look(at(40), &peer(1, 7)), peer(1, 7));
    }
}
