//! Answers to 401 and 407 (RFC 3261 §22): with the trunk's own credentials, for their own realm, and at
//! most twice.
//!
//! A challenge that was answered goes on being answered (RFC 3261 §22.3, RFC 7616 §3.6): a proxy's 407 after the
//! peer's 401 does not take the peer's answer away, and a BYE brings both along, each count one higher. Who finds a
//! nonce too old says so with a new one.

use super::Leg;
use crate::leg::Loss;
use crate::sip::digest::Subject;
use crate::sip::nonces::Authorization;
use crate::sip::wire::Message;

/// One for a stale nonce, or of whom stands behind, beside the first.
pub const MAX_CHALLENGES: u8 = 2;

impl Leg {
    /// `None` when the response is no challenge; `Err` when it cannot be answered; else the request may be sent again,
    /// with [`Leg::credentials`]. `answered` counts the challenges that the request answers already.
    pub(super) fn authorize(&mut self, response: &Message<'_>, status: u16, answered: u8) -> Option<Result<(), Loss>> {
        if !matches!(status, 401 | 407) {
            return None;
        }
        let facts = &self.facts;
        let credentials = facts.trunk.credentials.as_ref().filter(|_| answered < MAX_CHALLENGES);
        let learnt = credentials.is_some_and(|c| self.nonces.learn(c, facts.secret, response, status));
        Some(if learnt { Ok(()) } else { Err(Loss::Unauthorized) })
    }

    /// For the next request.
    pub(super) fn credentials(&mut self, subject: Subject<'_>) -> Vec<Authorization> {
        let credentials = self.facts.trunk.credentials.as_ref();
        credentials.map(|credentials| self.nonces.answer(credentials, subject)).unwrap_or_default()
    }
}
