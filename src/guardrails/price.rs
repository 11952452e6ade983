//! What a leg to a number costs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::prefix::{Match, Prefix, PrefixError, PrefixMap};
use crate::model::{E164, Money};

/// What one leg costs, fixed when the call is admitted.
///
/// Time is charged in whole periods: the first as soon as the leg is answered, then one after the
/// other as each begins. With `first_seconds` 60 and `step_seconds` 6, 61 s of talk are billed as 66 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegPrice {
    pub per_minute: Money,
    /// Once, with the answer.
    pub connect: Money,
    /// The first period is charged whole; not 0.
    pub first_seconds: u32,
    /// Every further period is charged whole; not 0.
    pub step_seconds: u32,
}

impl LegPrice {
    /// The price of `talk`, from the leg's answer to its end. Zero is a leg that was never answered
    /// and costs nothing.
    pub fn cost(&self, talk: Duration) -> Money {
        match self.billed_seconds(talk) {
            0 => Money::ZERO,
            seconds => self.connect + self.rated(seconds),
        }
    }

    /// `talk` rounded up to whole periods.
    pub fn billed_seconds(&self, talk: Duration) -> u64 {
        if talk.is_zero() {
            return 0;
        }
        let (first, step) = (u64::from(self.first_seconds), u64::from(self.step_seconds.max(1)));
        let rest = talk.saturating_sub(Duration::from_secs(first));
        let steps = rest.as_micros().div_ceil(u128::from(step) * 1_000_000);
        first.saturating_add(u64::try_from(steps).unwrap_or(u64::MAX).saturating_mul(step))
    }

    /// What the answer costs at once: the connect fee and the first period. An admission reserves it
    /// for both legs.
    pub fn first_period(&self) -> Money {
        self.connect + self.rated(u64::from(self.first_seconds))
    }

    /// Enough for one more step: `first_period() + n * step_cost()` is never less than what `n` steps
    /// after the first period cost, and at most `n` micro-units more.
    pub fn step_cost(&self) -> Money {
        self.rated(u64::from(self.step_seconds))
    }

    /// The length of a step.
    pub fn step(&self) -> Duration {
        Duration::from_secs(u64::from(self.step_seconds.max(1)))
    }

    /// The longest talk, in whole periods, whose cost `reserved` covers; [`Duration::MAX`] when time is
    /// free, zero when not even the first period is covered.
    pub fn paid_until(&self, reserved: Money) -> Duration {
        let Some(for_time) = reserved.as_micros().checked_sub(self.connect.as_micros()).filter(|left| *left >= 0)
        else {
            return Duration::ZERO;
        };
        if self.per_minute == Money::ZERO {
            return Duration::MAX;
        }
        let seconds = i128::from(for_time) * 60 / i128::from(self.per_minute.as_micros());
        let (first, step) = (i128::from(self.first_seconds), i128::from(self.step_seconds.max(1)));
        if seconds < first {
            return Duration::ZERO;
        }
        let whole = first + (seconds - first) / step * step;
        Duration::from_secs(u64::try_from(whole).unwrap_or(u64::MAX))
    }

    /// The per-minute part of `seconds`, rounded up to the micro-unit.
    fn rated(&self, seconds: u64) -> Money {
        let micros = i128::from(self.per_minute.as_micros()) * i128::from(seconds);
        let rounded = micros / 60 + i128::from(micros % 60 > 0);
        Money::from_micros(i64::try_from(rounded).unwrap_or(i64::MAX)).min(Money::MAX)
    }
}

/// Prices by prefix; the longest wins.
#[derive(Debug, Clone, Default)]
pub struct PriceTable {
    by_prefix: PrefixMap<LegPrice>,
}

