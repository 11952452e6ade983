//! How often a stranger gets an answer: so often that a person or a monitor notices nothing, and so
//! seldom that a scanner learns little and a forged source is sent little (no amplification).
//!
//! Each source has a bucket, and all of them together have one. A source is an address, of IPv6 the
//! network of 64 bits that one subscriber has. What belongs to a leg, and whatever a trunk sends, never
//! gets here. The places are fixed: two sources may share one, so that to come from everywhere makes
//! nobody forgotten; the secret keeps a stranger from choosing whom to share with.

use std::net::IpAddr;
use std::time::Duration;

use super::ident::Token;
use crate::model::{Secret, Timestamp};

/// Answers to one source: five a second, ten at once. An OPTIONS monitor asks once in some seconds.
const OF_ONE: Rate = Rate { every: Duration::from_millis(200), at_once: 10 };

/// Answers to all of them: a hundred times the traffic of an ordinary day, and a five-hundredth of what the
/// switch's thread can do.
const OF_ALL: Rate = Rate { every: Duration::from_millis(2), at_once: 200 };

/// Sources that are told apart. Each takes eight bytes.
const PLACES: usize = 4_096;

/// At most one each `every`, and so many without a pause.
#[derive(Debug, Clone, Copy)]
struct Rate {
    every: Duration,
    at_once: u32,
}

/// The moment at which everything is given back that was taken (the theoretical arrival time of the
/// generic cell rate algorithm, ITU-T I.371).
#[derive(Debug, Clone, Copy, Default)]
struct Bucket(Timestamp);

impl Bucket {
    /// Never further ahead than a full bucket is: after a step of the clock nobody waits for longer.
    fn has_room(&mut self, rate: Rate, now: Timestamp) -> bool {
        self.0 = self.0.min(now + rate.every * rate.at_once);
        self.0.since(now) <= rate.every * (rate.at_once - 1)
    }

    fn take(&mut self, rate: Rate, now: Timestamp) {
        self.0 = self.0.max(now) + rate.every;
    }
}

/// What strangers have been answered of late.
#[derive(Debug)]
pub struct Strangers {
    secret: Secret,
    places: Vec<Bucket>,
    all: Bucket,
}

impl Strangers {
    pub fn new(secret: Secret) -> Self {
        Self { secret, places: vec![Bucket::default(); PLACES], all: Bucket::default() }
    }

    /// Whether this source may be answered once more; that counts as an answer.
    pub fn may_answer(&mut self, now: Timestamp, source: IpAddr) -> bool {
        let place = self.place(source);
        let Some(own) = self.places.get_mut(place) else { return false };
        let room = [own.has_room(OF_ONE, now), self.all.has_room(OF_ALL, now)];
        if room != [true; 2] {
            return false;
        }
        own.take(OF_ONE, now);
        self.all.take(OF_ALL, now);
        true
    }

    fn place(&self, source: IpAddr) -> usize {
        let network = match source.to_canonical() {
            IpAddr::V4(ip) => u128::from(u32::from(ip)),
            IpAddr::V6(ip) => u128::from(ip) >> 64 << 64,
        };
        let token = Token::derive(self.secret, "stranger", &[&network.to_be_bytes()]);
        token.low() as usize % PLACES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_source_has_its_burst_and_then_its_rate() {
        let mut strangers = Strangers::new(Secret([1; 16]));
        let scan = ip("192.0.2.66");
        let heard = |strangers: &mut Strangers, now| (0..100).filter(|_| strangers.may_answer(now, scan)).count();
        assert_eq!(heard(&mut strangers, NOW), 10);
        assert_eq!(heard(&mut strangers, NOW + Duration::from_millis(199)), 0);
        assert_eq!(heard(&mut strangers, NOW + Duration::from_millis(200)), 1);
        assert_eq!(heard(&mut strangers, NOW + Duration::from_secs(60)), 10, "nothing is saved up beyond the burst");
        assert!(strangers.may_answer(NOW + Duration::from_secs(60), ip("192.0.2.67")), "another one has its own");
        assert_eq!(heard(&mut strangers, NOW), 0, "a clock that steps back gives nothing away");
        assert_eq!(heard(&mut strangers, NOW + Duration::from_secs(2)), 10, "and takes no more than a burst");
    }

    #[test]
    fn a_network_of_ipv6_is_one_source_and_a_mapped_address_is_what_it_maps() {
        let mut strangers = Strangers::new(Secret([1; 16]));
        let heard = (0u32..100).filter(|n| strangers.may_answer(NOW, ip(&format!("2001:db8:1:2::{n:x}")))).count();
        assert_eq!(heard, 10);
        assert!((0..10).all(|_| strangers.may_answer(NOW, ip("192.0.2.1"))));
        assert!(!strangers.may_answer(NOW, ip("::ffff:192.0.2.1")));
    }

    #[test]
    fn all_sources_together_have_a_rate() {
        let mut strangers = Strangers::new(Secret([1; 16]));
        let mut heard = 0;
        for second in 0..2u32 {
            for n in 0..20_000u32 {
                let now = NOW + Duration::from_secs(second.into()) + Duration::from_micros(50) * n;
                heard += u32::from(strangers.may_answer(now, IpAddr::from(n.to_be_bytes())));
            }
        }
        assert!((1_150..=1_201).contains(&heard), "{heard} of 40,000 in two seconds");
    }
}
