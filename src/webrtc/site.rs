//! What all browsers of one media thread have in common.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::config::CryptoProvider;

use crate::model::Timestamp;

/// Where browsers reach this thread, and what its peers are made with.
pub struct Site {
    /// Told to browsers.
    pub udp: SocketAddr,
    /// RFC 6544, passive.
    pub tcp: Option<SocketAddr>,
    pub timeline: Timeline,
    pub(super) crypto: Arc<CryptoProvider>,
}

impl Site {
    pub fn new(udp: SocketAddr, tcp: Option<SocketAddr>, timeline: Timeline) -> Self {
        Self { udp, tcp, timeline, crypto: Arc::new(str0m::crypto::from_feature_flags()) }
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site").field("udp", &self.udp).field("tcp", &self.tcp).finish_non_exhaustive()
    }
}

/// The same moments in str0m's kind of time. The pair comes from outside, once.
#[derive(Debug, Clone, Copy)]
pub struct Timeline {
    instant: Instant,
    at: Timestamp,
}

impl Timeline {
    /// `instant` was at `at`.
    pub fn new(instant: Instant, at: Timestamp) -> Self {
        Self { instant, at }
    }

    pub(super) fn instant(self, at: Timestamp) -> Instant {
        self.instant + at.since(self.at)
    }

    /// Rounded up, so that what is due then is due.
    pub(super) fn timestamp(self, instant: Instant) -> Timestamp {
        self.at + instant.saturating_duration_since(self.instant) + Duration::from_nanos(999)
    }
}
