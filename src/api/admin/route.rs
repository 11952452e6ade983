//! `GET /v1/admin/route?number=+14155550100`: which trunk a call to a number takes now, and why. Nothing is placed.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;
use tokio::sync::oneshot;

use super::super::answer::Problem;
use super::super::fields::Fields;
use super::super::ports::Busy;
use super::super::refusal;
use super::page::{Part, listed};
use super::{AdminApi, Administrator};
use crate::sip::Candidate;
use crate::switch::{Command, Reply, Unavailable};

/// One trunk that takes the number; the first of the list is asked first, the next ones when it fails.
#[derive(Debug, Serialize)]
struct CandidateView {
    trunk: Arc<str>,
    /// `transport:address:port`.
    target: String,
    /// What an INVITE would find: `first`, `next`, `out_of_service`, `full`.
    verdict: &'static str,
    prefix_length: usize,
    priority: u16,
    /// Shares among those of equal prefix and priority.
    weight: u16,
    /// Of the address among the trunk's, by the DNS.
    target_priority: u32,
    target_weight: u16,
    /// Seconds for which it is asked last, after a failure.
    avoided_seconds: Option<u64>,
    calls: u32,
    max_calls: Option<u32>,
    calls_in_second: u32,
    max_calls_per_second: Option<u32>,
}

fn view(candidate: &Candidate, first: &mut bool) -> CandidateView {
    let trunk = &candidate.trunk;
    let verdict = match (candidate.in_service, candidate.has_room) {
        (false, _) => "out_of_service",
        (true, false) => "full",
        (true, true) if std::mem::take(first) => "first",
        (true, true) => "next",
    };
    CandidateView {
        trunk: Arc::clone(&trunk.name),
        target: format!("{}:{}", trunk.transport.as_str(), trunk.target),
        verdict,
        prefix_length: candidate.prefix_length,
        priority: trunk.priority,
        weight: trunk.weight,
        target_priority: candidate.target_priority,
        target_weight: candidate.target_weight,
        avoided_seconds: candidate.avoided_for.map(|left| left.as_secs().max(1)),
        calls: candidate.calls,
        max_calls: trunk.max_calls,
        calls_in_second: candidate.calls_in_second,
        max_calls_per_second: trunk.max_calls_per_second,
    }
}

pub async fn show(State(api): State<Arc<AdminApi>>, _: Administrator, uri: Uri) -> Result<Response, Problem> {
    let mut query = Fields::of_query(&uri)?;
    let part = Part::take(&mut query);
    let number = query.required_number("number");
    query.finish()?;
    let number = number.ok_or_else(Problem::internal)?;
    let (reply, answer) = oneshot::channel();
    api.switch.ask(Command::Route(number), reply).map_err(|Busy| refusal::busy())?;
    // The sender is only dropped when the process ends.
    let reply = answer.await.map_err(|_| refusal::unavailable(Unavailable::Draining))?;
    let Reply::Route(candidates) = reply else { return Err(Problem::internal()) };
    let mut first = true;
    let data: Vec<_> = candidates.iter().take(part.limit).map(|candidate| view(candidate, &mut first)).collect();
    Ok(listed(data, None, part.limit))
}
