//! Answers to 401 and 407 (RFC 3261 §22): with the trunk's own credentials, for their own realm, and at
//! most twice.

use super::compose::Authorization;
use super::{Leg, Which};
use crate::leg::Loss;
use crate::sip::digest::{self, Subject};
use crate::sip::ident::Token;
use crate::sip::wire::{HeaderName, Message, Method};

/// One for a stale nonce beside the first.
pub const MAX_CHALLENGES: u8 = 2;

impl Leg {
    /// `None` when the response is no challenge; `Err` when it cannot be answered. `answered` counts
    /// the challenges that the request answers already.
    pub(super) fn authorize(
        &self,
        response: &Message<'_>,
        status: u16,
        dialog: Option<Which>,
        answered: u8,
    ) -> Option<Result<Authorization, Loss>> {
        let (proxy, header) = match status {
            401 => (false, HeaderName::WwwAuthenticate),
            407 => (true, HeaderName::ProxyAuthenticate),
            _ => return None,
        };
        let credentials = self.facts.trunk.credentials.as_ref().filter(|_| answered < MAX_CHALLENGES);
        let Some(credentials) = credentials else { return Some(Err(Loss::Unauthorized)) };
        let (method, body) = match response.cseq.method {
            Method::Invite => ("INVITE", &self.offer[..]),
            _ => ("BYE", &b""[..]),
        };
        let uri = self.facts.request_uri(dialog.and_then(|which| self.dialog(which)));
        let client_nonce = Token::numbered(self.facts.secret, "cnonce", response.cseq.number).to_string();
        let subject = Subject { method, uri: &uri, body };
        // Each nonce is used for one request, so its count is always 1.
        let value = digest::answer(response.headers(header), credentials, subject, 1, &client_nonce);
        Some(value.map(|value| Authorization { proxy, value }).map_err(|_| Loss::Unauthorized))
    }
}
