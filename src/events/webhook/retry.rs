//! When a delivery is tried again, and when no more.
//!
//! The pause doubles from one second to an hour, and half of it is random, so that what failed together does
//! not come back together. A receiver that is down for a day is asked about 35 times.

use std::time::Duration;

use crate::model::Timestamp;

/// From the first try. A delivery that fails after that is dead.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 3600);

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// Why no status came, or why none counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TryError {
    /// The name has no address.
    Dns,
    /// No address of the receiver is one that webhooks are sent to.
    AddressRefused,
    /// Nobody took the connection.
    Connect,
    /// The receiver did not prove who it is.
    Tls,
    /// No answer within the time of a try.
    Timeout,
    /// What came was no answer in HTTP, or one beyond every bound.
    Protocol,
    /// A 3xx, which is not followed.
    Redirect,
    /// Any other status but 2xx.
    Status,
    /// Told by a 410: to this URL nothing is sent any more.
    Gone,
    /// Its turn never came: the receiver is too slow for what it subscribed to.
    Expired,
}

impl TryError {
    pub const ALL: [TryError; 10] = [
        TryError::Dns,
        TryError::AddressRefused,
        TryError::Connect,
        TryError::Tls,
        TryError::Timeout,
        TryError::Protocol,
        TryError::Redirect,
        TryError::Status,
        TryError::Gone,
        TryError::Expired,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            TryError::Dns => "dns",
            TryError::AddressRefused => "address_refused",
            TryError::Connect => "connect",
            TryError::Tls => "tls",
            TryError::Timeout => "timeout",
            TryError::Protocol => "protocol",
            TryError::Redirect => "redirect",
            TryError::Status => "status",
            TryError::Gone => "gone",
            TryError::Expired => "expired",
        }
    }

    /// Reads what [`TryError::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|error| error.as_str() == text)
    }
}

/// One try that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TryEnd {
    /// Tries before this one, and when the first of all was.
    pub before: u32,
    pub first: Timestamp,
    pub now: Timestamp,
    pub status: Option<u16>,
    /// Without a status; with one it follows from it.
    pub error: Option<TryError>,
    /// What the receiver asked for, with a 429 or 503.
    pub retry_after: Option<Duration>,
    /// Any number.
    pub random: u64,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Delivered,
    Again { at: Timestamp, why: TryError },
    Dead { why: TryError },
}

pub fn verdict(attempt: &TryEnd) -> Verdict {
    let why = match (attempt.error, attempt.status) {
        (Some(error), _) => error,
        (None, None) => TryError::Protocol,
        (None, Some(200..=299)) => return Verdict::Delivered,
        (None, Some(300..=399)) => TryError::Redirect,
        (None, Some(410)) => return Verdict::Dead { why: TryError::Gone },
        (None, Some(_)) => TryError::Status,
    };
    let last = attempt.first + GIVE_UP_AFTER;
    if attempt.now >= last {
        return Verdict::Dead { why };
    }
    let wanted = attempt.retry_after.filter(|_| matches!(attempt.status, Some(429 | 503)));
    let pause = pause(attempt.before, attempt.random).max(wanted.unwrap_or_default().min(LONGEST_PAUSE));
    // The last try is at the very end, however long the pause would be.
    Verdict::Again { at: (attempt.now + pause).min(last), why }
}

/// From half of the doubled pause to all of it.
fn pause(before: u32, random: u64) -> Duration {
    let whole = FIRST_PAUSE.saturating_mul(1 << before.min(16)).min(LONGEST_PAUSE);
    let half = whole / 2;
    let micros = u64::try_from(half.as_micros()).unwrap_or(u64::MAX);
    half + Duration::from_micros(random % (micros + 1))
}

