use serde::{Deserialize, Serialize};

use super::LegPrice;
use crate::model::{Day, E164, LegId, Money};

/// A number that the organization was proven to own when the permit was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedNumber(E164);

impl OwnedNumber {
    pub(super) fn proven(number: E164) -> Self {
        Self(number)
    }

    pub fn number(self) -> E164 {
        self.0
    }
}

/// The right to send one INVITE: to this number, showing this number, for this leg.
///
/// Not `Clone`, not `Deserialize`, and made only by this module's decisions.
#[derive(Debug, PartialEq, Eq)]
pub struct Permit {
    leg: LegId,
    to: E164,
    shown: OwnedNumber,
}

impl Permit {
    pub(super) fn new(leg: LegId, to: E164, shown: OwnedNumber) -> Self {
        Self { leg, to, shown }
    }

    pub fn leg(&self) -> LegId {
        self.leg
    }

    /// The number to dial: the one that was judged.
    pub fn to(&self) -> E164 {
        self.to
    }

    pub fn shown(&self) -> OwnedNumber {
        self.shown
    }
}

/// What an admission fixed for the life of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// `None` for a browser, which costs nothing.
    pub user_price: Option<LegPrice>,
    pub destination_price: LegPrice,
    /// Reserved for both legs' connect fees and first periods.
    pub reserved: Money,
    /// The organization's calendar day to which the whole call belongs.
    pub day: Day,
}