impl PriceTable {
    /// Refuses a prefix that is priced twice.
    pub fn new<'a>(prices: impl IntoIterator<Item = (&'a str, LegPrice)>) -> Result<Self, PrefixError> {
        let mut table = Self::default();
        for (prefix, price) in prices {
            let place = table.by_prefix.entry(Prefix::parse(prefix)?.digits());
            if place.replace(price).is_some() {
                return Err(PrefixError::Twice);
            }
        }
        Ok(table)
    }

    /// The price of a leg to `number`. A number of a special range (premium, satellite, a country
    /// inside a shared code) has the price of that range or none: never that of the code around it.
    pub fn price(&self, number: E164) -> Option<LegPrice> {
        let Match { length, value } = self.by_prefix.longest(number)?;
        (length >= super::classes::range(number).length).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(per_minute: &str, connect: &str, first_seconds: u32, step_seconds: u32) -> LegPrice {
        LegPrice {
            per_minute: per_minute.parse().unwrap(),
            connect: connect.parse().unwrap(),
            first_seconds,
            step_seconds,
        }
    }

    fn number(text: &str) -> E164 {
        E164::parse(text).unwrap()
    }

    #[test]
    fn time_is_charged_in_whole_periods() {
        let p = price("0.0100", "0.002", 60, 6);
        for (talk_ms, billed, micros) in
            [(0, 0, 0), (1, 60, 12_000), (60_000, 60, 12_000), (60_001, 66, 13_000), (66_000, 66, 13_000)]
        {
            let talk = Duration::from_millis(talk_ms);
            assert_eq!(p.billed_seconds(talk), billed, "{talk:?}");
            assert_eq!(p.cost(talk).as_micros(), micros, "{talk:?}");
        }
    }

    #[test]
    fn the_sum_is_rounded_up_once() {
        let p = price("0.000001", "0", 1, 1);
        assert_eq!(p.cost(Duration::from_secs(60)).as_micros(), 1);
        assert_eq!(p.cost(Duration::from_secs(61)).as_micros(), 2);
        assert_eq!(p.step_cost().as_micros(), 1);
    }

    #[test]
    fn what_is_paid_covers_the_talk_and_not_a_moment_more() {
        for p in [price("0.0100", "0.002", 60, 6), price("0.000007", "0", 1, 1), price("3.999999", "1", 30, 30)] {
            for steps in 0..50 {
                let reserved = p.first_period() + p.step_cost().times(steps);
                let paid = p.paid_until(reserved);
                assert!(paid >= Duration::from_secs(u64::from(p.first_seconds)) + p.step() * steps as u32);
                assert!(p.cost(paid) <= reserved);
                assert!(p.cost(paid + Duration::from_micros(1)) > reserved);
            }
            assert_eq!(p.paid_until(p.first_period() - Money::from_micros(1)), Duration::ZERO);
        }
        assert_eq!(price("0", "0", 1, 1).paid_until(Money::ZERO), Duration::MAX);
    }

    #[test]
    fn the_longest_prefix_prices_and_two_prices_for_one_are_refused() {
        let (near, far) = (price("0.01", "0", 60, 6), price("0.50", "0", 60, 60));
        let table = PriceTable::new([("+1", near), ("+1415", far), ("+44", near)]).unwrap();
        assert_eq!(table.price(number("+14155550100")), Some(far));
        assert_eq!(table.price(number("+12025550100")), Some(near));
        assert_eq!(table.price(number("+33123456789")), None);
        assert_eq!(PriceTable::new([("+1", near), ("+1", far)]).unwrap_err(), PrefixError::Twice);
        assert_eq!(PriceTable::new([("1", near)]).unwrap_err(), PrefixError::Malformed);
    }

    #[test]
    fn a_special_range_is_not_priced_by_the_code_around_it() {
        let p = price("0.01", "0", 60, 6);
        let around = PriceTable::new([("+1", p), ("+8", p)]).unwrap();
        for special in ["+18765550100", "+19005550100", "+12129765555", "+88212345678"] {
            assert_eq!(around.price(number(special)), None, "{special}");
        }
        let itself = PriceTable::new([("+1", p), ("+1876", p)]).unwrap();
        assert_eq!(itself.price(number("+18765550100")), Some(p));
    }
}
