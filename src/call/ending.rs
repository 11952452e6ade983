//! Taking the legs down, settling, and lingering for 64·T1.
//!
//! ```text
//! begin ─▶ legs: End, media: Close ─▶ both Closed, or PATIENCE ─▶ commit Settle ─▶ durable ─▶ LINGER ─▶ Forget
//!                                                                      ▲    │                 ▲    │
//!                                                                      └────┘ store            └────┘ CANCEL or BYE
//!                                                                             unavailable             without answer
//! ```
//!
//! A leg whose 2xx is not durable yet is only taken down once the settlement is: until then it is not
//! acknowledged, so its phone repeats the 2xx and a restart still finds it.

use std::time::Duration;

use super::party::Phase;
use super::state::{End, State};
use super::{Call, CallAction, StepKind};
use crate::events::{FactKind, Notice};
use crate::leg::{Cause, LINGER, LegCommand, T1};
use crate::media::{LegStats, MediaCommand};
use crate::model::{Side, Status, Timestamp};
use crate::store::{Committed, Step};

/// How long the last counts of the audio may take.
const PATIENCE: Duration = Duration::from_millis(250);
/// How long until a store that could not commit is asked again.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Ending {
    pub end: End,
    pub ended_at: Timestamp,
    pub settling: Settling,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settling {
    /// Waits for the audio's last counts.
    Counting {
        until: Timestamp,
    },
    Committing,
    Again {
        at: Timestamp,
    },
    Settled {
        forget_at: Timestamp,
    },
}

impl Ending {
    pub fn is_settled(&self) -> bool {
        matches!(self.settling, Settling::Settled { .. })
    }

    pub fn next_timeout(&self) -> Option<Timestamp> {
        match self.settling {
            Settling::Counting { until } => Some(until),
            Settling::Committing => None,
            Settling::Again { at } => Some(at),
            Settling::Settled { forget_at } => Some(forget_at),
        }
    }
}

impl Call {
    pub(super) fn begin_ending(&mut self, now: Timestamp, end: End, out: &mut Vec<CallAction>) {
        self.begin_ending_at(now, now, end, out);
    }

    /// `ended_at`: what the record says and the money is settled by.
    pub(super) fn begin_ending_at(&mut self, now: Timestamp, ended_at: Timestamp, end: End, out: &mut Vec<CallAction>) {
        for side in Side::BOTH {
            self.take_down(now, side, Cause::of(end.reason), out);
        }
        self.dismiss_browser(out);
        // An answer that was never joined is no conversation.
        if !self.joined {
            self.record.answered_at = None;
        }
        self.state = State::Ending(Ending { end, ended_at, settling: Settling::Counting { until: now + PATIENCE } });
        self.settle_when_counted(out);
    }

    fn take_down(&mut self, now: Timestamp, side: Side, cause: Cause, out: &mut Vec<CallAction>) {
        let browser = self.is_browser(side);
        let party = self.party_mut(side);
        party.stop_ringing(now);
        match party.phase {
            // Closing its audio ends it; there is no dialog.
            Phase::Up if browser => party.phase = Phase::Over,
            Phase::Ringing | Phase::Up => out.push(CallAction::Leg(side, LegCommand::End(cause))),
            Phase::Idle | Phase::Answered | Phase::Over => {}
        }
        if party.media_open {
            out.push(CallAction::Media(side, MediaCommand::Close));
        }
    }

    pub(super) fn media_closed(&mut self, side: Side, stats: LegStats, out: &mut Vec<CallAction>) {
        let party = self.party_mut(side);
        party.media_open = false;
        party.stats = Some(stats);
        out.push(CallAction::Notice(Notice::MediaClosed { call: self.plan.id, side, stats }));
        if let State::Ending(Ending { settling: Settling::Counting { .. }, .. }) = self.state {
            self.settle_when_counted(out);
        }
    }

    fn settle_when_counted(&mut self, out: &mut Vec<CallAction>) {
        if !self.user.media_open && !self.destination.media_open {
            self.settle(out);
        }
    }

