//! What a call ought to cost, counted the way a person would: period by period.

use std::time::Duration;

use revbridge::guardrails::LegPrice;

/// Micro-units for one leg that talked this long.
pub fn price(price: &LegPrice, talk: Duration) -> i64 {
    if talk.is_zero() {
        return 0;
    }
    let mut seconds = u64::from(price.first_seconds);
    while Duration::from_secs(seconds) < talk {
        seconds += u64::from(price.step_seconds);
    }
    let exact = price.per_minute.as_micros() as f64 * seconds as f64 / 60.0;
    price.connect.as_micros() + exact.ceil() as i64
}
