use super::{Commit, Committed};
use crate::guardrails::Account;

/// What an engine has to write for one commit, after the guardrails have spoken.
#[derive(Debug)]
pub struct Applied {
    pub committed: Committed,
}

/// Decides on a commit and changes the account accordingly. An engine writes [`Applied`] in the
/// transaction in which it holds the account; if that transaction fails it must reload the account.
pub fn apply(account: &mut Account, commit: &Commit) -> Applied {
    let _ = (account, commit);
    unimplemented!()
}
