//! Where a browser is sent to, and whose requests are believed.
//!
//! A request with the right password is the browser's, but not always the browser sends it: whoever sees it
//! on its way can send it again from elsewhere. So a transaction belongs to the source that began it, and
//! audio moves with audio.

use std::collections::VecDeque;
use std::time::Duration;

use str0m::ice::TransId;

use super::Source;
use crate::model::Timestamp;

/// A path by which no audio has come for this long may be given up for a request alone.
const QUIET: Duration = Duration::from_secs(1);
/// A browser begins a transaction every few seconds, and some tens at the start.
const REMEMBERED: usize = 32;

/// The transactions of late.
#[derive(Debug, Default)]
pub(super) struct Checks(VecDeque<(TransId, Source)>);

impl Checks {
    /// Whether this transaction is not another source's.
    pub fn admit(&mut self, source: Source, transaction: TransId) -> bool {
        if let Some((_, began)) = self.0.iter().find(|(other, _)| *other == transaction) {
            return *began == source;
        }
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((transaction, source));
        true
    }
}

/// The way to the browser.
#[derive(Debug, Default)]
pub(super) struct Path {
    /// Where it is sent to.
    pub selected: Option<Source>,
    /// Where its last nomination came from.
    nominated: Option<Source>,
    /// Where the packet that is being looked at came from.
    pub comes_from: Option<Source>,
    /// When audio last came from where it is sent to.
    heard: Timestamp,
}

impl Path {
    /// A request of the browser, with USE-CANDIDATE or without.
    pub fn checked(&mut self, now: Timestamp, source: Source, nominates: bool) {
        if nominates {
            self.nominated = Some(source);
        }
        if self.selected.is_none() || nominates && now.since(self.heard) >= QUIET {
            self.selected = Some(source);
        }
    }

    /// The packet that is being looked at was audio, and new.
    pub fn heard(&mut self, now: Timestamp) {
        if self.nominated.is_some() && self.nominated == self.comes_from {
            self.selected = self.nominated;
        }
        if self.selected == self.comes_from {
            self.heard = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webrtc::Via;

    fn source(port: u16) -> Source {
        Source { via: Via::Udp, address: ([192, 0, 2, 1], port).into() }
    }

    fn at(milliseconds: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + milliseconds)
    }

    #[test]
    fn a_transaction_is_its_sources_alone() {
        let mut checks = Checks::default();
        let first = TransId::new();
        assert!(checks.admit(source(1), first) && checks.admit(source(1), first), "sent twice");
        assert!(!checks.admit(source(2), first), "sent by another");
        assert!((0..100).all(|_| checks.admit(source(2), TransId::new())));
        assert_eq!(checks.0.len(), REMEMBERED);
    }

    #[test]
    fn audio_moves_with_audio() {
        let mut path = Path::default();
        path.checked(at(0), source(1), false);
        assert_eq!(path.selected, Some(source(1)), "the first is better than none");
        path.checked(at(0), source(2), true);
        assert_eq!(path.selected, Some(source(2)), "no audio came by the first");
        path.comes_from = Some(source(2));
        path.heard(at(100));
        // A copied request, and old packets with it, which are not heard.
        path.checked(at(200), source(3), true);
        assert_eq!(path.selected, Some(source(2)));
        path.comes_from = Some(source(2));
        path.heard(at(1_050));
        path.checked(at(1_100), source(4), true);
        assert_eq!(path.selected, Some(source(2)));
        path.comes_from = Some(source(4));
        path.heard(at(1_120));
        assert_eq!(path.selected, Some(source(4)));
        // The last packets by the old path.
        path.comes_from = Some(source(2));
        path.heard(at(1_125));
        assert_eq!(path.selected, Some(source(4)));
        path.checked(at(2_200), source(5), true);
        assert_eq!(path.selected, Some(source(5)), "the one before fell silent");
    }
}
