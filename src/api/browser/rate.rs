//! How often one source and one secret may ask: buckets that fill up again with time.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::super::Api;
use super::super::answer::Problem;
use super::super::limiter::{Allowance, Buckets, prefix, too_many};
use super::super::serve::Source;
use crate::model::{Timestamp, TokenDigest};

/// A source may be a whole company behind one address, or every browser behind our own proxy.
const SOURCE: Allowance = Allowance { burst: 2_000, per_second: 200 };
/// Whoever holds a token needs one answer; a thousand that race for it get theirs.
const TOKEN: Allowance = Allowance { burst: 2_000, per_second: 20 };
/// A browser that loses its network over and over asks a few times a minute.
const RETURNING: Allowance = Allowance { burst: 40, per_second: 2 };

/// What the browser paths have been asked for lately.
#[derive(Default)]
pub struct Rates {
    sources: Buckets<[u8; 8]>,
    tokens: Buckets<TokenDigest>,
    returning: Buckets<TokenDigest>,
}

impl Rates {
    pub fn opening(&self, token: TokenDigest, now: Timestamp) -> Result<(), Problem> {
        self.tokens.take(token, TOKEN, now).map_err(|wait| too_many(TOKEN, wait))
    }

    pub fn returning(&self, secret: TokenDigest, now: Timestamp) -> Result<(), Problem> {
        self.returning.take(secret, RETURNING, now).map_err(|wait| too_many(RETURNING, wait))
    }

    fn source(&self, source: IpAddr, now: Timestamp) -> Result<(), Problem> {
        self.sources.take(prefix(source), SOURCE, now).map_err(|wait| too_many(SOURCE, wait))
    }
}

/// Refuses a source that asks too often, before anything else is done for it.
pub async fn by_source(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let source = request.extensions().get::<Source>().copied();
    let rates = api.browser.as_ref().map(|browser| &browser.rates);
    if let (Some(Source(source)), Some(rates)) = (source, rates)
        && let Err(problem) = rates.source(source, (api.clock)())
    {
        return problem.into_response();
    }
    next.run(request).await
}
