//! Facts as they were written with their commits, to be told to whoever wants to know.

use super::StoreDown;
use crate::events::FactKind;
use crate::model::{CallId, CallRecord, OrganizationId, Timestamp};

/// A fact of the outbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Grows from event to event of an organization, in the order in which they became durable.
    pub position: u64,
    pub call: CallId,
    pub kind: FactKind,
    pub at: Timestamp,
    /// As of the commit that made the fact true.
    pub record: CallRecord,
}

/// Reads of the outbox. They block.
pub trait Outbox {
    /// The events after a position, oldest first: of one call, or of the whole organization. All that are
    /// older than one that is returned have been durable by then, so nothing appears behind a reader.
    fn events(
        &self,
        organization: &OrganizationId,
        of: Option<CallId>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Event>, StoreDown>;

    /// The position of the organization's newest event; 0 when there is none.
    fn newest_event(&self, organization: &OrganizationId) -> Result<u64, StoreDown>;
}
