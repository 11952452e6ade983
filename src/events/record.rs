//! A call as clients see it.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use crate::model::{
    CallId, CallRecord, CredentialType, E164, EndReason, EndedBy, LegRecord, Money, Path, Status, Timestamp,
};

/// One call record with every field of the contract.
#[derive(Debug, Serialize, ToSchema)]
pub struct Record {
    id: CallId,
    organization_id: String,
    user_id: String,
    credential_type: CredentialType,
    path: Path,
    #[schema(schema_with = outbound)]
    direction: &'static str,
    status: Status,
    from_number: E164,
    /// Null when it was erased.
    to_number: Option<E164>,
    /// The user's own phone is for those only who may read calls; null when it was a browser or was
    /// erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<E164>)]
    connect_number: Option<Option<E164>>,
    #[schema(required)]
    client_name: Option<Arc<str>>,
    #[schema(required)]
    client_label: Option<Arc<str>>,
    #[schema(value_type = Timestamp)]
    created_at: String,
    #[schema(required, value_type = Option<Timestamp>)]
    started_at: Option<String>,
    #[schema(required, value_type = Option<Timestamp>)]
    answered_at: Option<String>,
    #[schema(required, value_type = Option<Timestamp>)]
    ended_at: Option<String>,
    /// From the first INVITE to the end.
    #[schema(required)]
    duration_seconds: Option<u64>,
    /// What the price was applied to.
    billable_seconds: u64,
    #[schema(value_type = Money)]
    cost: String,
    /// ISO 4217.
    currency: Arc<str>,
    #[schema(required)]
    ended_by: Option<EndedBy>,
    #[schema(required)]
    end_reason: Option<EndReason>,
    /// The final SIP status that ended the call, when one did.
    #[schema(required)]
    sip_status: Option<u16>,
    /// ITU-T Q.850.
    #[schema(required)]
    q850_cause: Option<u8>,
    legs: Legs,
    // For clients of the original API.
    /// Always false.
    has_recording: bool,
    /// Always null.
    #[schema(required, value_type = Option<String>)]
    recording_url: Option<&'static str>,
    /// Always false.
    has_transcript: bool,
    /// Always null.
    #[schema(required, value_type = Option<String>)]
    source: Option<&'static str>,
    /// Always null.
    #[schema(required, value_type = Option<String>)]
    phone_number_id: Option<&'static str>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Legs {
    user: Leg,
    destination: Leg,
}

#[derive(Debug, Serialize, ToSchema)]
struct Leg {
    /// From the INVITE to its final answer.
    #[schema(required)]
    ring_ms: Option<u64>,
    #[schema(required)]
    codec: Option<String>,
    /// Received from this party.
    packets: u64,
    /// Of what this party sent.
    lost: u64,
    jitter_ms: f64,
    /// Estimated mean opinion score of what this party sent (ITU-T G.107).
    #[schema(required)]
    mos: Option<f64>,
}

fn outbound() -> utoipa::openapi::schema::Object {
    utoipa::openapi::ObjectBuilder::new()
        .schema_type(utoipa::openapi::schema::Type::String)
        .enum_values(Some(["outbound"]))
        .build()
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
