//! One side of the call, as the call sees it: how far the leg is, and its audio.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::LegPlan;
use super::meter::Meter;
use crate::leg::LegEvent;
use crate::media::{LegStats, PortPair};
use crate::model::{LegRecord, Secret, Timestamp};
use crate::sdp::{self, Agreed, Codec, Description, Direction, Local};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    /// No INVITE has been asked for.
    Idle,
    Ringing,
    /// The 2xx is here and waits for its ACK.
    Answered,
    Up,
    Over,
}

#[derive(Debug, Clone)]
pub(super) struct Party {
    pub phase: Phase,
    pub local: Local,
    pub port: Option<PortPair>,
    pub secret: Secret,
    /// Our last description, which the peer's answer is read against.
    pub offered: Option<Box<Description>>,
    /// What the INVITE's offer and its answer, or the last change, came to.
    pub agreed: Option<Agreed>,
    /// What early dialogs have come to, before the answer; the last is the one whose media is heard.
    pub early: Vec<(u32, Agreed)>,
    pub media_open: bool,
    pub stats: Option<LegStats>,
    pub meter: Meter,
    pub strays: Strays,
    pub invited_at: Option<Timestamp>,
    pub ring_ended_at: Option<Timestamp>,
}

/// Unwanted answers on their way to the disk; counted from the leg's first.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Strays {
    pub reported: Option<u32>,
    pub committing: Option<u32>,
}

impl Party {
    pub fn new(plan: &LegPlan) -> Self {
        Self {
            phase: Phase::Idle,
            local: plan.local,
            port: plan.port,
            secret: plan.secret,
            offered: None,
            agreed: None,
            early: Vec::new(),
            media_open: false,
            stats: None,
            meter: Meter::default(),
            strays: Strays::default(),
            invited_at: None,
            ring_ended_at: None,
        }
    }

    pub fn invited(&mut self, now: Timestamp, offer: Description) {
        self.phase = Phase::Ringing;
        self.invited_at = Some(now);
        self.offered = Some(Box::new(offer));
    }

    /// By another trunk: the same offer.
    pub fn invited_again(&mut self) -> Option<Description> {
        self.phase = Phase::Ringing;
        self.ring_ended_at = None;
        self.offered.as_deref().cloned()
    }

    /// Keeps the phase in step with what the leg reports.
    pub fn hear(&mut self, now: Timestamp, event: &LegEvent) {
        match event {
            LegEvent::Answered { .. } => self.move_to(now, Phase::Answered),
            LegEvent::Refused { .. }
            | LegEvent::Unreached(_)
            | LegEvent::Hangup(_)
            | LegEvent::Lost(_)
            | LegEvent::Gone => {
                self.move_to(now, Phase::Over);
            }
            LegEvent::Progress { .. }
            | LegEvent::Offer { .. }
            | LegEvent::LateAnswer(_)
            | LegEvent::Stray { .. }
            | LegEvent::Digit(_) => {}
        }
    }

    fn move_to(&mut self, now: Timestamp, phase: Phase) {
        if self.phase == Phase::Ringing {
            self.ring_ended_at = Some(now);
        }
        self.phase = phase;
    }

    /// The peer's answer to our offer; `None` when it leaves nothing to talk with.
    pub fn read_answer(&self, answer: Option<&Description>) -> Option<Agreed> {
        sdp::accept_answer(self.offered.as_deref()?, answer?).ok()
    }

    /// An early dialog has described itself: `true` where that is news.
    pub fn hear_early(&mut self, early: u32, agreed: &Agreed) -> bool {
        if self.early.last().is_some_and(|last| *last == (early, agreed.clone())) {
            return false;
        }
        self.early.retain(|(known, _)| *known != early);
        self.early.push((early, agreed.clone()));
        true
    }

    /// What the answer comes to. A 2xx without a description confirms the one of its provisional response (RFC 3261
    /// §13.2.1).
    pub fn answered(&mut self, early: Option<u32>, answer: Option<&Description>) -> Option<Agreed> {
        let described = std::mem::take(&mut self.early);
        let before = || described.into_iter().find(|(known, _)| Some(*known) == early).map(|(_, agreed)| agreed);
        self.read_answer(answer).or_else(before)
    }

    /// What this party accepted: all that the other one is offered, so that joining them needs no
    /// further offer.
    pub fn codecs(&self) -> SmallVec<[Codec; 3]> {
        self.agreed.as_ref().map(Agreed::codecs).unwrap_or_default()
    }

    /// Ringing was stopped by us.
    pub fn stop_ringing(&mut self, now: Timestamp) {
        if self.phase == Phase::Ringing && self.ring_ended_at.is_none() {
            self.ring_ended_at = Some(now);
        }
    }

    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Ringing | Phase::Answered | Phase::Up)
    }

    /// Whether this party asked not to hear the other (RFC 3264 §8.4).
    pub fn is_on_hold(&self) -> bool {
        self.agreed.as_ref().is_some_and(|agreed| {
            agreed.remote.is_none() || matches!(agreed.peer_direction, Direction::SendOnly | Direction::Inactive)
        })
    }

    pub fn next_timeout(&self, extending: bool) -> Option<Timestamp> {
        if self.is_live() { self.meter.next_timeout(extending) } else { None }
    }

    pub fn record(&self) -> LegRecord {
        let stats = self.stats.unwrap_or_default();
        LegRecord {
            ring_ms: self
                .invited_at
                .zip(self.ring_ended_at)
                .map(|(from, to)| u64::try_from(to.since(from).as_millis()).unwrap_or(u64::MAX)),
            codec: stats.codec.and_then(|codec| codec.name()).map(str::to_owned),
            packets: stats.packets_received,
            lost: stats.lost,
            jitter_ms: f64::from(stats.jitter_us) / 1_000.0,
            mos: (stats.mos_hundredths > 0).then(|| f64::from(stats.mos_hundredths) / 100.0),
        }
    }
}
