//! Answers to 401 and 407 (RFC 3261 §22): with the trunk's own credentials, for their own realm, and at
//! most twice.
//!
//! ```text
//! 401, 407 ─▶ authorize ─▶ Nonce of the peer, Nonce of a proxy ─▶ credentials ─▶ every further request
//! ```
//!
//! A challenge that was answered goes on being answered (RFC 3261 §22.3, RFC 7616 §3.6): a proxy's 407 after the
//! peer's 401 does not take the peer's answer away, and a BYE brings both along, each count one higher. Who finds a
//! nonce too old says so with a new one.
//!
//! Deliberately absent: `nextnonce` of Authentication-Info, which is optional and would let a peer make us store
//! something with each response; and the nonces in a snapshot: after a restart a BYE is challenged anew.

use super::Leg;
use super::compose::Authorization;
use crate::leg::Loss;
use crate::sip::digest::{self, Challenge, Subject};
use crate::sip::ident::Token;
use crate::sip::wire::{HeaderName, Message};

/// One for a stale nonce, or of whom stands behind, beside the first.
pub const MAX_CHALLENGES: u8 = 2;

/// A challenge that is answered.
#[derive(Debug)]
pub struct Nonce {
    /// Of a proxy.
    proxy: bool,
    challenge: Challenge<'static>,
    /// The same for as long as the nonce serves: it is part of a `-sess` secret (RFC 7616 §3.4.2).
    client_nonce: String,
    /// Requests with it until now.
    count: u32,
}

impl Leg {
    /// `None` when the response is no challenge; `Err` when it cannot be answered; else the request may be sent again,
    /// with [`Leg::credentials`]. `answered` counts the challenges that the request answers already.
    pub(super) fn authorize(
        &mut self,
        response: &Message<'_>,
        status: u16,
        answered: u8,
    ) -> Option<Result<(), Loss>> {
        let proxy = match status {
            401 => false,
            407 => true,
            _ => return None,
        };
        if answered >= MAX_CHALLENGES || !self.learn(proxy, response) {
            return Some(Err(Loss::Unauthorized));
        }
        // RFC 3261 §22.3: a proxy that has forked joins the challenges of others to its own.
        self.learn(!proxy, response);
        Some(Ok(()))
    }

    /// Whether the response holds a challenge of this kind that can be answered.
    fn learn(&mut self, proxy: bool, response: &Message<'_>) -> bool {
        let header = if proxy { HeaderName::ProxyAuthenticate } else { HeaderName::WwwAuthenticate };
        let Some(credentials) = &self.facts.trunk.credentials else { return false };
        let Ok(challenge) = digest::choose(response.headers(header), &credentials.realm) else { return false };
        let number = response.cseq.number.to_be_bytes();
        let client_nonce = Token::derive(self.facts.secret, "cnonce", &[&number, &[u8::from(proxy)]]).to_string();
        self.nonces.retain(|known| known.proxy != proxy);
        self.nonces.push(Nonce { proxy, challenge: challenge.into_owned(), client_nonce, count: 0 });
        true
    }

    /// For the next request.
    pub(super) fn credentials(&mut self, subject: Subject<'_>) -> Vec<Authorization> {
        let Some(credentials) = &self.facts.trunk.credentials else { return Vec::new() };
        let answer = |nonce: &mut Nonce| {
            nonce.count = nonce.count.saturating_add(1);
            let value = nonce.challenge.answer(credentials, subject, nonce.count, &nonce.client_nonce);
            Authorization { proxy: nonce.proxy, value }
        };
        self.nonces.iter_mut().map(answer).collect()
    }
}
