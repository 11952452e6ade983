//! The secrets that webhooks are signed with, none of which is stored.
//!
//! ```text
//!  seed (random, stored with the subscription) ─┐
//!                                               ├─ HMAC-SHA-256 ─▶ 32 bytes ─▶ whsec_…
//!  signing key (a file, not in the store) ──────┘
//! ```
//!
//! Whoever reads the store or a backup of it can sign nothing. The sender makes a secret whenever it signs, and
//! a creation that is repeated with its `Idempotency-Key` is answered with the same one, made again. The print
//! of the key is stored beside the seed, so that nobody signs with another key than receivers were given.

use std::fmt;

use base64ct::{Base64, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::model::SubscriptionId;

/// Random, drawn with the subscription; of no use without the key.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretSeed(#[serde(with = "hex::serde")] pub [u8; 32]);

impl fmt::Debug for SecretSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretSeed(…)")
    }
}

/// Says which key it was, and nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyPrint(pub [u8; 8]);

/// Of one server, or of all nodes that share a store.
#[derive(Clone)]
pub struct SigningKey([u8; 32]);

impl SigningKey {
    pub fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// As its file holds it: 64 hexadecimal digits on one line.
    pub fn parse(text: &str) -> Option<Self> {
        let mut key = [0; 32];
        hex::decode_to_slice(text.trim_end(), &mut key).ok().map(|()| Self(key))
    }

    pub fn print(&self) -> KeyPrint {
        let digest = Sha256::new().chain_update(b"revbridge webhook key").chain_update(self.0).finalize();
        let mut print = [0; 8];
        print.copy_from_slice(&digest[..8]);
        KeyPrint(print)
    }

    pub fn secret(&self, subscription: SubscriptionId, seed: &SecretSeed) -> WebhookSecret {
        let seed = [&seed.0[..], &subscription.to_bytes()].concat();
        WebhookSecret(mac(&self.0, &[b"revbridge webhook secret", &seed]))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

/// Of one subscription; never in a log, in the store or in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(pub(super) [u8; 32]);

impl WebhookSecret {
    /// As its owner sees it, in the form of Standard Webhooks.
    pub fn reveal(&self) -> String {
        format!("whsec_{}", Base64::encode_string(&self.0))
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

/// HMAC-SHA-256 over the parts, one after the other.
pub(super) fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // A key of any length is one: a longer one than a block is hashed first.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn a_secret_comes_again_only_from_its_key_its_seed_and_its_subscription() {
        let id = |n: u8| SubscriptionId::new(Timestamp::from_millis(1), [n; 16]);
        let (key, other) = (SigningKey::new([1; 32]), SigningKey::new([2; 32]));
        let (seed, secret) = (SecretSeed([3; 32]), key.secret(id(1), &SecretSeed([3; 32])));
        assert_eq!(key.secret(id(1), &seed), secret);
        let strangers = [other.secret(id(1), &seed), key.secret(id(2), &seed), key.secret(id(1), &SecretSeed([4; 32]))];
        assert!(strangers.iter().all(|stranger| *stranger != secret));
        assert_ne!(key.print(), other.print());
        assert_eq!(secret.reveal().len(), "whsec_".len() + 44);
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = SigningKey::new([0xab; 32]);
        let secret = key.secret(SubscriptionId::from_bytes([1; 16]), &SecretSeed([0xcd; 32]));
        let shown = format!("{key:?} {secret:?} {:?}", SecretSeed([0xcd; 32]));
        assert_eq!(shown, "SigningKey(…) WebhookSecret(…) SecretSeed(…)");
    }

    #[test]
    fn a_key_is_read_from_its_file_and_nothing_else_is() {
        assert_eq!(SigningKey::parse(&format!("{}\n", "0f".repeat(32))).unwrap().0, [0x0f; 32]);
        for bad in ["", "0f", &"0g".repeat(32), &"0f".repeat(33)] {
            assert!(SigningKey::parse(bad).is_none(), "{bad}");
        }
    }
}
