//! `[trace]`: the SIP messages of calls, for those who may read them.

use std::time::Duration;

use super::bounds;
use super::section::Section;

/// What is kept of calls' messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceConfig {
    pub enabled: bool,
    /// After the end of a call; `None` for ever. Also of what was written while it was enabled.
    pub keep: Option<Duration>,
}

pub(super) fn trace(mut s: Section<'_, '_>) -> TraceConfig {
    let enabled = s.flag("enabled").unwrap_or(false);
    let days = s.whole("keep_days", &bounds::KEEP_BOUND).unwrap_or(bounds::KEEP_TRACES);
    s.finish();
    TraceConfig { enabled, keep: (days > 0).then(|| Duration::from_secs(days * 24 * 3600)) }
}
