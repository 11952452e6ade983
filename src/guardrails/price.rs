use serde::{Deserialize, Serialize};

use crate::model::{E164, Money};

/// What one leg costs, fixed when the call is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegPrice {
    pub per_minute: Money,
    /// Once, with the answer.
    pub connect: Money,
    /// The first period is charged whole; not 0.
    pub first_seconds: u32,
    /// Every further period is charged whole; not 0.
    pub step_seconds: u32,
}

/// Prices by prefix; the longest wins.
#[derive(Debug, Clone, Default)]
pub struct PriceTable {}

impl PriceTable {
    pub fn price(&self, number: E164) -> Option<LegPrice> {
        let _ = number;
        unimplemented!()
    }
}
