//! Who we say that calls: the signed statement in an INVITE (RFC 8224, SHAKEN of RFC 8588).
//!
//! ```text
//! key, certificate URL ─▶ Signer
//! Permit ─▶ OwnedNumber ─▶ Signer::sign ─▶ passport ─▶ ES256 ─▶ Identity: …;info=<URL>;alg=ES256;ppt=shaken
//! ```
//!
//! There is one attestation, "A": the caller is known and may use the number. What proves that is an
//! [`OwnedNumber`], which only the guardrails make, so no other number can be signed for.
//!
//! The signature is deterministic (RFC 6979): the same INVITE has the same bytes, and no randomness is needed.
//!
//! Deliberately absent: verifying (no call begins at a peer), "B" and "C", and publishing the certificate.

mod passport;

use std::fmt;
use std::sync::Arc;

use p256::SecretKey;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use p256::pkcs8::DecodePrivateKey;

use self::passport::Passport;
use super::ident::Token;
use crate::guardrails::OwnedNumber;
use crate::model::{E164, Secret, Timestamp};

/// The key of a file is none that we can sign with. Says nothing of what the file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a private key on curve P-256 in PEM: \"BEGIN PRIVATE KEY\" or \"BEGIN EC PRIVATE KEY\"")]
pub struct KeyProblem;

/// What signs, and where its certificate is.
pub struct Signer {
    key: SigningKey,
    certificate_url: Arc<str>,
}

impl Signer {
    /// `pem` is PKCS#8, or SEC1 with or without the curve's parameters before it, as OpenSSL writes it.
    pub fn new(pem: &str, certificate_url: Arc<str>) -> Result<Self, KeyProblem> {
        const SEC1: &str = "-----BEGIN EC PRIVATE KEY-----";
        let key = match pem.find(SEC1) {
            Some(at) => SecretKey::from_sec1_pem(&pem[at..]).map_err(|_| KeyProblem)?,
            None => SecretKey::from_pkcs8_pem(pem).map_err(|_| KeyProblem)?,
        };
        Ok(Self { key: key.into(), certificate_url })
    }

    /// As each signed INVITE says it.
    pub fn certificate_url(&self) -> &str {
        &self.certificate_url
    }

    /// For one INVITE of the leg with this secret, which leaves at `at`.
    pub fn sign(&self, shown: OwnedNumber, to: E164, secret: Secret, at: Timestamp) -> Identity {
        let (from, to) = (shown.number().text(), to.text());
        let passport = Passport {
            orig: from.digits(),
            dest: to.digits(),
            issued: at.as_millis() / 1_000,
            origin: Token::derive(secret, "origid", &[]),
            certificate_url: &self.certificate_url,
        };
        let input = passport.signing_input();
        let signature: Signature = self.key.sign(input.as_bytes());
        let signature = passport::base64url(&signature.to_bytes());
        let url = &self.certificate_url;
        Identity { value: format!("{input}.{signature};info=<{url}>;alg=ES256;ppt=shaken"), at }
    }
}

/// Says whose certificate it is, and nothing of the key.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer {{ certificate_url: {:?} }}", self.certificate_url)
    }
}

/// What one INVITE carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The header's.
    pub value: String,
    /// For Date, which must agree with the statement (RFC 8224 §4.1).
    pub at: Timestamp,
}
