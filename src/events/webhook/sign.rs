//! The headers that prove a webhook: by the Standard Webhooks scheme, and in one header of our own.
//!
//! Both are HMAC-SHA-256 with the 32 bytes that the secret is the Base64 of, over the body as it is sent.

use base64ct::{Base64, Encoding};

use super::secret::{WebhookSecret, mac};

/// What is sent beside the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signatures {
    /// `webhook-timestamp`: of the try.
    pub timestamp: String,
    /// `webhook-signature`, over `id.timestamp.body`.
    pub standard: String,
    /// `x-revdesk-signature`, over `timestamp.body`.
    pub own: String,
}

/// `at`: seconds since the epoch.
pub fn sign(secret: &WebhookSecret, id: &str, at: u64, body: &[u8]) -> Signatures {
    signed(&secret.0, id, at, body)
}

fn signed(key: &[u8], id: &str, at: u64, body: &[u8]) -> Signatures {
    let timestamp = at.to_string();
    let time = timestamp.as_bytes();
    let standard = mac(key, &[id.as_bytes(), b".", time, b".", body]);
    let own = mac(key, &[time, b".", body]);
    Signatures {
        standard: format!("v1,{}", Base64::encode_string(&standard)),
        own: format!("t={timestamp},v1={}", hex::encode(own)),
        timestamp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector that the libraries of Standard Webhooks are tested with.
    #[test]
    fn the_published_vector() {
        let key = Base64::decode_vec("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        let signatures = signed(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signatures.standard, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(signatures.timestamp, "1614265330");
    }

    /// RFC 4231 §4.3, with `t.body` in the place of its text.
    #[test]
    fn our_own_header_is_the_mac_of_time_and_body() {
        let whole = mac(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(hex::encode(whole), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let expected = hex::encode(mac(b"key", &[b"1614265330.{}"]));
        assert_eq!(signed(b"key", "evt_1", 1_614_265_330, b"{}").own, format!("t=1614265330,v1={expected}"));
    }
}
