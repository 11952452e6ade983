//! Tokens of browsers: shown once, kept only as a digest.
//!
//! ```text
//!  seed (random, may be stored) ─┐
//!                                ├─ SHA-256 ─▶ rvw_… ─ SHA-256 ─▶ digest (stored)
//!  opener (from the request) ────┘
//! ```
//!
//! A client that repeats a request with its `Idempotency-Key` must get the same token again, and nobody who
//! reads the store may get any. So the stored answer holds a seed in the token's place: with what only the
//! client has (its API key and that Idempotency-Key, the opener) it gives the token again; alone, nothing.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::CallId;
use super::id::{CallIdError, ulid_of};

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// Opens one call, once.
    Call,
    /// Lets the browser that opened it come back.
    Return,
}

impl TokenKind {
    fn prefix(self) -> &'static str {
        match self {
            TokenKind::Call => "rvw_",
            TokenKind::Return => "rvr_",
        }
    }
}

/// 192 bits; never in a log, a URL or `Debug`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token {
    kind: TokenKind,
    bits: [u8; Token::BYTES],
}

impl Token {
    const BYTES: usize = 24;

    pub fn new(kind: TokenKind, bits: [u8; Token::BYTES]) -> Self {
        Self { kind, bits }
    }

    /// The call token of this seed for who has the opener.
    pub fn of_seed(seed: &TokenSeed, opener: &Opener) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"revbridge call token");
        hash.update(seed.0);
        hash.update(opener.0);
        let mut bits = [0; Token::BYTES];
        bits.copy_from_slice(&hash.finalize()[..Token::BYTES]);
        Self { kind: TokenKind::Call, bits }
    }

    /// As its owner sees it.
    pub fn reveal(&self) -> String {
        format!("{}{}", self.kind.prefix(), hex::encode(self.bits))
    }

    pub fn digest(&self) -> TokenDigest {
        TokenDigest(Sha256::digest(self.reveal()).into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}…)", self.kind.prefix())
    }
}

/// SHA-256 of a token: all that is kept of it. It is what is looked up, so how long that takes says nothing
/// of how much of a token is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TokenDigest(#[serde(with = "hex::serde")] pub [u8; 32]);

impl TokenDigest {
    /// Of what somebody says is a token of this kind; `None` when it cannot be one.
    pub fn of(kind: TokenKind, text: &[u8]) -> Option<Self> {
        let bits = text.strip_prefix(kind.prefix().as_bytes())?;
        let plain = bits.len() == 2 * Token::BYTES && bits.iter().all(|b| b"0123456789abcdef".contains(b));
        plain.then(|| Self(Sha256::digest(text).into()))
    }
}

/// Random, drawn with the token; of no use without the opener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenSeed(#[serde(with = "hex::serde")] pub [u8; 32]);

/// What only the client of a request can repeat.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Opener([u8; 32]);

impl Opener {
    /// `secret`: of the client, not in the store; `key`: of this one request.
    pub fn new(secret: &[u8], key: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(secret.len().to_be_bytes());
        hash.update(secret);
        hash.update(key);
        Self(hash.finalize().into())
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opener(…)")
    }
}

/// A browser's connection, as its URL names it: `conn_` and its call's ULID, for a call has one browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionId(pub CallId);

/// What a browser joins, as its URL names it: `room_` and its call's ULID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomName(pub CallId);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conn_{}", self.0.ulid())
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "room_{}", self.0.ulid())
    }
}

impl FromStr for ConnectionId {
    type Err = CallIdError;
    fn from_str(text: &str) -> Result<Self, CallIdError> {
        ulid_of(text, "conn_").map(Self)
    }
}

impl FromStr for RoomName {
    type Err = CallIdError;
    fn from_str(text: &str) -> Result<Self, CallIdError> {
        ulid_of(text, "room_").map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{IdSource, Timestamp};

    #[test]
    fn a_token_comes_again_only_from_its_seed_and_its_opener() {
        let (seed, other) = (TokenSeed([1; 32]), TokenSeed([2; 32]));
        let opener = Opener::new(b"rvk_key", b"first-try");
        let token = Token::of_seed(&seed, &opener);
        assert_eq!(token, Token::of_seed(&seed, &opener));
        let strangers = [
            Token::of_seed(&other, &opener),
            Token::of_seed(&seed, &Opener::new(b"rvk_key", b"second-try")),
            Token::of_seed(&seed, &Opener::new(b"rvk_kez", b"first-try")),
            Token::of_seed(&seed, &Opener::new(b"rvk_keyf", b"irst-try")),
        ];
        assert!(strangers.iter().all(|stranger| *stranger != token));
    }

    #[test]
    fn a_token_is_of_its_kind_or_none_and_debug_shows_none_of_it() {
        let mut ids = IdSource::new([3; 32]);
        let token = ids.token(TokenKind::Return);
        let text = token.reveal();
        assert_eq!((text.len(), &text[..4]), (52, "rvr_"));
        assert_eq!(TokenDigest::of(TokenKind::Return, text.as_bytes()), Some(token.digest()));
        assert_eq!(TokenDigest::of(TokenKind::Call, text.as_bytes()), None);
        let upper = format!("rvr_{}", text[4..].to_uppercase());
        for bad in ["", "rvr_", &text[..51], &format!("{text}0"), &upper, "rvr_\u{e9}"] {
            assert_eq!(TokenDigest::of(TokenKind::Return, bad.as_bytes()), None, "{bad}");
        }
        let shown = format!("{token:?} {:?}", Opener::new(b"rvk_key", b"k"));
        assert!(!shown.contains(&text[4..12]), "{shown}");
    }

    #[test]
    fn names_in_urls_read_back() {
        let call = IdSource::new([4; 32]).call(Timestamp::from_millis(1_700_000_000_000));
        let (connection, room) = (ConnectionId(call).to_string(), RoomName(call).to_string());
        assert_eq!((connection.parse(), room.parse()), (Ok(ConnectionId(call)), Ok(RoomName(call))));
        assert!(room.parse::<ConnectionId>().is_err() && connection.to_lowercase().parse::<ConnectionId>().is_err());
    }
}
