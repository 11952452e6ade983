//! `GET /v1/calls/{id}/trace`: the SIP messages of both legs.
//!
//! ```text
//! call of the organization? ─▶ live here ─▶ stored ─▶ at another node: sent on ─▶ none
//!                                  └──────────┴─▶ unsealed with the record's numbers ─▶ JSON, ladder, pcap
//! ```
//!
//! A trace shows what a record does not: addresses of trunks, and what peers say of themselves. So it has a scope of
//! its own, which an operator gives to those who are to see that. Deliberately absent: what signs in to a trunk, which
//! no trace has.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::answer::{Data, Problem};
use super::calls::{find, id_of};
use super::fields::Fields;
use super::{Api, Caller, forward};
use crate::model::{CallId, CallRecord, Side, Timestamp};
use crate::trace::{Line, Numbers, Reader, Trace, ladder, pcap};

const SCOPE: &str = "calls:trace";
const LADDER: &str = "text/plain; charset=utf-8";
const PCAP: &str = "application/vnd.tcpdump.pcap";

/// The traces of calls that live on this node.
pub trait LiveTraces: Send + Sync + 'static {
    fn get(&self, call: CallId) -> Option<Trace>;
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query, which Fields reads")]
pub struct TraceQuery {
    /// `json`, `ladder` or `pcap`; else what `Accept` names.
    #[param(inline)]
    format: Option<Format>,
}

#[derive(Clone, Copy, ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum Format {
    Json,
    Ladder,
    Pcap,
}

/// The messages of one call's legs.
#[derive(Serialize, ToSchema)]
pub struct CallTrace {
    call_id: CallId,
    /// Whether every message from the first on is here.
    complete: bool,
    /// Messages that found no room.
    left_out: u64,
    messages: Vec<TracedMessage>,
}

#[derive(Serialize, ToSchema)]
pub struct TracedMessage {
    #[schema(value_type = Timestamp)]
    at: String,
    /// Since the first message.
    offset_ms: f64,
    /// `user` or `destination`.
    leg: &'static str,
    /// `sent`, `received`, or `withheld` by the outgoing guard.
    way: &'static str,
    /// `udp`, `tcp` or `tls`.
    transport: &'static str,
    #[schema(value_type = String)]
    local: SocketAddr,
    #[schema(value_type = String)]
    remote: SocketAddr,
    /// The method, or the status and its reason.
    title: String,
    /// Bytes on the wire.
    size: usize,
    /// Numbers of other parties and credentials are covered.
    text: String,
}

/// The SIP messages of a call's legs, in order.
///
/// While the call lives, and then for as long as the server keeps traces. What was not traced is 404.
#[utoipa::path(
    get, path = "/v1/calls/{id}/trace", tag = "Calls", operation_id = "getCallTrace",
    params(("id" = CallId, Path), TraceQuery), security(("key" = ["calls:trace"])),
    responses((status = 200, description = "The messages", content(
        (Data<CallTrace> = "application/json"),
        (String = "text/plain"),
        (Vec<u8> = "application/vnd.tcpdump.pcap"),
    )))
)]
pub async fn get(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.needs(SCOPE)?;
    let format = Format::of(&uri, &headers)?;
    let call = id_of(&id)?;
    let record = find(&api, &caller, call).await?;
    let trace = of_call(&api, call).await?.shown_to(Reader::Organization(numbers(&record)));
    Ok(answer(&trace, format))
}

pub(super) fn answer(trace: &Trace, format: Format) -> Response {
    let mut response = match format {
        Format::Json => Data { data: CallTrace::from(trace) }.into_response(),
        Format::Ladder => ([(CONTENT_TYPE, LADDER)], ladder(trace)).into_response(),
        Format::Pcap => ([(CONTENT_TYPE, PCAP)], pcap(trace)).into_response(),
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn of_call(api: &Api, call: CallId) -> Result<Trace, Problem> {
    if let Some(trace) = api.traces.as_ref().and_then(|traces| traces.get(call)) {
        return Ok(trace);
    }
    let stored = api.read(move |store| store.trace(call)).await?;
    if let Some(trace) = stored.and_then(|bytes| Trace::from_bytes(&bytes)) {
        return Ok(trace);
    }
    match api.elsewhere(call).await? {
        Some(peer) => Err(forward::elsewhere(peer)),
        None => Err(Problem::not_found()),
    }
}

pub(super) fn numbers(record: &CallRecord) -> Numbers {
    Numbers { connect: record.connect_number, from: record.from_number, to: record.to_number }
}

impl Format {
    /// What the query asks for, else what `Accept` names first.
    pub(super) fn of(uri: &Uri, headers: &HeaderMap) -> Result<Self, Problem> {
        let mut query = Fields::of_query(uri)?;
        let asked = query.word("format", &[("json", Format::Json), ("ladder", Format::Ladder), ("pcap", Format::Pcap)]);
        query.finish()?;
        let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        let accepted = accept.split([',', ';']).find_map(|kind| match kind.trim() {
            "application/json" | "*/*" => Some(Format::Json),
            "text/plain" => Some(Format::Ladder),
            PCAP => Some(Format::Pcap),
            _ => None,
        });
        Ok(asked.or(accepted).unwrap_or(Format::Json))
    }
}

impl From<&Trace> for CallTrace {
    fn from(trace: &Trace) -> Self {
        let first = trace.lines.first().map(|line| line.at).unwrap_or_default();
        let messages = trace.lines.iter().map(|line| TracedMessage::of(line, first)).collect();
        Self { call_id: trace.call, complete: trace.complete, left_out: trace.left_out, messages }
    }
}

impl TracedMessage {
    fn of(line: &Line, first: Timestamp) -> Self {
        Self {
            at: line.at.rfc3339(),
            offset_ms: line.at.since(first).as_micros() as f64 / 1_000.0,
            leg: match line.side {
                Side::User => "user",
                Side::Destination => "destination",
            },
            way: line.way.as_str(),
            transport: line.transport.as_str(),
            local: line.local,
            remote: line.remote,
            title: line.title().to_owned(),
            size: line.size,
            text: line.text.clone(),
        }
    }
}
