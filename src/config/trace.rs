//! `[trace]`: the SIP messages of calls, for those who may read them.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::bounds;
use super::section::Section;

/// What is kept of calls' messages, and who gets a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceConfig {
    pub enabled: bool,
    /// After the end of a call; `None` for ever. Also of what was written while it was enabled.
    pub keep: Option<Duration>,
    pub hep: Option<HepConfig>,
}

/// A collector that takes HEP version 3.
#[derive(Clone, PartialEq, Eq)]
pub struct HepConfig {
    /// By UDP.
    pub collector: SocketAddr,
    /// By which it tells its senders apart.
    pub id: u32,
    pub password: Option<Arc<str>>,
    /// Whole numbers, instead of their last two digits.
    pub numbers: bool,
}

impl fmt::Debug for HepConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { collector, id, numbers, password: _ } = self;
        write!(f, "HepConfig {{ collector: {collector}, id: {id}, numbers: {numbers} }}")
    }
}

pub(super) fn trace(mut s: Section<'_, '_>) -> TraceConfig {
    let enabled = s.flag("enabled").unwrap_or(false);
    let days = s.whole("keep_days", &bounds::KEEP_BOUND).unwrap_or(bounds::KEEP_TRACES);
    let hep = s.parsed("hep", collector);
    let id = s.whole("hep_id", &bounds::HEP_ID_BOUND).unwrap_or(bounds::HEP_ID);
    let password = s.parsed("hep_password", |text| match text.len() {
        1..=bounds::HEP_PASSWORD => Ok(Arc::from(text)),
        _ => Err("expected 1 to 128 bytes"),
    });
    let numbers = s.flag("hep_numbers").unwrap_or(false);
    if let Some(hep) = hep.filter(|_| !enabled) {
        s.wrong(hep.at, "hep", "nothing is traced; set trace.enabled = true, or remove this");
    }
    s.finish();
    let hep = hep.map(|hep| HepConfig {
        collector: hep.value,
        // Within its bound.
        id: id as u32,
        password: password.map(|password| password.value),
        numbers,
    });
    TraceConfig { enabled, keep: (days > 0).then(|| Duration::from_secs(days * 24 * 3600)), hep }
}

fn collector(text: &str) -> Result<SocketAddr, &'static str> {
    let address = text.strip_prefix("udp:").and_then(|address| address.parse::<SocketAddr>().ok());
    let reachable = address.filter(|address| address.port() != 0 && !address.ip().is_unspecified());
    reachable.ok_or("expected where the collector listens, such as \"udp:192.0.2.20:9060\"")
}