/// `Retry-After` (RFC 9110 §10.2.3) in seconds, or as a date relative to `now`.
pub fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Some(text.parse().map_or(LONGEST_PAUSE, Duration::from_secs));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_microsecond();
    Some(Timestamp::from_micros(u64::try_from(at).ok()?).since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn failed(before: u32, after: Duration) -> TryEnd {
        let (status, error, retry_after) = (Some(500), None, None);
        TryEnd { before, first: START, now: START + after, status, error, retry_after, random: u64::MAX }
    }

    fn pause_of(attempt: &TryEnd) -> Duration {
        match verdict(attempt) {
            Verdict::Again { at, .. } => at.since(attempt.now),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_a_2xx_is_delivered_and_a_410_is_the_end() {
        let of = |status| verdict(&TryEnd { status: Some(status), ..failed(0, Duration::ZERO) });
        assert!([200, 201, 204, 299].into_iter().all(|status| of(status) == Verdict::Delivered));
        for (status, why) in [(100, TryError::Status), (301, TryError::Redirect), (304, TryError::Redirect)] {
            assert!(matches!(of(status), Verdict::Again { why: found, .. } if found == why), "{status}");
        }
        for status in [400, 401, 404, 429, 500, 503, 599, 999] {
            assert!(matches!(of(status), Verdict::Again { why: TryError::Status, .. }), "{status}");
        }
        assert_eq!(of(410), Verdict::Dead { why: TryError::Gone });
        let broken = TryEnd { status: Some(200), error: Some(TryError::Timeout), ..failed(0, Duration::ZERO) };
        assert!(matches!(verdict(&broken), Verdict::Again { why: TryError::Timeout, .. }));
    }

    #[test]
    fn the_pause_doubles_to_an_hour_and_half_of_it_is_chance() {
        for (before, whole) in [(0, 1), (1, 2), (2, 4), (10, 1_024), (11, 2_048), (12, 3_600), (4_000_000_000, 3_600)] {
            let whole = Duration::from_secs(whole);
            let pauses: Vec<_> = (0..200_u64)
                .map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
                .map(|random| pause_of(&TryEnd { random, ..failed(before, Duration::ZERO) }))
                .collect();
            assert!(pauses.iter().all(|pause| (whole / 2..=whole).contains(pause)), "{before}");
            let spread = *pauses.iter().max().unwrap() - *pauses.iter().min().unwrap();
            assert!(spread > whole / 3, "{before}: {spread:?}");
        }
    }

    #[test]
    fn a_day_of_failures_ends_in_a_last_try_at_its_end() {
        let (mut now, mut tries) = (START, 0);
        let died = loop {
            let attempt = TryEnd { before: tries, now, random: u64::from(tries) << 40, ..failed(0, Duration::ZERO) };
            tries += 1;
            match verdict(&attempt) {
                Verdict::Again { at, .. } => now = at,
                Verdict::Dead { why } => break (now, why),
                Verdict::Delivered => panic!("a 500 is no delivery"),
            }
        };
        assert_eq!(died, (START + GIVE_UP_AFTER, TryError::Status));
        assert!((30..60).contains(&tries), "{tries}");
    }

    #[test]
    fn what_the_receiver_asks_for_counts_within_bounds() {
        let asked = |status, seconds| {
            let wait = Some(Duration::from_secs(seconds));
            pause_of(&TryEnd { status: Some(status), retry_after: wait, ..failed(0, Duration::ZERO) })
        };
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        assert_eq!((asked(429, 120), asked(503, 120)), (minutes(2), minutes(2)));
        assert!(asked(500, 120) <= FIRST_PAUSE, "only with these two");
        assert_eq!(asked(429, 1_000_000), minutes(60), "at most an hour");
        assert!(asked(429, 0) >= FIRST_PAUSE / 2, "never sooner than without");
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now = Timestamp::parse_rfc3339("2015-10-21T07:27:00Z").unwrap();
        for (text, seconds) in [
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("99999999999999999999999", Some(3_600)),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Some(60)),
            ("Wed, 21 Oct 2015 07:20:00 GMT", Some(0)),
            ("-5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