    pub(super) fn ending_timeout(&mut self, now: Timestamp, out: &mut Vec<CallAction>) {
        let State::Ending(ending) = &self.state else { return };
        match ending.settling {
            Settling::Counting { until } | Settling::Again { at: until } if until <= now => self.settle(out),
            Settling::Settled { forget_at } if forget_at <= now => out.push(CallAction::Forget),
            Settling::Counting { .. } | Settling::Again { .. } | Settling::Committing | Settling::Settled { .. } => {}
        }
    }

    /// It cannot be forgotten yet: its legs are still being ended.
    pub fn linger(&mut self, now: Timestamp) {
        if let State::Ending(Ending { settling: Settling::Settled { forget_at }, .. }) = &mut self.state {
            *forget_at = now + T1;
        }
    }

    fn settle(&mut self, out: &mut Vec<CallAction>) {
        let State::Ending(ending) = &mut self.state else { return };
        ending.settling = Settling::Committing;
        let (end, ended_at) = (ending.end, ending.ended_at);
        self.finish_record(end, ended_at);
        let cost = self.user.meter.cost(ended_at) + self.destination.meter.cost(ended_at);
        let facts = terminal_facts(self.record.status);
        self.commit(StepKind::Settle, Step::Settle { cost }, facts, out);
    }

    fn finish_record(&mut self, end: End, ended_at: Timestamp) {
        let record = &mut self.record;
        record.status = end.reason.status(record.answered_at.is_some());
        record.ended_at = Some(ended_at);
        record.end_reason = Some(end.reason);
        record.ended_by = Some(end.by);
        record.sip_status = end.sip_status;
        record.q850_cause = end.q850;
        record.billable_seconds = self.destination.meter.billable_seconds(ended_at);
        record.user_leg = self.user.record();
        record.destination_leg = self.destination.record();
    }

    pub(super) fn settled(&mut self, now: Timestamp, committed: Committed, out: &mut Vec<CallAction>) {
        let State::Ending(ending) = &mut self.state else { return };
        match committed {
            Committed::Done | Committed::Tripped(_) => {
                ending.settling = Settling::Settled { forget_at: now + LINGER };
                let (end, ended_at) = (ending.end, ending.ended_at);
                self.say_ended(out);
                if let Committed::Tripped(reason) = committed {
                    let organization = self.plan.organization.clone();
                    out.push(CallAction::Notice(Notice::BreakerTripped { organization, reason }));
                }
                self.tell_ended(ended_at, out);
                for side in Side::BOTH {
                    if self.party(side).phase == Phase::Answered {
                        out.push(CallAction::Leg(side, LegCommand::End(Cause::of(end.reason))));
                    }
                    self.keep_strays(side, out);
                }
            }
            Committed::Admitted { .. }
            | Committed::Permitted(_)
            | Committed::Extended
            | Committed::Refused(_)
            | Committed::Replayed(_)
            | Committed::Conflict { .. }
            | Committed::Spent
            | Committed::Unavailable => {
                ending.settling = Settling::Again { at: now + AGAIN };
                out.push(CallAction::Notice(Notice::CommitFailed { call: self.plan.id }));
            }
        }
    }

    fn say_ended(&self, out: &mut Vec<CallAction>) {
        let record = &self.record;
        if let (Some(reason), Some(ended_at)) = (record.end_reason, record.ended_at) {
            out.push(CallAction::Notice(Notice::CallEnded {
                call: self.plan.id,
                status: record.status,
                reason,
                duration: record.answered_at.map_or(Duration::ZERO, |answered| ended_at.since(answered)),
            }));
        }
    }
}

fn terminal_facts(status: Status) -> Vec<FactKind> {
    let also = match status {
        Status::NoAnswer => Some(FactKind::CallNoAnswer),
        Status::Busy => Some(FactKind::CallBusy),
        Status::Failed => Some(FactKind::CallFailed),
        Status::Completed | Status::Canceled | Status::Rejected => None,
        Status::Queued | Status::CallingUser | Status::Confirming | Status::CallingDestination | Status::InProgress => {
            None
        }
    };
    std::iter::once(FactKind::CallCompleted).chain(also).collect()
}
