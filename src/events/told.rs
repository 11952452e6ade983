//! An event as clients are told of it, by whatever way.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::{FactKind, Record, record};
use crate::model::{CallRecord, EventId, Timestamp};

/// The body of a webhook and the data of a server-sent event.
#[derive(Debug, Serialize, ToSchema)]
pub struct Told {
    /// The same each time it is told.
    pub id: EventId,
    #[serde(rename = "type")]
    pub kind: FactKind,
    #[schema(value_type = Timestamp)]
    pub created_at: String,
    /// Grows from event to event of an organization; other numbers may lie between.
    pub sequence: u64,
    /// The call as it was then.
    pub data: Record,
}

impl Told {
    /// The event at `position` in the outbox, whose call's record was `call`.
    pub fn new(position: u64, kind: FactKind, at: Timestamp, call: &CallRecord, currency: &Arc<str>) -> Self {
        Self {
            id: EventId::of(call.id, position, at),
            kind,
            created_at: at.rfc3339(),
            sequence: position,
            data: record(call, currency, true),
        }
    }
}
