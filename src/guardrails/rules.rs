//! Limits and allowlists, as an organization is given them.

use std::sync::Arc;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::classes::{self, NumberClass};
use super::prefix::{Match, Prefix, PrefixError, PrefixMap};
use super::{BreakerLimits, DestinationProblem, PriceTable};
use crate::model::{E164, Money, Side};

/// An organization's limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    pub max_concurrent_legs: u32,
    /// Calls admitted in any rolling 60 s.
    pub max_calls_per_minute: u32,
    pub daily_spend_limit: Money,
    /// IANA name; the day turns at its midnight.
    pub timezone: String,
    /// Both legs of each of the user's calls count; `None` is no cap of its own.
    #[serde(default)]
    pub max_legs_per_user: Option<u32>,
    /// One leg of each call to the number counts; `None` is no cap of its own.
    #[serde(default)]
    pub max_legs_per_destination: Option<u32>,
    #[serde(default)]
    pub breakers: BreakerLimits,
}

/// Nothing is allowed.
impl Default for Limits {
    fn default() -> Self {
        Self {
            max_concurrent_legs: 0,
            max_calls_per_minute: 0,
            daily_spend_limit: Money::ZERO,
            timezone: "UTC".to_owned(),
            max_legs_per_user: None,
            max_legs_per_destination: None,
            breakers: BreakerLimits::default(),
        }
    }
}

/// Prefixes that may be called, and prefixes that may not; the longest that matches decides.
/// The default lists nothing, so allows nothing.
#[derive(Debug, Clone, Default)]
pub struct Allowlist {
    may: PrefixMap<bool>,
}

impl Allowlist {
    /// Reads entries such as `+1` and `!+1900`. A prefix that is both allowed and blocked is blocked.
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, PrefixError> {
        let mut list = Self::default();
        for entry in entries {
            let (text, may) = entry.strip_prefix('!').map_or((entry, true), |blocked| (blocked, false));
            let place = list.may.entry(Prefix::parse(text)?.digits());
            *place = Some(place.unwrap_or(true) && may);
        }
        Ok(list)
    }

    /// May `side`'s leg go to `number`?
    pub fn judge(&self, side: Side, number: E164) -> Result<(), DestinationProblem> {
        let range = classes::range(number);
        if range.value.is_never_dialled() {
            return Err(DestinationProblem::NeverDialled(side));
        }
        match self.may.longest(number) {
            Some(Match { value: true, length }) if length >= range.length => Ok(()),
            Some(Match { value: true, .. }) if range.value != NumberClass::Country => {
                Err(DestinationProblem::Class(side, range.value))
            }
            Some(_) | None => Err(DestinationProblem::NotListed(side)),
        }
    }
}

/// All that the guardrails know of an organization, but for what is in use.
#[derive(Debug, Clone)]
pub struct Rules {
    pub limits: Limits,
    /// The zone that `limits.timezone` names.
    pub zone: TimeZone,
    pub allowlist: Allowlist,
    /// Active numbers that the organization owns, sorted.
    pub numbers: Vec<E164>,
    pub prices: Arc<PriceTable>,
}

/// `limits.timezone` is not in the IANA database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an IANA timezone such as \"Europe/Berlin\"")]
pub struct UnknownTimezone;

impl Rules {
    pub fn new(
        limits: Limits,
        allowlist: Allowlist,
        mut numbers: Vec<E164>,
        prices: Arc<PriceTable>,
    ) -> Result<Self, UnknownTimezone> {
        let zone = TimeZone::get(&limits.timezone).map_err(|_| UnknownTimezone)?;
        numbers.sort();
        Ok(Self { limits, zone, allowlist, numbers, prices })
    }

    /// The rules of an organization that exists no more: it owns nothing and may call nobody.
    pub fn closed() -> Self {
        let (limits, allowlist, prices) = Default::default();
        Self { limits, zone: TimeZone::UTC, allowlist, numbers: Vec::new(), prices }
    }

    pub fn owns(&self, number: E164) -> bool {
        self.numbers.binary_search(&number).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DestinationProblem::{Class, NeverDialled, NotListed};

    fn judge(entries: &[&str], number: &str) -> Result<(), DestinationProblem> {
        let list = Allowlist::parse(entries.iter().copied()).unwrap();
        list.judge(Side::Destination, E164::parse(number).unwrap())
    }

    #[test]
    fn the_longest_prefix_decides_and_nothing_listed_is_nothing_allowed() {
        let side = Side::Destination;
        assert_eq!(judge(&[], "+14155550100"), Err(NotListed(side)));
        assert_eq!(judge(&["+1"], "+14155550100"), Ok(()));
        assert_eq!(judge(&["+1", "!+1415"], "+14155550100"), Err(NotListed(side)));
        assert_eq!(judge(&["+1", "!+1415", "+1415555"], "+14155550100"), Ok(()));
        assert_eq!(judge(&["!+1", "+1415"], "+14155550100"), Ok(()));
        assert_eq!(judge(&["+1", "!+1"], "+14155550100"), Err(NotListed(side)));
        assert_eq!(judge(&["!+1", "+1"], "+14155550100"), Err(NotListed(side)));
    }

    #[test]
    fn a_country_code_does_not_cover_the_special_ranges_inside() {
        let side = Side::Destination;
        assert_eq!(judge(&["+1"], "+18765550100"), Err(NotListed(side)));
        assert_eq!(judge(&["+1876"], "+18765550100"), Ok(()));
        assert_eq!(judge(&["+1876"], "+18095550100"), Err(NotListed(side)));
        assert_eq!(judge(&["+1"], "+19005550100"), Err(Class(side, NumberClass::Premium)));
        assert_eq!(judge(&["+1", "+1900"], "+19005550100"), Ok(()));
        assert_eq!(judge(&["+1", "+1212"], "+12129765555"), Err(Class(side, NumberClass::Premium)));
        assert_eq!(judge(&["+1212976"], "+12129765555"), Ok(()));
        assert_eq!(judge(&["+8"], "+881612345678"), Err(Class(side, NumberClass::Satellite)));
        assert_eq!(judge(&["+881"], "+881612345678"), Ok(()));
    }

    #[test]
    fn emergency_and_short_codes_are_never_dialled_even_when_listed() {
        for number in ["+911", "+112", "+999", "+988", "+611", "+1911", "+19115550100"] {
            assert_eq!(judge(&["+1", "+9", number], number), Err(NeverDialled(Side::Destination)), "{number}");
        }
    }

    #[test]
    fn entries_that_are_no_prefixes_are_refused() {
        for bad in ["", "+", "1", "!1", "!!+1", "+0", "+1 415", "+1x", "+1234567890123456", "*"] {
            assert_eq!(Allowlist::parse([bad]).unwrap_err(), PrefixError::Malformed, "{bad:?}");
        }
    }
}
