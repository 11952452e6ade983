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
//!
//! To wake costs about as much as a small commit, so the writer is woken for what begins a group and not
//! for what only joins one: while commits come, it sleeps no longer than most of them are patient, and
//! finds them when it looks up by itself. When they come so fast that the urgent ones meet too, groups
//! begin some time apart, and the writer sleeps through that time whatever comes. For that only those count of
//! which something was written: what is refused has nothing to sync, so a flood of it makes nobody wait.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::store::Step;

/// A group of this many waits for no more: what one more saves is next to nothing.
const COMPANY: usize = 64;

/// How long one waits whom somebody waits for. As long the writer sleeps at a stretch while commits come.
const SLICE: Duration = Duration::from_millis(10);

/// From the beginning of one group to that of the next, at least, while commits come at twice this rate.
const APART: Duration = Duration::from_millis(2);

/// A longer silence counts as one of this length.
const SILENCE: Duration = Duration::from_millis(80);

/// How long a step may wait for company: short of what somebody would notice who waits for it.
pub(in crate::store) fn patience(step: &Step) -> Duration {
    match step {
        // The user has answered and hears nothing until the destination is called. On a busy server it
        // shares the time between two groups all the same.
        Step::PermitLeg(_) => Duration::ZERO,
        // A browser shows a person that it connects, and two more steps follow before anything rings.
        Step::Connect { .. } => Duration::ZERO,
        // A request waits for its answer; a phone for its ACK.
        Step::Admit(_) | Step::Keep => SLICE,
        // Reserved seconds ahead; told to nobody but the record.
        Step::Extend { .. } | Step::Settle { .. } => Duration::from_millis(50),
    }
}

/// Orders on their way to the writer's thread.
pub(in crate::store) struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    earlier: Condvar,
}

impl<T> Queue<T> {
    pub fn new() -> Self {
        Self { waiting: Mutex::new(Waiting::new(Instant::now())), earlier: Condvar::new() }
    }

    /// Queues a commit, which may wait so long when others are about to come.
    pub fn push_commit(&self, order: T, patience: Duration) {
        let now = Instant::now();
        let mut waiting = self.lock();
        let wake = waiting.commit(order, patience, now);
        self.unlock(waiting, wake);
    }

    /// Queues what is to be carried out by `due`.
    pub fn push(&self, order: T, due: Instant) {
        let mut waiting = self.lock();
        let wake = waiting.add(order, due);
        self.unlock(waiting, wake);
    }

