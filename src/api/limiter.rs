//! How often one key and one source may ask: buckets that fill up again with time.
//!
//! ```text
//! request ─▶ key known? ─ yes ─▶ the key's bucket ──────┐
//!                └─ no ─▶ the bucket of its source ─────┴─▶ empty: 429, or on to the router
//! ```
//!
//! It stands before everything but the digest of the key: a flood costs a hash and a look-up each, and never
//! reaches the store, the switch or a live call. Whoever has a key is judged by the key alone, so strangers
//! behind the same address cannot use its allowance up.
//!
//! Deliberately absent: a limit that holds over several nodes. What must hold there are the guardrails, and the
//! store decides on them.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::answer::Problem;
use super::refusal::{RATE_LIMIT, RATE_LIMIT_POLICY};
use super::serve::Source;
use super::{Api, auth};
use crate::model::Timestamp;

pub use crate::config::Allowance;

/// Buckets of one kind. Those who come when there is no room share one.
const MOST: usize = 10_000;

/// What clients have asked for lately.
pub struct Limiter {
    allowance: Allowance,
    keys: Buckets<[u8; 32]>,
    sources: Buckets<[u8; 8]>,
}

impl Limiter {
    pub fn new(allowance: Allowance) -> Self {
        Self { allowance, keys: Buckets::default(), sources: Buckets::default() }
    }
}

/// Finds out whose key a request carries, once, and refuses whoever asks too often.
pub async fn limit(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    let caller = auth::identify(&api, request.headers());
    let source = request.extensions().get::<Source>().copied();
    let Limiter { allowance, keys, sources } = &api.edge.limiter;
    let now = (api.clock)();
    let taken = match (&caller, source) {
        (Some(caller), _) => keys.take(caller.sha256, *allowance, now),
        (None, Some(Source(source))) => sources.take(prefix(source), *allowance, now),
        (None, None) => Ok(()),
    };
    if let Err(wait) = taken {
        return too_many(*allowance, wait).into_response();
    }
    if let Some(caller) = caller {
        request.extensions_mut().insert(caller);
    }
    next.run(request).await
}

/// The quota that is told is the burst, which is there again when nothing was asked for so many seconds.
pub fn too_many(allowance: Allowance, wait: u64) -> Problem {
    let Allowance { burst, per_second } = allowance;
    let message = "too many requests; try again after Retry-After";
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message)
        .retry_after(wait)
        .header(RATE_LIMIT_POLICY, format!("\"requests\";q={burst};w={}", burst.div_ceil(per_second)))
        .header(RATE_LIMIT, format!("\"requests\";r=0;t={wait}"))
}

/// An IPv4 address, or the half of an IPv6 address that names a network: who has one has all of it.
pub fn prefix(source: IpAddr) -> [u8; 8] {
    let octets = match source.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => return first_half(v6.octets()),
    };
    let mut key = [0; 8];
    key.copy_from_slice(&octets[8..]);
    key
}

fn first_half(octets: [u8; 16]) -> [u8; 8] {
    let mut key = [0; 8];
    key.copy_from_slice(&octets[..8]);
    key
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// In millionths of a request.
    left: u64,
    at: Timestamp,
}

const ONE: u64 = 1_000_000;

impl Bucket {
    fn full(allowance: Allowance, now: Timestamp) -> Self {
        Self { left: allowance.burst * ONE, at: now }
    }

    fn fill(&mut self, allowance: Allowance, now: Timestamp) {
        let micros = u64::try_from(now.since(self.at).as_micros()).unwrap_or(u64::MAX);
        let more = micros.saturating_mul(allowance.per_second);
        self.left = self.left.saturating_add(more).min(allowance.burst * ONE);
        self.at = self.at.max(now);
    }

    /// Whole seconds to wait when it is empty.
    fn take(&mut self, allowance: Allowance) -> Result<(), u64> {
        match self.left.checked_sub(ONE) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err((ONE - self.left).div_ceil(allowance.per_second * ONE).max(1)),
        }
    }
}

pub struct Buckets<K>(Mutex<(HashMap<K, Bucket>, Option<Bucket>)>);

impl<K> Default for Buckets<K> {
    fn default() -> Self {
        Self(Mutex::new((HashMap::new(), None)))
    }
}

impl<K: Eq + Hash> Buckets<K> {
    /// Takes one of `key`'s requests, or says how many whole seconds it must wait.
    pub fn take(&self, key: K, allowance: Allowance, now: Timestamp) -> Result<(), u64> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (own, shared) = &mut *buckets;
        if own.len() >= MOST && !own.contains_key(&key) {
            // A full bucket is as good as none.
            own.retain(|_, bucket| {
                bucket.fill(allowance, now);
                bucket.left < allowance.burst * ONE
            });
        }
        let full = Bucket::full(allowance, now);
        let bucket = match own.len() < MOST || own.contains_key(&key) {
            true => own.entry(key).or_insert(full),
            false => shared.get_or_insert(full),
        };
        bucket.fill(allowance, now);
        bucket.take(allowance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: Allowance = Allowance { burst: 3, per_second: 1 };

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + ms)
    }

    #[test]
    fn a_burst_and_then_a_steady_rate() {
        let buckets = Buckets::<u32>::default();
        let took = (0..5).filter(|_| buckets.take(1, THREE, at(0)).is_ok()).count();
        assert_eq!(took, 3);
        assert_eq!(buckets.take(1, THREE, at(999)), Err(1));
        assert_eq!(buckets.take(1, THREE, at(1_000)), Ok(()));
        assert_eq!(buckets.take(2, THREE, at(1_000)), Ok(()), "each has its own");
        assert_eq!(buckets.take(1, THREE, at(0)), Err(1), "time that goes back gives nothing");
    }

    #[test]
    fn a_flood_of_sources_shares_one_bucket_and_costs_no_more_memory() {
        let buckets = Buckets::<usize>::default();
        let took = (0..MOST + 100).filter(|key| buckets.take(*key, THREE, at(0)).is_ok()).count();
        assert_eq!(took, MOST + 3);
        assert_eq!(buckets.0.lock().unwrap().0.len(), MOST);
        assert_eq!(buckets.take(MOST + 1, THREE, at(60_000)), Ok(()), "those that were idle make room");
        assert_eq!(buckets.0.lock().unwrap().0.len(), 1);
    }

    #[test]
    fn one_network_is_one_source() {
        let key = |text: &str| prefix(text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8::1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    }
}
