//! The challenges that one peer has set, and our answers to them, request after request.
//!
//! ```text
//! WWW-Authenticate, Proxy-Authenticate ─▶ learn ─▶ one nonce of each kind ─▶ answer ─▶ a header for each, count + 1
//! ```
//!
//! Deliberately absent: `nextnonce` of Authentication-Info, which is optional and would let a peer make us store
//! something with each response; and any nonce in a snapshot: after a restart the peer challenges anew.

use super::digest::{self, Challenge, Subject};
use super::ident::Token;
use super::wire::{HeaderName, Message};
use crate::config::Credentials;
use crate::model::Secret;

/// Our answer to a challenge, as the header line that carries it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Authorization {
    /// `Proxy-Authorization`, the answer to 407, rather than `Authorization`.
    pub proxy: bool,
    pub value: String,
}

impl Authorization {
    pub fn name(&self) -> HeaderName {
        if self.proxy { HeaderName::ProxyAuthorization } else { HeaderName::Authorization }
    }
}

/// At most one nonce of a proxy, and one of whom stands behind it.
#[derive(Debug, Default)]
pub struct Nonces(Vec<Nonce>);

#[derive(Debug)]
struct Nonce {
    proxy: bool,
    challenge: Challenge<'static>,
    /// The same for as long as the nonce serves: it is part of a `-sess` secret (RFC 7616 §3.4.2).
    client_nonce: String,
    /// Requests with it until now.
    count: u32,
}

impl Nonces {
    /// Whether this response, of status 401 or 407, holds a challenge that can be answered with these credentials.
    /// `secret` gives the client nonce.
    pub fn learn(&mut self, credentials: &Credentials, secret: Secret, response: &Message<'_>, status: u16) -> bool {
        let proxy = status == 407;
        let learnt = self.learn_kind(credentials, secret, response, proxy);
        if learnt {
            // RFC 3261 §22.3: a proxy that has forked joins the challenges of others to its own.
            self.learn_kind(credentials, secret, response, !proxy);
        }
        learnt
    }

    fn learn_kind(&mut self, credentials: &Credentials, secret: Secret, response: &Message<'_>, proxy: bool) -> bool {
        let header = if proxy { HeaderName::ProxyAuthenticate } else { HeaderName::WwwAuthenticate };
        let Ok(challenge) = digest::choose(response.headers(header), &credentials.realm) else { return false };
        let number = response.cseq.number.to_be_bytes();
        let client_nonce = Token::derive(secret, "cnonce", &[&number, &[u8::from(proxy)]]).to_string();
        self.0.retain(|known| known.proxy != proxy);
        self.0.push(Nonce { proxy, challenge: challenge.into_owned(), client_nonce, count: 0 });
        true
    }

    /// For the next request.
    pub fn answer(&mut self, credentials: &Credentials, subject: Subject<'_>) -> Vec<Authorization> {
        let answer = |nonce: &mut Nonce| {
            nonce.count = nonce.count.saturating_add(1);
            let value = nonce.challenge.answer(credentials, subject, nonce.count, &nonce.client_nonce);
            Authorization { proxy: nonce.proxy, value }
        };
        self.0.iter_mut().map(answer).collect()
    }
}
