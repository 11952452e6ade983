//! What the metrics read of a media thread, without stopping it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::media::{DropCause, Drops};

/// How many numbers [`Counts`] are.
const NUMBERS: usize = 9;

/// Totals since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Relayed from one party to the other.
    pub relayed: u64,
    /// Lost on the way to us, by the sequence numbers of the legs that have ended.
    pub lost: u64,
    pub dropped: Drops,
    /// Now, not since the start: what parties send by the kernel, and by us.
    pub streams: Streams,
}

/// Legs by the way that their party's audio takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Streams {
    pub kernel: u64,
    pub userspace: u64,
}

impl Counts {
    pub fn drop(&mut self, cause: DropCause) {
        self.dropped.count(cause);
    }

    fn numbers(&self) -> [u64; NUMBERS] {
        let Drops { stranger, malformed, payload_type, nowhere, send } = self.dropped;
        let Streams { kernel, userspace } = self.streams;
        [self.relayed, self.lost, stranger, malformed, payload_type, nowhere, send, kernel, userspace]
    }
}

/// The totals of one thread. It alone writes, all others read.
#[derive(Debug, Default)]
pub struct Counters([AtomicU64; NUMBERS]);

impl Counters {
    pub fn publish(&self, counts: &Counts) {
        for (counter, number) in self.0.iter().zip(counts.numbers()) {
            counter.store(number, Ordering::Relaxed);
        }
    }

    /// The sum over all threads.
    pub fn sum<'a>(all: impl Iterator<Item = &'a Counters>) -> Counts {
        let sum = all.fold([0; NUMBERS], |mut sum, one| {
            for (total, counter) in sum.iter_mut().zip(&one.0) {
                *total += counter.load(Ordering::Relaxed);
            }
            sum
        });
        let [relayed, lost, stranger, malformed, payload_type, nowhere, send, kernel, userspace] = sum;
        Counts {
            relayed,
            lost,
            dropped: Drops { stranger, malformed, payload_type, nowhere, send },
            streams: Streams { kernel, userspace },
        }
    }
}
