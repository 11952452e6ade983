//! Moments and days.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment: microseconds since the Unix epoch. Only the shell's clock makes one from the world;
/// within one run of the program it never goes back, whatever is done to the wall clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    pub const fn as_micros(self) -> u64 {
        self.0
    }

    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// The time from `earlier` to this moment; zero when `earlier` lies in the future.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    fn civil(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(i64::try_from(self.as_millis()).unwrap_or(i64::MAX))
            .unwrap_or(jiff::Timestamp::MAX)
    }

    /// RFC 3339 in UTC with milliseconds: `2026-01-31T09:00:00.000Z`.
    pub fn rfc3339(self) -> String {
        format!("{:.3}", self.civil())
    }

    /// As SIP's Date says it (RFC 3261 §20.17): `Sat, 31 Jan 2026 09:00:00 GMT`.
    pub fn rfc1123(self) -> String {
        self.civil().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    }

    /// Reads an RFC 3339 time; `None` when it is none or lies before 1970.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let at: jiff::Timestamp = text.parse().ok()?;
        u64::try_from(at.as_microsecond()).ok().map(Self)
    }

    /// Likewise, for the bound of a range: a time before 1970 is as good as its beginning.
    pub fn parse_bound(text: &str) -> Option<Self> {
        let at: jiff::Timestamp = text.parse().ok()?;
        Some(Self(u64::try_from(at.as_microsecond()).unwrap_or(0)))
    }

    /// The calendar day of this moment in `zone`.
    pub fn day(self, zone: &jiff::tz::TimeZone) -> Day {
        let date = zone.to_datetime(self.civil()).date();
        Day(date.since((jiff::Unit::Day, jiff::civil::date(1970, 1, 1))).map_or(0, |s| s.get_days()))
    }

    /// The first moment of the day that follows this moment's day in `zone`.
    pub fn next_midnight(self, zone: &jiff::tz::TimeZone) -> Timestamp {
        zone.to_datetime(self.civil())
            .date()
            .tomorrow()
            .and_then(|d| d.to_zoned(zone.clone()))
            .ok()
            .and_then(|z| u64::try_from(z.timestamp().as_microsecond()).ok())
            .map_or(self, Timestamp)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;
    fn add(self, d: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(u64::try_from(d.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Timestamp;
    fn sub(self, d: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(u64::try_from(d.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// A calendar day in an organization's timezone: days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Day(pub i32);

impl Day {
    pub const fn before(self) -> Day {
        Day(self.0 - 1)
    }

    /// Reads `2026-01-31`.
    pub fn parse(text: &str) -> Option<Self> {
        let shape = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        let date: jiff::civil::Date = text.parse().ok().filter(|_| shape)?;
        date.since((jiff::Unit::Day, jiff::civil::date(1970, 1, 1))).ok().map(|s| Day(s.get_days()))
    }
}

/// `2026-01-31`.
impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = jiff::Span::new().try_days(self.0).unwrap_or_default();
        let date = jiff::civil::date(1970, 1, 1).checked_add(days).unwrap_or(jiff::civil::Date::MAX);
        fmt::Display::fmt(&date, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let t = Timestamp::from_millis(1_767_225_600_123);
        assert_eq!(t.rfc3339(), "2026-01-01T00:00:00.123Z");
        assert_eq!(Timestamp::parse_rfc3339("2026-01-01T01:00:00.123+01:00"), Some(t));
    }

    #[test]
    fn days_are_written_and_read() {
        for (text, day) in [("1970-01-01", 0), ("1969-12-31", -1), ("2026-01-31", 20_484), ("2024-02-29", 19_782)] {
            assert_eq!((Day::parse(text), Day(day).to_string().as_str()), (Some(Day(day)), text));
        }
        for bad in ["2026-02-30", "2026-1-31", "20260131", "2026-01-31T00", "+002026-01", ""] {
            assert_eq!(Day::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_day_turns_at_local_midnight_also_when_the_clocks_change() {
        let zone = jiff::tz::TimeZone::get("America/New_York").unwrap();
        // 2026-03-08 has 23 hours in New York.
        let noon = Timestamp::parse_rfc3339("2026-03-08T12:00:00-04:00").unwrap();
        let midnight = noon.next_midnight(&zone);
        assert_eq!(midnight.rfc3339(), "2026-03-09T04:00:00.000Z");
        assert_eq!(midnight.day(&zone).0, noon.day(&zone).0 + 1);
        assert_eq!((midnight - Duration::from_micros(1)).day(&zone), noon.day(&zone));
    }
}
