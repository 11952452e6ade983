use serde::{Deserialize, Serialize};

use super::PriceTable;
use crate::model::{E164, Money};

/// An organization's limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    pub max_concurrent_legs: u32,
    /// Calls admitted in any rolling 60 s.
    pub max_calls_per_minute: u32,
    pub daily_spend_limit: Money,
    /// IANA name; the day turns at its midnight.
    pub timezone: String,
}

/// Prefixes that may be called, and prefixes that may not; the longest that matches decides.
#[derive(Debug, Clone, Default)]
pub struct Allowlist {}

/// All that the guardrails know of an organization, but for what is in use.
#[derive(Debug, Clone)]
pub struct Rules {
    pub limits: Limits,
    pub allowlist: Allowlist,
    /// Active numbers that the organization owns, sorted.
    pub numbers: Vec<E164>,
    pub prices: std::sync::Arc<PriceTable>,
}
