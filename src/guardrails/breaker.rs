//! Breakers: a prefix to which calls go wrong in a way that ordinary calls do not is paused.
//!
//! ```text
//! settled call ─▶ Mark ─▶ window of its prefix ── too many short answers? ──▶ Tripped ─▶ paused
//!                         (newest last)         └ too few answers? ─────────▶    │
//!                               ▲                                                ▼
//!                               └──────────── empty ◀──────────────── pause_seconds are over
//! ```
//!
//! Two things look like fraud or like a list of dead numbers, and never like a company that calls people:
//! most answers to a prefix are over within six seconds (numbers that answer for the sake of the fee), and
//! next to nobody there answers.
//!
//! What a breaker knows is a list of [`Mark`]s in the order in which they were written: it is put together again
//! from them, trips included, so that a restart and another node know what was paused and why, whatever the
//! thresholds were then. The thresholds of now decide whether a pause still holds: a breaker that is turned off
//! pauses nothing.
//!
//! Invariants: a paused prefix has an empty window; a window holds marks by time, [`KEPT`] at most; there are
//! [`WATCHED`] windows and [`PAUSED`] pauses at most, and the oldest makes room.
//!
//! Deliberately absent: numbers (a prefix is none), and a trial call after the pause: the window is empty then,
//! and it takes as many bad calls as before to pause the prefix again.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::DestinationPrefix;
use crate::model::{CallRecord, EndReason, EndedBy, Timestamp};

/// An answered call that ends sooner is short.
const SHORT: Duration = Duration::from_secs(6);
/// Marks of one prefix. More than twice as many as any threshold.
const KEPT: usize = 256;
/// Prefixes that are looked at.
const WATCHED: usize = 512;
/// Trips that are remembered.
const PAUSED: usize = 4_096;
/// No window and no pause is longer, so a mark that is older says nothing any more.
pub const LONGEST_MEMORY: Duration = Duration::from_secs(3_600);

/// When a breaker trips, and for how long. Zero turns one off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BreakerLimits {
    /// How long a call counts after its end.
    pub window_seconds: u32,
    /// So many short answers to a prefix pause it, when they are half of all answers there or more.
    pub short_answers: u32,
    /// Fewer answers in 100 calls to a prefix pause it.
    pub answer_percent: u32,
    /// Calls to a prefix before `answer_percent` is asked for.
    pub min_calls: u32,
    pub pause_seconds: u32,
}

impl Default for BreakerLimits {
    fn default() -> Self {
        Self { window_seconds: 600, short_answers: 30, answer_percent: 10, min_calls: 50, pause_seconds: 900 }
    }
}

impl BreakerLimits {
    /// Neither breaker.
    pub const OFF: Self =
        Self { window_seconds: 600, short_answers: 0, answer_percent: 0, min_calls: 50, pause_seconds: 900 };

    fn window(&self) -> Duration {
        Duration::from_secs(self.window_seconds.into()).min(LONGEST_MEMORY)
    }

    fn pause(&self) -> Duration {
        Duration::from_secs(self.pause_seconds.into()).min(LONGEST_MEMORY)
    }

    fn is_on(&self, reason: TripReason) -> bool {
        match reason {
            TripReason::ShortAnswers => self.short_answers > 0,
            TripReason::FewAnswers => self.answer_percent > 0,
        }
    }
}

/// Why a prefix is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TripReason {
    /// Most of many answers were over within six seconds.
    ShortAnswers,
    /// Next to nobody answered.
    FewAnswers,
}

impl TripReason {
    pub const ALL: [TripReason; 2] = [TripReason::ShortAnswers, TripReason::FewAnswers];

    pub fn as_str(self) -> &'static str {
        match self {
            TripReason::ShortAnswers => "short_answers",
            TripReason::FewAnswers => "few_answers",
        }
    }
}

/// Something that a breaker must know again after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    pub prefix: DestinationPrefix,
    pub kind: MarkKind,
    /// The end of the call, or the moment of the trip.
    pub at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkKind {
    /// Answered, and over within six seconds.
    Short,
    Answered,
    /// The destination did not answer, and nobody else was the reason.
    Unanswered,
    /// The prefix is paused from then on.
    Tripped(TripReason),
}

