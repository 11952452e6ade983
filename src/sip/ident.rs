//! Identifiers of a leg, derived from its secret by a keyed hash.
//!
//! A leg that is taken up after a restart says what it would have said before, with nothing stored but
//! the secret; and nothing that one leg says can be derived from what another leg says.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::model::Secret;

/// 128 bits, written as 32 hexadecimal digits: a token in every grammar of SIP.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Token(u128);

impl Token {
    /// `purpose` keeps one kind of identifier from saying anything about another.
    pub fn derive(secret: Secret, purpose: &str, parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new_with_prefix(secret.0);
        hash.update([purpose.len() as u8]);
        hash.update(purpose);
        for part in parts {
            // The length keeps ("ab", "c") apart from ("a", "bc").
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest = hash.finalize();
        let mut first = [0; 16];
        first.copy_from_slice(&digest[..16]);
        Self(u128::from_be_bytes(first))
    }

    pub fn numbered(secret: Secret, purpose: &str, number: u32) -> Self {
        Self::derive(secret, purpose, &[&number.to_be_bytes()])
    }

    /// Reads what [`fmt::Display`] writes. Only that: tokens are compared without regard to case
    /// (RFC 3261 §7.3.1), so upper-case digits are the same token.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() != 32 {
            return None;
        }
        text.iter().try_fold(0, |n, c| Some(n << 4 | u128::from(char::from(*c).to_digit(16)?))).map(Self)
    }

    /// 64 of the bits.
    pub fn low(self) -> u64 {
        self.0 as u64
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 32];
        // 16 bytes are 32 digits, and digits are text.
        hex::encode_to_slice(self.0.to_be_bytes(), &mut text).map_err(|_| fmt::Error)?;
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}…", self.0 >> 96)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_purposes_differ() {
        let secret = Secret([7; 16]);
        let a = Token::numbered(secret, "branch", 1);
        assert_eq!(Token::parse(a.to_string().as_bytes()), Some(a));
        assert_ne!(a, Token::numbered(secret, "branch", 2));
        assert_ne!(a, Token::numbered(secret, "tag", 1));
        assert_ne!(a, Token::numbered(Secret([8; 16]), "branch", 1));
        assert_ne!(Token::derive(secret, "x", &[b"ab", b"c"]), Token::derive(secret, "x", &[b"a", b"bc"]));
    }
}
