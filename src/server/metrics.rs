//! Notices and gauges as Prometheus metrics; `docs/operations.md` explains each.
//!
//! Every label is from a closed list or from the configuration, so no number of calls makes a new
//! series.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::media::Counts;
use crate::config::Trunk;
use crate::events::Notice;
use crate::guardrails::TripReason;
use crate::switch::Gauges;

/// Seconds. From a commit on a fast disk (0.1 ms) to a phone that nobody hears (60 s).
const SECONDS_BUCKETS: [f64; 16] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 20.0, 60.0];

/// Installs the recorder of the process. Its `render` is the body of `/metrics`; `run_upkeep` must be
/// called every few seconds, or histograms grow.
pub fn install() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)
        .context("histogram buckets")?
        .install_recorder()
        .context("metrics recorder")?;
    describe();
    gauge!("revbridge_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}

fn describe() {
    describe_counter!("revbridge_calls_admitted_total", "Calls that the guardrails let in");
    describe_counter!("revbridge_calls_ended_total", "Calls by terminal status and end_reason");
    describe_counter!(
        "revbridge_calls_restored_total",
        "Calls taken up from their snapshot: after a start, or of a dead node"
    );
    describe_counter!("revbridge_calls_poisoned_total", "Calls ended by a broken invariant: each is a bug");
    describe_counter!("revbridge_refusals_total", "Refusals by guardrail, of a dial or of a later leg");
    describe_counter!("revbridge_breaker_tripped_total", "Prefixes paused because of how calls to them end, by reason");
    describe_counter!("revbridge_invite_answers_total", "Final answers to INVITE by trunk and status");
    describe_histogram!("revbridge_setup_seconds", "Setup time by stage");
    describe_counter!("revbridge_rtp_relayed_total", "RTP packets relayed from one party to the other");
    describe_counter!("revbridge_rtp_lost_total", "RTP packets that a party sent and that never came");
    describe_counter!("revbridge_rtp_dropped_total", "RTP packets that were not relayed, by cause");
    describe_histogram!("revbridge_rtp_jitter_seconds", "Interarrival jitter of ended legs");
    describe_histogram!("revbridge_commit_seconds", "From handing a commit to the store to its answer");
    describe_counter!("revbridge_commits_failed_total", "Commits that the store could not make durable");
    describe_counter!("revbridge_masking_blocked_total", "Requests that the outgoing guard stopped: alert on any");
    describe_counter!("revbridge_invites_withheld_total", "INVITEs not sent because the node's lease had run out");
    describe_counter!("revbridge_nodes_taken_over_total", "Dead nodes of which this one took calls over");
    describe_counter!("revbridge_fenced_total", "1 once another node has taken this one's place");
    describe_gauge!("revbridge_nodes", "Nodes that live, this one included");
    describe_counter!("revbridge_requests_forwarded_total", "Requests sent on to the node of their call, by answer");
    describe_counter!("revbridge_sip_noise_total", "Packets that were no message for us, by kind");
    describe_counter!("revbridge_sip_packets_total", "SIP packets by direction");
    describe_counter!("revbridge_sip_send_dropped_total", "SIP packets dropped because the send queue was full");
    describe_counter!("revbridge_browser_tokens_total", "Tokens of browsers by path: issued, used, expired unused");
    describe_counter!("revbridge_browser_joins_total", "Browsers whose audio path came to stand, by path");
    describe_gauge!("revbridge_browsers", "Browsers whose audio path stands");
    describe_gauge!("revbridge_trunk_up", "1 while the trunk takes calls");
    describe_gauge!("revbridge_live_calls", "Calls without a terminal record");
    describe_gauge!("revbridge_live_legs", "Legs that ring or talk");
    describe_gauge!("revbridge_calls_in_memory", "Live calls and those that still take down late answers");
    describe_gauge!(
        "revbridge_media_streams",
        "Open legs, by whether the kernel or userspace relays what the party sends"
    );
    describe_gauge!("revbridge_media_ports_left", "Port pairs that a new leg could take now");
    describe_gauge!("revbridge_trunks_in_service", "Trunks that take calls");
    describe_gauge!("revbridge_commits_in_flight", "Commits that the store has not answered");
}

/// Shows what has not happened yet as zero, so that an alert can tell it from a metric that is gone.
/// Trunks are in service until they prove otherwise.
pub fn zero(trunks: &[Arc<Trunk>]) {
    for name in [
        "revbridge_calls_admitted_total",
        "revbridge_calls_restored_total",
        "revbridge_calls_poisoned_total",
        "revbridge_commits_failed_total",
        "revbridge_invites_withheld_total",
        "revbridge_nodes_taken_over_total",
        "revbridge_fenced_total",
    ] {
        counter!(name).absolute(0);
    }
    for reason in TripReason::ALL {
        counter!("revbridge_breaker_tripped_total", "reason" => reason.as_str()).absolute(0);
    }
    for trunk in trunks {
        gauge!("revbridge_trunk_up", "trunk" => trunk.name.to_string()).set(if trunk.register.is_some() {
            0.0
        } else {
            1.0
        });
    }
}

/// Counts what happened.
pub fn count(notice: &Notice) {
    match notice {
        Notice::CallAdmitted { .. } => counter!("revbridge_calls_admitted_total").increment(1),
        Notice::Token { path, news, .. } => {
            let labels = [("path", path.as_str()), ("news", news.as_str())];
            counter!("revbridge_browser_tokens_total", &labels).increment(1);
        }
        Notice::BrowserJoined { path, .. } => {
            counter!("revbridge_browser_joins_total", "path" => path.as_str()).increment(1);
        }
        Notice::AttemptRefused { guardrail, .. } => {
            counter!("revbridge_refusals_total", "guardrail" => guardrail.as_str(), "at" => "dial").increment(1);
        }
        Notice::LegRefused { guardrail, .. } => {
            counter!("revbridge_refusals_total", "guardrail" => guardrail.as_str(), "at" => "leg").increment(1);
        }
        Notice::BreakerTripped { reason, .. } => {
            counter!("revbridge_breaker_tripped_total", "reason" => reason.as_str()).increment(1);
        }
        Notice::Setup { stage, took } => {
            histogram!("revbridge_setup_seconds", "stage" => stage.as_str()).record(*took);
        }
        Notice::InviteAnswered { trunk, status } => {
            let labels = [("trunk", trunk.to_string()), ("status", status.to_string())];
            counter!("revbridge_invite_answers_total", &labels).increment(1);
        }
        Notice::MediaClosed { stats, .. } => {
            histogram!("revbridge_rtp_jitter_seconds").record(f64::from(stats.jitter_us) / 1e6);
        }
        Notice::CallEnded { status, reason, .. } => {
            let labels = [("status", status.as_str()), ("end_reason", reason.as_str())];
            counter!("revbridge_calls_ended_total", &labels).increment(1);
        }
        Notice::MaskingBlocked { side, method, .. } => {
            let leg = if side.letter() == 'A' { "A" } else { "B" };
            counter!("revbridge_masking_blocked_total", "leg" => leg, "method" => *method).increment(1);
        }
        Notice::InviteWithheld { .. } => counter!("revbridge_invites_withheld_total").increment(1),
        Notice::TrunkHealth { trunk, in_service } => {
            gauge!("revbridge_trunk_up", "trunk" => trunk.to_string()).set(f64::from(u8::from(*in_service)));
        }
        Notice::TrunkFailed { trunk, elsewhere } => {
            let elsewhere = if *elsewhere { "yes" } else { "no" };
            let labels = [("trunk", trunk.to_string()), ("elsewhere", elsewhere.to_owned())];
            counter!("revbridge_trunk_failures_total", &labels).increment(1);
        }
        Notice::Noise { kind } => counter!("revbridge_sip_noise_total", "kind" => kind.as_str()).increment(1),
        Notice::CommitFailed { .. } => counter!("revbridge_commits_failed_total").increment(1),
        Notice::CallRestored { .. } => counter!("revbridge_calls_restored_total").increment(1),
        Notice::CallPoisoned { .. } => counter!("revbridge_calls_poisoned_total").increment(1),
        Notice::Signal { .. } | Notice::CallStatus { .. } => {}
    }
}

/// The totals of the media threads.
pub fn media(counts: &Counts) {
    counter!("revbridge_rtp_relayed_total").absolute(counts.relayed);
    counter!("revbridge_rtp_lost_total").absolute(counts.lost);
    let drops = &counts.dropped;
    for (cause, packets) in [
        ("stranger", drops.stranger),
        ("malformed", drops.malformed),
        ("payload_type", drops.payload_type),
        ("nowhere", drops.nowhere),
        ("send", drops.send),
    ] {
        counter!("revbridge_rtp_dropped_total", "cause" => cause).absolute(packets);
    }
    for (path, legs) in [("kernel", counts.streams.kernel), ("userspace", counts.streams.userspace)] {
        gauge!("revbridge_media_streams", "path" => path).set(legs as f64);
    }
}

/// A look at the nodes that live: so many others.
pub fn nodes(others: usize) {
    gauge!("revbridge_nodes").set((others + 1) as f64);
}

pub fn taken_over() {
    counter!("revbridge_nodes_taken_over_total").increment(1);
}

pub fn fenced() {
    counter!("revbridge_fenced_total").increment(1);
}

/// A commit came back.
pub fn commit(took: Duration) {
    histogram!("revbridge_commit_seconds").record(took);
}

/// SIP packets since the last call of this function.
pub fn packets(received: u64, sent: u64, dropped: u64) {
    counter!("revbridge_sip_packets_total", "direction" => "received").increment(received);
    counter!("revbridge_sip_packets_total", "direction" => "sent").increment(sent);
    counter!("revbridge_sip_send_dropped_total").increment(dropped);
}

pub fn gauges(gauges: &Gauges) {
    let set = |name: &'static str, value: usize| gauge!(name).set(value as f64);
    set("revbridge_live_calls", gauges.live_calls);
    set("revbridge_live_legs", gauges.live_legs);
    set("revbridge_calls_in_memory", gauges.calls);
    set("revbridge_media_ports_left", gauges.ports_left);
    set("revbridge_trunks_in_service", gauges.trunks_in_service);
    set("revbridge_commits_in_flight", gauges.commits_in_flight);
    set("revbridge_browsers", gauges.browsers);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::NoiseKind;
    use crate::model::{CallId, EndReason, Status};

    fn ended(call: u8) -> Notice {
        let (status, reason) = (Status::Completed, EndReason::Hangup);
        Notice::CallEnded { call: CallId::from_bytes([call; 16]), status, reason, duration: Duration::from_secs(1) }
    }

    #[test]
    fn series_do_not_grow_with_calls() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            count(&Notice::Noise { kind: NoiseKind::Malformed });
            for call in 0..100 {
                count(&ended(call));
                count(&Notice::CallAdmitted {
                    call: CallId::from_bytes([call; 16]),
                    organization: crate::model::OrganizationId("acme".into()),
                });
            }
        });
        let text = handle.render();
        let series = text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()).count();
        assert_eq!(series, 3, "{text}");
        assert!(text.contains("revbridge_calls_ended_total{status=\"completed\",end_reason=\"hangup\"} 100"), "{text}");
    }
}
