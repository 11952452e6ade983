//! Who asks, and may they: `Authorization: Bearer KEY`, and the scope that each path needs.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode, request::Parts};
use sha2::{Digest, Sha256};

use super::Api;
use super::answer::Problem;
use crate::store::KeyInfo;

/// Whose key a request carries.
#[derive(Debug, Clone)]
pub struct Caller(pub Arc<KeyInfo>);

impl Deref for Caller {
    type Target = KeyInfo;

    fn deref(&self) -> &KeyInfo {
        &self.0
    }
}

impl FromRequestParts<Arc<Api>> for Caller {
    type Rejection = Problem;

    /// Whom the limiter has found. A path that does not stand behind it is for nobody.
    async fn from_request_parts(parts: &mut Parts, _: &Arc<Api>) -> Result<Self, Problem> {
        parts.extensions.get::<Caller>().cloned().ok_or_else(unauthorized)
    }
}

/// Whose key these headers carry; `None` for a key that is missing, unknown or revoked.
pub(super) fn identify(api: &Api, headers: &HeaderMap) -> Option<Caller> {
    // The digest is looked up, never the key: how long that takes says nothing of how much of a key is right.
    api.store.authenticate(&Sha256::digest(bearer_of(headers)?).into()).map(Caller)
}

impl Caller {
    /// Refuses a key that does not carry `scope`.
    pub(super) fn needs(&self, scope: &'static str) -> Result<(), Problem> {
        if self.has(scope) {
            return Ok(());
        }
        let challenge = format!("Bearer realm=\"revbridge\", error=\"insufficient_scope\", scope=\"{scope}\"");
        let message = format!("this key lacks the scope {scope}; use one that has it");
        Err(Problem::new(StatusCode::FORBIDDEN, "insufficient_scope", message).header(WWW_AUTHENTICATE, challenge))
    }

    pub(super) fn has(&self, scope: &str) -> bool {
        self.scopes.iter().any(|s| s == scope)
    }
}

/// RFC 6750 §2.1; the scheme's name in any case (RFC 9110 §11.1).
fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = header.split_at_checked(7)?;
    (scheme.eq_ignore_ascii_case(b"bearer ") && !key.is_empty()).then_some(key)
}

/// The secret of the one `Authorization` header.
pub(super) fn bearer_of(headers: &HeaderMap) -> Option<&[u8]> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(header), None) = (all.next(), all.next()) else { return None };
    bearer(header.as_bytes())
}

/// One answer for a key that is missing, unknown, expired or revoked.
pub(super) fn unauthorized() -> Problem {
    let message = "send a valid key as Authorization: Bearer KEY";
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
}
