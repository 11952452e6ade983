//! Under which SSRCs the browser sends.
//!
//! ```text
//!   never seen ──▶ on trial ── its first packet that is authentic ──▶ proven ── another is proven ──▶ retired
//!                     └── another one is tried ──▶ forgotten
//! ```
//!
//! str0m keeps state for each SSRC that it is told to expect, before a packet of it has proven to be
//! authentic. So there is one on trial at a time, and whoever writes to us without the keys moves nothing
//! but that. A retired SSRC never comes back: its packets would no longer be known as repetitions.

use smallvec::SmallVec;
use str0m::Rtc;
use str0m::media::Mid;

/// A browser changes its SSRC when its page replaces the sender, which is seldom.
const MAX_RETIRED: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Receiving {
    proven: Option<u32>,
    trial: Option<u32>,
    retired: SmallVec<[u32; 1]>,
}

impl Receiving {
    /// Before a packet is looked at: whether it may be.
    pub fn admit(&mut self, rtc: &mut Rtc, mid: Mid, ssrc: u32) -> bool {
        if self.proven == Some(ssrc) || self.trial == Some(ssrc) {
            return true;
        }
        // str0m takes SSRC 0 for a probe of the bandwidth, which we have not agreed to.
        if ssrc == 0 || self.retired.len() == MAX_RETIRED || self.retired.contains(&ssrc) {
            return false;
        }
        let mut streams = rtc.direct_api();
        if let Some(former) = self.trial.replace(ssrc) {
            streams.remove_stream_rx(former.into());
        }
        // Not agreed, and audio that is sent again comes too late.
        streams.expect_stream_rx(ssrc.into(), None, mid, None).suppress_nack(true);
        true
    }

    /// A packet was authentic.
    pub fn prove(&mut self, rtc: &mut Rtc, ssrc: u32) {
        if self.trial == Some(ssrc) {
            self.trial = None;
            if let Some(former) = self.proven.replace(ssrc) {
                rtc.direct_api().remove_stream_rx(former.into());
                self.retired.push(former);
            }
        }
    }
}