impl MarkKind {
    pub const ALL: [MarkKind; 5] = [
        MarkKind::Short,
        MarkKind::Answered,
        MarkKind::Unanswered,
        MarkKind::Tripped(TripReason::ShortAnswers),
        MarkKind::Tripped(TripReason::FewAnswers),
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            MarkKind::Short => "short",
            MarkKind::Answered => "answered",
            MarkKind::Unanswered => "unanswered",
            MarkKind::Tripped(reason) => reason.as_str(),
        }
    }

    /// Reads what [`MarkKind::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl Mark {
    /// What the end of a call says of its destination's prefix. `None` when it says nothing: a guardrail, the
    /// user's side, a trunk or this server kept the destination from answering.
    pub fn of(record: &CallRecord) -> Option<Self> {
        let at = record.ended_at?;
        let kind = match record.answered_at {
            // Whoever takes money for answers does not mind who hangs up. A call that we end is not short.
            Some(answered) => {
                let theirs = matches!(record.ended_by, Some(EndedBy::User | EndedBy::Destination | EndedBy::Api));
                if theirs && at.since(answered) < SHORT { MarkKind::Short } else { MarkKind::Answered }
            }
            None if is_unanswered(record) => MarkKind::Unanswered,
            None => return None,
        };
        Some(Self { prefix: DestinationPrefix::of(record.to_number?), kind, at })
    }

    /// A mark that the clock now says lies ahead, because the clock was set back, counts as of now.
    pub fn not_after(self, now: Timestamp) -> Self {
        Self { at: self.at.min(now), ..self }
    }
}

/// Failures other than these are a trunk's or our own.
fn is_unanswered(record: &CallRecord) -> bool {
    match record.end_reason {
        Some(EndReason::DestinationNoAnswer | EndReason::DestinationBusy | EndReason::DestinationDeclined) => true,
        // Without an answer to the INVITE the trunk was silent.
        Some(EndReason::DestinationUnreachable) => record.sip_status.is_some(),
        Some(_) | None => false,
    }
}

/// A prefix that is not called for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    pub prefix: DestinationPrefix,
    pub reason: TripReason,
    /// The first moment at which it is called again.
    pub until: Timestamp,
}

#[derive(Debug, Clone, Copy)]
struct Trip {
    reason: TripReason,
    at: Timestamp,
}

impl Trip {
    fn until(&self, limits: &BreakerLimits) -> Timestamp {
        self.at + limits.pause()
    }
}

/// Results of the calls to one prefix, oldest first.
type Window = VecDeque<(Timestamp, MarkKind)>;

/// One organization's breakers.
#[derive(Debug, Clone, Default)]
pub(super) struct Breaker {
    windows: BTreeMap<DestinationPrefix, Window>,
    trips: BTreeMap<DestinationPrefix, Trip>,
}

impl Breaker {
    /// From all marks, in the order in which they were written.
    pub fn restored(marks: impl IntoIterator<Item = Mark>) -> Self {
        let mut breaker = Self::default();
        marks.into_iter().for_each(|mark| breaker.note(mark));
        breaker
    }

    /// Takes in how a call ended, and returns what is to be written: nothing when it does not count, or it, or
    /// it and a trip.
    pub fn watch(&mut self, mark: Mark, limits: &BreakerLimits, now: Timestamp) -> Vec<Mark> {
        let fresh_from = self.trip(mark.prefix, limits).map_or(Timestamp::default(), |trip| trip.until(limits));
        if now.since(mark.at) >= limits.window() || mark.at < fresh_from {
            return Vec::new();
        }
        self.note(mark);
        let mut marks = vec![mark];
        if let Some(reason) = self.verdict(mark, limits, now) {
            let trip = Mark { kind: MarkKind::Tripped(reason), at: now, ..mark };
            self.note(trip);
            marks.push(trip);
        }
        marks
    }

    pub fn pause(&self, prefix: DestinationPrefix, limits: &BreakerLimits, now: Timestamp) -> Option<Pause> {
        let trip = self.trip(prefix, limits)?;
        let until = trip.until(limits);
        (now < until).then_some(Pause { prefix, reason: trip.reason, until })
    }

    /// By prefix.
    pub fn pauses(&self, limits: &BreakerLimits, now: Timestamp) -> Vec<Pause> {
        self.trips.keys().filter_map(|prefix| self.pause(*prefix, limits, now)).collect()
    }

    /// The last one, unless that breaker has been turned off.
    fn trip(&self, prefix: DestinationPrefix, limits: &BreakerLimits) -> Option<&Trip> {
        self.trips.get(&prefix).filter(|trip| limits.is_on(trip.reason))
    }

    fn note(&mut self, Mark { prefix, kind, at }: Mark) {
        match kind {
            MarkKind::Tripped(reason) => {
                self.windows.remove(&prefix);
                self.trips.insert(prefix, Trip { reason, at });
                if self.trips.len() > PAUSED {
                    drop_oldest(&mut self.trips, |trip| trip.at);
                }
            }
            MarkKind::Short | MarkKind::Answered | MarkKind::Unanswered => {
                let window = self.windows.entry(prefix).or_default();
                // Settlements that the store could not take at first come late.
                let place = window.partition_point(|(other, _)| *other <= at);
                window.insert(place, (at, kind));
                if window.len() > KEPT {
                    window.pop_front();
                }
                if self.windows.len() > WATCHED {
                    drop_oldest(&mut self.windows, |window| window.back().map_or(Timestamp::default(), |(at, _)| *at));
                }
            }
        }
    }

