//! A call as clients see it.

use std::sync::Arc;

use serde::Serialize;

use crate::model::{CallId, CallRecord, CredentialType, E164, EndReason, EndedBy, LegRecord, Path, Status, Timestamp};

/// One call record with every field of the contract.
#[derive(Debug, Serialize)]
pub struct Record {
    id: CallId,
    organization_id: String,
    user_id: String,
    credential_type: CredentialType,
    path: Path,
    direction: &'static str,
    status: Status,
    from_number: E164,
    /// Null when it was erased.
    to_number: Option<E164>,
    /// The user's own phone is for those only who may read calls; null when it was a browser or was
    /// erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_number: Option<Option<E164>>,
    client_name: Option<Arc<str>>,
    client_label: Option<Arc<str>>,
    created_at: String,
    started_at: Option<String>,
    answered_at: Option<String>,
    ended_at: Option<String>,
    duration_seconds: Option<u64>,
    billable_seconds: u64,
    cost: String,
    currency: Arc<str>,
    ended_by: Option<EndedBy>,
    end_reason: Option<EndReason>,
    sip_status: Option<u16>,
    q850_cause: Option<u8>,
    legs: Legs,
    // For clients of the original API.
    has_recording: bool,
    recording_url: Option<&'static str>,
    has_transcript: bool,
    source: Option<&'static str>,
    phone_number_id: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct Legs {
    user: Leg,
    destination: Leg,
}

#[derive(Debug, Serialize)]
struct Leg {
    ring_ms: Option<u64>,
    codec: Option<String>,
    packets: u64,
    lost: u64,
    jitter_ms: f64,
    mos: Option<f64>,
}

/// `call` for its own organization; `may_read` is the scope `calls:read`.
pub fn record(call: &CallRecord, currency: &Arc<str>, may_read: bool) -> Record {
    let text = |at: Option<Timestamp>| at.map(Timestamp::rfc3339);
    Record {
        id: call.id,
        organization_id: call.organization_id.as_str().to_owned(),
        user_id: call.user_id.as_str().to_owned(),
        credential_type: call.credential_type,
        path: call.path,
        direction: "outbound",
        status: call.status,
        from_number: call.from_number,
        to_number: call.to_number,
        connect_number: may_read.then_some(call.connect_number),
        client_name: call.client_name.clone(),
        client_label: call.client_label.clone(),
        created_at: call.created_at.rfc3339(),
        started_at: text(call.started_at),
        answered_at: text(call.answered_at),
        ended_at: text(call.ended_at),
        duration_seconds: call.ended_at.map(|end| end.since(call.started_at.unwrap_or(end)).as_secs()),
        billable_seconds: call.billable_seconds,
        cost: call.cost.to_string(),
        currency: Arc::clone(currency),
        ended_by: call.ended_by,
        end_reason: call.end_reason,
        sip_status: call.sip_status,
        q850_cause: call.q850_cause,
        legs: Legs { user: leg(&call.user_leg), destination: leg(&call.destination_leg) },
        has_recording: false,
        recording_url: None,
        has_transcript: false,
        source: None,
        phone_number_id: None,
    }
}

fn leg(leg: &LegRecord) -> Leg {
    Leg {
        ring_ms: leg.ring_ms,
        codec: leg.codec.clone(),
        packets: leg.packets,
        lost: leg.lost,
        jitter_ms: leg.jitter_ms,
        mos: leg.mos,
    }
}
