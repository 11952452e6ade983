//! One line for each thing that an operator acts on, for people or as JSON.
//!
//! Numbers never get here: no notice holds one. A line stays one line whatever a peer put into a
//! reason phrase: control characters are written as escapes.

use std::io::{self, Write};

use tracing::level_filters::LevelFilter;
use tracing::{debug, error, info, warn};

use crate::events::Notice;

/// Starts logging to standard error. `verbose` adds every message of every call's ladder.
pub fn install(json: bool, verbose: bool) {
    let level = if verbose { LevelFilter::DEBUG } else { LevelFilter::INFO };
    let builder =
        tracing_subscriber::fmt().with_max_level(level).with_target(false).with_writer(|| OneLine(io::stderr()));
    // A second subscriber in one process can only be a test's; the first stays.
    let _ = if json { builder.json().flatten_event(true).try_init() } else { builder.with_ansi(false).try_init() };
}

/// Says what happened, if an operator should know.
pub fn say(notice: &Notice) {
    match notice {
        Notice::CallAdmitted { call, organization } => {
            debug!(%call, organization = organization.as_str(), "call admitted")
        }
        Notice::Token { call, path, news } => {
            debug!(%call, path = path.as_str(), news = news.as_str(), "browser token");
        }
        Notice::BrowserJoined { call, path } => debug!(%call, path = path.as_str(), "browser joined"),
        Notice::AttemptRefused { organization, guardrail } => {
            info!(organization = organization.as_str(), guardrail = guardrail.as_str(), "call refused");
        }
        Notice::BreakerTripped { organization, reason } => {
            warn!(
                organization = organization.as_str(),
                reason = reason.as_str(),
                "breaker tripped: a prefix is paused"
            );
        }
        Notice::LegRefused { call, guardrail } => info!(%call, guardrail = guardrail.as_str(), "leg refused"),
        Notice::Signal { call, side, sent, summary } => {
            debug!(%call, leg = %side.letter(), sent, summary = summary.as_ref(), "signal");
        }
        Notice::CallStatus { call, status } => debug!(%call, status = status.as_str(), "call status"),
        Notice::Setup { .. } | Notice::InviteAnswered { .. } => {}
        Notice::MediaClosed { call, side, stats } => debug!(
            %call, leg = %side.letter(), packets = stats.packets_received, sent = stats.packets_sent,
            lost = stats.lost, jitter_us = stats.jitter_us, "audio closed"
        ),
        Notice::CallEnded { call, status, reason, duration } => info!(
            %call, status = status.as_str(), end_reason = reason.as_str(),
            duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), "call ended"
        ),
        Notice::MaskingBlocked { call, side, method, what } => {
            error!(%call, leg = %side.letter(), method, %what, "request stopped: it held the other party's identity");
        }
        Notice::InviteWithheld { call, side } => {
            warn!(%call, leg = %side.letter(), "INVITE not sent: this node's lease has run out");
        }
        Notice::TrunkHealth { trunk, in_service: true } => info!(trunk = trunk.as_ref(), "trunk in service"),
        Notice::TrunkHealth { trunk, in_service: false } => warn!(trunk = trunk.as_ref(), "trunk out of service"),
        Notice::TrunkFailed { trunk, elsewhere } => {
            warn!(trunk = trunk.as_ref(), elsewhere, "an INVITE came to nothing because of its trunk");
        }
        Notice::Noise { kind } => debug!(kind = kind.as_str(), "noise"),
        Notice::CommitFailed { call } => error!(%call, "the store could not commit"),
        Notice::CallRestored { call } => info!(%call, "call taken up after its process ended"),
        Notice::CallPoisoned { call, what } => error!(%call, what, "broken invariant: the call was ended"),
    }
}

/// Passes whole events on with every control character but the closing newline escaped.
struct OneLine<W>(W);

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.write_all(event)?;
        Ok(event.len())
    }

    fn write_all(&mut self, event: &[u8]) -> io::Result<()> {
        let (line, end) = match event.split_last() {
            Some((b'\n', line)) => (line, &b"\n"[..]),
            _ => (event, &b""[..]),
        };
        let text = String::from_utf8_lossy(line);
        if !text.chars().any(breaks_a_line) {
            return self.0.write_all(event);
        }
        let escaped: String = text
            .chars()
            .flat_map(|c| if breaks_a_line(c) { c.escape_unicode().collect::<Vec<_>>() } else { vec![c] })
            .collect();
        self.0.write_all(escaped.as_bytes())?;
        self.0.write_all(end)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Control characters, and the two separators that some viewers take for line ends.
fn breaks_a_line(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_stays_one_line() {
        let mut out = Vec::new();
        OneLine(&mut out).write_all("status 200 OK\r\nINFO forged\u{2028}\u{1b}[31m\n".as_bytes()).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "status 200 OK\\u{d}\\u{a}INFO forged\\u{2028}\\u{1b}[31m\n");
    }
}
