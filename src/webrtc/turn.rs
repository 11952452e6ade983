//! Credentials for a TURN server that shares a secret with us (coturn's `use-auth-secret`).

use std::fmt;

use base64ct::{Base64, Encoding};

use crate::model::Timestamp;

/// What a browser shows to the TURN server. The credential is a secret for as long as it is valid.
#[derive(Clone, PartialEq, Eq)]
pub struct TurnCredential {
    pub username: String,
    pub credential: String,
}

/// Valid until `expires`. The label says in the TURN server's log whose it was; it must not be a person's.
pub fn turn_credential(secret: &str, label: &str, expires: Timestamp) -> TurnCredential {
    let username = format!("{}:{label}", expires.as_millis() / 1_000);
    let hmac = str0m::crypto::from_feature_flags().sha1_hmac_provider;
    let credential = Base64::encode_string(&hmac.sha1_hmac(secret.as_bytes(), &[username.as_bytes()]));
    TurnCredential { username, credential }
}

impl fmt::Debug for TurnCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TurnCredential(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with `openssl dgst -sha1 -hmac north`.
    #[test]
    fn it_is_what_coturn_computes() {
        let made = turn_credential("north", "call", Timestamp::from_millis(1_700_000_000_999));
        assert_eq!(made.username, "1700000000:call");
        assert_eq!(made.credential, "sOQHRpLXVWqqKGRBoMoDfQmJyo0=");
        assert_eq!(format!("{made:?}"), "TurnCredential(…)");
    }
}
