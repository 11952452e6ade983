//! What waits for the writer, and when the writer must wake for it.
//!
//! ```text
//!  push ──▶ orders, due ── earlier than the alarm? ──▶ wake
//!                 │
//!  gather ◀───────┘ all of it at once, when the first patience ends or enough wait
//! ```
//!
//! Syncing the disk costs the same for one commit as for many, so at a few hundred commits a second
//! waiting for company is what saves most of the processor's time. How long a commit may wait is what
//! its step can bear; the first whose patience ends takes along everything that waits. Commits that come
//! too far apart to meet within a patience are not made to wait.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::store::Step;

/// A group of this many waits for no more: what one more saves is next to nothing.
const COMPANY: usize = 64;

/// The longest patience; a silence counts as no more than a few of these.
const LONGEST: Duration = Duration::from_millis(20);

/// How long a step may wait for company: short of what somebody would notice who waits for it.
pub(super) fn patience(step: &Step) -> Duration {
    match step {
        // The user has answered and hears nothing until the destination is called.
        Step::PermitLeg(_) => Duration::from_millis(1),
        // A request waits for its answer; a phone for its ACK.
        Step::Admit(_) | Step::Keep => Duration::from_millis(5),
        // Reserved seconds ahead; told to nobody but the record.
        Step::Extend { .. } | Step::Settle { .. } => LONGEST,
    }
}

/// Orders on their way to the writer's thread.
pub(super) struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    earlier: Condvar,
}

struct Waiting<T> {
    orders: Vec<T>,
    /// When the first of them cannot wait any longer.
    due: Option<Instant>,
    /// Until when the writer sleeps.
    alarm: Alarm,
    pace: Pace,
}

#[derive(Clone, Copy)]
enum Alarm {
    Awake,
    At(Instant),
    Never,
}

impl Alarm {
    fn is_after(self, due: Instant) -> bool {
        match self {
            Alarm::Awake => false,
            Alarm::At(alarm) => due < alarm,
            Alarm::Never => true,
        }
    }
}

impl<T> Queue<T> {
    pub fn new() -> Self {
        let waiting = Waiting { orders: Vec::new(), due: None, alarm: Alarm::Awake, pace: Pace::new() };
        Self { waiting: Mutex::new(waiting), earlier: Condvar::new() }
    }

    /// Queues a commit, which may wait so long when others are about to come.
    pub fn push_commit(&self, order: T, patience: Duration) {
        let now = Instant::now();
        let mut waiting = self.lock();
        waiting.pace.commit(now);
        let patience = if waiting.pace.gap < patience { patience } else { Duration::ZERO };
        self.push_into(waiting, order, now + patience);
    }

    /// Queues what is to be carried out by `due`.
    pub fn push(&self, order: T, due: Instant) {
        self.push_into(self.lock(), order, due);
    }

    fn push_into(&self, mut waiting: MutexGuard<'_, Waiting<T>>, order: T, due: Instant) {
        waiting.orders.push(order);
        let due = if waiting.orders.len() == COMPANY { Instant::now() } else { due };
        let due = waiting.due.map_or(due, |earlier| earlier.min(due));
        waiting.due = Some(due);
        let wake = waiting.alarm.is_after(due);
        if wake {
            waiting.alarm = Alarm::Awake;
        }
        drop(waiting);
        if wake {
            self.earlier.notify_one();
        }
    }

    /// Moves everything that waits into `into`, which must be empty, as soon as some of it is due; nothing
    /// when it is `until` before that. The two buffers swap places.
    pub fn gather(&self, into: &mut Vec<T>, until: Option<Instant>) {
        let mut waiting = self.lock();
        loop {
            let next = waiting.due.into_iter().chain(until).min();
            let left = next.map(|next| next.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                break;
            }
            waiting.alarm = next.map_or(Alarm::Never, Alarm::At);
            waiting = match left {
                Some(left) => self.earlier.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.earlier.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            };
        }
        waiting.alarm = Alarm::Awake;
        waiting.due = None;
        std::mem::swap(&mut waiting.orders, into);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far apart commits come, as a moving average over about eight of them.
struct Pace {
    last: Instant,
    gap: Duration,
}

impl Pace {
    fn new() -> Self {
        Self { last: Instant::now(), gap: LONGEST * 2 }
    }

    fn commit(&mut self, at: Instant) {
        // A long silence is no longer a silence after a few commits.
        let gap = at.saturating_duration_since(self.last).min(LONGEST * 4);
        self.last = self.last.max(at);
        self.gap = (self.gap * 7 + gap) / 8;
    }
}
