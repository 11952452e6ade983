//! Traces of calls that are over, as sealed bytes: what they say is `trace`'s.

use bytes::Bytes;

use super::StoreDown;
use crate::model::{CallId, Timestamp};

/// Kept beside the calls and for a time of their own; nothing of a call depends on them. Both block.
pub trait Traces {
    /// Writes them in a transaction with whatever else waits. Of two of one call the longer one stays: a process
    /// that takes a call up at its end hears little of it.
    fn keep_traces(&self, traces: Vec<(CallId, Bytes)>, now: Timestamp) -> Result<(), StoreDown>;

    /// Whose call it is has to be known before.
    fn trace(&self, call: CallId) -> Result<Option<Bytes>, StoreDown>;
}
