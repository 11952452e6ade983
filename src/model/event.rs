//! The name of an event, the same however often and by whatever way it is told.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::id::{CallIdError, ulid_of};
use super::{CallId, Timestamp};

/// `evt_` and a ULID: of the event's time, and of bits that follow from its call and position, so that nothing
/// has to be kept for it to stay the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(u128);

impl EventId {
    /// The event at `position` in the outbox.
    pub fn of(call: CallId, position: u64, at: Timestamp) -> Self {
        let digest = Sha256::new().chain_update(call.to_bytes()).chain_update(position.to_be_bytes()).finalize();
        let bits = digest.iter().take(10).fold(0, |bits, byte| (bits << 8) | u128::from(*byte));
        Self(ulid::Ulid::from_parts(at.as_millis(), bits).0)
    }

    /// When the event was, in milliseconds since the epoch.
    pub fn millis(self) -> u64 {
        ulid::Ulid(self.0).timestamp_ms()
    }
}

impl FromStr for EventId {
    type Err = CallIdError;
    fn from_str(text: &str) -> Result<Self, CallIdError> {
        ulid_of(text, "evt_").map(|id| Self(u128::from_be_bytes(id.to_bytes())))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "evt_{}", ulid::Ulid(self.0))
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for EventId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_one_name_and_no_other_event_has_it() {
        let (call, at) = (CallId::from_bytes([7; 16]), Timestamp::from_millis(1_700_000_000_000));
        let id = EventId::of(call, 3, at);
        assert_eq!(id.to_string().len(), 30);
        assert_eq!(EventId::of(call, 3, at), id);
        assert_ne!(EventId::of(call, 4, at), id);
        assert_ne!(EventId::of(CallId::from_bytes([8; 16]), 3, at), id);
        assert_eq!((id.to_string().parse(), id.millis()), (Ok(id), at.as_millis()));
    }
}