    fn unlock(&self, waiting: MutexGuard<'_, Waiting<T>>, wake: bool) {
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
            let now = Instant::now();
            waiting = match waiting.look(now, until) {
                Alarm::Awake => break waiting.take(into, now),
                Alarm::At(alarm) => {
                    let slept = self.earlier.wait_timeout(waiting, alarm.saturating_duration_since(now));
                    slept.unwrap_or_else(PoisonError::into_inner).0
                }
                Alarm::Never => self.earlier.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// So many commits of what was gathered last were not refused.
    pub fn written(&self, commits: usize) {
        self.lock().written(commits, Instant::now());
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Waiting<T> {
    orders: Vec<T>,
    /// When the first of them cannot wait any longer.
    due: Option<Instant>,
    /// Until when the writer sleeps.
    alarm: Alarm,
    /// When the last orders were taken, and when the last of which something was written.
    taken: Instant,
    began: Instant,
    pace: Pace,
    /// Of those that were written.
    writes: Pace,
}

#[derive(Debug, Clone, Copy, PartialEq)]
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

impl<T> Waiting<T> {
    fn new(now: Instant) -> Self {
        Self {
            orders: Vec::new(),
            due: None,
            alarm: Alarm::Awake,
            taken: now,
            began: now,
            pace: Pace::new(now),
            writes: Pace::new(now),
        }
    }

    /// Whether the writer must be woken, as with [`Waiting::add`].
    fn commit(&mut self, order: T, patience: Duration, now: Instant) -> bool {
        self.pace.came(1, now);
        let patience = if self.pace.gap < patience { patience } else { Duration::ZERO };
        let due = now + patience;
        let due = self.apart().map_or(due, |next| due.max(next));
        let due = if self.orders.len() + 1 >= COMPANY { now } else { due };
        self.add(order, due)
    }

    fn add(&mut self, order: T, due: Instant) -> bool {
        self.orders.push(order);
        let due = self.due.map_or(due, |earlier| earlier.min(due));
        self.due = Some(due);
        let wake = self.alarm.is_after(due);
        if wake {
            self.alarm = Alarm::Awake;
        }
        wake
    }

    /// What the writer does now: take what waits, or sleep so long.
    fn look(&mut self, now: Instant, until: Option<Instant>) -> Alarm {
        let next = self.due.into_iter().chain(until).min();
        self.alarm = match next.into_iter().chain(self.slice(now)).min() {
            Some(_) if next.is_some_and(|next| next <= now) => Alarm::Awake,
            Some(alarm) => Alarm::At(alarm),
            None => Alarm::Never,
        };
        self.alarm
    }

    /// Until when the writer sleeps at most, when it is likely that something comes meanwhile.
    fn slice(&self, now: Instant) -> Option<Instant> {
        let next = self.apart().filter(|next| *next > now);
        next.or_else(|| self.pace.meets(SLICE, now).then(|| now + SLICE))
    }

    /// When the next group may begin, when so much is written that even urgent commits meet.
    fn apart(&self) -> Option<Instant> {
        (self.writes.gap * 2 < APART).then(|| self.began + APART)
    }

    fn written(&mut self, commits: usize, now: Instant) {
        if commits > 0 {
            self.began = self.taken;
            self.writes.came(commits, now);
        }
    }

    fn take(&mut self, into: &mut Vec<T>, now: Instant) {
        self.taken = now;
        self.due = None;
        std::mem::swap(&mut self.orders, into);
    }
}

/// Of how many commits the moving average of their distance is about.
const AVERAGED: u32 = 8;

/// How far apart commits come.
struct Pace {
    last: Instant,
    gap: Duration,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { last: now, gap: SILENCE / 2 }
    }

    /// So many more by now, at least one.
    fn came(&mut self, commits: usize, at: Instant) {
        let commits = u32::try_from(commits).unwrap_or(u32::MAX);
        // A long silence is no longer a silence after a few commits.
        let gap = at.saturating_duration_since(self.last).min(SILENCE) / commits;
        self.last = self.last.max(at);
        for _ in 0..commits.min(AVERAGED) {
            self.gap = (self.gap * (AVERAGED - 1) + gap) / AVERAGED;
        }
    }

    /// Whether two commits are to be expected within this time.
    fn meets(&self, time: Duration, now: Instant) -> bool {
        self.gap * 2 < time && now.saturating_duration_since(self.last) < time
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guardrails::{Attempt, LegAttempt};
    use crate::model::{E164, IdSource, Money, OrganizationId, Side, Timestamp, UserId};

    const URGENT: Duration = Duration::ZERO;
    const PATIENT: Duration = SLICE;

    fn us(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    /// A queue that has just taken a group, after many commits this far apart.
    fn paced(gap: Duration) -> (Waiting<u32>, Instant) {
        let mut now = Instant::now();
        let mut waiting = Waiting::new(now);
        for _ in 0..100 {
            now += gap;
            waiting.commit(0, PATIENT, now);
            waiting.take(&mut Vec::new(), now);
            waiting.written(1, now);
        }
        (waiting, now)
    }

    #[test]
    fn the_shorter_somebody_waits_for_it_the_sooner_it_is_due() {
        let number = E164::parse("+12025550100").unwrap();
        let attempt = Attempt {
            call: IdSource::new([1; 32]).call(Timestamp::from_millis(1)),
            organization: OrganizationId("acme".into()),
            user: UserId("alice".into()),
            from: number,
            to: number,
            connect: Some(number),
        };
        let permit = Step::PermitLeg(LegAttempt { side: Side::Destination, attempt });
        let settle = Step::Settle { cost: Money::ZERO };
        assert!(patience(&permit) < patience(&Step::Keep) && patience(&Step::Keep) < patience(&settle));
        assert!(patience(&permit) <= us(1_000), "the user has answered and hears nothing yet");
    }

    #[test]
    fn what_only_joins_a_group_does_not_wake_the_writer() {
        let (mut waiting, now) = paced(us(2_500));
        assert_eq!(waiting.look(now, None), Alarm::At(now + SLICE));
        assert!(!waiting.commit(1, PATIENT, now + us(2_500)));
        assert!(!waiting.commit(2, PATIENT * 5, now + us(5_000)));
        assert!(waiting.commit(3, URGENT, now + us(7_500)), "this one begins the group");
        assert!(!waiting.commit(4, URGENT, now + us(7_510)), "it is awake");
        assert_eq!(waiting.look(now + us(7_600), None), Alarm::Awake);
        let mut group = Vec::new();
        waiting.take(&mut group, now + us(7_600));
        assert_eq!(group, [1, 2, 3, 4]);
    }

    #[test]
    fn a_writer_that_looks_up_sleeps_on_until_the_first_patience_ends() {
        let (mut waiting, now) = paced(us(2_500));
        waiting.look(now, None);
        waiting.commit(1, PATIENT, now + us(4_000));
        assert_eq!(waiting.look(now + SLICE, None), Alarm::At(now + us(4_000) + PATIENT));
        assert_eq!(waiting.look(now + us(4_000) + PATIENT, None), Alarm::Awake);
    }

    #[test]
    fn when_commits_come_fast_not_even_an_urgent_one_wakes_the_writer_between_two_groups() {
        let (mut waiting, now) = paced(us(250));
        let next = now + APART;
        assert_eq!(waiting.look(now + us(900), None), Alarm::At(next));
        assert!(!waiting.commit(1, URGENT, now + us(1_000)));
        assert!(!waiting.commit(2, PATIENT, now + us(1_250)));
        assert_eq!(waiting.look(now + us(1_300), None), Alarm::At(next), "woken by chance");
        assert_eq!(waiting.look(next, None), Alarm::Awake);
    }

    #[test]
    fn an_urgent_one_after_that_time_waits_no_longer() {
        let (mut waiting, now) = paced(us(250));
        assert_eq!(waiting.look(now + APART, None), Alarm::At(now + APART + SLICE));
        assert!(waiting.commit(1, URGENT, now + APART + us(100)));
        assert_eq!(waiting.look(now + APART + us(100), None), Alarm::Awake);
    }

    #[test]
    fn a_flood_of_what_is_refused_makes_no_urgent_one_wait() {
        let (mut waiting, mut now) = paced(us(20_000));
        for _ in 0..100 {
            now += us(200);
            waiting.commit(0, PATIENT, now);
            waiting.take(&mut Vec::new(), now);
            waiting.written(0, now);
        }
        assert_eq!(waiting.look(now, None), Alarm::At(now + SLICE), "what may be refused waits for company");
        assert!(!waiting.commit(1, PATIENT, now + us(200)));
        assert!(waiting.commit(2, URGENT, now + us(400)));
        waiting.take(&mut Vec::new(), now + us(410));
        waiting.written(1, now + us(600));
        assert_eq!(waiting.look(now + us(610), None), Alarm::At(now + us(610) + SLICE));
        assert!(waiting.commit(3, URGENT, now + us(700)), "there is little to sync");
    }

    #[test]
    fn a_group_counts_as_so_many_commits_as_were_written_of_it() {
        let (mut one_by_one, now) = paced(us(250));
        let (mut grouped, _) = paced(us(60_000));
        grouped.writes.last = now;
        for n in 1..=10 {
            grouped.written(8, now + us(2_000) * n);
            one_by_one.written(1, now + us(250) * n);
        }
        assert!(grouped.writes.gap < us(260), "{:?}", grouped.writes.gap);
        assert!(one_by_one.writes.gap.abs_diff(us(250)) < us(5), "{:?}", one_by_one.writes.gap);
    }

    #[test]
    fn enough_of_them_wait_for_nothing() {
        let (mut waiting, now) = paced(us(50));
        waiting.look(now, None);
        let woken: Vec<_> = (1..=COMPANY).filter(|_| waiting.commit(1, PATIENT, now + us(50))).collect();
        assert_eq!(woken, [COMPANY]);
    }

    #[test]
    fn on_a_quiet_server_nobody_waits_and_the_writer_sleeps_until_it_is_woken() {
        let (mut waiting, now) = paced(us(60_000));
        assert_eq!(waiting.look(now, None), Alarm::Never);
        assert!(waiting.commit(1, PATIENT * 5, now + us(60_000)));
        assert_eq!(waiting.look(now + us(60_000), None), Alarm::Awake);
    }

    #[test]
    fn after_the_last_commit_the_writer_stops_looking_up() {
        let (mut waiting, now) = paced(us(2_500));
        assert_eq!(waiting.look(now + SLICE, None), Alarm::Never);
        let beat = now + Duration::from_secs(1);
        assert_eq!(waiting.look(now + SLICE, Some(beat)), Alarm::At(beat));
        assert_eq!(waiting.look(beat, Some(beat)), Alarm::Awake);
    }
}
