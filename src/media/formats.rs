//! Payload types: what a party sends, and under which numbers it takes what we send.

use super::g711::Law;
use crate::sdp::{Agreed, Codec};

/// The payload types that the party expects, as far as we speak them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Formats {
    mu: Option<u8>,
    a: Option<u8>,
    pub preferred: Law,
    pub event: Option<u8>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Incoming {
    Audio(Law),
    Event,
}

/// The payload type of telephone-event in our own offers. A party may send with the number that we
/// gave or, as many do, with the one that it gave itself (RFC 3264 §5.1).
const OUR_EVENT: u8 = 101;

impl Formats {
    pub fn of(agreed: &Agreed) -> Option<Self> {
        let payload_type =
            |codec| agreed.audio.iter().find(|format| format.codec == codec).map(|format| format.payload_type);
        Some(Self {
            mu: payload_type(Codec::Pcmu),
            a: payload_type(Codec::Pcma),
            preferred: agreed.audio.iter().find_map(|format| Law::of(format.codec))?,
            event: agreed.telephone_event,
        })
    }

    pub fn incoming(&self, payload_type: u8) -> Option<Incoming> {
        let is = |agreed: Option<u8>, ours: u8| agreed.is_some_and(|theirs| [theirs, ours].contains(&payload_type));
        if is(self.mu, 0) {
            Some(Incoming::Audio(Law::Mu))
        } else if is(self.a, 8) {
            Some(Incoming::Audio(Law::A))
        } else {
            is(self.event, OUR_EVENT).then_some(Incoming::Event)
        }
    }

    pub fn outgoing(&self, law: Law) -> Option<u8> {
        match law {
            Law::Mu => self.mu,
            Law::A => self.a,
        }
    }
}
