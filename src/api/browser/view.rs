//! Events as a page reads them (server-sent events).

use std::fmt::Write;

use serde::Serialize;

use crate::events::{BrowserEvent, BrowserState};
use crate::media::{Flow, Quality};
use crate::model::{CallId, EndReason, EndedBy, Status, Timestamp};

#[derive(Serialize)]
struct State {
    state: BrowserState,
    call_id: CallId,
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<EndReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_by: Option<EndedBy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
}

#[derive(Serialize)]
struct Peer {
    connected: bool,
}

#[derive(Serialize)]
struct Sound {
    received: Way,
    sent: Way,
    mos: Option<f64>,
    rtt_ms: Option<u32>,
}

#[derive(Serialize)]
struct Way {
    packets: u64,
    lost: u64,
    jitter_ms: u32,
}

impl From<Flow> for Way {
    fn from(Flow { packets, lost, jitter_ms }: Flow) -> Self {
        Self { packets, lost, jitter_ms }
    }
}

/// Appends one event in the format of the stream.
pub fn write(into: &mut String, id: u64, call: CallId, event: &BrowserEvent) {
    let (name, data) = match event {
        BrowserEvent::State { state, at, end } => ("state", line(&state_of(call, *state, *at, end.as_ref()))),
        BrowserEvent::Peer { connected } => ("peer", line(&Peer { connected: *connected })),
        BrowserEvent::Quality(quality) => ("quality", line(&sound(quality))),
    };
    // Writing to a String cannot fail.
    let _ = write!(into, "id: {id}\nevent: {name}\ndata: {data}\n\n");
}

/// JSON without a line feed, so it is one line of the stream.
fn line(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn state_of(call_id: CallId, state: BrowserState, at: Timestamp, end: Option<&crate::events::BrowserEnd>) -> State {
    State {
        state,
        call_id,
        at: at.rfc3339(),
        reason: end.map(|end| end.reason),
        ended_by: end.map(|end| end.by),
        status: end.map(|end| end.status),
    }
}

fn sound(quality: &Quality) -> Sound {
    let Quality { received, sent, mos_hundredths, rtt_ms } = *quality;
    let mos = (mos_hundredths > 0).then(|| f64::from(mos_hundredths) / 100.0);
    Sound { received: received.into(), sent: sent.into(), mos, rtt_ms }
}
