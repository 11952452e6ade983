use super::Rules;
use crate::model::{Money, Timestamp};

/// What one call holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Lease {
    pub reserved: Money,
}

/// One organization: its rules and what is in use.
#[derive(Debug, Clone)]
pub struct Account {
    pub rules: Rules,
    pub admitted: std::collections::VecDeque<Timestamp>,
}
