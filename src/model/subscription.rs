//! The name of a webhook subscription.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::id::{CallIdError, ulid_of};

/// `whk_` and a ULID: sorts by the time at which it was made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(u128);

impl SubscriptionId {
    /// With 80 of these random bits.
    pub fn new(now: Timestamp, random: [u8; 16]) -> Self {
        Self(ulid::Ulid::from_parts(now.as_millis(), u128::from_be_bytes(random)).0)
    }

    /// The sixteen bytes that sort as the id does; the store's key.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

impl fmt::Display for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "whk_{}", ulid::Ulid(self.0))
    }
}

impl fmt::Debug for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SubscriptionId {
    type Err = CallIdError;
    fn from_str(text: &str) -> Result<Self, CallIdError> {
        ulid_of(text, "whk_").map(|id| Self::from_bytes(id.to_bytes()))
    }
}

impl Serialize for SubscriptionId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SubscriptionId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_id_reads_back_in_one_spelling_only() {
        let id = SubscriptionId::new(Timestamp::from_millis(1_700_000_000_000), [0xa5; 16]);
        let text = id.to_string();
        assert_eq!((text.len(), &text[..4]), (30, "whk_"));
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(SubscriptionId::from_bytes(id.to_bytes()), id);
        assert!(text.to_lowercase().parse::<SubscriptionId>().is_err() && text[1..].parse::<SubscriptionId>().is_err());
    }
}
