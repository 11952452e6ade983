use super::{Account, Attempt, Grant, Guardrail, LegAttempt, Permit, Refusal};
use crate::model::{CallId, Money, Timestamp};

/// One guardrail's word in a dry run.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    pub guardrail: Guardrail,
    pub refusal: Option<Refusal>,
    /// In the guardrail's own unit: calls, legs, micro-units; `None` for the two that do not count.
    pub limit: Option<i64>,
    pub used: Option<i64>,
}

/// All checks of a dry run, each asked even when an earlier one says no.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    pub checks: Vec<Check>,
    /// `None` when a number has no price.
    pub grant: Option<Grant>,
}

/// All five guardrails over a new call. Changes nothing.
pub fn decide_admission(account: &Account, attempt: &Attempt, now: Timestamp) -> Result<(Grant, Permit), Refusal> {
    let _ = (account, attempt, now);
    unimplemented!()
}

/// Everything but the rate, over one leg of an admitted call.
pub fn decide_leg(account: &Account, attempt: &LegAttempt, now: Timestamp) -> Result<Permit, Refusal> {
    let _ = (account, attempt, now);
    unimplemented!()
}

/// May this call reserve `amount` more?
pub fn decide_extension(account: &Account, call: CallId, amount: Money, now: Timestamp) -> Result<(), Refusal> {
    let _ = (account, call, amount, now);
    unimplemented!()
}

/// What [`decide_admission`] would say, guardrail by guardrail.
pub fn preview(account: &Account, attempt: &Attempt, now: Timestamp) -> Preview {
    let _ = (account, attempt, now);
    unimplemented!()
}
