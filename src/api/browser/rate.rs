//! How often one source and one secret may ask: buckets that fill up again with time.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::super::Api;
use super::super::serve::Source;
use super::answers;
use crate::model::{Timestamp, TokenDigest};

/// A source may be a whole company behind one address, or every browser behind our own proxy.
const SOURCE: Allowance = Allowance { burst: 2_000, per_second: 200 };
/// Whoever holds a token needs one answer; a thousand that race for it get theirs.
const TOKEN: Allowance = Allowance { burst: 2_000, per_second: 20 };
/// A browser that loses its network over and over asks a few times a minute.
const RETURNING: Allowance = Allowance { burst: 40, per_second: 2 };
/// Buckets of one kind. Those who come when there is no room share one.
const MOST: usize = 10_000;

#[derive(Debug, Clone, Copy)]
struct Allowance {
    burst: u64,
    per_second: u64,
}

/// What the browser paths have been asked for lately.
#[derive(Default)]
pub struct Rates {
    sources: Buckets<[u8; 8]>,
    tokens: Buckets<TokenDigest>,
    returning: Buckets<TokenDigest>,
}

impl Rates {
    pub fn opening(&self, token: TokenDigest, now: Timestamp) -> Result<(), u64> {
        self.tokens.take(token, TOKEN, now)
    }

    pub fn returning(&self, secret: TokenDigest, now: Timestamp) -> Result<(), u64> {
        self.returning.take(secret, RETURNING, now)
    }

    fn source(&self, source: IpAddr, now: Timestamp) -> Result<(), u64> {
        self.sources.take(prefix(source), SOURCE, now)
    }
}

/// An IPv4 address, or the half of an IPv6 address that names a network: who has one has all of it.
fn prefix(source: IpAddr) -> [u8; 8] {
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

/// Refuses a source that asks too often, before anything else is done for it.
pub async fn by_source(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let source = request.extensions().get::<Source>().copied();
    let rates = api.browser.as_ref().map(|browser| &browser.rates);
    if let (Some(Source(source)), Some(rates)) = (source, rates)
        && let Err(wait) = rates.source(source, (api.clock)())
    {
        return answers::rate_limited(wait).into_response();
    }
    next.run(request).await
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

struct Buckets<K>(Mutex<(HashMap<K, Bucket>, Option<Bucket>)>);

impl<K> Default for Buckets<K> {
    fn default() -> Self {
        Self(Mutex::new((HashMap::new(), None)))
    }
}

impl<K: Eq + Hash> Buckets<K> {
    fn take(&self, key: K, allowance: Allowance, now: Timestamp) -> Result<(), u64> {
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
