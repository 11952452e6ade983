//! One of several nodes: beats, looks at the others, takes over, and notices that it was taken over itself.
//!
//! ```text
//!  each second: beat ─┬─ heard ───▶ Lease to the switch; look at the others ─ dead? ─ take over ─▶ TakeOver
//!                     ├─ down ────▶ see nobody, renew nothing
//!                     └─ fenced ──▶ Fenced: the process ends
//! ```
//!
//! A thread of its own, since all of it blocks. Deliberately absent: any decision about calls.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::clock::Clock;
use super::inbox::{Inbox, Message};
use super::metrics;
use crate::config::ClusterConfig;
use crate::store::Store;
use crate::store::cluster::{BEAT, Cluster, Peer, Unheard, Watch};

/// The thread. Dropping it ends it.
pub struct Heart {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Heart {
    /// `None` where the store has one node only.
    pub fn start(
        store: Arc<dyn Store>,
        config: &ClusterConfig,
        clock: Clock,
        inbox: Inbox,
    ) -> std::io::Result<Option<Self>> {
        if store.cluster().is_none() {
            return Ok(None);
        }
        let (stop, stopped) = mpsc::channel();
        let (lease, url) = (config.lease, config.url.clone());
        let mut node = Node { clock, inbox, lease, url, watch: Watch::new(lease), unsure: Vec::new(), others: 0 };
        let thread = thread::Builder::new().name("cluster".to_owned()).spawn(move || {
            let Some(cluster) = store.cluster() else { return };
            loop {
                let began = Instant::now();
                if !node.turn(cluster) {
                    return;
                }
                match stopped.recv_timeout(BEAT.saturating_sub(began.elapsed())) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
        Ok(Some(Self { stop: Some(stop), thread: Some(thread) }))
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Node {
    clock: Clock,
    inbox: Inbox,
    lease: Duration,
    url: Option<Arc<str>>,
    watch: Watch,
    /// Whom it tried to take over when the store went away: that may have happened.
    unsure: Vec<Peer>,
    /// Others that live, as of the last look.
    others: usize,
}

impl Node {
    /// `false` when this node is none any more.
    fn turn(&mut self, cluster: &dyn Cluster) -> bool {
        // The lease counts from before the beat: nobody can have seen it earlier.
        let began = self.clock.now();
        let seen = cluster.beat(self.url.as_deref()).and_then(|peers| {
            self.inbox.post([Message::Lease(began + self.lease)]);
            let dead = self.watch.look(self.clock.now(), &peers);
            self.count(&peers, &dead);
            self.unsure.extend(dead);
            while let Some(dead) = self.unsure.last() {
                self.take_over(cluster, dead)?;
                self.unsure.pop();
            }
            Ok(())
        });
        match seen {
            Ok(()) => true,
            Err(Unheard::Down(_)) => {
                self.watch.blind();
                true
            }
            Err(Unheard::Fenced) => {
                error!("fenced: another process has taken this node's place and its calls; this one ends");
                metrics::fenced();
                self.inbox.post([Message::Fenced]);
                false
            }
        }
    }

    fn take_over(&self, cluster: &dyn Cluster, dead: &Peer) -> Result<(), Unheard> {
        let node = &*dead.id;
        match cluster.take_over(dead)? {
            Some(recovered) => {
                match recovered.calls.iter().filter(|call| call.record.ended_at.is_none()).count() {
                    // As a drained one leaves it.
                    0 => info!(node, "node has ended and left no call"),
                    calls => {
                        warn!(node, calls, "node is dead: its calls are taken over");
                        metrics::taken_over();
                    }
                }
                self.inbox.post([Message::TakeOver(recovered)]);
            }
            None => info!(node, "node seemed dead; it lives, or another has taken it over"),
        }
        Ok(())
    }

    fn count(&mut self, peers: &[Peer], dead: &[Peer]) {
        let others = peers.iter().filter(|peer| peer.beat > 0).count() - dead.len();
        if others > 0 && self.others == 0 && self.url.is_none() {
            warn!("other nodes cannot send requests on to this one: set [cluster] url");
        }
        self.others = others;
        metrics::nodes(others);
    }
}
