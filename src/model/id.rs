//! Identifiers, and the one source that they are drawn from.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Timestamp, Token, TokenKind, TokenSeed};

/// One bridged call, as `call_` and a ULID: sorts by the time at which it was asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(u128);

impl CallId {
    /// The sixteen bytes that sort as the id does; the store's key.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    pub(super) fn ulid(self) -> ulid::Ulid {
        ulid::Ulid(self.0)
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call_{}", self.ulid())
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not the prefix and 26 characters of a ULID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected the prefix of its kind and 26 characters")]
pub struct CallIdError;

impl FromStr for CallId {
    type Err = CallIdError;
    fn from_str(text: &str) -> Result<Self, CallIdError> {
        ulid_of(text, "call_")
    }
}

/// The call whose ULID follows `prefix`.
pub(super) fn ulid_of(text: &str, prefix: &str) -> Result<CallId, CallIdError> {
    let ulid = text.strip_prefix(prefix).ok_or(CallIdError)?;
    let id = ulid::Ulid::from_string(ulid).map_err(|_| CallIdError)?;
    // One spelling per id: Crockford's alphabet would also accept lower case.
    if id.to_string() == ulid { Ok(CallId(id.0)) } else { Err(CallIdError) }
}

impl Serialize for CallId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CallId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// An API key, as `key_` and a ULID. It names a key and opens nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(u128);

impl KeyId {
    /// The key with this digest, issued at this moment. Its bits follow from both, so nobody has to draw them,
    /// and tell nothing of the digest.
    pub fn of(at: Timestamp, sha256: &[u8; 32]) -> Self {
        let digest = Sha256::new().chain_update(b"revbridge key id").chain_update(sha256).finalize();
        let bits = digest.iter().take(10).fold(0, |bits, byte| (bits << 8) | u128::from(*byte));
        Self(ulid::Ulid::from_parts(at.as_millis(), bits).0)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key_{}", ulid::Ulid(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not the prefix and 26 characters of a ULID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected key_ and 26 characters")]
pub struct KeyIdError;

impl FromStr for KeyId {
    type Err = KeyIdError;
    fn from_str(text: &str) -> Result<Self, KeyIdError> {
        ulid_of(text, "key_").map(|id| Self(id.0)).map_err(|_| KeyIdError)
    }
}

impl Serialize for KeyId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Which party of a call: leg A is the organization's own user, leg B the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    User,
    Destination,
}

impl Side {
    pub const BOTH: [Side; 2] = [Side::User, Side::Destination];

    pub fn other(self) -> Side {
        match self {
            Side::User => Side::Destination,
            Side::Destination => Side::User,
        }
    }

    /// `'A'` or `'B'`, as ladders and logs name the legs.
    pub fn letter(self) -> char {
        match self {
            Side::User => 'A',
            Side::Destination => 'B',
        }
    }
}

/// One leg: one dialog with one party of a call.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LegId {
    pub call: CallId,
    pub side: Side,
}

impl fmt::Debug for LegId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.call, self.side.letter())
    }
}

/// The tenant that owns numbers, users, limits and calls.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrganizationId(pub Arc<str>);

/// A person of an organization.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(pub Arc<str>);

impl OrganizationId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl UserId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One request at the HTTP edge, answered exactly once by the switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// One transaction handed to the store, answered exactly once by `Input::Committed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(pub u64);

/// 128 bits that nobody outside can guess. A leg's Call-ID, tags and branches are all derived from
/// its secret, so that what a leg says after a restart is what it would have said before.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(#[serde(with = "hex::serde")] pub [u8; 16]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// All identifiers come from here: a cryptographic generator seeded by the shell, once per start.
/// Given the same seed it draws the same ids, which is what lets the simulator replay a run.
#[derive(Debug)]
pub struct IdSource(ChaCha20Rng);

impl IdSource {
    pub fn new(seed: [u8; 32]) -> Self {
        Self(ChaCha20Rng::from_seed(seed))
    }

    pub fn call(&mut self, now: Timestamp) -> CallId {
        let random = (u128::from(self.0.next_u64()) << 64) | u128::from(self.0.next_u64());
        CallId(ulid::Ulid::from_parts(now.as_millis(), random).0)
    }

    pub fn secret(&mut self) -> Secret {
        Secret(self.bytes())
    }

    pub fn token(&mut self, kind: TokenKind) -> Token {
        Token::new(kind, self.bytes())
    }

    pub fn token_seed(&mut self) -> TokenSeed {
        TokenSeed(self.bytes())
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_id_reads_back_in_one_spelling_only() {
        let id = IdSource::new([7; 32]).call(Timestamp::from_millis(1_700_000_000_000));
        let text = id.to_string();
        assert_eq!(text.len(), 31);
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(text.to_lowercase().parse::<CallId>(), Err(CallIdError));
        assert_eq!(CallId::from_bytes(id.to_bytes()), id);
    }

    #[test]
    fn a_key_id_follows_from_the_key_and_tells_nothing_of_it() {
        let (at, digest) = (Timestamp::from_millis(1_700_000_000_000), [7; 32]);
        let id = KeyId::of(at, &digest);
        assert_eq!((id.to_string().len(), id.to_string().parse()), (30, Ok(id)));
        assert_eq!(KeyId::of(at, &digest), id);
        assert_ne!(KeyId::of(at, &[8; 32]), id);
        let plain =
            ulid::Ulid::from_parts(at.as_millis(), digest[..10].iter().fold(0, |n, b| (n << 8) | u128::from(*b)));
        assert_ne!(id.0, plain.0);
    }
}
