//! Amounts: integer micro-units inside, decimal text outside.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An amount in micro-units of the deployment's one currency: `12_500` is `0.012500`.
///
/// Arithmetic is checked: an amount that does not fit is a broken invariant, never a wrap.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Money(i64);

/// The text is not a decimal with at most six places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an amount such as \"0.0125\": digits, at most six after the point, at most 1000000000")]
pub struct MoneyError;

impl Money {
    pub const ZERO: Money = Money(0);
    /// A billion units: no limit or price may be larger, so that sums stay far from overflow.
    pub const MAX: Money = Money(1_000_000_000_000_000);

    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// This amount `n` times over; saturates at [`Money::MAX`].
    pub fn times(self, n: u64) -> Money {
        let n = i64::try_from(n).unwrap_or(i64::MAX);
        Money(self.0.saturating_mul(n).min(Self::MAX.0))
    }

    pub fn saturating_sub_to_zero(self, other: Money) -> Money {
        Money((self.0 - other.0).max(0))
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let n = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:06}", n / 1_000_000, n % 1_000_000)
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Money {
    type Err = MoneyError;
    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let ok = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        let point_without_places = text.contains('.') && part.is_empty();
        if whole.is_empty() || whole.len() > 10 || part.len() > 6 || !ok(whole) || !ok(part) || point_without_places {
            return Err(MoneyError);
        }
        let micros = format!("{whole}{part:0<6}").parse().map_err(|_| MoneyError)?;
        if micros > Self::MAX.0 { Err(MoneyError) } else { Ok(Money(micros)) }
    }
}

impl Add for Money {
    type Output = Money;
    fn add(self, o: Money) -> Money {
        Money(self.0.checked_add(o.0).expect("money overflow"))
    }
}

impl Sub for Money {
    type Output = Money;
    fn sub(self, o: Money) -> Money {
        Money(self.0.checked_sub(o.0).expect("money overflow"))
    }
}

impl AddAssign for Money {
    fn add_assign(&mut self, o: Money) {
        *self = *self + o;
    }
}

impl SubAssign for Money {
    fn sub_assign(&mut self, o: Money) {
        *self = *self - o;
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Money>>(iter: I) -> Money {
        iter.fold(Money::ZERO, Add::add)
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_text_and_back() {
        for (text, micros) in
            [("0", 0), ("0.0125", 12_500), ("50.00", 50_000_000), ("1000000000", 1_000_000_000_000_000)]
        {
            assert_eq!(text.parse::<Money>().unwrap().as_micros(), micros);
        }
        assert_eq!(Money::from_micros(12_500).to_string(), "0.012500");
        for bad in ["", ".5", "5.", "-1", "1e3", "0.1234567", "1000000000.000001", "١"] {
            assert_eq!(bad.parse::<Money>(), Err(MoneyError), "{bad}");
        }
    }
}
