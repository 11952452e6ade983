//! How a stream sounds: the E-model (ITU-T G.107) with the few inputs that a relay knows.

use std::time::Duration;

/// One way, what a relay cannot see: the network behind each party and a frame at each end.
const FIXED_DELAY_MS: f64 = 60.0;
/// G.113 appendix I: how well G.711 with concealment bears random loss.
const LOSS_ROBUSTNESS: f64 = 25.1;
/// G.107 §7.7: the rating of an undisturbed connection with default values.
const BEST: f64 = 93.2;

/// Mean opinion score in hundredths, from the share of packets lost and the jitter.
pub(super) fn mos_hundredths(expected: u64, lost: u64, jitter: Duration) -> u16 {
    if expected == 0 {
        return 0;
    }
    let loss = 100.0 * lost as f64 / expected as f64;
    // A jitter buffer adds about twice the jitter.
    let delay = FIXED_DELAY_MS + 2.0 * jitter.as_secs_f64() * 1_000.0;
    let delay_impairment = 0.024 * delay + 0.11 * (delay - 177.3).max(0.0);
    let rating = (BEST - delay_impairment - 95.0 * loss / (loss + LOSS_ROBUSTNESS)).clamp(0.0, 100.0);
    // G.107 annex B.
    let score = 1.0 + 0.035 * rating + rating * (rating - 60.0) * (100.0 - rating) * 7e-6;
    (score.clamp(1.0, 4.5) * 100.0).round() as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_is_good_and_every_impairment_costs() {
        let mos = |lost, jitter_ms| mos_hundredths(1_000, lost, Duration::from_millis(jitter_ms));
        assert!((430..=441).contains(&mos(0, 0)), "{}", mos(0, 0));
        assert!(mos(0, 0) > mos(20, 0) && mos(20, 0) > mos(100, 0) && mos(100, 0) > mos(1_000, 0));
        assert!(mos(0, 0) > mos(0, 150));
        assert_eq!(mos_hundredths(0, 0, Duration::ZERO), 0);
        assert!(mos(1_000, 10_000) >= 100);
    }
}