    /// What the window of a call's prefix comes to with that call. An answer cannot mean that nobody answers,
    /// and so on: each breaker is asked when its own kind of call has ended.
    fn verdict(&self, mark: Mark, limits: &BreakerLimits, now: Timestamp) -> Option<TripReason> {
        let window = self.windows.get(&mark.prefix)?;
        // What lies outside stays until others push it out: a window that is made longer may take it in again, as
        // it would after a restart.
        let inside = window.partition_point(|(at, _)| now.since(*at) >= limits.window());
        let count = |wanted| window.range(inside..).filter(|(_, kind)| *kind == wanted).count();
        let (calls, short) = (window.len() - inside, count(MarkKind::Short));
        let answers = short + count(MarkKind::Answered);
        let many_short = limits.short_answers > 0 && short >= limits.short_answers as usize && short * 2 >= answers;
        let enough = calls >= limits.min_calls as usize;
        let few = enough && answers * 100 < limits.answer_percent as usize * calls;
        match mark.kind {
            MarkKind::Short => many_short.then_some(TripReason::ShortAnswers),
            MarkKind::Unanswered => few.then_some(TripReason::FewAnswers),
            MarkKind::Answered | MarkKind::Tripped(_) => None,
        }
    }
}

fn drop_oldest<T>(by_prefix: &mut BTreeMap<DestinationPrefix, T>, at: impl Fn(&T) -> Timestamp) {
    if let Some(oldest) = by_prefix.iter().min_by_key(|(_, one)| at(one)).map(|(prefix, _)| *prefix) {
        by_prefix.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::E164;

    const NOON: Timestamp = Timestamp::from_millis(1_777_636_800_000);
    const LIMITS: BreakerLimits =
        BreakerLimits { window_seconds: 600, short_answers: 4, answer_percent: 20, min_calls: 10, pause_seconds: 900 };

    fn prefix(text: &str) -> DestinationPrefix {
        DestinationPrefix::of(E164::parse(text).unwrap())
    }

    fn after(seconds: u64) -> Timestamp {
        NOON + Duration::from_secs(seconds)
    }

    /// The reason of the trip, if the last of these calls, one a second from `start` on, made one.
    fn end(breaker: &mut Breaker, kinds: &[MarkKind], start: u64) -> Option<TripReason> {
        let mut last = None;
        for (second, kind) in (start..).zip(kinds) {
            let mark = Mark { prefix: prefix("+13105550100"), kind: *kind, at: after(second) };
            last = breaker.watch(mark, &LIMITS, after(second)).into_iter().find_map(|mark| match mark.kind {
                MarkKind::Tripped(reason) => Some(reason),
                MarkKind::Short | MarkKind::Answered | MarkKind::Unanswered => None,
            });
        }
        last
    }

    #[test]
    fn a_burst_of_short_answers_trips_and_the_same_among_more_conversations_does_not() {
        let mut breaker = Breaker::default();
        assert_eq!(end(&mut breaker, &[MarkKind::Short; 3], 0), None);
        assert_eq!(end(&mut breaker, &[MarkKind::Short], 599), Some(TripReason::ShortAnswers));
        assert_eq!(end(&mut Breaker::default(), &[MarkKind::Short; 3], 0), None);
        let mut usual = Breaker::default();
        assert_eq!(end(&mut usual, &[MarkKind::Answered; 5], 0), None);
        assert_eq!(end(&mut usual, &[MarkKind::Short; 4], 10), None, "four of nine");
        assert_eq!(end(&mut usual, &[MarkKind::Short], 20), Some(TripReason::ShortAnswers), "five of ten");
    }

    #[test]
    fn the_window_rolls() {
        let mut breaker = Breaker::default();
        assert_eq!(end(&mut breaker, &[MarkKind::Short; 3], 0), None);
        assert_eq!(end(&mut breaker, &[MarkKind::Short], 600), None, "the first has left the window");
        assert_eq!(end(&mut breaker, &[MarkKind::Short], 601), None, "so has the second");
        assert_eq!(end(&mut breaker, &[MarkKind::Short; 2], 602), Some(TripReason::ShortAnswers));
    }

    #[test]
    fn a_window_that_is_made_longer_counts_what_it_would_count_after_a_restart() {
        let mut breaker = Breaker::default();
        assert_eq!(end(&mut breaker, &[MarkKind::Short; 2], 0), None);
        assert_eq!(end(&mut breaker, &[MarkKind::Short], 700), None);
        let mark = Mark { prefix: prefix("+13105550100"), kind: MarkKind::Short, at: after(701) };
        let longer = BreakerLimits { window_seconds: 900, ..LIMITS };
        let marks = breaker.watch(mark, &longer, after(701));
        assert_eq!(marks.last().map(|mark| mark.kind), Some(MarkKind::Tripped(TripReason::ShortAnswers)));
    }

    #[test]
    fn too_few_answers_trip_once_there_are_calls_enough() {
        let mut breaker = Breaker::default();
        assert_eq!(end(&mut breaker, &[MarkKind::Unanswered; 9], 0), None);
        assert_eq!(end(&mut breaker, &[MarkKind::Answered; 2], 9), None);
        assert_eq!(end(&mut breaker, &[MarkKind::Unanswered], 11), Some(TripReason::FewAnswers), "two of twelve");
        let mut usual = Breaker::default();
        assert_eq!(end(&mut usual, &[MarkKind::Answered, MarkKind::Answered], 0), None);
        assert_eq!(end(&mut usual, &[MarkKind::Unanswered; 8], 2), None, "two of ten");
    }

    #[test]
    fn a_pause_is_of_one_prefix_ends_by_itself_and_leaves_a_fresh_window() {
        let mut breaker = Breaker::default();
        end(&mut breaker, &[MarkKind::Short; 4], 0);
        let pause = |breaker: &Breaker, at| breaker.pause(prefix("+13105550100"), &LIMITS, after(at));
        assert_eq!(pause(&breaker, 902).unwrap().until, after(903));
        assert_eq!(pause(&breaker, 903), None);
        assert_eq!(breaker.pause(prefix("+14155550100"), &LIMITS, after(10)), None);
        // What was under way when it tripped says nothing of what comes after the pause.
        assert_eq!(end(&mut breaker, &[MarkKind::Short; 4], 100), None);
        let late = Mark { prefix: prefix("+13105550100"), kind: MarkKind::Short, at: after(902) };
        assert_eq!(breaker.watch(late, &LIMITS, after(910)), []);
        assert_eq!(end(&mut breaker, &[MarkKind::Short; 3], 903), None);
        assert_eq!(end(&mut breaker, &[MarkKind::Short], 910), Some(TripReason::ShortAnswers));
        assert_eq!(breaker.pauses(&LIMITS, after(911)).len(), 1);
        assert_eq!(breaker.pauses(&BreakerLimits::OFF, after(911)), [], "turned off, it pauses nothing");
        let shorter = BreakerLimits { pause_seconds: 10, ..LIMITS };
        assert_eq!(breaker.pauses(&shorter, after(920)), [], "also what is paused already");
    }

    #[test]
    fn what_was_written_makes_the_same_breaker() {
        let (mut breaker, mut written) = (Breaker::default(), Vec::new());
        for call in 0..2_000u64 {
            let number = E164::from_digits(format!("1{}5550100", 300 + call % 7).as_bytes()).unwrap();
            let kinds = [MarkKind::Unanswered, MarkKind::Short, MarkKind::Answered, MarkKind::Unanswered];
            let mark = Mark {
                prefix: DestinationPrefix::of(number),
                kind: kinds[(call % 13 % 4) as usize],
                // Some are told late.
                at: after(call * 3 - call % 5 * 2),
            };
            written.extend(breaker.watch(mark, &LIMITS, after(call * 3)));
            if call % 100 == 0 {
                let again = Breaker::restored(written.iter().copied());
                let now = after(call * 3);
                assert_eq!(again.pauses(&LIMITS, now), breaker.pauses(&LIMITS, now));
                breaker = again;
            }
        }
        let trips = written.iter().filter(|mark| matches!(mark.kind, MarkKind::Tripped(_))).count();
        assert!(trips > 5, "{trips}");
    }

    #[test]
    fn memory_is_bounded() {
        let mut breaker = Breaker::default();
        for call in 0..3_000u64 {
            let digits = format!("44{}55501", 100 + call % 900);
            let number = E164::from_digits(digits.as_bytes()).unwrap();
            let mark = Mark { prefix: DestinationPrefix::of(number), kind: MarkKind::Answered, at: after(call) };
            breaker.watch(mark, &LIMITS, after(call));
            end(&mut breaker, &[MarkKind::Answered], call);
        }
        assert_eq!(breaker.windows.len(), WATCHED);
        assert!(breaker.windows.values().all(|window| window.len() <= KEPT));
    }
}
